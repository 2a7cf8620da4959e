// Links that change what the same page shows: its address changes, and its inside is fetched and morphed in.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-within]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const url = new URL(link.href);
  history.pushState(null, "", url);
  document.dispatchEvent(new Event("croft-look-again"));
});
