// A render as a film. The stage shows the frame that was done last and follows it, until a person chooses one:
// with the scrubber, the strip, the plot, the sheet of cells (sheet.js) or by playing at the shot's own speed.
// Pictures are fetched before they are shown, so that nothing flickers. Without this module the strip's links
// open the pictures, and the page's address chooses the frame.
import { ask } from "./act.js";

const CHUNK = 200; // frames' records asked for at once
const AHEAD = 48; // pictures fetched before the playhead
const KEPT = 400; // pictures that are kept
const AGAIN_MS = 700; // a picture that isn't made yet is asked for again
const STRIP_EACH_SIDE = 60;

let film = null; // the film that the page shows: it comes and changes as the page is brought up to date
let stage = null;
let scrub = null;
let job = ""; // the render that it is of
let numbers = [];
export let word = "Frame";
const records = new Map(); // task -> {n, frame, thumbnail, image}
const chunks = new Map(); // first task of a chunk -> when it was asked for
const pictures = new Map(); // address -> Image

export const total = () => numbers.length;
export const frameOf = (n) => numbers[n];

// "1-24x2,30" as numbers, task n being the n-th.
function parse(text) {
  const found = [];
  for (const part of (text || "").split(",")) {
    const [, first, last, step] = /^(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$/.exec(part.trim()) || [];
    if (first === undefined) continue;
    for (let n = +first; n <= +(last ?? first); n += +(step ?? 1)) found.push(n);
  }
  return found;
}
// The tasks that make a frame: several where it is cut into tiles, one for several where they go in chunks.
export function tasksOf(n) {
  const { chunk, tiles } = film.dataset;
  if (+tiles > 1) return [...Array(+tiles).keys()].map((one) => n * +tiles + one);
  return [Math.floor(n / +chunk)];
}
const find = (selector) => film?.querySelector(selector);

let at = 0;
let following = true;
let playing = null;
let wanted = 0; // the newest showing that was asked for: an older one that comes late isn't shown

// ---- pictures

function large(record) {
  const wide = stage.clientWidth * Math.min(2, devicePixelRatio) > 560;
  return record.thumbnail.replace("w=256", `w=${wide ? 1024 : 512}`);
}
const small = (record) => record.thumbnail.replace("w=256", "w=512");

// A picture once it is here. The server answers with a blank one while it is being made.
function fetched(url, patience = 20) {
  const known = pictures.get(url);
  if (known) return known;
  const image = new Image();
  const ready = new Promise((resolve) => {
    let tries = 0;
    image.onload = () => {
      if (image.naturalWidth > 1) { resolve(image); return; }
      if (tries++ < patience && pictures.get(url)) setTimeout(() => { image.src = `${url}&t=${Date.now()}`; }, AGAIN_MS);
      else { pictures.delete(url); resolve(null); }
    };
    image.onerror = () => { pictures.delete(url); resolve(null); };
  });
  image.src = url;
  const entry = { image, ready, here: () => image.complete && image.naturalWidth > 1 };
  pictures.set(url, entry);
  while (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  return entry;
}

function put(source, frame) {
  let picture = stage.querySelector("img");
  if (!picture) {
    picture = document.createElement("img");
    stage.replaceChildren(picture);
  }
  if (picture.getAttribute("src") !== source) picture.src = source;
  picture.alt = `${word} ${frame}`;
}

function say(text) {
  const caption = document.createElement("figcaption");
  caption.className = "quiet";
  caption.textContent = text;
  stage.replaceChildren(caption);
}

// ---- what is known of the frames

async function chunk(n) {
  const first = Math.floor(n / CHUNK) * CHUNK;
  if (Date.now() - (chunks.get(first) ?? 0) < 1000) return;
  chunks.set(first, Date.now());
  const { ok, data } = await ask("GET", `${film.dataset.film}/frames?cursor=${first}&limit=${CHUNK}`);
  if (ok) for (const record of data) if (record.thumbnail) records.set(record.n, record);
}

async function record(n) {
  if (!records.has(n)) await chunk(n);
  return records.get(n);
}

// The newest frame, which the page brings along each time it is brought up to date.
function news() {
  const { n, large: picture, thumbnail, image } = document.getElementById("film-news")?.dataset ?? {};
  if (n === undefined || +n < 0 || !thumbnail) return null;
  return { n: +n, frame: numbers[+n], thumbnail, image, large: picture };
}

// ---- showing

export async function show(n, { quiet = false, keep = true } = {}) {
  if (!(n >= 0 && n < numbers.length)) return;
  const mine = wanted += 1;
  if (keep) { setFollowing(false); stop(); }
  at = n;
  scrub.value = n;
  scrub.setAttribute("aria-valuetext", `${word} ${numbers[n]}`);
  playhead();
  document.dispatchEvent(new CustomEvent("croft-frame", { detail: { n, quiet } }));
  const found = await record(n);
  if (mine !== wanted) return;
  if (found) {
    const low = fetched(small(found));
    const high = fetched(large(found));
    if (!high.here()) { await Promise.race([low.ready, high.ready]); if (mine === wanted) put((high.here() ? high : low).image.src, found.frame); }
    const best = await high.ready;
    if (mine === wanted && best) put(best.src, found.frame);
  } else say(`${word} ${numbers[n]} has no picture yet.`);
  if (mine === wanted && keep) { address(numbers[n]); caption(n); strip(); }
}

// The chosen frame goes into the page's address: it can be handed on, and loads as it is.
function address(frame) {
  const url = new URL(location.href);
  if (frame === null) url.searchParams.delete("frame");
  else url.searchParams.set("frame", frame);
  history.replaceState(history.state, "", url);
}

let captioned;
function caption(n) {
  const words = document.getElementById("caption");
  const name = document.createElement("strong");
  name.textContent = `${word} ${numbers[n]}`;
  const about = document.createElement("a");
  about.href = `${film.dataset.page}/frame/${records.get(n)?.task ?? tasksOf(n)[0]}`;
  about.textContent = "About this frame";
  words?.replaceChildren(name, " ", about);
  // What else there is to say comes with the page itself, once the frame stands still.
  clearTimeout(captioned);
  captioned = setTimeout(() => document.dispatchEvent(new Event("croft-look-again")), 250);
}

function setFollowing(on) {
  following = on;
  find("[data-follow]")?.setAttribute("aria-pressed", String(on));
}

async function follow() {
  setFollowing(true);
  address(null);
  const newest = news();
  if (newest) await showNewest(newest);
  caption(at);
}

async function showNewest(newest) {
  const mine = wanted += 1;
  records.set(newest.n, newest);
  const best = await fetched(large(newest)).ready;
  if (mine !== wanted || !best) return;
  at = newest.n;
  put(best.src, newest.frame);
  scrub.value = at;
  scrub.setAttribute("aria-valuetext", `${word} ${numbers[at]}`);
  playhead();
  document.dispatchEvent(new CustomEvent("croft-frame", { detail: { n: at, quiet: true } }));
}

// ---- playing

function ahead(from) {
  for (let n = from, left = AHEAD; left > 0 && n < numbers.length; n += 1, left -= 1) {
    const found = records.get(n);
    if (found) fetched(small(found));
    else if (n % CHUNK === 0 || n === from) chunk(n);
  }
}

export async function play() {
  if (playing) { stop(); return; }
  const fps = +film.dataset.fps || 24;
  setFollowing(false);
  const run = playing = { from: at >= numbers.length - 1 ? 0 : at, began: performance.now() };
  wanted += 1;
  setPlaying(true);
  await chunk(run.from);
  const step = (now) => {
    if (playing !== run) return;
    const n = run.from + Math.floor((now - run.began) * fps / 1000);
    if (n >= numbers.length) { run.from = 0; run.began = now; requestAnimationFrame(step); return; }
    const found = records.get(n);
    const picture = found && fetched(small(found));
    if (picture && !picture.here()) {
      // Wait for what comes, rather than skip it: the clock stands still.
      waiting(true);
      run.from = n;
      run.began = now;
    } else {
      waiting(false);
      if (n !== at) {
        at = n;
        if (picture) put(picture.image.src, found.frame);
        scrub.value = n;
        playhead();
        document.dispatchEvent(new CustomEvent("croft-frame", { detail: { n, quiet: true } }));
        ahead(n + 1);
      }
    }
    requestAnimationFrame(step);
  };
  ahead(run.from);
  requestAnimationFrame(step);
}

export function stop() {
  if (!playing) return;
  playing = null;
  waiting(false);
  setPlaying(false);
  scrub.setAttribute("aria-valuetext", `${word} ${numbers[at]}`);
  address(numbers[at]);
  caption(at);
}

function setPlaying(on) {
  const button = find("[data-play]");
  button.lastElementChild.textContent = on ? "Pause" : "Play";
  button.firstElementChild.className = on ? "g g-paused" : "g g-play";
}

function waiting(on) {
  const words = find("[data-loading]");
  const text = on ? "Fetching pictures…" : "";
  if (words && words.textContent !== text) words.textContent = text;
}

// ---- the plot and the strip

function playhead() {
  const plot = find(".times");
  if (!plot) return;
  let line = plot.querySelector(".head");
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "head");
    line.setAttribute("vector-effect", "non-scaling-stroke");
    plot.append(line);
  }
  const wide = plot.viewBox.baseVal.width;
  line.setAttribute("d", `M${((at + 0.5) * wide) / numbers.length} 0V100`);
}

function item(found) {
  const row = document.createElement("li");
  row.id = `s${found.n}`;
  const link = document.createElement("a");
  link.href = found.image;
  Object.assign(link.dataset, { n: found.n, alt: `${word} ${found.frame}` });
  const picture = new Image(128, 72);
  Object.assign(picture, { loading: "lazy", alt: "", src: found.thumbnail });
  const words = document.createElement("span");
  words.innerHTML = `<span class="aside">${word} </span>`;
  words.append(String(found.frame));
  link.append(picture, words);
  row.append(link);
  return row;
}

// The pictures around the present frame, as far as they are known; those that are there already stay.
function strip() {
  const list = find(".strip");
  if (!list) return;
  const near = [...records.values()].filter((one) => Math.abs(one.n - at) <= STRIP_EACH_SIDE).sort((a, b) => a.n - b.n);
  const have = new Map([...list.children].map((row) => [row.id, row]));
  let place = list.firstElementChild;
  for (const one of near) {
    const row = have.get(`s${one.n}`) ?? item(one);
    have.delete(row.id);
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
  for (const [id, row] of have) if (Math.abs(+id.slice(1) - at) > STRIP_EACH_SIDE && !row.contains(document.activeElement)) row.remove();
  for (const link of list.querySelectorAll("a[aria-current]")) link.removeAttribute("aria-current");
  const link = list.querySelector(`#s${at} a`);
  if (!link) return;
  link.setAttribute("aria-current", "true");
  const row = link.parentElement;
  const out = row.offsetLeft < list.scrollLeft || row.offsetLeft + row.offsetWidth > list.scrollLeft + list.clientWidth;
  if (out) list.scrollLeft = row.offsetLeft - list.clientWidth / 2;
}

// ---- what people do

// Takes hold of the film that the page has now: another render's, where one was begun meanwhile.
function begin() {
  const found = document.querySelector("[data-film]");
  if (!found || (found === film && found.dataset.film === job)) return;
  const another = job && found.dataset.film !== job;
  stop();
  film = found;
  job = film.dataset.film;
  word = film.dataset.word ?? "Frame";
  numbers = parse(film.dataset.frames);
  stage = document.getElementById("stage");
  scrub = document.getElementById("scrub");
  records.clear();
  chunks.clear();
  scrub.max = Math.max(0, numbers.length - 1);
  scrub.hidden = false;
  find(".controls").hidden = false;
  if (another) {
    find(".strip").replaceChildren();
    say(`The first ${word.toLowerCase()} shows here as soon as it is rendered.`);
    setFollowing(true);
    address(null);
  } else following = find("[data-follow]").getAttribute("aria-pressed") === "true";
  at = another ? 0 : +scrub.value;
  playhead();
  chunk(at).then(strip);
}

document.addEventListener("input", (event) => { if (film && event.target === scrub) show(+scrub.value); });

document.addEventListener("click", (event) => {
  if (!film || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const target = event.target;
  const link = target.closest(".strip a, a[data-frame]");
  if (link) {
    event.preventDefault();
    show(+(link.dataset.n ?? link.dataset.frame));
    if (link.dataset.frame) stage.scrollIntoView({ block: "nearest" });
    return;
  }
  if (target.closest("[data-play]")) { play(); return; }
  if (target.closest("[data-film] [data-follow]")) { stop(); follow(); return; }
  const plot = target.closest(".times");
  if (plot) {
    const box = plot.getBoundingClientRect();
    show(Math.min(numbers.length - 1, Math.floor(((event.clientX - box.left) / box.width) * numbers.length)));
  }
  const video = target.closest("a[data-video]");
  if (video) { event.preventDefault(); watch(video.href); }
});

document.addEventListener("keydown", (event) => {
  if (!film || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const here = event.target;
  const link = here.closest?.(".strip a");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (link && step) {
    const next = (step > 0 ? link.parentElement.nextElementSibling : link.parentElement.previousElementSibling)?.querySelector("a");
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    show(+next.dataset.n);
  } else if (here === document.body && step) {
    event.preventDefault();
    show(Math.max(0, Math.min(numbers.length - 1, at + step)));
  } else if (event.key === " " && (here === document.body || here === scrub || link)) {
    event.preventDefault();
    play();
  }
});

// The picture itself can be dragged through, too, which a thumb finds more easily than the slider.
let grip = null;
document.addEventListener("pointerdown", (event) => {
  if (!film || event.button || event.target.closest("video")) return;
  if (event.target === scrub) ahead(0);
  if (event.target.closest("#stage")) grip = { x: event.clientX, n: at, moved: false };
});
document.addEventListener("pointermove", (event) => {
  if (!grip) return;
  const moved = event.clientX - grip.x;
  if (!grip.moved && Math.abs(moved) < 6) return;
  if (!grip.moved) { stage.setPointerCapture(event.pointerId); ahead(0); }
  grip.moved = true;
  const n = Math.round(grip.n + (moved / stage.clientWidth) * numbers.length);
  show(Math.max(0, Math.min(numbers.length - 1, n)));
});
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { grip = null; });
document.addEventListener("dragstart", (event) => { if (event.target.closest?.("#stage")) event.preventDefault(); });

document.addEventListener("croft-looked", () => {
  begin();
  if (!film) return;
  const newest = news();
  if (newest && records.get(newest.n)?.thumbnail !== newest.thumbnail) {
    records.set(newest.n, newest);
    if (following && !playing) showNewest(newest);
  }
  playhead();
  strip();
});
begin();

function watch(url) {
  stop();
  setFollowing(false);
  wanted += 1;
  const video = document.createElement("video");
  Object.assign(video, { controls: true, loop: true, src: url });
  video.setAttribute("aria-label", "The film");
  stage.replaceChildren(video);
  video.focus();
  video.play().catch(() => {});
}
