// Checksums of files, worked out beside the page: CRC-32 of each part (as zlib and PNG have it) and SHA-256
// of the whole (FIPS 180-4). Browsers have the latter only on https, which a school's network has not.
// As a worker it answers {key, op: "part", file, start, end, first} with {key, start, crc, bytes, sha}.

const TABLES = (() => {
  // Eight tables, so that eight bytes are taken at once.
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let n = 0; n < 256; n += 1) {
    let c = n;
    for (let k = 0; k < 8; k += 1) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    tables[0][n] = c;
  }
  for (let n = 0; n < 256; n += 1) {
    for (let k = 1; k < 8; k += 1) {
      const c = tables[k - 1][n];
      tables[k][n] = (c >>> 8) ^ tables[0][c & 255];
    }
  }
  return tables;
})();

// The CRC-32 of some bytes, as eight hexadecimal digits.
export function crc32(bytes) {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let c = -1;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    const low = c ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    c = t7[low & 255] ^ t6[(low >>> 8) & 255] ^ t5[(low >>> 16) & 255] ^ t4[low >>> 24]
      ^ t3[bytes[at + 4]] ^ t2[bytes[at + 5]] ^ t1[bytes[at + 6]] ^ t0[bytes[at + 7]];
  }
  for (; at < bytes.length; at += 1) c = (c >>> 8) ^ t0[(c ^ bytes[at]) & 255];
  return ((c ^ -1) >>> 0).toString(16).padStart(8, "0");
}

// The first 32 bits of the fractional parts of the roots of the first primes: FIPS 180-4, 4.2.2 and 5.3.3.
const primes = [];
for (let n = 2; primes.length < 64; n += 1) if (primes.every((p) => n % p)) primes.push(n);
const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const K = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
const H = Int32Array.from(primes.slice(0, 8), (p) => fraction(Math.sqrt(p)));

export class Sha256 {
  constructor() {
    this.state = H.slice();
    this.size = 0; // bytes taken so far
    this.rest = new Uint8Array(64);
    this.words = new Int32Array(64);
  }

  update(bytes) {
    let at = 0;
    const held = this.size % 64;
    this.size += bytes.length;
    if (held) {
      at = Math.min(64 - held, bytes.length);
      this.rest.set(bytes.subarray(0, at), held);
      if (held + at < 64) return this;
      this.blocks(this.rest, 0, 64);
    }
    const whole = bytes.length - ((bytes.length - at) % 64);
    this.blocks(bytes, at, whole);
    this.rest.set(bytes.subarray(whole));
    return this;
  }

  blocks(bytes, from, to) {
    const w = this.words;
    const h = this.state;
    for (let at = from; at < to; at += 64) {
      for (let n = 0, b = at; n < 16; n += 1, b += 4) {
        w[n] = (bytes[b] << 24) | (bytes[b + 1] << 16) | (bytes[b + 2] << 8) | bytes[b + 3];
      }
      for (let n = 16; n < 64; n += 1) {
        const x = w[n - 15];
        const y = w[n - 2];
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[n] = (w[n - 16] + s0 + w[n - 7] + s1) | 0;
      }
      let a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], i = h[7];
      for (let n = 0; n < 64; n += 1) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (i + s1 + ((e & f) ^ (~e & g)) + K[n] + w[n]) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        i = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
      }
      h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += i;
    }
  }

  // The digest as 64 hexadecimal digits. Nothing can be added afterwards.
  hex() {
    const size = this.size;
    const end = new Uint8Array(((size % 64) < 56 ? 64 : 128) - (size % 64));
    end[0] = 0x80;
    const view = new DataView(end.buffer);
    view.setUint32(end.length - 8, Math.floor(size / 2 ** 29));
    view.setUint32(end.length - 4, (size * 8) >>> 0);
    this.update(end);
    return [...this.state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  const wholes = new Map(); // key -> the digest of what was read so far, without a gap
  self.onmessage = async ({ data: { ask, key, op, file, start, end } }) => {
    try {
      if (op === "forget") { wholes.delete(key); return; }
      const bytes = new Uint8Array(await file.slice(start, end).arrayBuffer());
      if (bytes.length !== end - start) throw new Error("the file became shorter");
      if (start === 0) wholes.set(key, new Sha256());
      const whole = wholes.get(key);
      let sha = "";
      if (whole?.size === start) {
        whole.update(bytes);
        if (end === file.size) { sha = whole.hex(); wholes.delete(key); }
      }
      self.postMessage({ ask, crc: crc32(bytes), sha, bytes }, [bytes.buffer]);
    } catch (error) {
      self.postMessage({ ask, error: String(error?.message ?? error) });
    }
  };
}
