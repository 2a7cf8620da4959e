// One event stream for all tabs of a browser: a shared worker, which plain http allows, or in the tab.
const AGAIN_MS = 3000;
const tabs = new Set();
const tell = (message) => { for (const tab of tabs) tab.postMessage(message); };
let source;
let lost = false;
let last = "";

function setLost(now) {
  if (lost && !now) tell({ reload: true });
  lost = now;
  tell({ lost });
}

function open(after) {
  source = new EventSource(`/api/events?after=${encodeURIComponent(after)}`);
  source.onopen = () => setLost(false);
  for (const name of ["ready", "change", "reload"]) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      last = lastEventId;
      if (name !== "ready") tell(name === "reload" ? { reload: true } : JSON.parse(data));
    });
  }
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) { setLost(true); return; }
    tell({ reload: true });
    setTimeout(() => { if (tabs.size) open(""); else source = null; }, AGAIN_MS + Math.random() * AGAIN_MS);
  };
}

self.croftStream = {
  // `seen` is the newest change that the tab's page knows.
  join(tab, seen) {
    tabs.add(tab);
    tab.postMessage({ lost });
    if (!source) open(seen);
    else if (seen !== last) tab.postMessage({ reload: true });
  },
  leave(tab) {
    tabs.delete(tab);
    if (tabs.size) return;
    source?.close();
    source = null;
  },
};
self.onconnect = ({ ports: [tab] }) => {
  tab.onmessage = ({ data }) => (data === null ? self.croftStream.leave(tab) : self.croftStream.join(tab, data));
};
