// The strip of frames: choosing one shows it large; the arrow keys step through them. Without this module
// each is a link to its picture.
const stage = () => document.getElementById("stage");

function show(link, scroll) {
  const picture = stage()?.querySelector("img");
  if (!picture) return false;
  picture.src = link.dataset.large || link.href;
  picture.alt = link.dataset.alt;
  for (const other of document.querySelectorAll(".strip a[aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  stage().dataset.keep = ""; // chosen by a person: newer frames don't replace it
  if (scroll) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  return true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".strip a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  if (show(link, false)) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  const link = event.target.closest?.(".strip a");
  const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
  if (!link || !step) return;
  let item = link.parentElement[step];
  while (item && !item.querySelector("a")) item = item[step];
  const next = item?.querySelector("a");
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: true });
  show(next, true);
});
