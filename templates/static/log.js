// A log that is followed: what is new is added at its end, nothing that stands there is drawn again.
import { ask, copyText, fill, on, one, say } from "./act.js";

const EACH_MS = 1000;
const SPEAK_MS = 10000;
const MOST = 2 << 20;
const WRONG = /\b(error|exception|traceback|failed|fatal|cannot|can't|unable)\b/i;

const log = one("[data-log]");
const tools = one("[data-tools]");
const button = one("[data-follow]", tools);
const news = one("#log-news");
const words = news.dataset;
let running = log.dataset.running !== undefined;
let { next, end } = log.dataset;
let follow = running;
let added = 0;

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
function setFollow(on) {
  follow = on;
  button.hidden = !running;
  button.ariaPressed = on;
  if (on) log.scrollTop = log.scrollHeight;
}

async function loop() {
  const { ok, data } = document.hidden ? {} : await ask("GET", `${log.dataset.log}&offset=${next}`);
  if (ok) {
    ({ next, end, running } = data);
    if (data.text) log.append(data.text);
    added += data.text.split("\n").length - 1;
    while (log.textContent.length > MOST && log.childNodes.length > 1) log.firstChild.remove();
    news.textContent = running ? words.more : words.all;
    setFollow(follow);
  }
  if (running || next < end) setTimeout(loop, ok && next < end ? 0 : EACH_MS);
}

function firstError() {
  log.normalize();
  const lines = log.textContent.split("\n");
  const index = lines.findIndex((line) => WRONG.test(line));
  if (index < 0) { say(words.none); return; }
  const offset = lines.slice(0, index).join("\n").length + (index && 1);
  const range = document.createRange();
  range.setStart(log.firstChild, offset);
  range.setEnd(log.firstChild, offset + lines[index].length);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  setFollow(false);
  log.scrollTop += range.getBoundingClientRect().top - log.getBoundingClientRect().top - 48;
  log.focus({ preventScroll: true });
}

tools.hidden = false;
setFollow(follow);
if (running || +next < end) loop();
log.addEventListener("scroll", () => { if (follow !== atEnd() && running) setFollow(atEnd()); });
tools.addEventListener("click", ({ target: { dataset } }) => {
  if (dataset.follow !== undefined) setFollow(!follow);
  if (dataset.error !== undefined) firstError();
  if (dataset.copyLog !== undefined) say(copyText(log.textContent) ? words.copied : words.cannot);
});
setInterval(() => {
  if (added) one("#spoken").textContent = fill(words.lines, { n: added });
  added = 0;
}, SPEAK_MS);
on("croft-looked", () => { if (!running && words.running) { running = true; loop(); } });
