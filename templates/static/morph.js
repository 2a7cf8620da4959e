// Makes an old tree look like a new one, changing as little as possible. [data-keep] is left alone.
import { every } from "./act.js";
import { anyMine, mine, tellField, told } from "./edit.js";

export function morph(old, fresh) {
  const active = document.activeElement;
  const marks = active?.selectionStart ?? null;
  const strips = every(".strip").map((strip) => [strip, strip.scrollLeft]);
  patch(old, fresh);
  if (active !== document.activeElement && active?.isConnected) {
    active.focus({ preventScroll: true });
    if (marks !== null) active.setSelectionRange(marks, marks);
  }
  for (const [strip, left] of strips) if (strip.scrollLeft !== left) strip.scrollLeft = left;
}

function patch(old, fresh) {
  if (old.isEqualNode(fresh) && !("value" in old)) return;
  const { dataset } = old;
  if (dataset?.keep !== undefined || ["OUTPUT", "NOSCRIPT"].includes(old.tagName) || old.name === "csrf") return;
  if (["INPUT", "TEXTAREA", "SELECT"].includes(old.tagName) && old.type !== "hidden" && old.type !== "file") { field(old, fresh); return; }
  if (dataset?.edit !== undefined && anyMine(old)) fresh.dataset.etag = dataset.etag;
  attributes(old, fresh);
  if (fresh.dataset?.order !== undefined) rows(old, fresh);
  else children(old, fresh);
}

function field(old, fresh) {
  const keep = mine(old);
  if (old.form?.dataset.edit !== undefined && (keep || old.dataset.state)) return;
  attributes(old, fresh);
  if (old.options) children(old, fresh);
  tellField(old, told(fresh), keep);
}

const own = (old, name) => (name === "open" && old.tagName === "DETAILS") || (name === "hidden" && old.dataset.withoutScript !== undefined) || old.tagName === "I";

function attributes(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    const before = old.getAttribute(name);
    if (name === "open" && old.dataset.fold !== undefined) continue;
    if (before !== value && before?.replace(/&t=\d+$/, "") !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !own(old, name)) old.removeAttribute(name);
}

function children(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const same = wanted.id ? known.get(wanted.id) : null;
    if (same) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      patch(same, wanted);
    } else if (at && !wanted.id && !at.id && at.nodeName === wanted.nodeName) {
      const next = at.nextSibling;
      if (at.nodeType === Node.ELEMENT_NODE) patch(at, wanted);
      else if (at.data !== wanted.data) at.data = wanted.data;
      at = next;
    } else old.insertBefore(document.importNode(wanted, true), at);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

function rows(old, fresh) {
  const here = new Map([...old.children].map((row) => [row.id, row]));
  const there = new Map([...fresh.children].map((row) => [row.id, row]));
  let at = old.firstElementChild;
  for (const id of fresh.dataset.order.split(" ").filter(Boolean)) {
    const made = there.get(id);
    let row = here.get(id);
    here.delete(id);
    if (!row && !made) { old.dataset.holes = "1"; continue; }
    if (row && made) patch(row, made);
    if (!row) { row = document.importNode(made, true); row.classList.add("changed"); }
    if (row === at) at = at.nextElementSibling;
    else old.insertBefore(row, at);
  }
  for (const row of here.values()) row.remove();
}
