// A picture made square before it is sent: dragged and sized in its frame, by hand or by arrow keys.
import { say } from "./act.js";

const EDGE = 512;
document.addEventListener("change", async ({ target }) => {
  const place = target.closest("[data-crop]");
  const file = target.files?.[0];
  if (!place || !file) return;
  const box = place.querySelector(".cropper");
  const [canvas, size, send] = box.querySelectorAll("canvas, input, button");
  const image = new Image();
  image.src = URL.createObjectURL(file);
  target.value = "";
  try { await image.decode(); } catch { return say(place.dataset.none); }
  const paper = canvas.getContext("2d");
  let x = 0.5, y = 0.5; // which point of the picture, in parts of it, is in the middle
  const move = (right = 0, down = 0) => {
    const scale = size.value * EDGE / Math.min(image.width, image.height);
    const wide = image.width * scale, high = image.height * scale;
    const keep = (at, whole) => Math.max(EDGE / 2 / whole, Math.min(1 - EDGE / 2 / whole, at));
    x = keep(x - right / wide, wide);
    y = keep(y - down / high, high);
    paper.fillStyle = "#fff";
    paper.fillRect(0, 0, EDGE, EDGE);
    paper.drawImage(image, EDGE / 2 - x * wide, EDGE / 2 - y * high, wide, high);
  };
  canvas.onpointerdown = (e) => canvas.setPointerCapture(e.pointerId);
  canvas.onpointermove = (e) => {
    const ratio = e.buttons && EDGE / canvas.clientWidth;
    if (ratio) move(e.movementX * ratio, e.movementY * ratio);
  };
  canvas.onkeydown = (e) => {
    const at = ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"].indexOf(e.key);
    if (at < 0) return;
    e.preventDefault();
    move([-16, 0, 16, 0][at], [0, -16, 0, 16][at]);
  };
  size.oninput = () => move();
  size.value = 1;
  send.onclick = () => canvas.toBlob(async (body) => {
    const [method, url] = place.dataset.crop.split(" ");
    const csrf = document.querySelector("meta[name=croft-csrf]").content;
    const answer = await fetch(url, { method, body, headers: { "X-Croft-CSRF": csrf } }).catch(() => null);
    box.hidden = !!answer?.ok;
    say((await answer?.json())?.message ?? place.dataset.lost);
    document.dispatchEvent(new Event("croft-look-again"));
  }, "image/jpeg", 0.92);
  box.hidden = false;
  move();
  canvas.focus();
});
