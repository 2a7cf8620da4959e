// A worker: CRC-32 (as zlib has it) of a part of a file, {ask, file, start, end} → {ask, crc, bytes}.
const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

export function crc32(bytes) {
  let c = -1;
  for (let at = 0; at < bytes.length; at += 1) c = (c >>> 8) ^ TABLE[(c ^ bytes[at]) & 255];
  return (~c >>> 0).toString(16).padStart(8, "0");
}

globalThis.onmessage = async ({ data: { ask, file, start, end } }) => {
  const bytes = new Uint8Array(await file.slice(start, end).arrayBuffer().catch(() => []));
  if (bytes.length !== end - start) postMessage({ ask, error: true });
  else postMessage({ ask, crc: crc32(bytes), bytes }, [bytes.buffer]);
};
