// Checksums of files, worked out beside the page: CRC-32 of each part (as zlib has it) and SHA-256 of the whole
// (FIPS 180-4). Browsers have the latter only on https, which a school's network has not. As a worker it answers
// {ask, key, file, start, end} with {ask, crc, sha, bytes}; sha is there once all of the file was read in order.

const range = (count) => [...Array(count).keys()];
const CRC = Int32Array.from(range(256), (n) => range(8).reduce((c) => (c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1), n));
const hex = (word) => (word >>> 0).toString(16).padStart(8, "0");

export function crc32(bytes) {
  let c = -1;
  for (let at = 0; at < bytes.length; at += 1) c = (c >>> 8) ^ CRC[(c ^ bytes[at]) & 255];
  return hex(~c);
}

// The first 32 bits of the fractional parts of the roots of the first primes: 4.2.2 and 5.3.3 there.
const PRIMES = range(312).filter((n) => n > 1 && range(n).every((p) => p < 2 || n % p)).slice(0, 64);
const roots = (root) => Int32Array.from(PRIMES, (p) => ((root(p) % 1) * 2 ** 32) | 0);
const K = roots(Math.cbrt);
const r = (x, n) => (x >>> n) | (x << (32 - n));
const w = new Int32Array(64);

export class Sha256 {
  constructor() {
    this.state = roots(Math.sqrt).slice(0, 8);
    this.size = 0; // bytes taken so far
    this.rest = new Uint8Array(0); // fewer than a block of 64
  }

  update(bytes) {
    let all = bytes;
    if (this.rest.length) {
      all = new Uint8Array(this.rest.length + bytes.length);
      all.set(this.rest);
      all.set(bytes, this.rest.length);
    }
    this.size += bytes.length;
    const whole = all.length - (all.length % 64);
    const view = new DataView(all.buffer, all.byteOffset);
    for (let at = 0; at < whole; at += 64) this.block(view, at);
    this.rest = all.slice(whole);
    return this;
  }

  block(view, at) {
    const { state: t } = this;
    let a = t[0], b = t[1], c = t[2], d = t[3], e = t[4], f = t[5], g = t[6], h = t[7];
    for (let n = 0; n < 16; n += 1) w[n] = view.getInt32(at + 4 * n);
    for (let n = 16; n < 64; n += 1) {
      const x = w[n - 15], y = w[n - 2];
      w[n] = w[n - 16] + w[n - 7] + (r(x, 7) ^ r(x, 18) ^ (x >>> 3)) + (r(y, 17) ^ r(y, 19) ^ (y >>> 10));
    }
    for (let n = 0; n < 64; n += 1) {
      const one = (h + (r(e, 6) ^ r(e, 11) ^ r(e, 25)) + ((e & f) ^ (~e & g)) + K[n] + w[n]) | 0;
      const two = ((r(a, 2) ^ r(a, 13) ^ r(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    t[0] += a; t[1] += b; t[2] += c; t[3] += d; t[4] += e; t[5] += f; t[6] += g; t[7] += h;
  }

  // The digest as 64 hexadecimal digits. Nothing can be added afterwards.
  hex() {
    const end = new DataView(new ArrayBuffer(this.rest.length < 56 ? 64 - this.rest.length : 128 - this.rest.length));
    end.setUint8(0, 0x80);
    end.setBigUint64(end.byteLength - 8, BigInt(this.size) * 8n);
    this.update(new Uint8Array(end.buffer));
    return [...this.state].map(hex).join("");
  }
}

const wholes = new Map(); // key -> the digest of what was read so far, without a gap
globalThis.onmessage = async ({ data: { ask, key, file, start, end } }) => {
  try {
    const bytes = new Uint8Array(await file.slice(start, end).arrayBuffer());
    if (bytes.length !== end - start) throw new Error("the file became shorter");
    if (!start) wholes.set(key, new Sha256());
    const whole = wholes.get(key);
    const sha = whole?.size === start && whole.update(bytes).size === file.size ? whole.hex() : "";
    if (end === file.size) wholes.delete(key);
    postMessage({ ask, crc: crc32(bytes), sha, bytes }, [bytes.buffer]);
  } catch (error) {
    postMessage({ ask, error: String(error) });
  }
};
