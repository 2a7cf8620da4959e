// The page of new files says where the file will go while its name is typed. The server makes the name.
const form = document.querySelector("form[data-names]");
let timer;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const asked = new URLSearchParams(new FormData(form));
    const where = document.getElementById("where");
    if (!asked.get("name")) { where.textContent = ""; return; }
    for (const key of ["csrf", "do", "then", "description"]) asked.delete(key);
    const answer = await fetch(`${form.dataset.names}?${asked}`).then((one) => one.json(), () => ({}));
    where.textContent = answer.message ?? "";
  }, 250);
});
