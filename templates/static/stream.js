// A shared worker: one event stream for all tabs of this browser. It needs no secure context, so it works
// on http://nas. It tells its tabs {kind, ids}, {reload} and {lost}; when the last tab closes, it ends.
// Where the server's streams are all taken, it asks every few seconds instead.
const tabs = new Set();
const tell = (message) => { for (const tab of tabs) tab.postMessage(message); };
const POLL_MS = 3000;
let source = null;
let lost = false;
let wait = 1000;
let last = "";

function setLost(now) {
  // What happened while the line was down may be older than the server remembers: look again at all.
  if (lost && !now) tell({ reload: true });
  lost = now;
  tell({ lost });
}

function open() {
  source = new EventSource("/api/events");
  source.onopen = () => { wait = 1000; setLost(false); };
  source.addEventListener("change", (event) => { last = event.lastEventId; tell(JSON.parse(event.data)); });
  source.addEventListener("reload", (event) => { last = event.lastEventId; tell({ reload: true }); });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) poll();
    else setLost(true);
  };
}

// The stream was refused: one question now and then, and the stream tried again later.
async function poll() {
  let asked = false;
  try {
    const response = await fetch(`/api/events?since=${encodeURIComponent(last)}`, { headers: { Accept: "application/json" } });
    if (response.status === 401) {
      // Signed out: the tabs look again, and find the sign-in page.
      source = null;
      tell({ reload: true });
      return;
    }
    if (response.ok && response.headers.get("Content-Type")?.includes("json")) {
      asked = true;
      const { data } = await response.json();
      setLost(false);
      if (data.reload) tell({ reload: true });
      for (const change of data.changes) tell(change);
      last = String(data.id);
    }
  } catch { /* not reachable: said below */ }
  if (!asked) setLost(true);
  wait = asked ? POLL_MS : Math.min(wait * 2, 30000);
  setTimeout(Math.random() < 0.2 || !asked ? open : poll, wait);
}

onconnect = (event) => {
  const tab = event.ports[0];
  tabs.add(tab);
  tab.onmessage = (message) => { if (message.data === "bye") tabs.delete(tab); };
  tab.postMessage({ lost });
  if (!source) open();
};
