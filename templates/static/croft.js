// Every page loads this one module; each part below looks for its own marks in the page and otherwise
// does nothing. Pages work for reading, filtering and signing in without it.
import "./act.js";
import "./edit.js";
import "./hours.js";
import "./drop.js";
import "./film.js";
import "./sheet.js";
import "./log.js";
import "./render.js";
import "./within.js";
import "./list.js";
import "./live.js";
for (const part of document.querySelectorAll("[data-module]")) import(`./${part.dataset.module}.js`);
