// Links that change what the same page shows: its address changes, and its inside is fetched and morphed in.
// A double click on one of several that can be shown or not (data-solo) shows that one alone.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-within]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const again = event.detail > 1;
  if (again && link.dataset.solo === undefined) return;
  history[again ? "replaceState" : "pushState"](null, "", again ? link.dataset.solo : link.href);
  document.dispatchEvent(new Event("croft-look-again"));
});
