// Makes an old tree look like a new one by changing as little as possible, so that focus, scrolling, open
// details and half-typed text stay. Elements are known again by their id; [data-keep] is left alone.
import { inUse } from "./edit.js";

// Attributes that belong to the browser's side of the page.
const MINE = [["details", "open"], ["[data-without-script]", "hidden"]];

export function morph(old, fresh) {
  const active = document.activeElement;
  const marks = active && "selectionStart" in active && active.type !== "number" ? [active.selectionStart, active.selectionEnd] : null;
  const strips = [...document.querySelectorAll(".strip")].map((strip) => [strip, strip.scrollLeft]);
  patch(old, fresh);
  if (active !== document.activeElement && active?.isConnected) {
    active.focus({ preventScroll: true });
    if (marks?.[0] != null) active.setSelectionRange(...marks);
  }
  for (const [strip, left] of strips) if (strip.scrollLeft !== left) strip.scrollLeft = left;
}

function patch(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.dataset?.keep !== undefined) return;
  if (old.matches?.("form[data-edit]") && inUse(old)) return;
  if (old.dataset?.cells !== undefined) { cells(old, fresh); return; }
  attributes(old, fresh);
  if (fresh.dataset?.order !== undefined) rows(old, fresh);
  else children(old, fresh);
  if (old.tagName === "SELECT" && old !== document.activeElement) old.value = fresh.value;
}

function attributes(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    const before = old.getAttribute(name);
    if (name === "open" && old.dataset.fold !== undefined) continue;
    // live.js has asked for this picture again, under an address that only it knows.
    if (before !== value && before?.replace(/&t=\d+$/, "") !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !MINE.some(([tag, own]) => name === own && old.matches(tag))) old.removeAttribute(name);
  }
  if (old === document.activeElement || !("value" in old)) return;
  if (old.type === "checkbox") old.checked = fresh.hasAttribute("checked");
  else if (old.tagName === "INPUT" && old.type !== "file") old.value = fresh.getAttribute("value") ?? "";
  else if (old.tagName === "TEXTAREA") old.value = fresh.textContent;
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
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

// The sheet of a render: only the cells' states change. All else that stands at them is sheet.js's own.
function cells(old, fresh) {
  for (const name of ["aria-label", "data-group", "data-cells"]) old.setAttribute(name, fresh.getAttribute(name));
  if (old.childElementCount !== fresh.childElementCount) {
    old.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    return;
  }
  const made = fresh.children;
  [...old.children].forEach((cell, at) => {
    if (cell.className !== made[at].className) cell.className = made[at].className;
    if (cell.tagName === "B" && cell.textContent !== made[at].textContent) cell.textContent = made[at].textContent;
  });
}

// A long table: `fresh` names all rows in order, and holds those that changed. Rows that are neither here
// nor there leave the table marked, and live.js asks for all of it.
function rows(old, fresh) {
  const here = new Map([...old.children].map((row) => [row.id, row]));
  const there = new Map([...fresh.children].map((row) => [row.id, row]));
  const order = fresh.dataset.order.split(" ").filter(Boolean);
  let at = old.firstElementChild;
  for (const id of order) {
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
