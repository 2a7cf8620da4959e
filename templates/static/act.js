// Buttons that do something at once, say what happened, and offer Undo. Marks:
//   data-act="PATCH /api/jobs/x" data-body='{"paused": true}'   what to do
//   data-undo="PATCH /api/jobs/x" data-undo-body='{…}'          what takes it back
//   select[data-act][data-field]                                the chosen value goes into that field
//   form[data-act]                                              its fields become the body
//   form button[data-to="POST /api/…"]                          the form goes there instead
//   data-copy="text"                                            copy, and say so

const csrf = document.querySelector('meta[name="croft-csrf"]')?.content ?? "";

// Ask the server. Never throws: a lost connection is status 0 with a sentence.
export async function ask(method, url, body, headers = {}) {
  const request = { method, headers: { Accept: "application/json", "X-Croft-CSRF": csrf, ...headers } };
  if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers["Content-Type"] = "application/json";
  }
  try {
    const response = await fetch(url, request);
    const answer = await response.json().catch(() => ({}));
    return {
      ok: response.ok, status: response.status, data: answer.data, next: answer.next,
      message: answer.message || `The server answered ${response.status}.`, etag: response.headers.get("ETag"),
    };
  } catch {
    return { ok: false, status: 0, message: "The server can't be reached. Nothing was changed." };
  }
}

// Say what happened. With `undo`, a button takes it back; it stays long enough to be read and reached.
export function say(text, undo) {
  const box = document.getElementById("toasts");
  const toast = document.createElement("div");
  toast.className = "toast";
  const words = document.createElement("span");
  words.textContent = text;
  toast.append(words);
  const leave = () => toast.remove();
  let timer;
  const later = () => { clearTimeout(timer); timer = setTimeout(leave, undo ? 15000 : 8000); };
  const stay = () => clearTimeout(timer);
  if (undo) {
    const button = document.createElement("button");
    button.textContent = "Undo";
    button.addEventListener("click", async () => { leave(); await undo(); });
    toast.append(button);
  }
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", leave);
  toast.append(close);
  toast.addEventListener("pointerenter", stay);
  toast.addEventListener("focusin", stay);
  toast.addEventListener("pointerleave", later);
  toast.addEventListener("focusout", later);
  box.append(toast);
  while (box.children.length > 3) box.firstChild.remove();
  later();
}

const changed = () => document.dispatchEvent(new Event("croft-look-again"));

async function act(element, text, body) {
  const [method, url] = text.split(" ");
  element.setAttribute("aria-busy", "true");
  const answer = await ask(method, url, body);
  element.removeAttribute("aria-busy");
  changed();
  return answer;
}

function undoOf(element) {
  const { undo, undoBody } = element.dataset;
  if (!undo) return undefined;
  return async () => say((await act(element, undo, undoBody ? JSON.parse(undoBody) : undefined)).message);
}

// What takes it back, where the server says so: {"undo": {"method", "path", "body"}} in the answer's data.
function undoIn(element, answer) {
  const undo = answer.data?.undo;
  if (!undo) return undefined;
  return async () => say((await act(element, `${undo.method} ${undo.path}`, undo.body)).message);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) {
    const undo = undoOf(button);
    if (button.getAttribute("aria-busy")) return;
    const answer = await act(button, button.dataset.act, button.dataset.body ? JSON.parse(button.dataset.body) : undefined);
    say(answer.message, answer.ok ? undo ?? undoIn(button, answer) : undefined);
    return;
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    say(await toClipboard(copy.dataset.copy) ? copy.dataset.copied || "Copied. Paste it into your file manager." : `Copy it by hand: ${copy.dataset.copy}`);
  }
});

// navigator.clipboard is missing on plain http, so an invisible field is selected and copied instead.
async function toClipboard(text) {
  if (window.isSecureContext && navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "aside";
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return done;
}

document.addEventListener("change", async (event) => {
  const select = event.target.closest("select[data-act]");
  if (!select) {
    const form = event.target.closest("form[data-auto]");
    if (form) filter(form);
    return;
  }
  const { field, was } = select.dataset;
  const value = (text) => ({ [field]: /^\d+$/.test(text) ? Number(text) : text });
  const answer = await act(select, select.dataset.act, value(select.value));
  if (!answer.ok) select.value = was;
  say(answer.message, answer.ok
    ? async () => say((await act(select, select.dataset.act, value(was))).message)
    : undefined);
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-act]");
  const auto = event.target.closest("form[data-auto]");
  if (auto) { event.preventDefault(); filter(auto); return; }
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button:not([type=button])");
  const wrong = form.querySelector("[role=alert]");
  if (wrong) wrong.textContent = "";
  const body = JSON.parse(form.dataset.body || "{}");
  for (const [name, value] of new FormData(form)) if (value !== "") body[name] = value;
  if ("first" in body || "last" in body) {
    const { first, last, step, ...rest } = body;
    const range = (last ?? first) === first ? `${first}` : `${first ?? last}-${last}`;
    Object.assign(body, rest, { frames: range + (step && step !== "1" ? `x${step}` : "") });
    delete body.first; delete body.last; delete body.step;
  }
  button.disabled = true;
  const answer = await act(form, event.submitter?.dataset.to ?? form.dataset.act, body);
  button.disabled = false;
  if (answer.ok) for (const field of form.querySelectorAll("input[name=comment]")) field.value = "";
  if (!answer.ok && wrong) { wrong.textContent = answer.message; return; }
  const [, path] = form.dataset.act.split(" ");
  const undo = answer.ok && form.dataset.undo === "delete" && answer.data?.id
    ? async () => say((await act(form, `DELETE ${path}/${answer.data.id}`)).message) : undefined;
  say(answer.message, answer.ok ? undo ?? undoIn(form, answer) : undefined);
});

// Filters are used as soon as they are chosen or typed: they go into the page's address, whose inside is
// then fetched. An empty one doesn't belong in the address. Without this, their form has a button.
function filter(form) {
  const asked = new URLSearchParams([...new FormData(form)]
    .filter(([field, value]) => value && !(field === "sort" && value === "name")));
  const address = asked.size ? `?${asked}` : location.pathname;
  if (address === (location.search || location.pathname)) return;
  history.pushState(null, "", address);
  changed();
}
let typing;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (!form || !event.target.matches("input[type=search]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(form), 300);
});
addEventListener("popstate", () => location.reload());
for (const button of document.querySelectorAll("[data-without-script]")) button.hidden = true;
for (const fold of document.querySelectorAll("[data-fold]")) {
  const wide = matchMedia("(min-width: 861px)");
  const set = () => { fold.open = wide.matches; };
  set();
  wide.addEventListener("change", set);
}
