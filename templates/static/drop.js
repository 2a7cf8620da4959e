// Files dropped on a page that takes them (main[data-drop] names the project), or chosen with its buttons, are
// sent into their person's own waiting place. The page Drop shows them there; on others (data-auto) they are
// added as soon as all of one is there, unless its name is taken.
import { ask, say } from "./act.js";

const main = document.querySelector("main[data-drop]");
if (main) Promise.all([import("./collect.js"), import("./send.js")]).then(([c, s]) => begin(c.collector, s.Sender));

const SPEAK_MS = 10000;
const FEW = 12; // files: of more, only what went wrong gets words of its own
const RATE_MS = 8000; // the speed is that of so long
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} KB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
const files = (count) => `${count} file${count === 1 ? "" : "s"}`;
function about(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} s`;
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${(seconds / 3600).toFixed(1)} h`;
}

function begin(collector, Sender) {
  const limits = JSON.parse(main.dataset.limits);
  const project = main.dataset.drop;
  const auto = main.dataset.auto !== undefined;
  const collect = collector(limits);
  const sender = new Sender(main.dataset.digest, limits);
  const veil = document.getElementById("drop");
  const panel = document.getElementById("sending");
  const news = panel.querySelector("[data-news]");
  const folder = () => document.querySelector("select[data-folder]")?.value ?? "";

  // Taking

  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    veil.querySelector("[data-where]").textContent = `it goes into ${folder() || "the project’s folder"}`;
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event) && (depth -= 1) <= 0) { depth = 0; veil.hidden = true; }
  });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    const into = folder();
    collect.dropped(event.dataTransfer).then((found) => take(found, into));
  });
  document.addEventListener("click", (event) => {
    const choose = event.target.closest("button[data-choose]");
    if (choose) document.querySelector(`input[data-files="${choose.dataset.choose}"]`).click();
  });
  for (const input of document.querySelectorAll("input[data-files]")) {
    input.addEventListener("change", () => { take(collect.chosen(input.files), folder()); input.value = ""; });
  }
  addEventListener("beforeunload", (event) => { if (sender.open.some((item) => item.state !== "paused")) event.preventDefault(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  function take({ taken, left }, into) {
    const box = document.getElementById("left-out");
    box.replaceChildren(...left.map((text) => {
      const line = document.createElement("p");
      line.className = "notice";
      line.textContent = text;
      return line;
    }));
    for (const { file, path } of taken) {
      const inside = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
      sender.add(file, project, [into, inside].filter(Boolean).join("/"), path);
    }
    if (!taken.length && !left.length) say("There was nothing in it to send.");
  }

  // Showing

  let due = null;
  sender.addEventListener("change", ({ detail: item }) => {
    if (["done", "same"].includes(item.state)) over(item);
    due ??= setTimeout(() => { due = null; draw(); }, 100);
  });
  document.addEventListener("croft-looked", draw);

  function draw() {
    for (const box of main.querySelectorAll("[data-sending]")) {
      const item = sender.items.findLast((one) => one.id === box.dataset.sending);
      if (item) show(item, box);
    }
    for (const item of sender.items) line(item);
    all();
  }

  function words(item) {
    const percent = `${Math.floor((100 * item.sent) / (item.size || 1))} %`;
    return {
      waiting: "waits for the others",
      comparing: "comparing it with what is there …",
      sending: `${percent} of ${size(item.size)}`,
      lost: `${percent}. The connection is lost. It goes on by itself.${item.why ? ` ${item.why}` : ""}`,
      full: `${percent}. There is no room on the disk. It goes on by itself as soon as there is.`,
      checking: "all here, Croft looks into it",
      paused: `paused at ${percent}`,
      stopped: "stopped",
      failed: item.why,
      done: "all here",
      same: "The same is there already.",
    }[item.state];
  }

  // One file's progress with its buttons, in a box of the page's own.
  function show(item, box) {
    let text = box.querySelector("[data-words]");
    if (!text) { text = document.createElement("p"); text.dataset.words = ""; box.append(text); }
    const wanted = `${box.dataset.sending ? "" : `${item.path}: `}${words(item)}`;
    if (text.textContent !== wanted) text.textContent = wanted;
    text.className = { failed: "failed", lost: "needs", full: "needs", paused: "paused" }[item.state] ?? "";
    let bar = box.querySelector("progress");
    const moves = ["waiting", "comparing", "sending", "lost", "full", "checking", "paused"].includes(item.state);
    if (!bar && moves) {
      bar = document.createElement("progress");
      bar.setAttribute("aria-label", `Upload of ${item.name}`);
      box.append(bar);
    }
    if (bar) { bar.max = item.size || 1; bar.value = item.sent; bar.hidden = !moves; }
    const can = moves && item.state !== "checking";
    button(box, "pause", can, item.paused ? "Go on" : "Pause", item, () => sender.pause(item, !item.paused));
    button(box, "stop", can, "Stop", item, () => stop(item));
    button(box, "again", ["failed", "stopped"].includes(item.state), "Try again", item, () => sender.again(item));
  }

  function button(box, name, wanted, text, item, job) {
    let acts = box.querySelector(".acts");
    if (!acts) { acts = document.createElement("div"); acts.className = "acts"; box.append(acts); }
    let made = acts.querySelector(`[data-name=${name}]`);
    if (!wanted) { made?.remove(); return; }
    if (!made) {
      made = document.createElement("button");
      made.type = "button";
      made.dataset.name = name;
      made.addEventListener("click", job);
      acts.append(made);
    }
    if (made.firstChild?.data !== text) {
      const who = document.createElement("span");
      who.className = "aside";
      who.textContent = ` ${item.name}`;
      made.replaceChildren(text, who);
    }
  }

  // A line of its own, for what has no row on this page.
  function line(item) {
    if (item.gone || item.result || (item.state === "waiting" && !item.line)) return;
    const elsewhere = !auto && (document.getElementById(`s-${item.id}`) || !["failed", "lost", "full"].includes(item.state));
    if (elsewhere) { item.line?.remove(); item.line = null; return; }
    if (!item.line) {
      item.line = document.createElement("li");
      item.line.className = "stack";
      news.append(item.line);
    }
    show(item, item.line);
  }

  function all() {
    const { items, open } = sender;
    const failed = items.filter((item) => item.state === "failed").length;
    const done = items.filter((item) => item.state === "done").length;
    const same = items.filter((item) => item.state === "same").length;
    panel.hidden = !open.length && !news.children.length && !(same && items.length > FEW);
    const round = items.filter((item) => item.state !== "stopped");
    const total = round.reduce((sum, item) => sum + item.size, 0);
    const sent = round.reduce((sum, item) => sum + (open.includes(item) ? item.sent : item.size), 0);
    const bar = panel.querySelector(":scope > progress");
    bar.max = total || 1;
    bar.value = sent;
    bar.hidden = !open.length;
    const left = open.length ? remaining(sent, total) : "";
    const text = open.length
      ? [`${files(open.length)} on ${open.length === 1 ? "its" : "their"} way`, `${size(sent)} of ${size(total)}`, left].filter(Boolean).join(" · ")
      : [done && `${files(done)} sent.`, same && `${files(same)} there already, with the same content.`, failed && `${files(failed)} not sent.`].filter(Boolean).join(" ");
    panel.querySelector("[data-words]").textContent = text;
    const pause = panel.querySelector("[data-pause]");
    pause.hidden = !open.length;
    const held = open.length && open.every((item) => item.paused);
    pause.textContent = held ? "Go on" : "Pause all";
    pause.onclick = () => sender.pause(null, !held);
    speak(text);
  }

  const samples = [];
  function remaining(sent, total) {
    const now = performance.now();
    samples.push([now, sent]);
    while (samples.length > 2 && now - samples[0][0] > RATE_MS) samples.shift();
    const [[then, before]] = samples;
    const rate = now - then > 1000 ? (sent - before) / (now - then) : 0;
    return rate > 0 ? `${about((total - sent) / rate / 1000)} left` : "";
  }

  // For who hears the page: now and then, not a stream.
  let spokenAt = -SPEAK_MS;
  function speak(text) {
    if (performance.now() - spokenAt < SPEAK_MS && sender.open.length) return;
    spokenAt = performance.now();
    document.getElementById("spoken").textContent = text;
  }

  // Ending

  function stop(item) {
    sender.stop(item);
    if (!item.id) return;
    ask("DELETE", `/api/uploads/${item.id}`).then((answer) => {
      say(answer.message, async () => {
        say((await ask("PATCH", `/api/uploads/${item.id}`, { removed: false })).message);
        sender.again(item);
      });
      document.dispatchEvent(new Event("croft-look-again"));
    });
  }
  // The row's own button takes an upload away, and its Undo brings it back: what is sent follows.
  document.addEventListener("click", (event) => {
    const removed = event.target.closest("[data-remove]")?.dataset.remove.split(" ") ?? [];
    for (const item of sender.open) if (removed.includes(item.id)) sender.stop(item);
  }, true);

  // All of a file is there. Where nobody looks it over first, it is added.
  async function over(item) {
    if (item.told) return;
    item.told = true;
    if (item.state === "same") {
      await ask("DELETE", `/api/uploads/${item.id}`);
      item.result = true;
      end(item, `${item.name}: the same is there already. Nothing was sent.`);
    }
    if (!auto || item.state === "same") { document.dispatchEvent(new Event("croft-look-again")); return; }
    item.result = true;
    const answer = await ask("POST", "/api/uploads/add", { ids: [item.id] });
    const added = answer.data?.[0];
    if (added?.ok) end(item, added.message, added.url, "Open it");
    else end(item, added?.message ?? answer.message, `/p/${encodeURIComponent(project)}/drop`, "Choose what to do", true);
    document.dispatchEvent(new Event("croft-look-again"));
  }

  function end(item, text, url, label, stays = false) {
    if (!stays && sender.items.length > FEW) { item.gone = true; item.line?.remove(); draw(); return; }
    const box = item.line ?? news.appendChild(document.createElement("li"));
    const said = document.createElement("p");
    if (stays) said.className = "needs";
    said.append(text);
    if (url) {
      const link = document.createElement("a");
      link.href = url;
      link.textContent = label;
      said.append(" ", link);
    }
    box.replaceChildren(said);
    item.line = box;
    if (!stays) setTimeout(() => { item.gone = true; box.remove(); draw(); }, 8000);
    draw();
  }
}
