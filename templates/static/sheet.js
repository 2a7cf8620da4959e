// The sheet of cells: walked with the arrow keys, a frame opened with a click or Enter, several chosen with
// Shift, Ctrl, by dragging, or on a phone after 'Choose several'. What is chosen can be rendered again or left
// out; the answer's Undo takes it back. The server draws the cells; this module only knows which is which.
import { ask, say } from "./act.js";
import { frameOf, show, tasksOf, total, word } from "./film.js";

const STATES = { w: "waiting", c: "rendering", d: "done", f: "failed", s: "left out" };
let sheet = null; // as the page shows it now: it comes and changes with the film
let bar = null;
let job = "";

let at = -1; // the cell that the keys walk from
let anchor = -1; // where a choice of several began
let chosen = new Set(); // cells
let choosing = false; // on a phone: a tap chooses

const cells = () => [...sheet.querySelectorAll("i")];
const group = () => +sheet.dataset.group || 1;
const row = () => Math.max(1, columns());

function columns() {
  const all = cells();
  const top = all[0]?.offsetTop;
  const next = all.findIndex((cell) => cell.offsetTop !== top);
  return next < 0 ? all.length : next;
}

function words(cell, index) {
  const first = frameOf(index * group());
  const last = frameOf(Math.min(total(), (index + 1) * group()) - 1);
  const name = first === last ? `${word} ${first}` : `${word}s ${first} to ${last}`;
  return `${name}, ${STATES[cell.className[0]] ?? ""}`;
}

// Marks that live in the browser alone: put back after the page was brought up to date.
function mark() {
  cells().forEach((cell, index) => {
    if (cell.getAttribute("role") !== "option") {
      cell.setAttribute("role", "option");
      cell.id = `c${index}`;
    }
    const on = String(chosen.has(index));
    if (cell.getAttribute("aria-selected") !== on) cell.setAttribute("aria-selected", on);
    cell.toggleAttribute("data-at", index === at);
    const said = words(cell, index);
    if (cell.title !== said) { cell.title = said; cell.setAttribute("aria-label", said); }
  });
  if (at >= 0) sheet.setAttribute("aria-activedescendant", `c${at}`);
  bar.hidden = !chosen.size;
  if (chosen.size) bar.querySelector("p").textContent = `${places().length === 1 ? `1 ${word.toLowerCase()}` : `${places().length} ${word.toLowerCase()}s`} chosen: ${ranges()}`;
}

// The frames of all chosen cells, by their place.
function places() {
  const found = [];
  for (const index of [...chosen].sort((a, b) => a - b)) {
    for (let n = index * group(); n < Math.min(total(), (index + 1) * group()); n += 1) found.push(n);
  }
  return found;
}

function ranges() {
  const parts = [];
  for (const n of places()) {
    const last = parts[parts.length - 1];
    if (last && n === last[1] + 1) last[1] = n;
    else parts.push([n, n]);
  }
  const shown = parts.slice(0, 6).map(([a, b]) => (a === b ? frameOf(a) : `${frameOf(a)} to ${frameOf(b)}`)).join(", ");
  return parts.length > 6 ? `${shown} …` : shown;
}

function walk(index, { extend = false } = {}) {
  at = Math.max(0, Math.min(cells().length - 1, index));
  if (extend) span(at);
  else anchor = at;
  mark();
  document.getElementById(`c${at}`)?.scrollIntoView({ block: "nearest" });
}

function span(to) {
  if (anchor < 0) anchor = to;
  chosen = new Set();
  for (let n = Math.min(anchor, to); n <= Math.max(anchor, to); n += 1) chosen.add(n);
}

const toggle = (index) => { if (!chosen.delete(index)) chosen.add(index); anchor = index; };
const open = (index) => show(index * group());

async function carryOut(what) {
  if (what === "none") { chosen.clear(); mark(); sheet.focus(); return; }
  if (what === "show") { open(Math.min(...chosen)); return; }
  const tasks = [...new Set(places().flatMap(tasksOf))];
  const { ok, message, data } = await ask("POST", `${job}/${what}`, { tasks });
  document.dispatchEvent(new Event("croft-look-again"));
  const { method, path, body } = data?.undo ?? {};
  say(message, ok && method ? async () => {
    say((await ask(method, path, body ?? undefined)).message);
    document.dispatchEvent(new Event("croft-look-again"));
  } : undefined);
  if (ok) { chosen.clear(); mark(); }
}

function begin() {
  const found = document.getElementById("sheet");
  const film = document.querySelector("[data-film]");
  if (!found || !film) return;
  if (found !== sheet || film.dataset.film !== job) {
    chosen.clear();
    at = anchor = -1;
  }
  sheet = found;
  job = film.dataset.film;
  bar = document.getElementById("chosen");
  sheet.setAttribute("role", "listbox");
  sheet.setAttribute("aria-multiselectable", "true");
  sheet.tabIndex = 0;
  for (const help of document.querySelectorAll("[data-help]")) help.hidden = false;
  mark();
}

document.addEventListener("keydown", (event) => {
  if (!sheet || event.target !== sheet) return;
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row(), ArrowUp: -row(), Home: -Infinity, End: Infinity };
  const move = moves[event.key];
  if (move !== undefined) {
    const to = Number.isFinite(move) ? Math.max(0, at) + (at < 0 ? 0 : move) : move < 0 ? 0 : cells().length - 1;
    if (to >= 0 && to < cells().length) walk(to, { extend: event.shiftKey });
  } else if (event.key === "Enter" && at >= 0) open(at);
  else if (event.key === " " && at >= 0) { toggle(at); mark(); }
  else if (event.key === "Escape") { chosen.clear(); mark(); }
  else if (event.key === "a" && (event.ctrlKey || event.metaKey)) { chosen = new Set(cells().keys()); mark(); }
  else return;
  event.preventDefault();
});
document.addEventListener("focusin", (event) => { if (sheet && event.target === sheet && at < 0) { at = 0; mark(); } });

const indexOf = (target) => { const cell = target?.closest?.("#sheet i"); return cell ? cells().indexOf(cell) : -1; };
let drag = null;
document.addEventListener("pointerdown", (event) => {
  const index = sheet ? indexOf(event.target) : -1;
  if (index < 0 || event.button) return;
  if (event.pointerType !== "touch" || choosing) drag = { from: index, moved: false, before: new Set(chosen) };
});
document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const index = indexOf(document.elementFromPoint(event.clientX, event.clientY));
  if (index < 0 || (!drag.moved && index === drag.from)) return;
  drag.moved = true;
  anchor = drag.from;
  span(index);
  if (choosing || event.ctrlKey || event.metaKey) for (const one of drag.before) chosen.add(one);
  at = index;
  mark();
});
document.addEventListener("pointerup", () => { if (drag?.moved) setTimeout(() => { drag = null; }); else drag = null; });

document.addEventListener("click", (event) => {
  if (!sheet) return;
  const button = event.target.closest("#chosen [data-with]");
  if (button) { carryOut(button.dataset.with); return; }
  const choose = event.target.closest("[data-choose]");
  if (choose) {
    choosing = !choosing;
    choose.setAttribute("aria-pressed", String(choosing));
    sheet.classList.toggle("choosing", choosing);
    return;
  }
  const index = indexOf(event.target);
  if (index < 0 || drag?.moved) return;
  at = index;
  if (event.shiftKey) span(index);
  else if (event.ctrlKey || event.metaKey || choosing) toggle(index);
  else { anchor = index; open(index); }
  mark();
});

document.addEventListener("croft-looked", begin);
document.addEventListener("croft-frame", ({ detail }) => {
  if (!sheet) return;
  const index = Math.floor(detail.n / group());
  if (index === at) return;
  document.getElementById(`c${at}`)?.removeAttribute("data-at");
  at = index;
  document.getElementById(`c${at}`)?.setAttribute("data-at", "");
  sheet.setAttribute("aria-activedescendant", `c${at}`);
});
begin();
