// Keeps a page true: what concerns [data-live], its main or its top, has that fetched again and morphed in.
import { emit, every, on, one, words } from "./act.js";
import { morph } from "./morph.js";

const main = one("main[data-live]");
const mast = one("#mast[data-live]");
const GATHER_MS = 100;
const SPEAK_MS = 10000;
const ONLY_LIMIT = 40;

let waiting, busy;

function lookAgain({ all = true, only = [], page = main, top = false } = {}) {
  const first = !waiting;
  waiting ??= { only: [] };
  waiting.all ||= all;
  waiting.page ||= page;
  waiting.top ||= top;
  waiting.only.push(...only);
  if (first && !busy && !document.hidden) setTimeout(look, all ? 0 : GATHER_MS);
}

async function look() {
  if (!waiting) return;
  const { all, only, page, top } = waiting;
  waiting = null;
  busy = true;
  try {
    if (page) await lookAtMain(all, only);
    if (top) await bring(mast, mast.dataset.from);
  } catch { /* the stream says so */ } finally {
    busy = false;
    if (waiting) setTimeout(look, GATHER_MS);
  }
}

async function lookAtMain(all, only) {
  const address = new URL(location.href);
  address.hash = "";
  const form = one("form[data-look]", main);
  if (form) for (const [name, value] of new FormData(form)) if (!["csrf", "do", "then"].includes(name)) address.searchParams.append(name, value);
  address.searchParams.set("part", "1");
  const rows = one("[data-rows]", main);
  if (rows && !all && only.length <= ONLY_LIMIT) {
    for (const id of only.length ? new Set(only) : [""]) address.searchParams.append("only", id);
    address.searchParams.set("have", rows.children.length);
  }
  if (!await bring(main, address)) return;
  if (rows?.dataset.holes) { delete rows.dataset.holes; lookAgain(); }
  speak();
  emit("looked");
}

async function bring(box, address) {
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  if (response.status === 401 || response.redirected) location.reload();
  else if (response.ok) {
    morph(box, one(`#${box.id}`, new DOMParser().parseFromString(await response.text(), "text/html")));
    return true;
  }
}

const summary = () => one("main [data-summary]")?.textContent.trim();
let spoken = summary();
let spokenAt = -SPEAK_MS;
let later;
function speak() {
  if (!summary() || summary() === spoken) return;
  later ??= setTimeout(() => {
    later = null;
    spoken = summary();
    spokenAt = performance.now();
    one("#spoken").textContent = spoken;
  }, Math.max(0, spokenAt + SPEAK_MS - performance.now()));
}

function hear(message) {
  const { kind, ids, lost, reload } = message;
  if (lost !== undefined) showLost(lost);
  else if (reload) lookAgain({ top: true });
  else if (kind === "thumbnail") drawAgain();
  else {
    const page = concerns(message);
    const top = listens(mast, kind);
    if (page || top) lookAgain({ all: false, only: page && ofRows(kind) ? ids : [], page, top });
  }
}

let drawn = 0;
function drawAgain() {
  drawn += 1;
  for (const picture of every("main img[src^='/thumb/']")) {
    if (picture.naturalWidth < 2) picture.src = `${picture.getAttribute("src").replace(/&t=\d+$/, "")}&t=${drawn}`;
  }
}

const listens = (box, kind) => box?.dataset.live.split(" ").includes(kind);
const ofFiles = (kind) => ["asset", "uses", "note", "history"].includes(kind);
function ofRows(kind) {
  const rows = one("[data-rows]", main)?.dataset.rows;
  return rows ? rows === kind : ofFiles(kind);
}

function concerns({ kind, ids }) {
  if (!listens(main, kind)) return false;
  const of = main.dataset;
  if (ofFiles(kind) && of.under) return ids.some((id) => id.startsWith(of.under));
  if (ofFiles(kind) && of.address) return ids.includes(of.address);
  if (kind === "upload") return ids.some((id) => id.startsWith(of.mine));
  if (kind === "job" && of.jobs !== undefined) return ids.some((id) => of.jobs.split(" ").includes(id));
  return true;
}

let since, patience;
function showLost(lost) {
  const bar = one("#offline");
  clearTimeout(patience);
  if (!lost) { bar.hidden = true; since = null; return; }
  since ??= new Date().toTimeString().slice(0, 5);
  patience = setTimeout(() => { bar.textContent = words("lost", { time: since }); bar.hidden = false; }, 1500);
}

on("croft-look-again", ({ detail }) => lookAgain(detail ?? {}));
on("visibilitychange", () => { if (!document.hidden && !busy) look(); });
let typing;
on("input", ({ target }) => {
  if (target.form?.dataset.look === undefined) return;
  clearTimeout(typing);
  typing = setTimeout(lookAgain, 400);
});
if (mast) listen();

async function listen() {
  addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); });
  const seen = document.body.dataset.event;
  if (window.SharedWorker) {
    const { port } = new SharedWorker(mast.dataset.stream, { name: "croft" });
    port.onmessage = ({ data }) => hear(data);
    port.postMessage(seen);
    addEventListener("pagehide", () => port.postMessage(null));
    return;
  }
  await import(mast.dataset.stream);
  const stream = window.croftStream;
  const tab = { postMessage: hear };
  on("visibilitychange", () => (document.hidden ? stream.leave(tab) : stream.join(tab, "")));
  stream.join(tab, seen);
}
