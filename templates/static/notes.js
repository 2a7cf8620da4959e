// Marks on the picture, drawn by mouse, pen or finger and shown at their frame; people after an @. The form of
// notes works without.
import { make } from "./act.js";

const $ = (id) => document.getElementById(id);
const on = (name, job) => document.addEventListener(name, job);
const fields = () => $("say")?.elements;
let film, frame;
let lines = []; // of each its points' x, y, x, y … from 0 to 1

function fit() {
  if (frame === undefined) return;
  for (const mark of $("marks").children) mark.toggleAttribute("hidden", mark.dataset.of && mark.dataset.of != frame);
  if (fields() && !lines[0]) fields().frame.value = frame;
}
on("croft-looked", fit);
on("croft-frame", async ({ detail }) => {
  film = await import("./film.js");
  frame = film.frameOf(detail);
  fit();
});

const size = () => $("drawing").viewBox.baseVal;
function redraw() {
  const { width, height } = size();
  const path = (line) => `M${line.map((n, i) => n * (i % 2 ? height : width)).join(" ")}h0`;
  $("drawing").firstChild.setAttribute("d", lines.map(path).join(""));
  fields().marks.value = lines[0] ? JSON.stringify({ aspect: width / height, lines }) : "";
  $("undraw").hidden = !lines[0];
}
function draw(now) {
  const { naturalWidth: wide, naturalHeight: high } = $("stage").querySelector("img") ?? {};
  if (!wide) return;
  if (!lines[0]) $("drawing").setAttribute("viewBox", `0 0 ${1000 * wide / high} 1000`);
  if (now) {
    film?.show(+$("scrub").value); // it stands still
    $("stage").scrollIntoView({ block: "nearest" });
  }
  $("drawing").classList.toggle("on", now);
  $("draw").setAttribute("aria-pressed", now);
}
on("reset", ({ target }) => {
  if (target.id !== "say" || !$("draw")) return;
  lines = [];
  redraw();
  draw(false);
});

on("pointerdown", (event) => {
  const sheet = event.target;
  if (sheet.id !== "drawing" || !event.isPrimary) return;
  sheet.setPointerCapture(event.pointerId);
  lines.push([]);
  sheet.onpointermove = (to) => {
    const { x, y } = new DOMPoint(to.clientX, to.clientY).matrixTransform(sheet.getScreenCTM().inverse());
    lines.at(-1).push(+(x / size().width).toFixed(3), +(y / size().height).toFixed(3));
    redraw();
  };
  sheet.onpointermove(event);
  sheet.onlostpointercapture = () => { sheet.onpointermove = null; };
});

const named = (box) => /(?:^|\s)@([\w.-]*)$/.exec(box.value.slice(0, box.selectionStart))?.[1];
on("input", ({ target }) => {
  const list = target.parentElement.nextElementSibling;
  if (!list?.matches("[data-whom]")) return;
  const fits = ({ value, text }) => value > "*" && ` ${value} ${text}`.toLowerCase().includes(` ${named(target)}`.toLowerCase());
  const people = [...fields().todo.options].filter(fits).slice(0, 6);
  list.replaceChildren(...people.map(({ value, text }) => make("button", text, { type: "button", value })));
  list.hidden = !people[0];
});
on("click", ({ target }) => {
  if (target.id === "draw") draw(target.ariaPressed !== "true");
  if (target.id === "undraw") { lines.pop(); redraw(); }
  const list = target.value && target.closest("[data-whom]");
  if (!list) return;
  const box = list.previousElementSibling.lastChild;
  const end = box.selectionStart;
  box.setRangeText(`${target.value} `, end - named(box).length, end, "end");
  list.hidden = true;
  box.focus();
});
