// Keeps a page true while things change: main[data-live] names the kinds of change that concern it. Changes
// are gathered for half a second, the page's own address is asked for its inside, and that is morphed in.
import { morph } from "./morph.js";

const main = document.querySelector("main[data-live]");
const GATHER_MS = 500;
const SPEAK_MS = 10000; // a summary now and then, not a stream
const ONLY_LIMIT = 40; // more changed rows than this: ask for the whole page

let waiting = null; // null, or what changed since the last look: {all, only}
let busy = false;

export function lookAgain(change = { all: true, only: [] }) {
  if (!main) return;
  const first = waiting === null;
  waiting ??= { all: false, only: [] };
  waiting.all ||= change.all;
  waiting.only.push(...change.only);
  // A page that nobody looks at is brought up to date when it is looked at again.
  if (document.hidden) return;
  if (first && !busy) setTimeout(look, change.all ? 0 : GATHER_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting && !busy) look(); });

async function look() {
  if (!waiting) return;
  const { all, only } = waiting;
  waiting = null;
  busy = true;
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("part", "1");
  const rows = main.querySelector("[data-rows]");
  if (rows && !all && only.length <= ONLY_LIMIT) {
    for (const id of new Set(only)) address.searchParams.append("only", id);
    if (!only.length) address.searchParams.append("only", "");
  }
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    if (response.status === 401 || response.redirected) { location.reload(); return; }
    if (response.ok) {
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("main");
      if (fresh) morph(main, fresh);
      if (rows?.dataset.holes) {
        delete rows.dataset.holes;
        lookAgain();
      }
      speak();
      document.dispatchEvent(new Event("croft-looked"));
    }
  } catch {
    // The stream notices a lost connection too, says so, and asks to look again when it is back.
  } finally {
    busy = false;
    if (waiting) setTimeout(look, GATHER_MS);
  }
}

// The summary of the page, said at most every ten seconds and only when it is another one.
let spoken = document.querySelector("[data-summary]")?.textContent.trim();
let spokenAt = -SPEAK_MS;
let later = null;
function speak() {
  const text = main.querySelector("[data-summary]")?.textContent.trim();
  if (!text || text === spoken || later) return;
  later = setTimeout(() => {
    later = null;
    spoken = main.querySelector("[data-summary]")?.textContent.trim();
    spokenAt = performance.now();
    document.getElementById("spoken").textContent = spoken;
  }, Math.max(0, spokenAt + SPEAK_MS - performance.now()));
}

function hear(message) {
  if ("lost" in message) showLost(message.lost);
  else if (message.reload) lookAgain();
  else if (message.kind === "thumbnail") message.ids.forEach(drawAgain);
  else if (concerns(message)) lookAgain({ all: false, only: ofRows(message.kind) ? message.ids : [] });
}

// A picture that wasn't made yet when the page asked for it is there now: asked for under a new address,
// because a browser doesn't ask twice for one that it has.
let drawn = 0;
function drawAgain(address) {
  const path = encodeURI(`/thumb/${address}`);
  for (const picture of main.querySelectorAll("img[src^='/thumb/']")) {
    const source = picture.getAttribute("src");
    // A scene's picture is a frame of its newest render (of=…), which is named otherwise.
    if (picture.naturalWidth > 1 || !(source.startsWith(path) || source.includes("&of="))) continue;
    picture.src = `${picture.getAttribute("src").replace(/&t=\d+$/, "")}&t=${drawn += 1}`;
  }
}

// Which rows a change is of: a table of renders says so; others are of files.
function ofRows(kind) {
  const rows = main.querySelector("[data-rows]")?.dataset.rows;
  return rows ? rows === kind : ofFiles(kind);
}

// Who uses a file concerns the same pages as a change of the file itself.
const ofFiles = (kind) => kind === "asset" || kind === "uses";

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
  const bar = document.getElementById("offline");
  clearTimeout(patience);
  if (!lost) { bar.hidden = true; since = null; return; }
  since ??= new Date();
  // A reconnect of a moment is nobody's concern.
  patience = setTimeout(() => {
    bar.textContent = `Connection lost. This is how it was at ${since.toTimeString().slice(0, 5)}. Trying again…`;
    bar.hidden = false;
  }, 1500);
}

// Where there are no shared workers (some phones), a tab listens for itself, and only while it is looked at.
function alone() {
  let source = null;
  let lost = false;
  const listen = () => {
    if (document.hidden) { source?.close(); source = null; return; }
    if (source) return;
    source = new EventSource("/api/events");
    source.onopen = () => { if (lost) lookAgain(); lost = false; showLost(false); };
    source.addEventListener("change", (event) => hear(JSON.parse(event.data)));
    source.addEventListener("reload", () => lookAgain());
    source.onerror = () => {
      lost = true;
      showLost(true);
      if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 5000); }
    };
  };
  document.addEventListener("visibilitychange", () => { lost ||= document.hidden; listen(); });
  listen();
}

if (main) {
  document.addEventListener("croft-look-again", () => lookAgain());
  if (window.SharedWorker) {
    const worker = new SharedWorker(main.dataset.stream, { name: "croft" });
    worker.port.onmessage = (event) => hear(event.data);
    window.addEventListener("pagehide", () => worker.port.postMessage("bye"));
    window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  } else {
    alone();
  }
}
