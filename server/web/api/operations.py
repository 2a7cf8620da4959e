"""The API of operations: events, problems, health, figures for monitoring."""

from __future__ import annotations

from typing import Any

from server import __version__
from server.disk.errors import CroftError
from server.disk.speech import say
from server.web.api.schema import ANYTHING
from server.web.api.table import TEXT, Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

STREAM = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # nginx would gather events until its buffer is full
]
RESCAN_SHOWN = 100  # addresses that its answer names


def follow_events(services: Services, call: Call) -> Answer:
    """Server-sent events; with `since`, what came after it as JSON."""
    since = call.query.get("since")
    if since is not None:
        return Answer(services.events.since(since), say("What changed."))
    last = call.header("last-event-id") or call.query.get("after", "")
    return Answer(headers=list(STREAM), body=services.events.stream(last))


def rescan(services: Services, call: Call) -> Answer:
    share = call.body.get("share") or None
    if share is not None:
        services.store.share(share)
    changes = services.store.rescan(share)
    found = [change.id for change in changes if change.kind == "asset"]
    text = say(
        "Looked at every file of {share} again: {found} were not as they were known.",
        share=share or "every share",
        found=len(found),
    )
    return Answer({"changed": found[:RESCAN_SHOWN]}, text)


def show_health(services: Services, call: Call) -> Answer:
    """200 while the server can do its work; `shares` says which are away."""
    shares = {share.name: share_state(services, share) for share in services.store.shares}
    away = [name for name, state in shares.items() if state != "here"]
    text = say("{away}: not here.", away=", ".join(away)) if away else say("All is well.")
    return Answer({"status": "degraded" if away else "ok", "version": __version__, "shares": shares}, text)


def share_state(services: Services, share: Any) -> str:
    try:
        if services.store.away(share.name):
            return "away"
    except CroftError:
        return "away"
    return "read-only" if share.read_only else "here"


def show_metrics(services: Services, call: Call) -> Answer:
    text = metrics(services)
    headers = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]
    return Answer(headers=headers, body=[text.encode()])


def metrics(services: Services) -> str:
    """The figures in Prometheus' text format."""
    counts = services.counts
    lines = [
        "# TYPE croft_requests_total counter",
        f"croft_requests_total {counts.requests}",
        "# TYPE croft_responses_total counter",
        *(f'croft_responses_total{{status="{s}"}} {n}' for s, n in sorted(counts.by_status.items())),
        "# TYPE croft_unforeseen_errors_total counter",
        f"croft_unforeseen_errors_total {counts.errors}",
        "# TYPE croft_event_streams gauge",
        f"croft_event_streams {services.events.open_streams}",
        "# TYPE croft_thread_faults_total counter",
        *(f'croft_thread_faults_total{{thread="{name}"}} {n}' for name, n in _thread_faults(services)),
        "# TYPE croft_thumbnail_helper_restarts_total counter",
        f"croft_thumbnail_helper_restarts_total {services.media.restarts}",
        "# TYPE croft_start_time_seconds gauge",
        f"croft_start_time_seconds {counts.started:.0f}",
        "# TYPE croft_problems gauge",
        f"croft_problems {services.problems.count()}",
        *(f"croft_{name} {value}" for name, value in sorted(services.farm.health.metrics().items())),
    ]
    return "\n".join(lines) + "\n"


def _thread_faults(services: Services) -> list[tuple[str, int]]:
    """How often each thread of the library stumbled and went on."""
    return [
        ("copies", services.copies.faults),
        ("dependencies", services.dependencies.faults),
        ("events", services.events.faults),
        ("history", services.history.faults),
        ("ingest", services.ingest.faults),
        ("notes", services.notes.faults),
        ("problems", services.problems.faults),
        ("sites", services.sites.faults),
        ("uploads", services.uploads.reader.faults),
    ]


ROUTES = [
    Route("GET", "/api/events", follow_events, "server-sent events: ids of what changed",
          query={"since": (TEXT, "instead of a stream: what came after this id, as JSON"),
                 "after": (TEXT, "where a stream is to begin, as Last-Event-ID")},
          headers={"Last-Event-ID": "the last event that was seen"}, data=ref("Changes"),
          media="text/event-stream", errors=(503,), tag="operations"),
    Route("POST", "/api/rescan", rescan, "look at every file again", role="supervisor",
          body=ref("Rescan"), data=ANYTHING, errors=(404,), tag="operations"),
    Route("GET", "/healthz", show_health, "whether all is well", role="", data=ref("Health"),
          tag="operations"),
    Route("GET", "/metrics", show_metrics, "figures for monitoring", media="text/plain", tag="operations"),
]  # fmt: skip
