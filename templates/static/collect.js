// What was dropped or chosen, as a flat list of {file, path}, and what of it can't be taken, with the reason.
// Folders are walked; what programs keep for themselves (.DS_Store, Thumbs.db, .blend1 …) is left out.

const pattern = (glob) => new RegExp(`^${[...glob].map((c) => (
  c === "*" ? ".*" : c === "?" ? "." : "[]-".includes(c) ? c : c.replace(/[\\^$.|+(){}/]/g, "\\$&")
)).join("")}$`);

export function collector(limits) {
  const ignored = limits.ignored.map(pattern);
  const isIgnored = (name) => ignored.some((one) => one.test(name));
  const size = (bytes) => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

  // Why a file can't be taken, as [group, words]; nothing if it can.
  function refusal(file, path) {
    const parts = path.split("/");
    if (parts.some(isIgnored)) return ["own", path];
    if (parts.slice(0, -1).some((part) => limits.closed.includes(part))) return ["closed", path];
    const name = parts.at(-1);
    const dot = name.lastIndexOf(".");
    const ending = dot > 0 ? name.slice(dot).toLowerCase() : "";
    if (ending === ".json" || (limits.kinds.length && !limits.kinds.includes(ending))) return ["kind", path];
    if (file.size > limits.max_bytes) return ["size", `${path} (${size(file.size)})`];
    return null;
  }

  function sort(found) {
    const taken = [];
    const left = { own: [], closed: [], kind: [], size: [], gone: [] };
    for (const { file, path } of found) {
      if (!file) { left.gone.push(path); continue; }
      const why = refusal(file, path);
      if (why) left[why[0]].push(why[1]);
      else taken.push({ file, path });
    }
    return { taken, left: sentences(left) };
  }

  function sentences(left) {
    const few = (paths) => paths.slice(0, 4).map((path) => path.split("/").pop()).join(", ")
      + (paths.length > 4 ? ` and ${paths.length - 4} more` : "");
    return [
      ["own", "Left out, because programs keep them for themselves"],
      ["closed", "Left out, because these folders are for renders and for what was deleted"],
      ["kind", "Not taken here, because of their kind"],
      ["size", `Too large, at most ${limits.most} can be sent; copy them to the folder instead`],
      ["gone", "Can’t be read any more"],
    ].filter(([group]) => left[group].length).map(([group, words]) => `${words}: ${few(left[group])}.`);
  }

  // The browser forgets what was dropped as soon as the event is over: entries are taken at once.
  async function dropped(transfer) {
    const items = [...transfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
    const found = [];
    for (const entry of entries) if (entry) await walk(entry, found);
    return sort(found);
  }

  async function walk(entry, found) {
    if (entry instanceof File) { found.push({ file: entry, path: entry.name }); return; }
    const path = entry.fullPath.replace(/^\/+/, "");
    if (entry.isFile) {
      const file = await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); });
      found.push({ file, path });
      return;
    }
    if (isIgnored(entry.name)) { found.push({ file: new File([], entry.name), path }); return; }
    const reader = entry.createReader();
    for (;;) { // a hundred at a time
      const some = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
      if (!some.length) return;
      for (const inner of some) await walk(inner, found);
    }
  }

  const chosen = (files) => sort([...files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  return { dropped, chosen };
}
