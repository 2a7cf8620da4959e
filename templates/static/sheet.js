// The sheet of cells: walked with the arrow keys, a frame opened with a click or Enter, several chosen with
// Shift, Ctrl, by dragging, or on a phone after 'Choose several'. What is chosen can be rendered again or left
// out; the answer's Undo takes it back. The server draws the cells; this module only knows which is which.
import { act, tell } from "./act.js";
import { frameOf, show, tasksOf, text, total } from "./film.js";

let sheet = null; // as the page shows it now: it comes and changes with the film
let bar = null;
let job = "";

let at = -1; // the cell that the keys walk from
let anchor = -1; // where a choice of several began
let chosen = new Set(); // cells
let choosing = false; // on a phone: a tap chooses

const cells = () => [...sheet.querySelectorAll("i")];
const group = () => +sheet.dataset.group || 1;
const span = (a, b) => (a === b ? `${a}` : text("to", { first: a, last: b }));

function columns() {
  const all = cells();
  const next = all.findIndex((cell) => cell.offsetTop !== all[0].offsetTop);
  return next < 0 ? all.length : next;
}

// Marks that live in the browser alone: put back after the page was brought up to date.
function mark() {
  const states = JSON.parse(bar.dataset.states);
  cells().forEach((cell, index) => {
    const set = (name, value) => { if (cell.getAttribute(name) !== value) cell.setAttribute(name, value); };
    const last = Math.min(total(), (index + 1) * group()) - 1;
    set("role", "option");
    set("id", `c${index}`);
    set("aria-selected", String(chosen.has(index)));
    cell.toggleAttribute("data-at", index === at);
    set("title", `${text("word", { n: span(frameOf(index * group()), frameOf(last)) })}, ${states[cell.className[0]] ?? ""}`);
    set("aria-label", cell.title);
  });
  if (at >= 0) sheet.setAttribute("aria-activedescendant", `c${at}`);
  bar.hidden = !chosen.size;
  const count = places().length;
  if (count) bar.querySelector("p").textContent = text(count === 1 ? "chosen1" : "chosen", { n: count, frames: ranges() });
}

// The frames of all chosen cells, by their place.
function places() {
  return [...chosen].sort((a, b) => a - b).flatMap((index) => [...Array(group()).keys()].map((n) => index * group() + n))
    .filter((n) => n < total());
}

function ranges() {
  const parts = [];
  for (const n of places()) {
    const last = parts.at(-1);
    if (last && n === last[1] + 1) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.slice(0, 6).map(([a, b]) => span(frameOf(a), frameOf(b))).join(", ") + (parts.length > 6 ? " …" : "");
}

function choose(to) {
  if (anchor < 0) anchor = to;
  chosen = new Set();
  for (let n = Math.min(anchor, to); n <= Math.max(anchor, to); n += 1) chosen.add(n);
}
const toggle = (index) => { if (!chosen.delete(index)) chosen.add(index); anchor = index; };
const open = (index) => show(index * group());

async function carryOut(what) {
  if (what === "show") { open(Math.min(...chosen)); return; }
  if (what !== "none") {
    const tasks = [...new Set(places().flatMap(tasksOf))];
    const answer = await act(`POST ${job}/${what} ${JSON.stringify({ tasks })}`);
    tell(answer);
    if (!answer.ok) return;
  }
  chosen.clear();
  mark();
  sheet.focus();
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
  const last = cells().length - 1;
  const to = {
    ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(), ArrowUp: at - columns(), Home: 0, End: last,
  }[event.key];
  if (to !== undefined) {
    if (to >= 0 && to <= last) {
      at = to;
      if (event.shiftKey) choose(at);
      else anchor = at;
      mark();
      document.getElementById(`c${at}`).scrollIntoView({ block: "nearest" });
    }
  } else if (event.key === "Enter" && at >= 0) open(at);
  else if (event.key === " " && at >= 0) { toggle(at); mark(); }
  else if (event.key === "Escape") { chosen.clear(); mark(); }
  else if (event.key === "a" && (event.ctrlKey || event.metaKey)) { chosen = new Set(cells().keys()); mark(); }
  else return;
  event.preventDefault();
});
document.addEventListener("focusin", (event) => { if (sheet && event.target === sheet && at < 0) { at = 0; mark(); } });

const indexOf = (target) => cells().indexOf(target?.closest?.("#sheet i"));
let drag = null;
document.addEventListener("pointerdown", (event) => {
  const from = sheet ? indexOf(event.target) : -1;
  if (from < 0 || event.button) return;
  if (event.pointerType !== "touch" || choosing) drag = { from, moved: false, before: new Set(chosen) };
});
document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const index = indexOf(document.elementFromPoint(event.clientX, event.clientY));
  if (index < 0 || (!drag.moved && index === drag.from)) return;
  drag.moved = true;
  anchor = drag.from;
  choose(index);
  if (choosing || event.ctrlKey || event.metaKey) for (const one of drag.before) chosen.add(one);
  at = index;
  mark();
});
document.addEventListener("pointerup", () => { if (drag?.moved) setTimeout(() => { drag = null; }); else drag = null; });

document.addEventListener("click", (event) => {
  if (!sheet) return;
  const button = event.target.closest("#chosen [data-with]");
  const several = event.target.closest("[data-choose]");
  if (button) carryOut(button.dataset.with);
  if (several) {
    choosing = sheet.classList.toggle("choosing");
    several.setAttribute("aria-pressed", String(choosing));
  }
  const index = indexOf(event.target);
  if (index < 0 || drag?.moved) return;
  at = index;
  if (event.shiftKey) choose(index);
  else if (event.ctrlKey || event.metaKey || choosing) toggle(index);
  else { anchor = index; open(index); }
  mark();
});

document.addEventListener("croft-looked", begin);
document.addEventListener("croft-frame", ({ detail }) => {
  if (!sheet || Math.floor(detail / group()) === at) return;
  document.getElementById(`c${at}`)?.removeAttribute("data-at");
  at = Math.floor(detail / group());
  document.getElementById(`c${at}`)?.setAttribute("data-at", "");
  sheet.setAttribute("aria-activedescendant", `c${at}`);
});
begin();
