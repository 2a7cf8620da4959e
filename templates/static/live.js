// Keeps a page true: what concerns main[data-live] has its inside fetched again and morphed in.
import { ask, emit, every, on, one, words } from "./act.js";
import { morph } from "./morph.js";

const main = one("main[data-live]");
const GATHER_MS = 100;
const SPEAK_MS = 10000;
const ONLY_LIMIT = 40;

let waiting = null;
let busy = false;

function lookAgain({ all = true, only = [] } = {}) {
  const first = waiting === null;
  waiting ??= { all: false, only: [] };
  waiting.all ||= all;
  waiting.only.push(...only);
  if (first && !busy && !document.hidden) setTimeout(look, all ? 0 : GATHER_MS);
}

async function look() {
  if (!waiting) return;
  const { all, only } = waiting;
  waiting = null;
  busy = true;
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
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    if (response.status === 401 || response.redirected) { location.reload(); return; }
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      morph(main, one("main", page));
      if (rows?.dataset.holes) { delete rows.dataset.holes; lookAgain(); }
      speak();
      emit("looked");
    }
  } catch { /* the stream says so */ } finally {
    busy = false;
    if (waiting) setTimeout(look, GATHER_MS);
  }
}

const summary = () => one("[data-summary]", main)?.textContent.trim();
let spoken;
let spokenAt = -SPEAK_MS;
let later = null;
function speak() {
  if (!summary() || summary() === spoken) return;
  later ??= setTimeout(() => {
    later = null;
    spoken = summary();
    spokenAt = performance.now();
    one("#spoken").textContent = spoken;
  }, Math.max(0, spokenAt + SPEAK_MS - performance.now()));
}

async function ring() {
  const { data } = await ask("GET", "/api/notes/unread");
  const count = one("#bell .count");
  if (data && count) Object.assign(count, { textContent: data.unread, hidden: !data.unread });
}

function hear(message) {
  emit("heard", message);
  if (message.kind === "note") ring();
  if ("lost" in message) showLost(message.lost);
  else if (message.reload) lookAgain();
  else if (message.kind === "thumbnail") drawAgain();
  else if (concerns(message)) lookAgain({ all: false, only: ofRows(message.kind) ? message.ids : [] });
}

let drawn = 0;
function drawAgain() {
  drawn += 1;
  for (const picture of every("img[src^='/thumb/']", main)) {
    if (picture.naturalWidth < 2) picture.src = `${picture.getAttribute("src").replace(/&t=\d+$/, "")}&t=${drawn}`;
  }
}

const ofFiles = (kind) => ["asset", "uses", "note", "history"].includes(kind);
function ofRows(kind) {
  const rows = one("[data-rows]", main)?.dataset.rows;
  return rows ? rows === kind : ofFiles(kind);
}

function concerns({ kind, ids }) {
  const of = main.dataset;
  if (!of.live.split(" ").includes(kind)) return false;
  if (ofFiles(kind) && of.under) return ids.some((id) => id.startsWith(of.under));
  if (ofFiles(kind) && of.address) return ids.includes(of.address);
  if (kind === "upload") return ids.some((id) => id.startsWith(of.mine));
  if (kind === "job" && of.jobs !== undefined) return ids.some((id) => of.jobs.split(" ").includes(id));
  return true;
}

let since = null;
let patience = null;
function showLost(lost) {
  const bar = one("#offline");
  clearTimeout(patience);
  if (!lost) { bar.hidden = true; since = null; return; }
  since ??= new Date().toTimeString().slice(0, 5);
  patience = setTimeout(() => { bar.textContent = words("lost", { time: since }); bar.hidden = false; }, 1500);
}

if (main) {
  spoken = summary();
  on("croft-look-again", ({ detail }) => lookAgain(detail ?? {}));
  on("visibilitychange", () => { if (!document.hidden && !busy) look(); });
  let typing;
  on("input", ({ target }) => {
    if (target.form?.dataset.look === undefined) return;
    clearTimeout(typing);
    typing = setTimeout(lookAgain, 400);
  });
  if (main.dataset.stream) listen();
}

async function listen() {
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  const seen = document.body.dataset.event;
  if (window.SharedWorker) {
    const { port } = new SharedWorker(main.dataset.stream, { name: "croft" });
    port.onmessage = ({ data }) => hear(data);
    port.postMessage(seen);
    addEventListener("pagehide", () => port.postMessage(null));
    return;
  }
  await import(main.dataset.stream);
  const tab = { postMessage: hear };
  on("visibilitychange", () => (document.hidden ? window.croftStream.leave(tab) : window.croftStream.join(tab, "")));
  window.croftStream.join(tab, seen);
}
