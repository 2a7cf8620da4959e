// The page of files: owner, state and priority are changed where they stand, those of several files at once,
// and more files are fetched as one scrolls. form#many has the lists to choose from.
import { act, tell } from "./act.js";

const CHANGE = "POST /api/assets/change";
const MOST = 1000; // rows on one page
const $ = (selector) => document.querySelector(selector);
const ticks = () => [...document.querySelectorAll("[data-rows] [name=addresses]")];
const chosen = () => ticks().filter((tick) => tick.checked);

// A list in place of the button that says what the field is; the row isn't redrawn under its person's hands.
// What somebody else made of it meanwhile stays (`was`).
function pick(button) {
  const [row, place, field] = [button.closest("[id]"), button.parentElement, button.name];
  const list = $("#many").elements[field].cloneNode(true);
  for (const one of [...list.options]) {
    const { of } = one.dataset; // the types that go through this state
    if (!one.value || (of && one.value !== button.value && !of.split(" ").includes(button.dataset.of))) one.remove();
  }
  list.value = button.value || (field === "owner" ? "none" : "");
  list.ariaLabel += `: ${row.querySelector("a").textContent}`;
  place.dataset.keep = "";
  button.replaceWith(list);
  list.focus();
  try { list.showPicker?.(); } catch { /* only a person's own press opens it */ }
  let open = true; // taking it away is a blur of its own
  const done = async ({ type, key }) => {
    if (!open || (type === "keydown" && key !== "Escape")) return;
    open = false;
    delete place.dataset.keep;
    list.replaceWith(button);
    if (type !== "blur") button.focus();
    if (type !== "change") return;
    button.lastChild.data = list.selectedOptions[0].textContent;
    const typed = (value) => ({ [field]: field === "priority" ? Number(value) : value });
    const body = { addresses: [row.querySelector("[name=addresses]").value], ...typed(list.value), was: typed(button.value) };
    tell(await act(`${CHANGE} ${JSON.stringify(body)}`, button));
  };
  for (const kind of ["change", "blur", "keydown"]) list.addEventListener(kind, done);
}

function count() {
  const [said, all, number] = [$("[data-many]"), $("[data-all]"), chosen().length];
  if (said) said.textContent = said.dataset.many.replace("{n}", number);
  const comp = $("[data-comp]");
  if (comp) comp.search = new URLSearchParams([["type", "comp"], ...chosen().slice(0, 16).map((tick) => ["of", tick.value])]);
  if (all) all.checked = number > 0 && number === ticks().length;
}

let last = null; // the file that was ticked last: with Shift, all between are
document.addEventListener("click", ({ target, shiftKey }) => {
  const button = target.closest("[data-rows] button.cell");
  if (button) pick(button);
  if (target.matches("[data-all]")) for (const tick of ticks()) tick.checked = target.checked;
  if (target.name === "addresses") {
    const all = ticks();
    const [from, to] = [all.indexOf(last), all.indexOf(target)].sort((a, b) => a - b);
    if (shiftKey && from >= 0) for (const tick of all.slice(from, to)) tick.checked = target.checked;
    last = target;
  }
  count();
});
document.addEventListener("change", async ({ target }) => {
  const { name, value, form } = target;
  if (form?.id !== "many" || name === "addresses" || !value) return;
  target.value = "";
  tell(await act(CHANGE, form, [...chosen().map((tick) => ["addresses", tick.value]), [name, value]]));
});
document.addEventListener("reset", () => setTimeout(count));
// Enter at a file that is chosen leads to what can be done with those.
document.addEventListener("submit", (event) => {
  if (event.target.id !== "many") return;
  event.preventDefault();
  event.target.elements.state.focus();
});

// The next piece, when the end of those shown comes near. How many are shown stands in the address, so that
// live.js asks for as many, and who comes back sees them again.
let busy = false;
const end = new IntersectionObserver(([one]) => { if (one.isIntersecting) more(one.target); }, { rootMargin: "1000px" });
function watch() {
  const link = $("[data-more]");
  end.disconnect();
  if (link) end.observe(link);
  count();
}
async function more(link) {
  const [here, url] = [new URL(location), new URL(link.href)];
  const shown = url.searchParams.get("from") - here.searchParams.get("from");
  if (busy || shown >= MOST) return;
  busy = true;
  try {
    const fresh = new DOMParser().parseFromString(await (await fetch(`${url}&part=1`)).text(), "text/html");
    const [rows, made] = [$("[data-rows]"), fresh.querySelector("[data-rows]")];
    if (!link.isConnected || !made) return;
    here.searchParams.set("rows", shown + made.children.length);
    history.replaceState(null, "", here);
    rows.dataset.order += ` ${made.dataset.order}`;
    rows.append(...made.children);
    link.replaceWith(...fresh.querySelectorAll("[data-more]"));
  } finally {
    busy = false;
    watch();
  }
}
document.addEventListener("croft-looked", watch);
watch();
