// The page of files: owner, state and priority are changed where they stand, those of several files at once,
// and more files are fetched as one scrolls. form#many has the lists to choose from.
import { ask, say } from "./act.js";

const many = () => document.getElementById("many");
const ticks = () => [...document.querySelectorAll("[data-rows] [name=addresses]")];
const again = () => document.dispatchEvent(new Event("croft-look-again"));

// One field of these files. `was` is what its person saw: what somebody else changed meanwhile stays.
async function change(addresses, field, value, was) {
  const typed = (one) => (field === "priority" ? Number(one) : one);
  const body = { addresses, [field]: typed(value) };
  if (was !== undefined) body.was = { [field]: typed(was) };
  const answer = await ask("PATCH", "/api/assets", body);
  again();
  const undo = answer.data?.undo;
  say(answer.message, undo && (async () => {
    const back = await ask(undo.method, undo.path, undo.body);
    again();
    say(back.message);
  }));
}

// A list in place of the button that says what the field is; the row isn't redrawn under its person's hands.
function pick(button) {
  const [row, place] = [button.closest("[id]"), button.parentElement];
  const list = many().elements[button.name].cloneNode(true);
  for (const one of [...list.options]) {
    const { of } = one.dataset; // the types that go through this state
    if (!one.value || (of && one.value !== button.value && !of.split(" ").includes(button.dataset.of))) one.remove();
  }
  list.value = button.value || (button.name === "owner" ? "none" : "");
  list.ariaLabel += `: ${row.querySelector("a").textContent}`;
  place.dataset.keep = "";
  button.replaceWith(list);
  list.focus();
  try { list.showPicker?.(); } catch { /* only a person's own press opens it */ }
  let open = true; // taking it away is a blur of its own
  const done = ({ type, key }) => {
    if (!open || (type === "keydown" && key !== "Escape")) return;
    open = false;
    delete place.dataset.keep;
    list.replaceWith(button);
    if (type !== "blur") button.focus();
    if (type !== "change") return;
    button.lastChild.data = list.selectedOptions[0].textContent;
    change([row.querySelector("[name=addresses]").value], button.name, list.value, button.value);
  };
  for (const kind of ["change", "blur", "keydown"]) list.addEventListener(kind, done);
}

let last = null; // the file that was ticked last: with Shift, all between are
function count() {
  const form = many();
  if (!form) return;
  const chosen = ticks().filter((tick) => tick.checked).length;
  form.hidden = !chosen;
  const said = form.querySelector("[data-many]");
  said.textContent = said.dataset.many.replace("{n}", chosen);
  const all = document.querySelector("[data-all]");
  if (all) all.checked = chosen > 0 && chosen === ticks().length;
}

document.addEventListener("click", (event) => {
  const { target } = event;
  const button = target.closest("[data-rows] button.cell");
  if (button) { pick(button); return; }
  if (target.matches("[data-all]")) for (const tick of ticks()) tick.checked = target.checked;
  else if (target.name === "addresses") {
    const all = ticks();
    const [from, to] = [all.indexOf(last), all.indexOf(target)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const tick of all.slice(from, to)) tick.checked = target.checked;
    last = target;
  } else return;
  count();
});
document.addEventListener("change", ({ target }) => {
  if (target.form?.id !== "many" || !target.matches("select") || !target.value) return;
  change(ticks().filter((tick) => tick.checked).map((tick) => tick.value), target.name, target.value);
  target.value = "";
});
document.addEventListener("reset", () => setTimeout(count));

// The next piece, when the end of those shown comes near. How many are shown stands in the address, so that
// live.js asks for as many, and coming back shows them again.
const MOST = 1000;
let busy = false;
const end = new IntersectionObserver(([one]) => { if (one.isIntersecting) more(one.target); }, { rootMargin: "1000px" });
function watch() {
  const link = document.querySelector("[data-more]");
  end.disconnect();
  if (link) end.observe(link);
}
async function more(link) {
  const url = new URL(link.href);
  const shown = Number(url.searchParams.get("from"));
  const here = new URL(location);
  const start = Number(here.searchParams.get("from"));
  if (busy || shown - start >= MOST) return;
  busy = true;
  try {
    const response = await fetch(`${url}&part=1`, { headers: { Accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const [rows, made] = [document.querySelector("[data-rows]"), fresh.querySelector("[data-rows]")];
    if (!response.ok || !made || !link.isConnected) return;
    here.searchParams.set("rows", shown - start + made.children.length);
    history.replaceState(history.state, "", here);
    rows.dataset.order += ` ${made.dataset.order}`;
    rows.append(...made.children);
    const next = fresh.querySelector("[data-more]");
    if (next) link.replaceWith(next);
    else link.remove();
    count();
  } finally {
    busy = false;
    watch();
  }
}
if (many() || document.querySelector("[data-more]")) {
  document.addEventListener("croft-looked", () => { watch(); count(); });
  watch();
  count();
}
