"""Events: gathered, caught up, capped, and never in anybody's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from server.disk.errors import Busy
from server.disk.records import Change
from server.web.events import IDS, RING, Events


@pytest.fixture
def events() -> Iterator[Events]:
    made = Events(streams=2, gather_s=0.01, heartbeat_s=0.2)
    yield made
    made.close()


def until(stream: Iterator[bytes], word: str) -> str:
    """Read the stream until an event of this name has come; that event."""
    for _ in range(100):
        text = next(stream).decode()
        for part in text.split("\n\n"):
            if f"event: {word}" in part:
                return part
    raise AssertionError(f"no {word}")


def field(event: str, name: str) -> str:
    return next(line.partition(": ")[2] for line in event.splitlines() if line.startswith(name + ":"))


def test_a_change_reaches_a_stream_gathered(events: Events) -> None:
    stream = iter(events.stream())
    until(stream, "ready")
    with events._changed:  # all within one gathering
        events.notify([Change("job", "1"), Change("job", "2"), Change("job", "1"), Change("asset", "a")])
    got = [json.loads(field(until(stream, "change"), "data"))]
    assert got[0] == {"kind": "job", "ids": ["1", "2"]}


def test_who_comes_back_gets_what_was_missed_once(events: Events) -> None:
    stream = iter(events.stream())
    last = field(until(stream, "ready"), "id")
    stream.close()  # type: ignore[attr-defined]
    events.notify([Change("job", "7")])
    again = iter(events.stream(last))
    event = until(again, "change")
    assert json.loads(field(event, "data"))["ids"] == ["7"]
    assert events.since(field(event, "id"))["changes"] == []


@pytest.mark.parametrize("last", ["other-3", "nonsense", "", "%s-999", "%s--1", "%s-1e3", "\n"])
def test_an_unknown_place_means_reload(events: Events, last: str) -> None:
    if "%s" in last:
        last = last % events.last_id.partition("-")[0]
    assert events.since(last)["reload"] is True
    if last:
        assert "event: reload" in next(iter(events.stream(last))).decode()


def test_a_ring_that_went_round_means_reload(events: Events) -> None:
    begin = events.last_id
    for n in range(RING + 5):
        events._publish({"job": {str(n): None}})
    assert events.since(begin)["reload"] is True
    latest = events.last_id
    events._publish({"job": {"x": None}})
    assert events.since(latest)["changes"] == [{"kind": "job", "ids": ["x"]}]


def test_a_stream_that_is_too_slow_reloads(events: Events) -> None:
    stream = iter(events.stream())
    until(stream, "ready")
    for n in range(RING + 5):
        events._publish({"job": {str(n): None}})
    assert "event: reload" in next(stream).decode()
    events._publish({"job": {"after": None}})
    assert "after" in next(stream).decode()


def test_a_flood_is_one_reload(events: Events) -> None:
    begin = events.last_id
    events._publish({"asset": {str(n): None for n in range(IDS + 1)}})
    found = events.since(begin)
    assert found["reload"] is True
    assert found["changes"] == []


def test_streams_are_capped_and_their_places_come_back(events: Events) -> None:
    first, second = events.stream(), events.stream()
    with pytest.raises(Busy):
        events.stream()
    first.close()  # type: ignore[attr-defined]
    first.close()  # type: ignore[attr-defined]
    third = events.stream()
    with pytest.raises(Busy):
        events.stream()
    del second, third
    assert events.open_streams == 0


def test_silence_has_a_heartbeat(events: Events) -> None:
    stream = iter(events.stream())
    next(stream)
    assert next(stream) == b": still here\n\n"


def test_closing_ends_streams_that_wait(events: Events) -> None:
    stream = iter(events.stream())
    next(stream)
    ended = threading.Event()

    def read() -> None:
        for _ in stream:
            pass
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    events.close()
    assert ended.wait(10)
    thread.join()
    assert events.open_streams == 0


def test_the_thread_survives_an_error(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = events._publish
    fails = [True]

    def once(waiting: dict[str, dict[str, None]]) -> None:
        if fails.pop() if fails else False:
            raise RuntimeError("a bug")
        publish(waiting)

    monkeypatch.setattr(events, "_publish", once)
    stream = iter(events.stream())
    until(stream, "ready")
    events.notify([Change("job", "lost")])
    while not events.faults:
        events._closed.wait(0.005)
    events.notify([Change("job", "kept")])
    assert json.loads(field(until(stream, "change"), "data"))["ids"] == ["kept"]
