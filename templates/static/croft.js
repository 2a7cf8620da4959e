// Every page loads this. An element with data-module="film" brings film.js, whenever it appears.
import "./act.js";
import "./edit.js";
import "./keys.js";
import "./live.js";

const bring = () => {
  for (const { dataset } of document.querySelectorAll("[data-module]")) {
    for (const name of dataset.module.split(" ")) import(`./${name}.js`);
  }
};
document.addEventListener("croft-looked", bring);
bring();
