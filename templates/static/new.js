// Says where a new file will go while its name is typed. The server makes the name.
import { one } from "./act.js";

const form = one("form[data-names]");
let timer;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const { elements, dataset } = form;
    const asked = new URLSearchParams(["name", "type", "file"].map((key) => [key, elements[key].value]));
    const found = elements.name.value && await fetch(`${dataset.names}?${asked}`).then((one) => one.json(), () => 0);
    one("#where").textContent = found?.message ?? "";
  }, 250);
});
