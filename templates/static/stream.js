// One event stream for all tabs of a browser, as a shared worker, which plain http allows; where all streams are
// taken it asks now and then. A browser without shared workers loads it into the tab.
const POLL_MS = 3000;
const tabs = new Set();
const tell = (message) => { for (const tab of tabs) tab.postMessage(message); };
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
    if (source?.readyState === EventSource.CLOSED) poll();
    else setLost(true);
  };
}

// The stream was refused: one question now and then, and the stream tried again later.
async function poll() {
  if (!tabs.size) return;
  const response = await fetch(`/api/events?since=${encodeURIComponent(last)}`, { headers: { Accept: "application/json" } }).catch(() => ({}));
  if (response.status === 401) {
    // Signed out: the tabs look again, and find the sign-in page.
    source = null;
    tell({ reload: true });
    return;
  }
  const answer = response.ok ? await response.json().catch(() => null) : null;
  setLost(!answer);
  if (answer?.data.reload) tell({ reload: true });
  for (const change of answer?.data.changes ?? []) tell(change);
  last = answer ? String(answer.data.id) : last;
  wait = answer ? POLL_MS : Math.min(wait * 2, 30000);
  setTimeout(Math.random() < 0.2 || !answer ? open : poll, wait);
}

self.croftStream = {
  join(tab) {
    tabs.add(tab);
    tab.postMessage({ lost });
    if (!source) open();
  },
  leave(tab) {
    tabs.delete(tab);
    if (tabs.size) return;
    source?.close();
    source = null;
  },
};
self.onconnect = ({ ports: [tab] }) => {
  tab.onmessage = () => self.croftStream.leave(tab);
  self.croftStream.join(tab);
};
