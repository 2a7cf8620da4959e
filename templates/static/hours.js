// The hours in which a computer works: form[data-hours] holds one row for each window, data-was what is saved.
// Rows are added and removed here; nothing is sent before the button that saves them.
import { ask, say } from "./act.js";

const formOf = (event) => event.target.closest?.("form[data-hours]");

// A form somebody works in is left as it is until it is saved.
const touched = (form) => { form.dataset.keep = ""; };

document.addEventListener("input", (event) => { const form = formOf(event); if (form) touched(form); });

document.addEventListener("click", (event) => {
  const form = formOf(event);
  if (!form) return;
  if (event.target.closest("[data-more-hours]")) {
    touched(form);
    form.querySelector("ul").append(form.querySelector("template").content.cloneNode(true));
    form.querySelector("ul > :last-child input").focus();
  } else if (event.target.closest("[data-drop-hours]")) {
    touched(form);
    event.target.closest("li").remove();
    form.querySelector("[data-more-hours]").focus();
  }
});

document.addEventListener("submit", async (event) => {
  const form = formOf(event);
  if (!form) return;
  event.preventDefault();
  const schedule = [...form.querySelectorAll("ul > li")].map((row) => ({
    days: [...row.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value),
    from: row.querySelector("[name=from]").value.slice(0, 5),
    to: row.querySelector("[name=to]").value.slice(0, 5),
  }));
  const wrong = form.querySelector("[role=alert]");
  wrong.textContent = schedule.some((hours) => !hours.days.length) ? "Tick the days on which these hours begin." : "";
  if (wrong.textContent) return;
  const was = JSON.parse(form.dataset.was);
  const answer = await ask("PATCH", form.dataset.hours, { schedule });
  if (!answer.ok) { wrong.textContent = answer.message; return; }
  const again = () => { delete form.dataset.keep; document.dispatchEvent(new Event("croft-look-again")); };
  again();
  say(answer.message, async () => {
    say((await ask("PATCH", form.dataset.hours, { schedule: was })).message);
    again();
  });
});
