// Files dropped on a page that takes them (main[data-drop] names the project), or chosen with its buttons, are
// sent into their person's own waiting place. The page Drop shows them there; on others (data-auto) they are
// added as soon as all of one is there, unless its name is taken.
import { act, ask, fill, lookAgain, make, say, tell } from "./act.js";
import { Sender } from "./send.js";

const SPEAK_MS = 10000;
const FEW = 12; // files: of more, only what went wrong gets words of its own
const RATE_MS = 8000; // the speed is that of so long
const MOVING = ["waiting", "comparing", "sending", "lost", "full", "checking", "paused"];

const main = document.querySelector("main[data-drop]");
const { drop: project, digest, chunk, auto } = main.dataset;
const sender = new Sender(digest, +chunk);
const veil = document.getElementById("drop");
const panel = document.getElementById("sending");
const news = panel.querySelector("[data-news]");
const sentences = JSON.parse(panel.dataset.words);
const words = (name, values) => fill(sentences[name], values);
const folder = () => document.querySelector("select[data-folder]")?.value ?? "";
const number = (value, unit, most = 1) => value.toLocaleString(document.documentElement.lang, { style: "unit", unit, maximumFractionDigits: most });
const size = (bytes) => (bytes < 1e6 ? number(bytes / 1e3, "kilobyte", 0) : bytes < 1e9 ? number(bytes / 1e6, "megabyte") : number(bytes / 1e9, "gigabyte", 2));
const some = (name, n, values) => words(n === 1 ? `${name}1` : name, { n, ...values });

// ---- taking

// The browser forgets what was dropped as soon as the event is over: entries are taken at once.
async function dropped(transfer) {
  const found = [];
  for (const entry of [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry())) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\/+/, "");
  if (entry.isFile) {
    found.push({ path, file: await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); }) });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a hundred at a time
    const more = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
    if (!more.length) return;
    for (const inner of more) await walk(inner, found);
  }
}

// The server says beforehand which it takes, and why not the others.
async function take(found, into) {
  if (!found.length) { say(words("nothing")); return; }
  const answer = await ask("POST", "/api/uploads/check", { files: found.map(({ file, path }) => ({ path, size: file?.size ?? null })) });
  if (!answer.ok) { say(answer.message); return; }
  document.getElementById("left-out").replaceChildren(...answer.data.left.map((text) => make("p", text, { className: "notice" })));
  for (const n of answer.data.taken) {
    const { file, path } = found[n];
    sender.add(file, project, [into, path.split("/").slice(0, -1).join("/")].filter(Boolean).join("/"), path);
  }
}

let depth = 0;
const within = (now) => { depth = Math.max(0, now); veil.hidden = !depth; };
for (const name of ["dragenter", "dragleave", "dragover", "drop"]) {
  addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    if (name === "dragleave") { within(depth - 1); return; }
    event.preventDefault();
    const into = folder();
    if (name === "dragenter") {
      veil.querySelector("[data-where]").textContent = into || words("folder");
      within(depth + 1);
    } else if (name === "drop") {
      within(0);
      dropped(event.dataTransfer).then((found) => take(found, into));
    }
  });
}
document.addEventListener("click", ({ target }) => {
  const choose = target.closest("button[data-choose]")?.dataset.choose;
  if (choose) document.querySelector(`input[data-files="${choose}"]`).click();
  // The row's own button takes an upload away, and its Undo brings it back: what is sent follows.
  const removed = target.closest("[data-remove]")?.dataset.remove.split(" ") ?? [];
  for (const item of sender.open) if (removed.includes(item.id)) sender.stop(item);
}, true);
document.addEventListener("change", ({ target }) => {
  if (!target.matches("input[data-files]")) return;
  take([...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })), folder());
  target.value = "";
});
addEventListener("beforeunload", (event) => { if (sender.open.some((item) => item.state !== "paused")) event.preventDefault(); });

// ---- showing

let due = null;
sender.addEventListener("change", ({ detail: item }) => {
  if (["done", "same"].includes(item.state)) over(item);
  due ??= setTimeout(() => { due = null; draw(); }, 100);
});
document.addEventListener("croft-looked", draw);

function draw() {
  for (const box of main.querySelectorAll("[data-sending]")) {
    const item = sender.items.findLast((one) => one.id === box.dataset.sending);
    if (item) show(item, box);
  }
  sender.items.forEach(line);
  all();
}

// One file's progress with its buttons, in a box of the page's own.
function show(item, box) {
  const { state, why, name } = item;
  if (!box.querySelector("[data-name]")) {
    box.replaceChildren(panel.querySelector("template").content.cloneNode(true));
    const jobs = { pause: () => sender.pause([item], !item.paused), stop: () => stop(item), again: () => sender.again(item) };
    for (const button of box.querySelectorAll("[data-name]")) button.onclick = jobs[button.dataset.name];
    for (const aside of box.querySelectorAll(".aside")) aside.textContent = ` ${name}`;
    box.querySelector("progress").setAttribute("aria-label", name);
  }
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const moves = MOVING.includes(state);
  const text = box.querySelector("[data-words]");
  const percent = Math.floor((100 * item.sent) / (item.size || 1));
  put(text, (box.dataset.sending ? "" : `${item.path}: `) + (state === "failed" ? why : fill(`${sentences[state]} {why}`, { percent, size: size(item.size), why })).trim());
  text.className = { failed: "failed", lost: "needs", full: "needs", paused: "paused" }[state] ?? "";
  const bar = box.querySelector("progress");
  Object.assign(bar, { max: item.size || 1, value: item.sent, hidden: !moves });
  const [pause, end, again] = box.querySelectorAll("[data-name]");
  pause.hidden = end.hidden = !moves || state === "checking";
  again.hidden = !["failed", "stopped"].includes(state);
  put(pause.firstElementChild, words(item.paused ? "go-on" : "pause"));
}

// A line of its own, for what has no row on this page.
function line(item) {
  if (item.gone || item.result || (item.state === "waiting" && !item.line)) return;
  if (auto === undefined && (document.getElementById(`s-${item.id}`) || !["failed", "lost", "full"].includes(item.state))) {
    item.line?.remove();
    item.line = null;
    return;
  }
  item.line ??= news.appendChild(make("li", "", { className: "stack" }));
  show(item, item.line);
}

function all() {
  const { items, open } = sender;
  const count = (state) => items.filter((item) => item.state === state).length;
  const round = items.filter((item) => item.state !== "stopped");
  const total = round.reduce((sum, item) => sum + item.size, 0);
  const sent = round.reduce((sum, item) => sum + (open.includes(item) ? item.sent : item.size), 0);
  panel.hidden = !open.length && !news.children.length && !(count("same") && items.length > FEW);
  Object.assign(panel.querySelector(":scope > progress"), { max: total || 1, value: sent, hidden: !open.length });
  const text = open.length
    ? [some("underway", open.length), words("of", { sent: size(sent), total: size(total) }), remaining(sent, total)].filter(Boolean).join(" · ")
    : ["done", "same", "failed"].map((state) => count(state) && some(`all-${state}`, count(state))).filter(Boolean).join(" ");
  panel.querySelector("[data-words]").textContent = text;
  const held = open.length && open.every((item) => item.paused);
  const pause = panel.querySelector("[data-pause]");
  Object.assign(pause, { hidden: !open.length, textContent: words(held ? "go-on" : "pause-all"), onclick: () => sender.pause(open, !held) });
  speak(text);
}

const samples = [];
function remaining(sent, total) {
  const now = performance.now();
  samples.push([now, sent]);
  while (samples.length > 2 && now - samples[0][0] > RATE_MS) samples.shift();
  const [[then, before]] = samples;
  const seconds = now - then > 1000 && sent > before ? (total - sent) * (now - then) / (sent - before) / 1000 : 0;
  const rounded = seconds < 90 ? number(Math.ceil(seconds / 10) * 10, "second") : seconds < 5400 ? number(Math.round(seconds / 60), "minute") : number(seconds / 3600, "hour");
  return seconds ? words("left", { time: rounded }) : "";
}

// For who hears the page: now and then, not a stream.
let spokenAt = -SPEAK_MS;
function speak(text) {
  if (performance.now() - spokenAt < SPEAK_MS && sender.open.length) return;
  spokenAt = performance.now();
  document.getElementById("spoken").textContent = text;
}

// ---- ending

async function stop(item) {
  sender.stop(item);
  if (!item.id) return;
  const url = `/api/uploads/${item.id}`;
  const { message } = await act(`DELETE ${url}`);
  say(message, async () => { tell(await act(`PATCH ${url} {"removed": false}`)); sender.again(item); });
}

// All of a file is there. Where nobody looks it over first, it is added.
async function over(item) {
  if (item.told) return;
  item.told = true;
  item.result = auto !== undefined || item.state === "same";
  if (item.state === "same") {
    await act(`DELETE /api/uploads/${item.id}`);
    end(item, words("same-there", item));
  } else if (item.result) {
    const answer = await ask("POST", "/api/uploads/add", { ids: [item.id] });
    const added = answer.data?.[0];
    if (added?.ok) end(item, added.message, added.url, words("open"));
    else end(item, added?.message ?? answer.message, `/p/${encodeURIComponent(project)}/drop`, words("choose"), true);
  }
  lookAgain();
}

function end(item, text, href, label, stays = false) {
  const leave = () => { item.gone = true; item.line?.remove(); draw(); };
  if (!stays && sender.items.length > FEW) { leave(); return; }
  item.line ??= news.appendChild(document.createElement("li"));
  const said = make("p", `${text} `, { className: stays ? "needs" : "" });
  if (href) said.append(make("a", label, { href }));
  item.line.replaceChildren(said);
  if (!stays) setTimeout(leave, 8000);
  draw();
}
