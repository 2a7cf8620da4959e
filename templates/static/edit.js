// Fields that save themselves. A field's default is what the server last told, its value what its person has.
import { ask, make, on, words } from "./act.js";

const QUIET_MS = 500;
const AGAIN_MS = 3000;
const editable = (c) => c?.name && c.type !== "hidden" && c.form?.dataset.edit !== undefined && c;
const list = (form) => [...form.elements].filter(editable);

export const has = (c) => (c.type === "checkbox" ? String(c.checked) : c.value);
export const told = (c) => {
  if (c.type === "checkbox") return String(c.defaultChecked);
  return c.options ? ([...c.options].find((o) => o.defaultSelected) ?? c.options[0])?.value ?? "" : c.defaultValue;
};
export const mine = (c) => has(c) !== told(c);
export const anyMine = (form) => list(form).some((c) => mine(c) || c.dataset.state);

function put(c, value) {
  if (c.type === "checkbox") c.checked = value === "true";
  else if (c.value !== value) {
    const at = c === document.activeElement && c.selectionStart;
    c.value = value;
    if (typeof at === "number") c.setSelectionRange(at, at);
  }
}

export function tellField(c, value, keep = mine(c)) {
  const now = has(c);
  if (c.type === "checkbox") c.defaultChecked = value === "true";
  else if (c.options) for (const o of c.options) o.defaultSelected = o.value === value;
  else c.defaultValue = value;
  put(c, keep ? now : value);
}

const asText = (value) => (Array.isArray(value) ? value.join(", ") : String(value ?? ""));
const inside = (record, name) => asText(name.split(".").reduce((value, part) => value?.[part], record));
const shown = (c, value) => (c.type === "checkbox" ? words(value === "true" ? "on" : "off")
  : [...c.options ?? []].find((o) => o.value === value)?.textContent ?? value);

function say(c, state, text = words(state), ...buttons) {
  if (["saving", "failed", "conflict"].includes(state)) c.dataset.state = state;
  else delete c.dataset.state;
  const output = c.closest(".field")?.querySelector("output");
  if (!output) return;
  output.className = { saving: "quiet", saved: "done", failed: "failed", conflict: "needs theirs" }[state] ?? "";
  output.replaceChildren(make("span", text), ...buttons);
}

const timers = new Map();
function soon(c, ms) {
  clearTimeout(timers.get(c));
  timers.set(c, setTimeout(() => { timers.delete(c); queue(c); }, ms));
}
function flush() {
  for (const [c, timer] of timers) { clearTimeout(timer); timers.delete(c); queue(c); }
}
const began = new WeakMap();
on("focusin", ({ target }) => { if (editable(target)) began.set(target, has(target)); });
on("input", ({ target }) => { if (editable(target)) soon(target, QUIET_MS); });
on("change", ({ target }) => { if (editable(target)) soon(target, 0); });
on("submit", (event) => { if (event.target.dataset.edit !== undefined) { event.preventDefault(); flush(); } });
on("keydown", (event) => {
  if (event.key !== "Escape" || !editable(event.target) || has(event.target) === began.get(event.target)) return;
  put(event.target, began.get(event.target));
  soon(event.target, 0);
});
on("visibilitychange", flush);
addEventListener("pagehide", flush);

const tails = new WeakMap();
function queue(c) {
  tails.set(c.form, (tails.get(c.form) ?? Promise.resolve()).then(() => save(c)));
}

async function save(c, tries = 3) {
  const { form } = c;
  if (!form || c.dataset.state === "conflict") return;
  const value = has(c);
  if (value === told(c)) { if (c.dataset.state) say(c, "saved"); return; }
  const was = c.dataset.lost !== undefined;
  if (!was) say(c, "saving");
  const fields = new URLSearchParams([["do", `PATCH ${form.dataset.edit}`], ["etag", form.dataset.etag], [c.name, value]]);
  const answer = await ask("POST", "/do", fields, { keepalive: value.length < 5000 });
  const lost = c.toggleAttribute("data-lost", !answer.status);
  const record = answer.data;
  if (answer.ok) {
    form.dataset.etag = record.etag ?? "";
    tellField(c, value, true);
    say(c, "saved");
  } else if (answer.status === 412 && record) {
    const before = told(c);
    form.dataset.etag = record.etag;
    for (const one of list(form)) if (one !== c) heard(one, record);
    const theirs = inside(record, c.name);
    if (theirs === before && tries) { await save(c, tries - 1); return; }
    heard(c, record);
  } else {
    if (!was || !lost) say(c, "failed", words("failed", { why: answer.message }));
    if (lost) soon(c, AGAIN_MS);
  }
}

function heard(c, record) {
  const theirs = inside(record, c.name);
  if (theirs === told(c)) return;
  const ours = has(c);
  const conflict = mine(c) && ours !== theirs;
  tellField(c, theirs);
  if (!conflict) { if (c.dataset.state) say(c, "saved"); return; }
  const by = record.changed_by?.[c.name];
  const pick = (name, job) => make("button", words(name, { user: by }), { type: "button", onclick: () => { job(); c.focus(); } });
  say(c, "conflict", words(by ? "changed" : "changed-by-somebody", { user: by, value: shown(c, theirs) }),
    pick(by ? "keep-theirs" : "keep-somebodys", () => { put(c, told(c)); say(c, "saved", ""); }),
    pick("keep-yours", () => { delete c.dataset.state; put(c, ours); queue(c); }));
}
