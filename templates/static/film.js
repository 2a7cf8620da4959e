// A render as a film. The stage shows the frame that was done last and follows it, until a person chooses one:
// with the scrubber, the strip, the plot, the sheet of cells (sheet.js) or by playing at the shot's own speed.
// Pictures are fetched before they are shown, so that nothing flickers. Without this module the strip's links
// open the pictures, and the page's address chooses the frame.
import { ask, emit, fill, lookAgain, make } from "./act.js";

const CHUNK = 200; // frames' records asked for at once
const AHEAD = 48; // pictures fetched before the playhead
const KEPT = 400; // pictures that are kept
const AGAIN_MS = 700; // a picture that isn't made yet is asked for again
const NEAR = 60; // frames on each side of the present one that the strip shows

let film = null; // the film that the page shows: it comes and changes as the page is brought up to date
let stage, scrub;
let job = ""; // the render that it is of
let numbers = []; // the frames
let at = 0; // the present one's place among them
let following = true;
let playing = null;
let wanted = 0; // the newest showing that was asked for: an older one that comes late isn't shown
const records = new Map(); // place -> {n, frame, thumbnail, image}
const chunks = new Map(); // first place of a chunk -> when it was asked for
const pictures = new Map(); // address -> {image, ready, here}

export const total = () => numbers.length;
export const frameOf = (n) => numbers[n];
export const text = (name, values) => fill(film.dataset[name], values);
const named = (n) => text("word", { n: numbers[n] });
const find = (selector) => film?.querySelector(selector);
const clamped = (n) => Math.max(0, Math.min(numbers.length - 1, n));

// "1-24x2,30" as numbers, task n being the n-th.
function parse(ranges) {
  const found = [];
  for (const part of ranges.split(",")) {
    const [, first, last = first, step = 1] = /^(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$/.exec(part) || [];
    for (let n = +first; n <= +last; n += +step) found.push(n);
  }
  return found;
}
// The tasks that make a frame: several where it is cut into tiles, one for several where they go in chunks.
export function tasksOf(n) {
  const { chunk, tiles } = film.dataset;
  return +tiles > 1 ? [...Array(+tiles).keys()].map((one) => n * +tiles + one) : [Math.floor(n / +chunk)];
}

// ---- pictures

const sized = (record, width) => record.thumbnail.replace("w=256", `w=${width}`);
const small = (record) => fetched(sized(record, 512));
const large = (record) => fetched(sized(record, stage.clientWidth * Math.min(2, devicePixelRatio) > 560 ? 1024 : 512));

// A picture once it is here. The server answers with a blank one while it is being made.
function fetched(url) {
  if (pictures.has(url)) return pictures.get(url);
  const image = new Image();
  const here = () => image.complete && image.naturalWidth > 1;
  const ready = new Promise((resolve) => {
    let tries = 20;
    const give = (found) => { if (!found) pictures.delete(url); resolve(found); };
    image.onerror = () => give(null);
    image.onload = () => {
      if (here()) give(image);
      else if (tries-- && pictures.has(url)) setTimeout(() => { image.src = `${url}&t=${Date.now()}`; }, AGAIN_MS);
      else give(null);
    };
  });
  image.src = url;
  pictures.set(url, { image, ready, here });
  if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  return pictures.get(url);
}

function put({ src }, n) {
  let picture = stage.querySelector("img");
  if (!picture) stage.replaceChildren(picture = new Image());
  if (picture.getAttribute("src") !== src) picture.src = src;
  picture.alt = named(n);
}

const caption = (words) => stage.replaceChildren(make("figcaption", words, { className: "quiet" }));

// ---- what is known of the frames

async function chunk(n) {
  const first = Math.floor(n / CHUNK) * CHUNK;
  if (Date.now() - (chunks.get(first) ?? 0) < 1000) return;
  chunks.set(first, Date.now());
  const { ok, data } = await ask("GET", `${job}/frames?cursor=${first}&limit=${CHUNK}`);
  if (ok) for (const record of data) if (record.thumbnail) records.set(record.n, record);
}

// The newest frame, which the page brings along each time it is brought up to date.
function news() {
  const { n, thumbnail, image } = document.getElementById("film-news")?.dataset ?? {};
  return thumbnail ? { n: +n, frame: numbers[+n], thumbnail, image } : null;
}

// ---- showing

// The playhead stands at a frame, on the scrubber, over the plot and in the sheet.
function stand(n) {
  at = n;
  scrub.value = n;
  if (!playing) scrub.setAttribute("aria-valuetext", named(n));
  const plot = find(".times");
  if (plot) {
    const wide = plot.viewBox.baseVal.width;
    if (!plot.querySelector(".head")) plot.append(plot.querySelector(".median").cloneNode());
    plot.lastChild.setAttribute("class", "head");
    plot.lastChild.setAttribute("d", `M${((n + 0.5) * wide) / numbers.length} 0V100`);
  }
  emit("frame", n);
}

export async function show(n) {
  if (!(n >= 0 && n < numbers.length)) return;
  follow(false);
  stop(false);
  const ours = wanted += 1;
  stand(n);
  if (!records.has(n)) await chunk(n);
  const found = records.get(n);
  if (found) {
    const low = small(found);
    const high = large(found);
    if (!high.here()) await Promise.race([low.ready, high.ready]);
    if (ours === wanted) put((high.here() ? high : low).image, n);
    const best = await high.ready;
    if (ours === wanted && best) put(best, n);
  } else if (ours === wanted) caption(text("none", { frame: named(n) }));
  if (ours === wanted) chosen();
}

// The chosen frame goes into the page's address: it can be handed on, and loads as it is. What there is to say
// of it comes with the page itself, once the frame stands still.
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

function follow(on) {
  following = on;
  find("[data-follow]")?.setAttribute("aria-pressed", String(on));
}

async function newest() {
  const found = news();
  if (!found) return;
  const ours = wanted += 1;
  records.set(found.n, found);
  const best = await large(found).ready;
  if (ours !== wanted || !best) return;
  put(best, found.n);
  stand(found.n);
  strip();
}

// ---- playing

function ahead(from) {
  for (let n = from; n < Math.min(from + AHEAD, numbers.length); n += 1) {
    if (records.has(n)) small(records.get(n));
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
    const picture = records.has(n) && small(records.get(n));
    const wait = picture && !picture.here();
    // What comes is waited for rather than skipped: the clock stands still.
    if (wait || n >= numbers.length) Object.assign(run, { from: wait ? n : 0, began: now });
    else if (n !== at) {
      if (picture) put(picture.image, n);
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

// ---- the strip: the pictures around the present frame, as far as they are known

function item({ n, frame, image, thumbnail }) {
  const row = make("li", "", { id: `s${n}` });
  const link = make("a", "", { href: image });
  link.dataset.n = n;
  link.append(Object.assign(new Image(128, 72), { loading: "lazy", alt: "", src: thumbnail }), make("span", frame, { title: named(n) }));
  row.append(link);
  return row;
}

function strip() {
  const list = find(".strip");
  if (!list) return;
  const near = [...records.values()].filter(({ n }) => Math.abs(n - at) <= NEAR).sort((a, b) => a.n - b.n);
  const have = new Map([...list.children].map((row) => [row.id, row]));
  let place = list.firstElementChild;
  for (const one of near) {
    const row = have.get(`s${one.n}`) ?? item(one);
    have.delete(row.id);
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
  for (const row of have.values()) if (Math.abs(+row.id.slice(1) - at) > NEAR && !row.contains(document.activeElement)) row.remove();
  list.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const row = list.querySelector(`#s${at}`);
  if (!row) return;
  row.firstChild.setAttribute("aria-current", "true");
  const out = row.offsetLeft < list.scrollLeft || row.offsetLeft + row.offsetWidth > list.scrollLeft + list.clientWidth;
  if (out) list.scrollLeft = row.offsetLeft - list.clientWidth / 2;
}

// ---- what people do

// Takes hold of the film that the page has now: another render's, where one was begun meanwhile.
function begin() {
  const found = document.querySelector("[data-film]");
  if (!found || (found === film && found.dataset.film === job)) return;
  const another = job && found.dataset.film !== job;
  if (playing && found === film) return; // what one began is played to its end
  playing = null;
  film = found;
  job = film.dataset.film;
  numbers = parse(film.dataset.frames);
  stage = document.getElementById("stage");
  scrub = document.getElementById("scrub");
  records.clear();
  chunks.clear();
  scrub.max = clamped(Infinity);
  scrub.hidden = find(".controls").hidden = false;
  follow(another || find("[data-follow]")?.getAttribute("aria-pressed") === "true");
  if (another) {
    find(".strip")?.replaceChildren();
    caption(film.dataset.first);
    chosen(null);
  }
  stand(another ? 0 : +scrub.value);
  chunk(at).then(strip);
}

document.addEventListener("input", (event) => { if (film && event.target === scrub) show(+scrub.value); });

document.addEventListener("click", (event) => {
  if (!film || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const { target } = event;
  const link = target.closest(".strip a, a[data-frame]");
  const plot = target.closest(".times");
  if (link) {
    event.preventDefault();
    show(+(link.dataset.n ?? link.dataset.frame));
    if (link.dataset.frame) stage.scrollIntoView({ block: "nearest" });
  } else if (target.closest("[data-play]")) play();
  else if (target.closest("[data-film] [data-follow]")) { stop(false); follow(true); chosen(null); newest(); }
  else if (plot) {
    const box = plot.getBoundingClientRect();
    show(clamped(Math.floor(((event.clientX - box.left) / box.width) * numbers.length)));
  }
});

document.addEventListener("keydown", (event) => {
  if (!film || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const here = event.target;
  const link = here.closest?.(".strip a");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (link && step) {
    const next = link.parentElement[step > 0 ? "nextElementSibling" : "previousElementSibling"]?.firstChild;
    next?.focus({ preventScroll: true });
    if (next) show(+next.dataset.n);
  } else if (here === document.body && step) show(clamped(at + step));
  else if (event.key === " " && (here === document.body || here === scrub || link)) play();
  else return;
  event.preventDefault();
});

// The picture itself can be dragged through, too, which a thumb finds more easily than the slider.
let grip = null;
document.addEventListener("pointerdown", (event) => {
  if (!film || event.button) return;
  if (event.target === scrub) ahead(0);
  if (event.target.closest("#stage")) grip = { x: event.clientX, n: at, moved: false };
});
document.addEventListener("pointermove", (event) => {
  const moved = grip && event.clientX - grip.x;
  if (!grip || (!grip.moved && Math.abs(moved) < 6)) return;
  if (!grip.moved) { stage.setPointerCapture(event.pointerId); ahead(0); }
  grip.moved = true;
  show(clamped(Math.round(grip.n + (moved / stage.clientWidth) * numbers.length)));
});
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { grip = null; });
document.addEventListener("dragstart", (event) => { if (event.target.closest?.("#stage")) event.preventDefault(); });

document.addEventListener("croft-looked", () => {
  begin();
  const found = film && news();
  if (!found) return;
  if (records.get(found.n)?.thumbnail !== found.thumbnail) {
    records.set(found.n, found);
    if (following && !playing) newest();
  }
  stand(at);
  strip();
});
begin();
