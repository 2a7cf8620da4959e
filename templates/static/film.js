// A render as a film: the stage follows the newest frame, until a person chooses one.
import { ask, emit, every, fill, lookAgain, make, on, one, plain } from "./act.js";

const CHUNK = 200;
const AHEAD = 48;
const KEPT = 400;
const AGAIN_MS = 700;

let film, playing, stage, scrub, job;
let numbers = [];
let at = 0;
let following = true;
let wanted = 0; // an older showing that comes late isn't shown
const records = new Map();
const chunks = new Map();
const pictures = new Map();

export const frameOf = (n) => numbers[n];
const text = (name, values) => fill(film.dataset[name], values);
const named = (n) => text("word", { n: numbers[n] });
const find = (selector) => film?.querySelector(selector);
const clamped = (n) => Math.max(0, Math.min(numbers.length - 1, n));

const parse = (ranges) => ranges.split(",").flatMap((part) => {
  const [, first, last = first, step = 1] = /^(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$/.exec(part) || [];
  return [...Array(Math.floor((last - first) / step) + 1 || 0).keys()].map((n) => +first + n * step);
});
const here = (image) => image.complete && image.naturalWidth > 1;
function fetched({ thumbnail }, width = 512) {
  const url = thumbnail.replace("w=256", `w=${width}`);
  if (pictures.has(url)) return pictures.get(url);
  const image = new Image();
  let tries = 20;
  image.ready = new Promise((resolve) => {
    const give = () => { if (!here(image)) pictures.delete(url); resolve(); };
    image.onerror = give;
    image.onload = () => {
      if (here(image) || !(tries -= 1)) give();
      else setTimeout(() => { image.src = `${url}&t=${Date.now()}`; }, AGAIN_MS);
    };
  });
  image.src = url;
  pictures.set(url, image);
  if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  return image;
}

function put(image, n) {
  if (!here(image)) return;
  let picture = one("img", stage);
  if (!picture) stage.replaceChildren(picture = new Image());
  if (picture.src !== image.src) picture.src = image.src;
  picture.alt = named(n);
}

async function chunk(n) {
  const first = Math.floor(n / CHUNK) * CHUNK;
  if (Date.now() - (chunks.get(first) ?? 0) < 1000) return;
  chunks.set(first, Date.now());
  const { ok, data } = await ask("GET", `${job}/frames?cursor=${first}&limit=${CHUNK}`);
  if (ok) for (const record of data) if (record.thumbnail) records.set(record.n, record);
}

function newest() {
  const { n, thumbnail } = one("#film-news")?.dataset ?? {};
  if (!thumbnail || records.get(+n)?.thumbnail === thumbnail) return null;
  records.set(+n, { n: +n, frame: numbers[+n], thumbnail });
  return +n;
}

function stand(n) {
  at = n;
  scrub.value = n;
  if (!playing) scrub.setAttribute("aria-valuetext", named(n));
  const plot = find(".times");
  if (plot) {
    if (!one(".head", plot)) plot.append(one(".median", plot).cloneNode());
    plot.lastChild.setAttribute("class", "head");
    plot.lastChild.setAttribute("d", `M${((n + 0.5) * plot.viewBox.baseVal.width) / numbers.length} 0V100`);
  }
  one("#sheet [data-at]")?.removeAttribute("data-at");
  every("#sheet i")[Math.floor(n / group())]?.setAttribute("data-at", "");
  emit("frame", n);
}

export async function show(n, choose = true) {
  if (!(n >= 0 && n < numbers.length)) return;
  if (choose) { follow(false); stop(false); }
  const ours = wanted += 1;
  if (choose) stand(n);
  if (!records.has(n)) await chunk(n);
  const found = records.get(n);
  const wide = stage.clientWidth * Math.min(2, devicePixelRatio) > 560;
  for (const width of found ? wide ? [512, 1024] : [512] : []) {
    const image = fetched(found, width);
    await image.ready;
    if (ours !== wanted) return;
    put(image, n);
  }
  if (ours !== wanted) return;
  if (!found) stage.replaceChildren(make("figcaption", text("none", { frame: named(n) }), { className: "quiet" }));
  if (choose) chosen();
  else { stand(n); strip(); }
}

let later;
function chosen(frame = numbers[at]) {
  const url = new URL(location.href);
  if (frame === null) url.searchParams.delete("frame");
  else url.searchParams.set("frame", frame);
  history.replaceState(history.state, "", url);
  strip();
  clearTimeout(later);
  later = setTimeout(lookAgain, 250);
}

function follow(now) {
  following = now;
  find("[data-follow]")?.setAttribute("aria-pressed", now);
}

function ahead(from) {
  for (let n = from; n < Math.min(from + AHEAD, numbers.length); n += 1) {
    if (records.has(n)) fetched(records.get(n));
    else if (n % CHUNK === 0 || n === from) chunk(n);
  }
}

async function play() {
  if (playing) { stop(); return; }
  follow(false);
  wanted += 1;
  const run = playing = { from: at >= numbers.length - 1 ? 0 : at, began: performance.now() };
  button(true);
  await chunk(run.from);
  ahead(run.from);
  const step = (now) => {
    if (playing !== run) return;
    const n = run.from + Math.floor((now - run.began) * (+film.dataset.fps || 24) / 1000);
    const image = records.has(n) && fetched(records.get(n));
    const wait = image && !here(image);
    if (wait || n >= numbers.length) Object.assign(run, { from: wait ? n : 0, began: now });
    else if (n !== at) {
      if (image) put(image, n);
      stand(n);
      ahead(n + 1);
    }
    find("[data-loading]").hidden = !wait;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function stop(choose = true) {
  if (!playing) return;
  playing = null;
  button(false);
  if (choose) { stand(at); chosen(); }
}

function button(on) {
  const { dataset, firstElementChild: glyph, lastElementChild: word } = find("[data-play]");
  word.textContent = on ? dataset.pause : dataset.play;
  glyph.className = on ? "g g-paused" : "g g-play";
  find("[data-loading]").hidden = true;
}

function strip() {
  const list = find(".strip");
  find(".strip [aria-current]")?.removeAttribute("aria-current");
  const row = find(`#s${at}`);
  if (!row) return;
  row.firstChild.setAttribute("aria-current", "true");
  const out = row.offsetLeft - list.scrollLeft;
  if (out < 0 || out + row.offsetWidth > list.clientWidth) list.scrollLeft += out - list.clientWidth / 2;
}

function begin() {
  const found = one("[data-film]");
  if (!found || (found === film && (playing || found.dataset.film === job))) return;
  const another = job && found.dataset.film !== job;
  playing = null;
  film = found;
  job = film.dataset.film;
  numbers = parse(film.dataset.frames);
  stage = one("#stage");
  scrub = one("#scrub");
  records.clear();
  chunks.clear();
  scrub.max = clamped(Infinity);
  scrub.hidden = find(".controls").hidden = false;
  for (const help of every("[data-help]")) help.hidden = false;
  follow(another || find("[data-follow]")?.getAttribute("aria-pressed") === "true");
  if (another) {
    stage.replaceChildren(make("figcaption", film.dataset.first, { className: "quiet" }));
    chosen(null);
  }
  stand(another ? 0 : +scrub.value);
  chunk(at);
  strip();
}

// The sheet of cells, each one frame or several: a click shows the first, with Shift or Ctrl they are chosen.
const group = () => +one("#sheet")?.dataset.group || 1;
let anchor = 0;
const span = (a, b) => (a === b ? `${numbers[a]}` : `${numbers[a]}-${numbers[b]}`);
function pick(cell, { shiftKey, ctrlKey, metaKey }) {
  const index = every("#sheet i").indexOf(cell);
  const last = (of) => clamped((of + 1) * group() - 1);
  const field = one("#chosen [name=frames]");
  if (field && shiftKey) field.value = span(Math.min(index, anchor) * group(), last(Math.max(index, anchor)));
  else if (field && (ctrlKey || metaKey)) field.value = [field.value, span(index * group(), last(index))].filter(Boolean).join(", ");
  else show(index * group());
  if (!shiftKey) anchor = index;
}
on("pointerover", ({ target }) => {
  const cell = film && target.closest?.("#sheet i");
  if (!cell) return;
  const first = every("#sheet i").indexOf(cell) * group();
  const states = JSON.parse(one("#sheet").dataset.states);
  cell.title = `${text("word", { n: span(first, clamped(first + group() - 1)) })}, ${states[cell.className[0]]}`;
});

on("input", (event) => { if (film && event.target === scrub) show(+scrub.value); });

on("click", (event) => {
  const cell = film && event.target.closest("#sheet i");
  if (cell) { pick(cell, event); return; }
  if (!film || !plain(event)) return;
  const { target } = event;
  const link = target.closest(".strip a, a[data-frame]");
  const plot = target.closest(".times");
  if (link) {
    event.preventDefault();
    show(+(link.dataset.n ?? link.dataset.frame));
    if (link.dataset.frame) stage.scrollIntoView({ block: "nearest" });
  } else if (target.closest("[data-play]")) play();
  else if (target.closest("[data-film] [data-follow]")) {
    stop(false);
    follow(true);
    chosen(null);
    show(+one("#film-news").dataset.n, false);
  } else if (plot) {
    const box = plot.getBoundingClientRect();
    show(clamped(Math.floor(((event.clientX - box.left) / box.width) * numbers.length)));
  }
});

on("keydown", (event) => {
  if (!film || !plain(event) || event.defaultPrevented) return;
  const { target, key } = event;
  const link = target.closest?.(".strip a");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (link && step) {
    const next = link.parentElement[step > 0 ? "nextElementSibling" : "previousElementSibling"]?.firstChild;
    next?.focus({ preventScroll: true });
    if (next) show(+next.dataset.n);
  } else if (target === document.body && step) show(clamped(at + step));
  else if (key === " " && (target === document.body || target === scrub || link)) play();
  else return;
  event.preventDefault();
});

let grip;
on("pointerdown", ({ target, button: which, clientX: x }) => {
  if (!film || which) return;
  if (target === scrub) ahead(0);
  if (target.closest("#stage")) grip = { x, n: at, moved: false };
});
on("pointermove", ({ clientX, pointerId }) => {
  const moved = grip && clientX - grip.x;
  if (!grip || (!grip.moved && Math.abs(moved) < 6)) return;
  if (!grip.moved) { stage.setPointerCapture(pointerId); ahead(0); }
  grip.moved = true;
  show(clamped(Math.round(grip.n + (moved / stage.clientWidth) * numbers.length)));
});
for (const end of ["pointerup", "pointercancel"]) on(end, () => { grip = null; });
on("dragstart", (event) => { if (event.target.closest?.("#stage")) event.preventDefault(); });

on("croft-looked", () => {
  begin();
  if (!film) return;
  const found = newest();
  if (found !== null && following && !playing) show(found, false);
  stand(at);
  strip();
});
begin();
