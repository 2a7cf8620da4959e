// Fields that save themselves. form[data-edit] names the record, its data-etag the version that was read;
// data-in the object inside the record that its fields are of. A field that somebody else changed meanwhile is shown with both values and never overwritten unasked.
import { ask } from "./act.js";

const base = new WeakMap(); // control -> the value that its person began with
const read = (control) => (control.type === "checkbox" ? control.checked : control.value);
const write = (control, value) => {
  if (control.type === "checkbox") control.checked = Boolean(value);
  else control.value = value ?? "";
};
const asText = (value) => (Array.isArray(value) ? value.join(", ") : String(value ?? ""));
const say = (control, text, kind = "") => {
  const output = control.closest(".field").querySelector("output");
  output.className = kind;
  output.textContent = text;
};

// A form somebody works in is not redrawn under their hands.
export const inUse = (form) => form.dataset.saving || form.querySelector(".theirs")
  || [...form.elements].some((c) => c === document.activeElement && base.has(c) && read(c) !== base.get(c));

document.addEventListener("focusin", (event) => {
  const control = event.target;
  if (control.name && control.closest("form[data-edit]") && !base.has(control)) base.set(control, read(control));
});
document.addEventListener("focusout", (event) => {
  const control = event.target;
  if (base.has(control) && read(control) === base.get(control)) base.delete(control);
});
document.addEventListener("submit", (event) => {
  if (event.target.closest("form[data-edit]")) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  const control = event.target;
  if (event.key !== "Escape" || !base.has(control)) return;
  write(control, base.get(control));
  say(control, "As it was.");
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-edit]");
  if (form && event.target.name) queue(form, () => save(form, event.target));
});

// One save at a time for each form, so that each is made on the ETag that the last one gave.
const tails = new WeakMap();
function queue(form, job) {
  form.dataset.saving = "1";
  const tail = (tails.get(form) ?? Promise.resolve()).then(job).finally(() => {
    if (tails.get(form) === tail) delete form.dataset.saving;
  });
  tails.set(form, tail);
}

async function save(form, control, tries = 3) {
  const value = read(control);
  const sent = control.dataset.number !== undefined ? Number(value)
    : control.dataset.list !== undefined ? value.split(",").map((part) => part.trim()).filter(Boolean) : value;
  say(control, "Saving…", "quiet");
  const one = { [control.name]: sent };
  const answer = await ask("PATCH", form.dataset.edit, form.dataset.in ? { [form.dataset.in]: one } : one, { "If-Match": form.dataset.etag });
  if (answer.ok) {
    form.dataset.etag = answer.data.etag;
    base.set(control, value);
    if (control !== document.activeElement) base.delete(control);
    say(control, "Saved", "done");
  } else if (answer.status === 412 && answer.data) {
    const theirs = asText(answer.data[control.name]);
    form.dataset.etag = answer.data.etag;
    // Somebody changed another field: ours is still what we think, so it is saved on the new version.
    if (theirs === asText(base.get(control)) && tries > 0) return save(form, control, tries - 1);
    if (theirs === asText(value)) { base.delete(control); say(control, "Saved", "done"); return; }
    choose(form, control, answer.data[control.name]);
  } else {
    say(control, `Not saved: ${answer.message}`, "failed");
  }
}

function choose(form, control, theirs) {
  say(control, "Changed by somebody else", "needs");
  const field = control.closest(".field");
  field.querySelector(".theirs")?.remove();
  const box = document.createElement("div");
  box.className = "theirs";
  const words = document.createElement("span");
  const shown = control.tagName === "SELECT"
    ? [...control.options].find((o) => o.value === asText(theirs))?.textContent ?? asText(theirs) : asText(theirs);
  words.textContent = `It is now “${shown}”.`;
  const button = (text, job) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", () => { box.remove(); job(); control.focus(); });
    return made;
  };
  box.append(words,
    button("Take theirs", () => { write(control, asText(theirs)); base.delete(control); say(control, ""); }),
    button("Save mine", () => { base.set(control, asText(theirs)); queue(form, () => save(form, control)); }));
  field.append(box);
}
