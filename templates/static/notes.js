// Marks on the picture, shown at their frame; people after an @.
import { make, on } from "./act.js";

const $ = (id) => document.getElementById(id);
let film, frame, lines = []; // each x, y, x, y … from 0 to 1

function fit() {
  if (frame === undefined) return;
  for (const mark of $("marks").children) mark.toggleAttribute("hidden", mark.dataset.of && mark.dataset.of != frame);
  if ($("say") && !lines[0]) $("say").frame.value = frame;
}
on("croft-looked", fit);
on("croft-frame", async ({ detail }) => {
  film = await import("./film.js");
  frame = film.frameOf(detail);
  fit();
});

const size = () => $("drawing").viewBox.baseVal;
function redraw() {
  const { width } = size();
  const path = lines.map((line) => `M${line.map((n, i) => n * (i % 2 ? 1000 : width)).join(" ")}h0`);
  $("drawing").firstChild.setAttribute("d", path.join(""));
  $("say").marks.value = lines[0] ? JSON.stringify({ aspect: width / 1000, lines }) : "";
  $("undraw").hidden = !lines[0];
}
function draw(now) {
  const { naturalWidth: wide, naturalHeight: high } = $("stage").querySelector("img") ?? {};
  if (!wide) return;
  if (!lines[0]) size().width = 1000 * wide / high;
  if (now) film?.show(+$("scrub").value);
  if (now) $("stage").scrollIntoView({ block: "nearest" });
  $("drawing").classList.toggle("on", now);
  $("draw").setAttribute("aria-pressed", now);
}
on("reset", ({ target }) => { if (target.id === "say" && $("draw")) { lines = []; redraw(); draw(false); } });

function put({ target, pointerId, clientX, clientY }) {
  if (target.id !== "drawing" || !target.hasPointerCapture(pointerId)) return;
  const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(target.getScreenCTM().inverse());
  lines.at(-1).push(...[1000 * x / size().width, y].map((n) => Math.round(n) / 1000));
  redraw();
}
on("pointermove", put);
on("pointerdown", (event) => {
  if (event.target.id !== "drawing" || !event.isPrimary) return;
  event.target.setPointerCapture(event.pointerId);
  lines.push([]);
  put(event);
});

const named = (box) => /(?:^|\s)@([\w.-]*)$/.exec(box.value.slice(0, box.selectionStart))?.[1];
on("input", ({ target }) => {
  const list = target.parentElement.nextElementSibling;
  if (!list?.matches("[data-whom]")) return;
  const name = ` ${named(target)}`.toLowerCase();
  const people = [...$("say").todo.options].slice(2).filter((one) => ` ${one.value} ${one.text}`.toLowerCase().includes(name));
  list.replaceChildren(...people.slice(0, 6).map(({ value, text }) => make("button", text, { type: "button", value })));
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
