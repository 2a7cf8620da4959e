// Sends files in parts that can be gone on with. Nothing of the page is known here: `Sender` tells of its items
// by "change" events. An item is waiting, comparing, sending, lost, full, checking, done, same, paused, stopped
// or failed; `sent` of its `size` bytes are there.
import { ask, csrf, words } from "./act.js";

const LANES = 3; // files at once: small ones would wait for each other's answers
const TRIES = 6; // of a part that comes damaged, or of a file that changes
const LOST_MS = [500, 1000, 2000, 4000, 8000, 15000];
const FULL_MS = 10000;
const OVER = ["done", "same", "stopped", "failed"];
const sleep = (ms, signal) => new Promise((resolve) => {
  setTimeout(resolve, ms);
  signal?.addEventListener("abort", resolve, { once: true });
});
const online = () => new Promise((resolve) => { addEventListener("online", resolve, { once: true }); });

export class Sender extends EventTarget {
  constructor(digest, chunk) {
    super();
    Object.assign(this, { chunk, digest, items: [], running: 0, asked: new Map(), questions: 0 });
  }

  // Begins to send a file into a folder of a project. `path` is where it was dropped from.
  add(file, project, folder, path) {
    const { name, size } = file;
    const item = { key: this.items.length + 1, file, project, folder, path, name, size, sent: 0, id: "", stop: new AbortController() };
    this.items.push(item);
    this.set(item, "waiting");
    this.next();
  }

  // Those that still have something to send.
  get open() { return this.items.filter((item) => !OVER.includes(item.state)); }

  pause(items, paused) {
    for (const one of items) {
      one.paused = paused;
      if (paused) one.stop.abort();
      if (one.state === (paused ? "waiting" : "paused")) this.set(one, paused ? "paused" : "waiting");
    }
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
    if (OVER.includes(item.state)) this.set(item, "waiting");
    this.next();
  }

  set(item, state, why = "", sent = item.sent) {
    Object.assign(item, { state, why, sent });
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  next() {
    while (this.running < LANES) {
      const item = this.items.find((one) => one.state === "waiting" && !one.paused);
      if (!item) return;
      item.stop = new AbortController();
      this.running += 1;
      this.set(item, "sending");
      this.run(item).catch((error) => this.set(item, "failed", String(error)))
        .finally(() => { this.running -= 1; this.next(); });
    }
  }

  async run(item) {
    for (let tries = 0; tries < TRIES; tries += 1) if (await this.once(item)) return;
    this.set(item, "failed", words("damaged"));
  }

  // One go at a file. False if it has to be begun again.
  async once(item) {
    const { size, file, name, path: dropped, folder: path, project } = item;
    const view = await this.patiently(item, () => ask("POST", "/api/uploads", { project, name, path, dropped, size, modified: file.lastModified }));
    if (!view) return true;
    item.id = view.id;
    const url = `/api/uploads/${view.id}`;
    let at = view.offset;
    let sha = "";
    if (at) {
      const agrees = await this.agrees(item, url, at);
      if (agrees === null) return true;
      if (agrees === false) { // another file of the same name: what came of the first is no use
        await ask("DELETE", url);
        return false;
      }
      sha = agrees;
    } else if (size && view.there?.size === size) {
      const same = await this.isThere(item, url);
      if (same !== false) { if (same) this.set(item, "same"); return true; }
    }
    this.set(item, "sending", "", at);
    while (at < size) {
      const end = Math.min(at + this.chunk, size);
      const part = await this.read(item, at, end);
      if (!part) return true;
      const query = `offset=${at}&crc32=${part.crc}${end === size && (part.sha || sha) ? `&sha256=${part.sha || sha}` : ""}`;
      const answer = await this.patiently(item, () => this.put(item, at, `${url}?${query}`, part.bytes));
      if (!answer) return true;
      if (answer.offset !== end) return false;
      at = end;
      this.set(item, "sending", "", at);
    }
    this.checked(item, url); // not waited for: the next one may be sent
    return true;
  }

  // Asks until there is an answer: over a lost connection, a server that starts anew, a full disk.
  async patiently(item, job) {
    for (let tries = 0; !this.halted(item); tries += 1) {
      const answer = await job();
      if (this.halted(item)) return null;
      if (answer.ok || (answer.status === 409 && answer.data?.offset >= 0)) {
        if (["lost", "full"].includes(item.state)) this.set(item, "sending");
        return answer.data;
      }
      if (answer.status === 507) {
        this.set(item, "full", answer.message);
        await sleep(FULL_MS, item.stop.signal);
      } else if ([0, 429, 500, 502, 503, 504].includes(answer.status)) {
        this.set(item, "lost", answer.status ? answer.message : "");
        await Promise.race([sleep(LOST_MS[Math.min(tries, LOST_MS.length - 1)], item.stop.signal), online()]);
      } else this.set(item, "failed", answer.message);
    }
    return null;
  }

  halted(item) {
    if (item.stopped) this.set(item, "stopped");
    else if (item.paused) this.set(item, "paused");
    return item.stopped || item.paused || item.state === "failed";
  }

  // A part of the file with its checksums; null once it can't be read, or was halted.
  async read(item, start, end) {
    this.worker ??= this.start();
    const ask = this.questions += 1;
    const found = await new Promise((resolve) => {
      this.asked.set(ask, resolve);
      this.worker.postMessage({ ask, key: item.key, file: item.file, start, end });
    });
    if (found.error) this.set(item, "failed", words("unreadable"));
    return this.halted(item) ? null : found;
  }

  start() {
    const worker = new Worker(this.digest, { type: "module" });
    const give = (data) => { this.asked.get(data.ask)?.(data); this.asked.delete(data.ask); };
    worker.onmessage = ({ data }) => give(data);
    worker.onerror = () => { for (const ask of this.asked.keys()) give({ ask, error: "no worker" }); };
    return worker;
  }

  // Whether what is there is the beginning of this file: its checksum if so, false if not, null if halted.
  async agrees(item, url, offset) {
    const view = await this.patiently(item, () => ask("GET", url));
    if (!view) return null;
    let sha = "";
    let end = 0;
    for (const { at, size, crc32 } of view.chunks) {
      end = at + size;
      const part = await this.read(item, at, end);
      if (!part) return null;
      if (part.crc !== crc32) return false;
      sha = part.sha;
      this.set(item, "comparing", "", end);
    }
    return end === offset ? sha : false;
  }

  // Whether a file of the same content is there already, before a byte is sent; null if halted.
  async isThere(item, url) {
    this.set(item, "comparing");
    let part;
    for (let at = 0; at < item.size; at += this.chunk) {
      part = await this.read(item, at, Math.min(at + this.chunk, item.size));
      if (!part) return null;
    }
    let view = await this.patiently(item, () => ask("PATCH", url, { hash: part.sha }));
    for (let ms = 100; view?.there?.same === null; ms = Math.min(2 * ms, 2000)) {
      await sleep(ms, item.stop.signal);
      view = await this.patiently(item, () => ask("GET", url));
    }
    return view && Boolean(view.there?.same);
  }

  // All of it is there: the server compares and reads it, while others are sent.
  async checked(item, url) {
    this.set(item, "checking");
    let answer;
    for (let ms = 150; ; ms = Math.min(1.5 * ms, 3000)) {
      await sleep(ms);
      answer = await ask("GET", url);
      if (answer.ok ? answer.data.state !== "checking" : answer.status === 404) break;
    }
    if (this.halted(item)) return;
    if (answer.data?.state !== "receiving") { this.set(item, "done"); return; }
    // It didn't agree with its checksums.
    item.rounds = (item.rounds ?? 0) + 1;
    if (item.rounds < TRIES) this.set(item, "waiting");
    else this.set(item, "failed", words("damaged"));
    this.next();
  }

  // fetch doesn't tell how much of a body went out.
  put(item, at, url, bytes) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      item.stop.signal.addEventListener("abort", () => request.abort(), { once: true });
      request.open("PUT", url);
      request.setRequestHeader("X-Croft-CSRF", csrf);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = ({ loaded }) => this.set(item, item.state, item.why, at + Math.min(loaded, bytes.length));
      request.onloadend = () => {
        const { status, response } = request;
        resolve({ ...response, status, ok: status >= 200 && status < 300, message: response?.message || words("answered", { status }) });
      };
      request.send(bytes);
    });
  }
}
