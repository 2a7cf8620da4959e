// Files dropped on a page that takes them (main[data-drop] names the folder's address), or chosen with the
// button, are uploaded one after the other, with progress; a name that is taken is never overwritten.
const main = document.querySelector("main[data-drop]");
const csrf = document.querySelector('meta[name="croft-csrf"]')?.content ?? "";

if (main) {
  const veil = document.getElementById("drop");
  const input = document.querySelector("input[data-files]");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const folder = () => document.querySelector("select[data-folder]")?.value ?? main.dataset.drop;
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    veil.querySelector("[data-where]").textContent = folder().split("::").pop();
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
    send([...event.dataTransfer.files]);
  });
  document.querySelector("button[data-choose]")?.addEventListener("click", () => input.click());
  input?.addEventListener("change", () => { send([...input.files]); input.value = ""; });

  let tail = Promise.resolve();
  let open = 0;
  addEventListener("beforeunload", (event) => { if (open) event.preventDefault(); });
  function send(files) {
    const list = document.getElementById("uploads");
    for (const file of files) {
      const into = folder();
      const item = document.createElement("li");
      item.className = "stack panel";
      const line = document.createElement("p");
      const bar = document.createElement("progress");
      bar.max = file.size || 1;
      bar.value = 0;
      bar.setAttribute("aria-label", `Upload of ${file.name}`);
      line.textContent = `${file.name}: waiting for the others`;
      const stop = document.createElement("button");
      stop.textContent = "Stop";
      stop.setAttribute("aria-label", `Stop the upload of ${file.name}`);
      const stopped = new AbortController();
      stop.addEventListener("click", () => stopped.abort());
      item.append(line, bar, stop);
      list.append(item);
      open += 1;
      tail = tail.then(() => upload(file, into, item, line, bar, stop, stopped.signal)).finally(() => { open -= 1; });
    }
  }

  function upload(file, into, item, line, bar, stop, stopped) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const address = `${into.replace(/\/$/, "")}/${file.name}`;
      const failed = (why) => {
        line.textContent = `${file.name}: ${why}`;
        line.className = "failed";
        bar.remove();
        stop.remove();
        const again = document.createElement("button");
        again.textContent = "Try again";
        again.addEventListener("click", () => { item.remove(); send([file]); });
        item.append(again);
        resolve();
      };
      // Stopped while it still waited for the others, or in its midst: either way nothing of it is kept.
      const end = () => { request.abort(); failed("stopped, nothing of it was kept."); };
      if (stopped.aborted) { end(); return; }
      stopped.addEventListener("abort", end);
      request.open("PUT", `/api/files/${address.split("/").map(encodeURIComponent).join("/")}`);
      request.setRequestHeader("X-Croft-CSRF", csrf);
      request.upload.onprogress = (event) => {
        bar.value = event.loaded;
        line.textContent = `${file.name}: ${Math.floor((100 * event.loaded) / (event.total || 1))} %`;
      };
      request.onerror = () => failed("the connection was lost, nothing of it was kept.");
      request.onload = () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* the status says enough */ }
        if (request.status >= 300) { failed(answer.message || `the server answered ${request.status}.`); return; }
        line.textContent = `${file.name} is there.`;
        bar.remove();
        stop.remove();
        setTimeout(() => item.remove(), 8000);
        document.dispatchEvent(new Event("croft-look-again"));
        resolve();
      };
      request.send(file);
    });
  }
}
