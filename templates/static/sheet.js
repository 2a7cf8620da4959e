// The sheet of cells: walked with the arrow keys, a frame opened with a click or Enter, several chosen with
// Shift, Ctrl, by dragging, or on a phone after 'Choose several'.
import { act, every, on, one, tell } from "./act.js";
import { frameOf, show, tasksOf, text, total } from "./film.js";

let sheet = null; // as the page shows it now: it comes and changes with the film
let bar = null;
let job = "";
let at = -1; // the cell that the keys walk from
let anchor = -1; // where a choice of several began
let chosen = new Set(); // cells
let choosing = false; // on a phone: a tap chooses

const cells = () => every("i", sheet);
const group = () => +sheet.dataset.group || 1;
const span = (a, b) => (a === b ? `${a}` : text("to", { first: a, last: b }));
const indexOf = (target) => cells().indexOf(target?.closest?.("#sheet i"));

function columns() {
  const next = cells().findIndex((cell, index, all) => cell.offsetTop !== all[0].offsetTop);
  return next < 0 ? cells().length : next;
}

// Marks that live in the browser alone: put back after the page was brought up to date.
function mark() {
  const states = JSON.parse(bar.dataset.states);
  cells().forEach((cell, index) => {
    const last = Math.min(total(), (index + 1) * group()) - 1;
    const title = `${text("word", { n: span(frameOf(index * group()), frameOf(last)) })}, ${states[cell.className[0]] ?? ""}`;
    const wanted = { role: "option", id: `c${index}`, "aria-selected": String(chosen.has(index)), title, "aria-label": title };
    for (const [name, value] of Object.entries(wanted)) if (cell.getAttribute(name) !== value) cell.setAttribute(name, value);
    cell.toggleAttribute("data-at", index === at);
  });
  if (at >= 0) sheet.setAttribute("aria-activedescendant", `c${at}`);
  const n = places().length;
  bar.hidden = !n;
  if (n) one("p", bar).textContent = text(n === 1 ? "chosen1" : "chosen", { n, frames: ranges() });
}

// The frames of all chosen cells, by their place.
const places = () => [...chosen].sort((a, b) => a - b)
  .flatMap((index) => [...Array(group()).keys()].map((n) => index * group() + n)).filter((n) => n < total());

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
  const first = Math.min(anchor, to);
  chosen = new Set([...Array(Math.abs(anchor - to) + 1).keys()].map((n) => first + n));
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
  const found = one("#sheet");
  const film = one("[data-film]")?.dataset.film;
  if (!found || !film) return;
  if (found !== sheet || film !== job) { chosen.clear(); at = anchor = -1; }
  [sheet, job, bar] = [found, film, one("#chosen")];
  Object.assign(sheet, { role: "listbox", ariaMultiSelectable: "true", tabIndex: 0 });
  for (const help of every("[data-help]")) help.hidden = false;
  mark();
}

on("keydown", (event) => {
  if (!sheet || event.target !== sheet) return;
  const { key, shiftKey } = event;
  const last = cells().length - 1;
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(), ArrowUp: at - columns(), Home: 0, End: last }[key];
  if (to >= 0 && to <= last) {
    at = to;
    if (shiftKey) choose(at);
    else anchor = at;
    one(`#c${at}`).scrollIntoView({ block: "nearest" });
  } else if (key === "Enter" && at >= 0) open(at);
  else if (key === " " && at >= 0) toggle(at);
  else if (key === "Escape") chosen.clear();
  else if (key === "a" && (event.ctrlKey || event.metaKey)) chosen = new Set(cells().keys());
  else if (to === undefined) return;
  mark();
  event.preventDefault();
});
on("focusin", ({ target }) => { if (sheet && target === sheet && at < 0) { at = 0; mark(); } });

let drag = null;
on("pointerdown", ({ target, button, pointerType }) => {
  const from = sheet ? indexOf(target) : -1;
  if (from >= 0 && !button && (pointerType !== "touch" || choosing)) drag = { from, moved: false, before: new Set(chosen) };
});
on("pointermove", (event) => {
  const index = drag ? indexOf(document.elementFromPoint(event.clientX, event.clientY)) : -1;
  if (index < 0 || (!drag.moved && index === drag.from)) return;
  drag.moved = true;
  anchor = drag.from;
  choose(index);
  if (choosing || event.ctrlKey || event.metaKey) for (const cell of drag.before) chosen.add(cell);
  at = index;
  mark();
});
on("pointerup", () => { setTimeout(() => { drag = null; }); });

on("click", ({ target, shiftKey, ctrlKey, metaKey }) => {
  if (!sheet) return;
  const button = target.closest("#chosen [data-with]");
  const several = target.closest("[data-choose]");
  if (button) carryOut(button.dataset.with);
  if (several) {
    choosing = sheet.classList.toggle("choosing");
    several.setAttribute("aria-pressed", String(choosing));
  }
  const index = indexOf(target);
  if (index < 0 || drag?.moved) return;
  at = index;
  if (shiftKey) choose(index);
  else if (ctrlKey || metaKey || choosing) toggle(index);
  else { anchor = index; open(index); }
  mark();
});

on("croft-looked", begin);
on("croft-frame", ({ detail }) => {
  if (!sheet || Math.floor(detail / group()) === at) return;
  at = Math.floor(detail / group());
  mark();
});
begin();
