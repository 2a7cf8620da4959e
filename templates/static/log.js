// A log that is followed: what is new is added at its end, nothing that stands there is drawn again. Only
// what the server keeps is ever shown, so the page stays bounded. Screen readers hear a line now and then.
import { ask, say } from "./act.js";

const log = document.querySelector("[data-log]");
const EACH_MS = 1000;
const SPEAK_MS = 10000;
const MOST = 2 << 20; // characters on the page; older ones go
const WRONG = /\b(error|exception|traceback|failed|fatal|cannot|can't|unable)\b/i;

let running = log?.dataset.running !== undefined;
let next = +(log?.dataset.next ?? 0);
let end = +(log?.dataset.end ?? 0);
let follow = running;
let added = 0; // lines since they were last told of
const button = document.querySelector("[data-tools] [data-follow]");

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function setFollow(on) {
  follow = on;
  button.setAttribute("aria-pressed", String(on));
  if (on) toEnd();
}

async function more() {
  const { ok, data } = await ask("GET", `${log.dataset.log}&offset=${next}`);
  if (!ok) return;
  if (data.text) {
    log.append(data.text);
    added += data.text.split("\n").length - 1;
    while (log.textContent.length > MOST && log.childNodes.length > 1) log.firstChild.remove();
    if (follow) toEnd();
  }
  next = data.next;
  end = data.end;
  running = data.running;
  button.hidden = !running;
  document.getElementById("log-news").textContent = running ? "It goes on: new lines show by themselves." : "That is all of it.";
}

async function loop() {
  try {
    if (!document.hidden) await more();
  } finally {
    if (running || next < end) setTimeout(loop, next < end ? 0 : EACH_MS);
  }
}

function firstError() {
  const text = log.textContent;
  let offset = 0;
  for (const line of text.split("\n")) {
    if (WRONG.test(line)) { mark(offset, line.length); return true; }
    offset += line.length + 1;
  }
  return false;
}

// The line is selected: that shows it, and Ctrl+C copies it.
function mark(offset, length) {
  log.normalize();
  const range = document.createRange();
  const text = log.firstChild;
  range.setStart(text, offset);
  range.setEnd(text, offset + length);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  setFollow(false);
  log.scrollTop += range.getBoundingClientRect().top - log.getBoundingClientRect().top - 48;
  log.focus({ preventScroll: true });
}

if (log) {
  document.querySelector("[data-tools]").hidden = false;
  button.hidden = !running; // nothing more comes
  if (follow) toEnd();
  else setFollow(false);
  if (running || next < end) loop();
  button.addEventListener("click", () => setFollow(!follow));
  // Scrolling up means reading: it stays where it is. Back at the end it follows again.
  log.addEventListener("scroll", () => { if (follow !== atEnd() && running) { follow = atEnd(); button.setAttribute("aria-pressed", String(follow)); } });
  document.querySelector("[data-error]").addEventListener("click", () => { if (!firstError()) say("No line looks like an error."); });
  document.querySelector("[data-copy-log]").addEventListener("click", async () => {
    const selection = getSelection();
    selection.selectAllChildren(log);
    const done = document.execCommand("copy");
    selection.removeAllRanges();
    say(done ? "The log is copied." : "It can’t be copied here: use Download.");
  });
  setInterval(() => {
    if (!added) return;
    document.getElementById("spoken").textContent = `${added} new lines in the log.`;
    added = 0;
  }, SPEAK_MS);
  // The page looks again when the render changes: a try that began meanwhile is followed from its start.
  document.addEventListener("croft-looked", () => { if (!running && document.getElementById("log-news")?.dataset.running) { running = true; loop(); } });
}
