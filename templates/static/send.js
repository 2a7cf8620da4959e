// Sends files in parts that can be gone on with, and tells of its items by "change" events.
import { ask } from "./act.js";

const LANES = 3;
const TRIES = 6;
const FULL_MS = 10000;
const OVER = ["done", "same", "needs", "stopped", "failed"];
const sleep = (ms, signal) => new Promise((resolve) => {
  setTimeout(resolve, ms);
  signal?.addEventListener("abort", resolve);
});

// As zlib has it. A browser has its own checksums only on https, which a school's network has not.
const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
export function crc32(bytes) {
  let c = -1;
  for (let at = 0; at < bytes.length; at += 1) c = (c >>> 8) ^ TABLE[(c ^ bytes[at]) & 255];
  return (~c >>> 0).toString(16).padStart(8, "0");
}

export class Sender extends EventTarget {
  constructor(chunk) {
    super();
    Object.assign(this, { chunk, items: [], running: 0 });
  }

  add(file, project, folder, path) {
    const { name, size } = file;
    const item = { file, project, folder, path, name, size, sent: 0, tries: 0, id: "", stop: new AbortController() };
    this.items.push(item);
    this.set(item, "waiting");
    this.next();
  }

  get open() { return this.items.filter((item) => !OVER.includes(item.state)); }

  pause(items, paused) {
    for (const one of items) {
      one.paused = paused;
      if (paused) one.stop.abort();
      if (one.state === (paused ? "waiting" : "paused")) this.set(one, paused ? "paused" : "waiting");
    }
    this.next();
  }

  stop(item) {
    item.stopped = true;
    item.stop.abort();
    if (["waiting", "paused"].includes(item.state)) this.set(item, "stopped");
  }

  again(item) {
    Object.assign(item, { stopped: false, paused: false, tries: 0 });
    if (OVER.includes(item.state)) this.set(item, "waiting");
    this.next();
  }

  set(item, state, why = "", sent = item.sent) {
    Object.assign(item, { state, why, sent });
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  async next() {
    const item = this.running < LANES && this.items.find((one) => one.state === "waiting");
    if (!item) return;
    item.stop = new AbortController();
    this.running += 1;
    this.set(item, "sending");
    this.next();
    await this.run(item).catch((error) => this.set(item, "failed", String(error)));
    this.running -= 1;
    this.next();
  }

  damaged(item) {
    item.tries += 1;
    if (item.tries < TRIES) this.set(item, "waiting");
    else this.set(item, "failed", "damaged");
    this.next();
  }

  async run(item) {
    const { size, file, name, path: dropped, folder: path, project } = item;
    const view = await this.patiently(item, () => ask("POST", "/api/uploads", { project, name, path, dropped, size, modified: file.lastModified }));
    if (!view) return;
    item.id = view.id;
    const url = `/api/uploads/${view.id}`;
    const sameSize = size && view.there?.size === size;
    if (view.offset || sameSize) {
      const agrees = await this.agrees(item, `${url}?there=${!view.offset}`, view.offset || size);
      if (agrees && !view.offset) this.set(item, "same");
      if (agrees === null || item.state === "same") return;
      if (!agrees && view.offset) {
        await ask("DELETE", url);
        this.damaged(item);
        return;
      }
    }
    for (let at = view.offset; at < size;) {
      this.set(item, "sending", "", at);
      const end = Math.min(at + this.chunk, size);
      const part = await this.read(item, at, end);
      const answer = part && await this.patiently(item, () => ask("PUT", `${url}?offset=${at}&crc32=${part.crc}`, part.bytes, { signal: item.stop.signal }));
      if (!answer) return;
      at = end;
      if (answer.offset !== at) { this.damaged(item); return; }
    }
    this.checked(item, url);
  }

  async agrees(item, url, until) {
    let parts = null;
    for (let ms = 100; !parts; ms = Math.min(2 * ms, 2000)) {
      this.set(item, "comparing");
      const view = await this.patiently(item, () => ask("GET", url));
      if (!view) return null;
      parts = url.endsWith("true") ? view.there_chunks : view.chunks;
      if (!parts) await sleep(ms, item.stop.signal);
    }
    let end = 0;
    for (const { at, size, crc32 } of parts) {
      end = at + size;
      const part = await this.read(item, at, end);
      if (!part) return null;
      if (part.crc !== crc32) return false;
    }
    return end === until;
  }

  async patiently(item, job) {
    for (let ms = 500; !this.halted(item); ms = Math.min(2 * ms, 15000)) {
      const answer = await job();
      if (this.halted(item)) return null;
      if (answer.ok || (answer.status === 409 && answer.data?.offset >= 0)) {
        if (["lost", "full"].includes(item.state)) this.set(item, "sending");
        return answer.data;
      }
      const lost = [0, 429, 500, 502, 503, 504].includes(answer.status);
      this.set(item, answer.status === 507 ? "full" : lost ? "lost" : "failed", answer.status ? answer.message : "");
      if (lost) await Promise.race([sleep(ms, item.stop.signal), new Promise((go) => { addEventListener("online", go, { once: true }); })]);
      else if (item.state === "full") await sleep(FULL_MS, item.stop.signal);
    }
    return null;
  }

  halted(item) {
    if (item.stopped || item.paused) this.set(item, item.stopped ? "stopped" : "paused");
    return item.stopped || item.paused || item.state === "failed";
  }

  async read(item, start, end) {
    const bytes = new Uint8Array(await item.file.slice(start, end).arrayBuffer().catch(() => []));
    if (bytes.length !== end - start) this.set(item, "failed", "unreadable");
    return this.halted(item) ? null : { bytes, crc: crc32(bytes) };
  }

  async checked(item, url) {
    this.set(item, "checking", "", item.size);
    let state = "checking";
    for (let ms = 150; state === "checking"; ms = Math.min(1.5 * ms, 3000)) {
      await sleep(ms);
      const answer = await ask("GET", url);
      if (answer.ok || answer.status === 404) state = answer.data?.state;
    }
    if (this.halted(item)) return;
    if (state === "receiving") this.damaged(item);
    else this.set(item, "done");
  }
}
