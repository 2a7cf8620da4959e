// Every page loads this one module. What only some pages need comes with what it is for: an element with
// data-module="film" brings film.js, whenever it appears. Without scripts pages can be read and forms sent.
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
