// The page of files: changes in a row and of several files at once (form#many has the lists); more rows while scrolling.
import { act, emit, every, on, one, tell } from "./act.js";

const ticks = () => every("[data-rows] [name=addresses]");
const chosen = () => ticks().filter((tick) => tick.checked).map((tick) => ["addresses", tick.value]);
const change = async (by, fields) => tell(await act("POST /api/assets/change", by, fields));

// A list in place of the button that says what the field is; its row isn't redrawn meanwhile. What somebody
// else made of it since it was seen (`was`) stays.
function pick(button) {
  const { name, value, parentElement: place } = button;
  const row = button.closest("[id]");
  const list = one("#many").elements[name].cloneNode(true);
  for (const choice of [...list.options]) {
    const types = choice.dataset.of?.split(" ");
    if (!choice.value || (types && choice.value !== value && !types.includes(button.dataset.of))) choice.remove();
  }
  list.value = value || "none";
  list.ariaLabel += `: ${one("a", row).textContent}`;
  place.dataset.keep = "";
  button.replaceWith(list);
  list.focus();
  let open = true; // taking it away is a blur of its own
  list.onchange = list.onblur = list.onkeydown = ({ type, key }) => {
    if (!open || (type === "keydown" && key !== "Escape")) return;
    open = false;
    delete place.dataset.keep;
    list.replaceWith(button);
    if (type !== "blur") button.focus();
    if (type !== "change") return;
    button.lastChild.data = list.selectedOptions[0].text;
    change(button, [["addresses", one("[name=addresses]", row).value], [name, list.value], [`was.${name}`, value]]);
  };
  list.showPicker?.();
}

function count() {
  const [many, all, number] = [one("#many"), one("[data-all]"), chosen().length];
  if (!many) return;
  const said = one("[data-many]", many);
  said.textContent = said.dataset.many.replace("{n}", number);
  one("[data-comp]").search = new URLSearchParams(chosen().slice(0, 16).map(([, value]) => ["of", value]));
  if (all) all.checked = number > 0 && number === ticks().length;
}

let last;
on("click", ({ target, shiftKey }) => {
  const button = target.closest("[data-rows] .cell");
  if (button) pick(button);
  const all = ticks();
  const at = all.indexOf(target);
  if (at >= 0 && shiftKey && last) {
    const [from, to] = [all.indexOf(last), at].sort((a, b) => a - b);
    for (const tick of all.slice(Math.max(from, 0), to)) tick.checked = target.checked;
  }
  if (at >= 0) last = target;
  if (target.matches("[data-all]")) for (const tick of all) tick.checked = target.checked;
  count();
});
on("change", ({ target }) => {
  const { name, value, form } = target;
  if (form?.id !== "many" || name === "addresses" || !value) return;
  target.value = "";
  change(form, [...chosen(), [name, value]]);
});
on("reset", () => setTimeout(count));
// Enter at a file that is ticked leads to what changes all of them.
on("submit", (event) => {
  if (event.target.id !== "many") return;
  event.preventDefault();
  event.target.elements.state.focus();
});

// How many are shown stands in the address, so that live.js asks for as many, and who comes back sees them.
const end = new IntersectionObserver(([{ isIntersecting, target }]) => {
  if (!isIntersecting) return;
  history.replaceState(history.state, "", target.dataset.more);
  emit("look-again", { all: false, only: [] });
}, { rootMargin: "1000px" });
function watch() {
  end.disconnect();
  every("[data-more]").forEach((link) => end.observe(link));
  count();
}
on("croft-looked", watch);
watch();
