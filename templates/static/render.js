// The form that asks for a render, drawn from a job type's settings: form[data-render] holds file and type,
// fields with data-own are the job's own, the others are the type's settings. What should be known before is
// asked for as the form changes, and the new render's page opens once it is made.
import { ask } from "./act.js";

const QUIET_MS = 400; // after the last change
const GLYPHS = { error: ["failed", "Wrong:"], warning: ["needs", "Look at this:"], note: ["waiting", "Good to know:"] };
const form = document.querySelector("form[data-render]");

function value(element) {
  const { kind } = element.dataset;
  if (kind === "flag") return element.checked;
  if (kind === "choice") return JSON.parse(element.value);
  const text = element.value.trim();
  if (text === "") return null;
  return kind === "number" ? Number(text) : text;
}

function request() {
  const body = { ...JSON.parse(form.dataset.render), parameters: {} };
  for (const element of form.elements) {
    if (!element.name) continue;
    const told = value(element);
    if ("own" in element.dataset) {
      if (told !== null) body[element.name] = told;
    } else if (told !== null || element.value.trim() !== element.defaultValue) {
      body.parameters[element.name] = told;
    }
  }
  return body;
}

function line(notice) {
  const [glyph, spoken] = GLYPHS[notice.severity] ?? GLYPHS.note;
  const row = document.createElement("div");
  row.className = notice.severity === "note" ? "small" : `notice ${notice.severity === "error" ? "bad" : ""}`;
  const mark = document.createElement("span");
  mark.className = `s ${glyph}`;
  const sign = document.createElement("span");
  sign.className = `g g-${glyph}`;
  sign.setAttribute("aria-hidden", "true");
  const aside = document.createElement("span");
  aside.className = "aside";
  aside.textContent = spoken;
  mark.append(sign, aside);
  const words = document.createElement("span");
  words.textContent = ` ${notice.text}${notice.todo ? ` ${notice.todo}` : ""}`;
  row.append(mark, words);
  return row;
}

let asked = 0;
async function look() {
  asked += 1;
  const mine = asked;
  const answer = await ask("POST", "/api/jobs/check", request());
  if (mine !== asked) return; // another change came meanwhile
  const box = document.getElementById("notices");
  if (!answer.ok) {
    box.replaceChildren(line({ severity: "error", text: answer.message }));
    return;
  }
  const { notices = [], total } = answer.data;
  const count = total ? [line({ severity: "note", text: `${total} ${total === 1 ? "frame" : "frames"}.` })] : [];
  box.replaceChildren(...count, ...notices.map(line));
}

if (form) {
  let timer;
  const later = () => { clearTimeout(timer); timer = setTimeout(look, QUIET_MS); };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wrong = form.querySelector("[role=alert]");
    const button = form.querySelector("button.primary");
    wrong.textContent = "";
    button.disabled = true;
    const answer = await ask("POST", "/api/jobs", request());
    button.disabled = false;
    if (answer.ok) location.assign(form.dataset.jobs + encodeURIComponent(answer.data.id));
    else wrong.textContent = answer.message;
  });
  look();
}
