// A picture made square before it is sent: moved and sized in its frame, by hand or by arrow keys.
import { ask, every, lookAgain, on, one, say } from "./act.js";

const EDGE = 512;
on("change", async ({ target }) => {
  const place = target.closest("[data-crop]"), file = target.files?.[0];
  if (!place || !file) return;
  const box = one(".cropper", place);
  const [canvas, size, send] = every("canvas, input, button", box);
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
    const ratio = EDGE / canvas.clientWidth;
    if (e.buttons) move(e.movementX * ratio, e.movementY * ratio);
  };
  canvas.onkeydown = (e) => {
    const by = { ArrowLeft: [-16, 0], ArrowUp: [0, -16], ArrowRight: [16, 0], ArrowDown: [0, 16] }[e.key];
    if (by) { e.preventDefault(); move(...by); }
  };
  size.oninput = () => move();
  size.value = 1;
  send.onclick = () => canvas.toBlob(async (body) => {
    const answer = await ask(...place.dataset.crop.split(" "), body);
    box.hidden = answer.ok;
    say(answer.message);
    lookAgain();
  }, "image/jpeg", 0.9);
  box.hidden = false;
  move();
  canvas.focus();
});
