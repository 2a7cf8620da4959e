// Files that are dropped or chosen, sent into their person's own waiting place; data-auto adds them from there.
import { act, ask, every, fill, lookAgain, make, on, one, say, tell } from "./act.js";
import { Sender } from "./send.js";

const FEW = 12;
const MOVING = ["comparing", "sending", "lost", "full", "checking", "paused"];

const main = one("main[data-drop]");
const { drop: project, chunk, auto } = main.dataset;
const sender = new Sender(+chunk);
const veil = one("#drop");
const panel = one("#sending");
const news = one("[data-news]", panel);
const sentences = JSON.parse(panel.dataset.words);
const words = (name, values) => fill(sentences[name] ?? name, values);
const folder = () => one("select[data-folder]")?.value ?? "";
const number = (value, unit) => value.toLocaleString(document.documentElement.lang, { style: "unit", unit, maximumFractionDigits: value < 10 ? 1 : 0 });
const size = (bytes) => (bytes < 1e9 ? number(bytes / 1e6, "megabyte") : number(bytes / 1e9, "gigabyte"));
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

async function walk(entries, found = []) {
  for (const entry of entries) {
    if (entry.isFile) found.push({ path: entry.fullPath.replace(/^\/+/, ""), file: await new Promise((take) => { entry.file(take, () => take(null)); }) });
    else {
      const reader = entry.createReader();
      const some = () => new Promise((take) => { reader.readEntries(take, () => take([])); });
      for (let inner = await some(); inner.length; inner = await some()) await walk(inner, found);
    }
  }
  return found;
}

async function take(found, into = folder()) {
  const answer = await ask("POST", "/api/uploads/check", { files: found.map(({ file, path }) => ({ path, size: file?.size ?? null })) });
  if (!answer.ok || !found.length) { say(found.length ? answer.message : words("nothing")); return; }
  one("#left-out").replaceChildren(...answer.data.left.map((text) => make("p", text, { className: "notice" })));
  for (const { file, path } of answer.data.taken.map((n) => found[n])) {
    sender.add(file, project, [into, ...path.split("/").slice(0, -1)].filter(Boolean).join("/"), path);
  }
}

let depth = 0;
for (const name of ["dragenter", "dragleave", "dragover", "drop"]) {
  addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    depth = Math.max(0, { dragenter: depth + 1, dragleave: depth - 1, dragover: depth, drop: 0 }[name]);
    veil.hidden = !depth;
    const into = folder();
    put(veil.querySelector("[data-where]"), into || words("folder"));
    const items = name === "drop" ? [...event.dataTransfer.items].filter((item) => item.kind === "file") : [];
    if (items.length) walk(items.map((item) => item.webkitGetAsEntry())).then((found) => take(found, into));
  });
}
on("click", ({ target }) => {
  const choose = target.closest("button[data-choose]")?.dataset.choose;
  if (choose) one(`input[data-files="${choose}"]`).click();
  const removed = target.closest("[data-remove]")?.dataset.remove.split(" ") ?? [];
  for (const item of sender.open) if (removed.includes(item.id)) sender.stop(item);
}, true);
on("change", ({ target }) => {
  if (!target.matches("input[data-files]")) return;
  take([...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  target.value = "";
});
addEventListener("beforeunload", (event) => { if (sender.open.some((item) => item.state !== "paused")) event.preventDefault(); });

let due;
sender.addEventListener("change", ({ detail: item }) => {
  if (["done", "same"].includes(item.state)) over(item);
  due ??= setTimeout(() => { due = null; sender.items.forEach(line); all(); }, 100);
});

function line(item) {
  const { state, why, name, path } = item;
  const moves = MOVING.includes(state);
  if (!moves && !["failed", "needs"].includes(state)) { item.line?.remove(); item.line = null; return; }
  if (!item.line) {
    item.line = make("li", "", { className: "stack" });
    item.line.append(one("template", panel).content.cloneNode(true));
    const jobs = { pause: () => sender.pause([item], !item.paused), stop: () => stop(item), again: () => sender.again(item) };
    for (const button of every("button", item.line)) button.onclick = jobs[button.name];
    for (const aside of every(".aside", item.line)) aside.textContent = ` ${name}`;
    one("progress", item.line).ariaLabel = name;
    news.append(item.line);
  }
  const [text, bar, pause, end, again] = every("p, progress, button", item.line);
  const percent = Math.floor((100 * item.sent) / (item.size || 1));
  const told = fill(words(moves ? state : why), { percent, size: size(item.size) });
  put(text, `${path}: ${told}${moves && why ? ` ${why}` : ""}`);
  text.className = { lost: "needs", full: "needs" }[state] ?? state;
  Object.assign(bar, { max: item.size || 1, value: item.sent, hidden: !moves });
  pause.hidden = end.hidden = !moves || state === "checking";
  again.hidden = state !== "failed";
  put(pause.firstElementChild, words(item.paused ? "go-on" : "pause"));
}

let began;
function all() {
  const { items, open } = sender;
  const count = (state) => items.filter((item) => item.state === state).length;
  const sum = (list, key) => list.reduce((total, item) => total + item[key], 0);
  const [sent, total] = [sum(open, "sent"), sum(open, "size")];
  panel.hidden = !open.length && !news.children.length;
  Object.assign(one(":scope > progress", panel), { max: total || 1, value: sent, hidden: !open.length });
  const said = (key, n) => n && words(n === 1 ? `${key}1` : key, { n });
  if (!open.length && began && items.length > 1) {
    say(["done", "same", "failed"].map((state) => said(`all-${state}`, count(state))).filter(Boolean).join(" ") || words("stopped"));
  }
  if (!open.length) began = null;
  else began ??= [Date.now(), sent];
  const seconds = began && sent > began[1] ? (total - sent) * (Date.now() - began[0]) / (sent - began[1]) / 1000 : 0;
  const left = seconds > 5 && words("left", { time: seconds < 90 ? number(Math.ceil(seconds), "second") : number(seconds / 60, "minute") });
  put(one("p", panel), open.length ? [said("underway", open.length), words("of", { sent: size(sent), total: size(total) }), left].filter(Boolean).join(" · ") : "");
  const held = open.length && open.every((item) => item.paused);
  const pause = one("[data-pause]", panel);
  pause.hidden = !open.length;
  pause.onclick = () => sender.pause(open, !held);
  put(pause, words(held ? "go-on" : "pause-all"));
}

async function stop(item) {
  sender.stop(item);
  if (!item.id) return;
  const url = `/api/uploads/${item.id}`;
  const { message } = await act(`DELETE ${url}`);
  say(message, async () => { tell(await act(`PATCH ${url} {"removed": false}`)); sender.again(item); });
}

async function over(item) {
  if (item.told) return;
  item.told = true;
  if (item.state === "same") {
    await act(`DELETE /api/uploads/${item.id}`);
    if (sender.items.length <= FEW) say(words("same-there", item));
  } else if (auto !== undefined) {
    const { data, message } = await ask("POST", "/api/uploads/add", { ids: [item.id] });
    const added = data?.[0] ?? { message };
    if (!added.ok) sender.set(item, "needs", added.message);
    else if (sender.items.length <= FEW) say(added.message);
  }
  lookAgain();
}
