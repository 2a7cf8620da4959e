// Buttons and forms say themselves what they do, and are sent to /do, as browsers without scripts send them.

export const on = (name, job, ...more) => document.addEventListener(name, job, ...more);
export const one = (selector, inside = document) => inside.querySelector(selector);
export const every = (selector, inside = document) => [...inside.querySelectorAll(selector)];
export const csrf = one('meta[name="croft-csrf"]')?.content ?? "";

const sentences = JSON.parse(document.body.dataset.words || "{}");
export const words = (name, values = {}) => fill(sentences[name] ?? name, values);
export const fill = (text, values = {}) => text.replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
export const plain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
export const emit = (name, detail) => document.dispatchEvent(new CustomEvent(`croft-${name}`, { detail }));
export const lookAgain = () => emit("look-again");

export function make(tag, text, { className, ...rest } = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return Object.assign(made, rest);
}

// Never throws: a lost connection is status 0 with a sentence.
export async function ask(method, url, body, options = {}) {
  const json = body?.constructor === Object && { "Content-Type": "application/json" };
  const headers = { Accept: "application/json", "X-Croft-CSRF": csrf, ...json };
  try {
    const response = await fetch(url, { method, headers, body: json ? JSON.stringify(body) : body, ...options });
    const answer = await response.json().catch(() => ({}));
    const message = answer.message || words("answered", { status: response.status });
    return { ...answer, ok: response.ok, status: response.status, message };
  } catch {
    return { ok: false, status: 0, message: words("unreachable") };
  }
}

export function say(text, undo) {
  const box = one("#toasts");
  const toast = make("div", "", { className: "toast" });
  let timer;
  const leave = () => toast.remove();
  const later = () => { timer = setTimeout(leave, undo ? 15000 : 8000); };
  const button = (label, job) => make("button", label, { onclick: () => { leave(); job?.(); } });
  toast.append(make("span", text), ...(undo ? [button(words("undo"), undo)] : []), button(words("close")));
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, later);
  box.append(toast);
  while (box.children.length > 3) box.firstChild.remove();
  later();
}

export async function act(call, by = document.body, fields = []) {
  by.ariaBusy = "true";
  const answer = await ask("POST", "/do", new URLSearchParams([...fields, ["do", call]]));
  by.ariaBusy = null;
  lookAgain();
  return answer;
}

export function tell(answer, undo) {
  const back = answer.data?.undo;
  const call = back ? `${back.method} ${back.path} ${back.body ? JSON.stringify(back.body) : ""}` : undo;
  say(answer.message, answer.ok && call ? async () => tell(await act(call)) : undefined);
}

const left = one(".toast");
if (left) { left.remove(); tell({ ok: true, message: left.firstChild.textContent }, one("button", left)?.value); }

async function send(form, by) {
  if (by.ariaBusy) return;
  const wrong = one("[role=alert]", form);
  const fields = [...new FormData(form)].filter(([name]) => name !== "do");
  const call = by.name === "do" ? by.value : one("input[name=do]", form).value;
  const answer = await act(call, by, fields);
  if (wrong) wrong.textContent = answer.ok ? "" : answer.message;
  if (!answer.ok && form.matches("[data-send]")) form.reset();
  if (!answer.ok && wrong) return;
  if (answer.go) { location.assign(answer.go); return; }
  if (answer.ok && form.matches("[data-clear]")) form.reset();
  if (answer.ok && form.matches("[data-close]")) form.closest("details").open = false;
  const id = form.dataset.undo === "delete" && answer.data?.id;
  tell(answer, id ? `DELETE ${call.split(" ")[1]}/${id}` : by.dataset.undo ?? form.dataset.undo);
}

on("submit", (event) => {
  const form = event.target;
  if (form.dataset.auto !== undefined) filter(form);
  else if (form.getAttribute("action") === "/do" && form.dataset.edit === undefined && form.id !== "many") send(form, event.submitter ?? form);
  else return;
  event.preventDefault();
});

on("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) say(copyText(copy.dataset.copy) ? copy.dataset.copied || words("copied") : words("by-hand", { text: copy.dataset.copy }));
  const link = event.target.closest("a[data-within]");
  if (!link || !plain(event)) return;
  event.preventDefault();
  const again = event.detail > 1;
  if (again && link.dataset.solo === undefined) return;
  history[again ? "replaceState" : "pushState"](null, "", again ? link.dataset.solo : link.href);
  lookAgain();
});

// As it goes on plain http, too.
export function copyText(text) {
  const field = make("textarea", text, { className: "aside" });
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return done;
}

function filter(form, typed) {
  const asked = new URLSearchParams([...new FormData(form)]
    .filter(([field, value]) => value && !(field === "sort" && value === "name")));
  const address = asked.size ? `?${asked}` : location.pathname;
  if (address === (location.search || location.pathname)) return;
  history[typed && history.state ? "replaceState" : "pushState"](typed, "", address);
  lookAgain();
}
let typing;
for (const name of ["change", "input"]) {
  on(name, ({ target }) => {
    const { form } = target;
    const typed = name === "input" && target.type === "search";
    if (form?.matches("[data-auto]")) {
      clearTimeout(typing);
      typing = setTimeout(() => filter(form, typed), typed ? 300 : 0);
    }
    if (name === "change" && form?.matches("[data-send]")) {
      clearTimeout(typing);
      typing = setTimeout(() => form.requestSubmit(), 400);
    }
  });
}
addEventListener("popstate", () => location.reload());
for (const button of every("[data-without-script]")) button.hidden = true;
for (const fold of every("[data-fold]")) {
  const wide = matchMedia("(min-width: 861px)");
  const set = () => { fold.open = wide.matches; };
  set();
  wide.addEventListener("change", set);
}
