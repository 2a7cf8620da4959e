// Sends files in parts that can be gone on with. Nothing of the page is known here: `Sender` tells of its
// items by "change" events. An item is waiting, comparing, sending, lost, full, checking, done, same, paused,
// stopped or failed; `sent` of its `size` bytes are there.
import { ask } from "./act.js";

const LANES = 3; // files at once: small ones would wait for each other's answers
const TRIES = 6; // of a part that comes damaged, or of a file that changes
const LOST_MS = [500, 1000, 2000, 4000, 8000, 15000];
const FULL_MS = 10000;
const DAMAGED = "It arrived damaged again and again. Try it once more, or copy it to the folder.";
const csrf = document.querySelector('meta[name="croft-csrf"]')?.content ?? "";
const sleep = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

export class Sender extends EventTarget {
  constructor(digest, limits) {
    super();
    this.items = [];
    this.chunk = limits.chunk_bytes;
    this.paused = false;
    this.digest = digest;
    this.asked = new Map();
    this.checking = new Map(); // id -> who waits for it to be read
    this.running = 0;
    this.counter = 0;
  }

  // Begins to send a file into a folder of a project. `path` is where it was dropped from.
  add(file, project, folder, path) {
    this.counter += 1;
    const item = {
      key: this.counter, file, project, folder, path, name: file.name, size: file.size, sent: 0, id: "", state: "waiting",
      why: "", stop: new AbortController(), paused: false,
    };
    this.items.push(item);
    this.tell(item);
    this.next();
    return item;
  }

  // Those that still have something to send.
  get open() {
    return this.items.filter((item) => !["done", "same", "stopped", "failed"].includes(item.state));
  }

  pause(item, paused = true) {
    for (const one of item ? [item] : this.open) {
      one.paused = paused;
      if (paused) {
        one.stop.abort();
        if (one.state === "waiting") this.set(one, "paused");
      } else if (one.state === "paused") {
        this.set(one, "waiting");
      }
    }
    if (!item) this.paused = paused;
    this.next();
  }

  // Ends it for good; what came stays there until its person removes it.
  stop(item) {
    item.stopped = true;
    item.stop.abort();
    if (["waiting", "paused"].includes(item.state)) this.set(item, "stopped");
  }

  again(item) {
    item.stopped = item.paused = false;
    if (!this.open.includes(item)) this.set(item, "waiting");
    this.next();
  }

  tell(item) { this.dispatchEvent(new CustomEvent("change", { detail: item })); }

  set(item, state, why = "") {
    item.state = state;
    item.why = why;
    this.tell(item);
  }

  next() {
    while (this.running < LANES) {
      const item = this.items.find((one) => one.state === "waiting" && !one.paused);
      if (!item) return;
      item.stop = new AbortController();
      this.running += 1;
      this.set(item, "sending");
      this.run(item).catch((error) => this.set(item, "failed", String(error?.message ?? error)))
        .finally(() => { this.running -= 1; this.next(); });
    }
  }

  async run(item) {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const over = await this.once(item);
      if (over) return;
    }
    this.set(item, "failed", DAMAGED);
  }

  // One go at a file. False if it has to be begun again.
  async once(item) {
    const view = await this.patiently(item, () => ask("POST", "/api/uploads", {
      project: item.project, name: item.name, path: item.folder, dropped: item.path, size: item.size, modified: item.file.lastModified,
    }));
    if (!view) return true;
    item.id = view.id;
    this.tell(item);
    let at = view.offset;
    let sha = "";
    if (at) {
      const agrees = await this.agrees(item, at);
      if (agrees === null) return true;
      if (!agrees) { // another file of the same name: what came of the first is no use
        await ask("DELETE", `/api/uploads/${item.id}`);
        return false;
      }
      sha = agrees.sha;
    } else if (view.there && view.there.size === item.size && item.size) {
      const same = await this.isThere(item);
      if (same === null) return true;
      if (same) { this.set(item, "same"); return true; }
    }
    item.sent = at;
    this.tell(item);
    while (at < item.size) {
      const end = Math.min(at + this.chunk, item.size);
      const part = await this.read(item, at, end);
      if (!part) return true;
      sha = part.sha || sha;
      const query = `offset=${at}&crc32=${part.crc}${end === item.size && sha ? `&sha256=${sha}` : ""}`;
      const answer = await this.patiently(item, () => this.put(item, at, `/api/uploads/${item.id}?${query}`, part.bytes), true);
      if (!answer) return true;
      if (answer.offset !== end) return false;
      at = end;
      item.sent = at;
      this.tell(item);
    }
    this.checked(item); // not waited for: the next one may be sent
    return true;
  }

  // Asks until there is an answer: over a lost connection, a server that starts anew, a full disk.
  async patiently(item, job, misfits = false) {
    for (let tries = 0; ; tries += 1) {
      if (this.halted(item)) return null;
      const answer = await job();
      if (this.halted(item)) return null;
      if (answer.ok || (misfits && answer.status === 409 && answer.data)) {
        if (item.state !== "sending") this.set(item, "sending");
        return answer.data;
      }
      if (answer.status === 507) {
        this.set(item, "full", answer.message);
        await sleep(FULL_MS, item.stop.signal);
      } else if ([0, 429, 500, 502, 503, 504].includes(answer.status)) {
        this.set(item, "lost", answer.status ? answer.message : "");
        await Promise.race([sleep(LOST_MS[Math.min(tries, LOST_MS.length - 1)], item.stop.signal), online()]);
      } else {
        this.set(item, "failed", answer.message);
        return null;
      }
    }
  }

  halted(item) {
    if (item.stopped) this.set(item, "stopped");
    else if (item.paused) this.set(item, "paused");
    else return item.state === "failed";
    return true;
  }

  // A part of the file with its checksums; null once it can't be read, or was halted.
  async read(item, start, end) {
    const found = await this.ask({ key: item.key, op: "part", file: item.file, start, end });
    if (found.error) {
      this.set(item, "failed", "It can’t be read any more: it was changed or taken away. Drop it once more.");
      return null;
    }
    return this.halted(item) ? null : found;
  }

  ask(question) {
    return new Promise((resolve) => {
      this.worker ??= this.start();
      this.askNumber = (this.askNumber ?? 0) + 1;
      this.asked.set(this.askNumber, resolve);
      this.worker.postMessage({ ...question, ask: this.askNumber });
    });
  }

  start() {
    const worker = new Worker(this.digest, { type: "module" });
    worker.onmessage = ({ data }) => { this.asked.get(data.ask)?.(data); this.asked.delete(data.ask); };
    worker.onerror = () => {
      for (const resolve of this.asked.values()) resolve({ error: "no worker" });
      this.asked.clear();
    };
    return worker;
  }

  // Whether what is there is the beginning of this file: {sha} if so, false if not, null if halted.
  async agrees(item, offset) {
    const view = await this.patiently(item, () => ask("GET", `/api/uploads/${item.id}`));
    if (!view) return null;
    this.set(item, "comparing");
    let sha = "";
    let end = 0;
    for (const { at, size, crc32 } of view.chunks) {
      const part = await this.read(item, at, at + size);
      if (!part) return null;
      if (part.crc !== crc32) return false;
      sha = part.sha;
      end = at + size;
      item.sent = end;
      this.tell(item);
    }
    this.set(item, "sending");
    return end === offset ? { sha } : false;
  }

  // Whether a file of the same content is there already, before a byte is sent.
  async isThere(item) {
    this.set(item, "comparing");
    let sha = "";
    for (let at = 0; at < item.size; at += this.chunk) {
      const part = await this.read(item, at, Math.min(at + this.chunk, item.size));
      if (!part) return null;
      sha = part.sha;
    }
    let view = await this.patiently(item, () => ask("PATCH", `/api/uploads/${item.id}`, { hash: sha }));
    for (let ms = 100; view && view.there && view.there.same === null; ms = Math.min(2 * ms, 2000)) {
      this.set(item, "comparing");
      await sleep(ms, item.stop.signal);
      view = await this.patiently(item, () => ask("GET", `/api/uploads/${item.id}`));
    }
    if (!view) return null;
    return Boolean(view.there?.same);
  }

  // All of it is there: the server compares and reads it, while others are sent.
  async checked(item) {
    this.set(item, "checking");
    const view = await new Promise((resolve) => { this.checking.set(item.id, resolve); this.look(); });
    if (this.halted(item)) return;
    if (view?.state === "receiving") { // it didn't agree with its checksums
      item.rounds = (item.rounds ?? 0) + 1;
      if (item.rounds < TRIES) { this.set(item, "waiting"); this.next(); return; }
      this.set(item, "failed", DAMAGED);
      return;
    }
    item.view = view;
    this.set(item, "done");
  }

  // Asks for all that is being read at once, as long as there is any.
  async look() {
    if (this.looking) return;
    this.looking = true;
    for (let ms = 150; this.checking.size; ms = Math.min(2 * ms, 1500)) {
      await sleep(ms);
      const found = await this.list();
      for (const [id, resolve] of found ? this.checking : []) {
        const view = found.get(id);
        if (view?.state === "checking") continue;
        this.checking.delete(id);
        resolve(view);
        ms = 150;
      }
    }
    this.looking = false;
  }

  // Everything of this person's that waits, by id; nothing while the server doesn't answer.
  async list() {
    const found = new Map();
    for (let cursor = ""; cursor !== null;) {
      const answer = await ask("GET", `/api/uploads?limit=1000&cursor=${cursor}`);
      if (!answer.ok) return null;
      for (const view of answer.data) found.set(view.id, view);
      cursor = answer.next ?? null;
    }
    return found;
  }

  put(item, at, url, bytes) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const abort = () => request.abort();
      item.stop.signal.addEventListener("abort", abort, { once: true });
      request.open("PUT", url);
      request.setRequestHeader("X-Croft-CSRF", csrf);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = (event) => { item.sent = at + Math.min(event.loaded, bytes.length); this.tell(item); };
      request.onloadend = () => {
        item.stop.signal.removeEventListener("abort", abort);
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* the status says enough */ }
        const { status } = request;
        resolve({ ok: status >= 200 && status < 300, status, data: answer.data, message: answer.message || `The server answered ${status}.` });
      };
      request.send(bytes);
    });
  }
}

const online = () => new Promise((resolve) => { addEventListener("online", resolve, { once: true }); });
