// An element with data-key="g h" is pressed by these keys, never while somebody types.

import { on, one } from "./act.js";
const AFTER_MS = 1500;
const box = one("#keys");
const active = one("#keys-on");
const typing = (e) => e.matches?.("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]");
let first = "";
let firstAt = 0;

active.checked = localStorage.getItem("croft-keys") !== "off";
active.addEventListener("change", () => localStorage.setItem("croft-keys", active.checked ? "on" : "off"));

on("keydown", (event) => {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || key.length > 1 || typing(target)) return;
  if (key === "?") { event.preventDefault(); box.togglePopover(); return; }
  if (!active.checked) return;
  const keys = first && Date.now() - firstAt < AFTER_MS ? `${first} ${key}` : key;
  first = keys === "g" ? "g" : "";
  firstAt = Date.now();
  const found = one(`[data-key="${CSS.escape(keys)}"]`);
  if (!found) return;
  event.preventDefault();
  if (typing(found) && found.checkVisibility()) found.focus();
  else if (typing(found)) location.assign(found.form.action);
  else found.click();
});
