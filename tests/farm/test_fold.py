"""The fold: any way of reading the same lines gives the same job, and its sums add up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import folded
from hypothesis import given, settings
from hypothesis import strategies as st

from server.disk.errors import BadInput, Conflict
from server.disk.paths import Share
from server.farm import statistics
from server.farm.jobs import states
from server.farm.jobs.attempts import attempt_id, code_text, split_attempt
from server.farm.jobs.fold import apply, replay
from server.farm.jobs.job import Job
from server.farm.jobs.place import Place, Seen
from server.farm.statistics import sums

TASKS = st.integers(-1, 6)
ATTEMPTS = st.builds(lambda n, r: f"{n}.{r:04x}", st.integers(1, 4), st.integers(0, 2))
NODES = st.sampled_from(["n1", "n2", "n3"])
AT = "2026-11-21T20:00:00Z"
TIMES = st.sampled_from(
    [AT, "2026-11-21T23:59:59.999Z", "2026-11-22T02:00:00+02:00", "9999-12-31T00:00:00Z", "?"]
)


def line(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"at": TIMES, "event": st.just(kind), **fields})


EVENTS = st.one_of(
    line("claim", task=TASKS, attempt=ATTEMPTS, node=NODES, server=st.just("s1")),
    line(
        "done",
        task=TASKS,
        attempt=ATTEMPTS,
        node=NODES,
        seconds=st.floats(-1, 1e10) | st.none() | st.just(1.5),
    ),
    line("failed", task=TASKS, attempt=ATTEMPTS, node=NODES, reason=st.just("crash"), final=st.booleans()),
    line(
        "failed",
        task=TASKS,
        attempt=ATTEMPTS,
        reason=st.sampled_from(["time-out", "out of memory", 7]),
        rule=st.sampled_from(["licence", "memory", "lacking", "computer", 3]),
        free=st.booleans(),
        until=TIMES,
        memory_mb=st.sampled_from([None, 4096, -1, "much"]),
    ),
    line("gave_up", task=TASKS, why=st.just("nobody is left")),
    line("forgive", nodes=st.sampled_from([None, [], ["n1"], "n1", [1]])),
    line("refused", task=TASKS, attempt=ATTEMPTS),
    line("expired", task=TASKS, attempt=ATTEMPTS, final=st.booleans()),
    line("released", task=TASKS, attempt=ATTEMPTS),
    line("adopt", task=TASKS, attempt=ATTEMPTS, server=st.just("s2")),
    line("skip", task=TASKS),
    line("requeue", tasks=st.sampled_from(["0-2", "5", "0-99", "x", ""]), anew=st.booleans()),
    line("state", to=st.sampled_from([*states.STATES, "gone"]), by=st.sampled_from(["", "anna"])),
    line("priority", value=st.integers(0, 9)),
    line("something newer", task=TASKS),
    st.dictionaries(st.sampled_from(["event", "task", "at"]), st.sampled_from(["claim", 1, None, [], "x"])),
)


def make_job(total: int = 6, order: str = "linear") -> Job:
    record = {"id": "j", "frames": f"1-{total}", "total": total, "order": order, "base": "x.####"}
    return Job(record, "data::p/x.blend", "data::p/.croft/x.blend/jobs/j")


@given(st.lists(EVENTS, max_size=60), st.sampled_from(["linear", "spread"]))
def test_any_lines_give_a_job_whose_sums_add_up(events: list[dict[str, Any]], order: str) -> None:
    job = make_job(order=order)
    replay(job, events)
    assert statistics.disagreements(job) == []
    waiting = [n for n in range(job.total) if job.cells[n] == ord("w")]
    found = job.next_task()
    assert (found in waiting) if waiting else (found is None)


@given(st.lists(EVENTS, max_size=60), st.lists(st.integers(0, 60), max_size=6))
@settings(deadline=None)
def test_catching_up_in_any_steps_gives_the_whole(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]], cuts: list[int]
) -> None:
    root: Path = tmp_path_factory.mktemp("fold")
    folder = root / "p/.croft/x.blend/jobs/j"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text("{}")
    share = Share("data", root)
    step, whole = make_job(), make_job()
    place = Place(step, share)
    edges = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    with open(folder / "journal.jsonl", "ab") as journal:
        for first, last in pairwise(edges):
            for event in events[first:last]:
                journal.write(orjson.dumps(event) + b"\n")
            journal.flush()
            assert place.catch_up() in (Seen.MORE, Seen.SAME)
    again = Place(whole, share)
    again.catch_up()
    straight = make_job()
    replay(straight, events)
    assert folded(step) == folded(whole) == folded(straight)


COMMANDS: list[dict[str, Any]] = [{"do": "run", "argv": ["true"]}]
AFTERS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["all", "frame"])), max_size=2)
SHAPES = st.lists(
    st.tuples(st.sampled_from(["frame", "chunk", "tile", "once"]), st.integers(1, 3), AFTERS), max_size=3
)
MANY = st.integers(-1, 20)
STAGED_EVENTS = st.one_of(
    line("claim", task=MANY, attempt=ATTEMPTS, node=NODES, server=st.just("s1")),
    line("done", task=MANY, attempt=ATTEMPTS, node=NODES, seconds=st.just(1.5)),
    line("failed", task=MANY, attempt=ATTEMPTS, node=NODES, reason=st.just("crash"), final=st.booleans()),
    line("expired", task=MANY, attempt=ATTEMPTS, final=st.booleans()),
    line("skip", task=MANY),
    line("requeue", tasks=st.sampled_from(["0-2", "1", "5", "0-99", "7-9"]), anew=st.booleans()),
    line("state", to=st.sampled_from(["running", "failed", "waiting"])),
)
# Runs of what a node does with a task, so that many get done.
STORIES = st.lists(
    st.one_of(
        STAGED_EVENTS.map(lambda event: [event]),
        st.tuples(MANY, ATTEMPTS).map(
            lambda told: [
                {"at": AT, "event": kind, "task": told[0], "attempt": told[1], "node": "n1", "server": "s1"}
                for kind in ("claim", "done")
            ]
        ),
    ),
    max_size=60,
)


def staged(shapes: list[tuple[str, int, list[tuple[int, str]]]], order: str = "linear") -> Job:
    """A job of five frames: rendered one by one, then what `shapes` say, then an optional preview."""
    told: list[dict[str, Any]] = [{"name": "0", "per": "frame", "commands": COMMANDS}]
    for per, size, afters in shapes:
        after = [{"stage": str(at % len(told)), "by": by} for at, by in afters]
        made = {"name": str(len(told)), "per": per, "after": after, "commands": COMMANDS}
        told.append({**made, "chunk": size, "tiles": [size, 2]})
    last = {"name": "preview", "per": "once", "after": [{"stage": told[-1]["name"]}], "optional": True}
    record = {"id": "j", "frames": "1-9x2", "order": order, "base": "x.####", "stages": [*told, last]}
    return Job(record, "data::p/x.blend", "data::p/.croft/x.blend/jobs/j")


def before(job: Job, task: int) -> set[int]:
    """The tasks that a task comes after, found the slow way."""
    stage = job.stage_of(task)
    low, high = stage.span(task - stage.first)
    found: set[int] = set()
    for after in stage.after:
        other = job.stages[after.stage]
        for n in range(other.tasks):
            start, stop = other.span(n)
            if after.by == "all" or (start < high and low < stop):
                found.add(other.first + n)
    return found


@given(SHAPES, STORIES, st.sampled_from(["linear", "spread"]))
@settings(max_examples=200, deadline=None)
def test_a_task_is_ready_when_all_that_it_comes_after_is_there(
    shapes: list[tuple[str, int, list[tuple[int, str]]]], stories: list[list[dict[str, Any]]], order: str
) -> None:
    job = staged(shapes, order)
    for event in [event for story in stories for event in story]:
        apply(job, event)
        met = {n for n in range(job.tasks) if job.cells[n] in b"ds"}
        ready = {n for n in range(job.tasks) if job.cells[n] == ord("w") and before(job, n) <= met}
        assert {n for n in range(job.tasks) if job.is_ready(n)} == ready
        for stage in job.stages:
            own = ready & set(range(stage.first, stage.end))
            assert job.ready[stage.index] == len(own)
            found = job.next_task(stage.index)
            assert (found in own) if own else (found is None)
        assert job.finished == (not ready and not job.claims)
        # Nothing stands that was made of what is being made anew.
        assert all(before(job, n) <= met for n in range(job.tasks) if job.cells[n] in b"dc")
        assert statistics.disagreements(job) == []


def test_frame_seven_of_the_comp_waits_for_frame_seven_alone() -> None:
    # Given a job that renders 100 frames and composites each of them
    after = [{"stage": "render", "by": "frame"}]
    told = [
        {"name": "render", "per": "frame", "commands": COMMANDS},
        {"name": "comp", "per": "frame", "after": after, "commands": COMMANDS},
        {"name": "preview", "per": "once", "after": [{"stage": "comp"}], "optional": True},
    ]
    record = {"id": "j", "frames": "1-100", "base": "x.####", "stages": told}
    job = Job(record, "data::p/x.blend", "data::p/.croft/x.blend/jobs/j")
    assert (job.tasks, job.total, job.ready) == (201, 200, [100, 0, 0])

    def do(task: int, number: int = 1) -> None:
        told = {"at": AT, "task": task, "attempt": f"{number}.0001", "node": "n1", "server": "s"}
        replay(job, [{**told, "event": "claim"}, {**told, "event": "done", "seconds": 1}])

    # When frame 7 is rendered, then its comp can be made, and no other
    do(6)
    assert (job.next_task(1), job.ready, job.task_frame(106)) == (106, [99, 1, 0], 7)
    do(107)
    assert job.cells[107] == ord("w")  # frame 8 isn't rendered: nobody may have begun with it
    do(106)
    assert (job.counts["done"], job.ready) == (2, [99, 0, 0])
    # When the frame is asked for again, then its comp is made again
    apply(job, {"at": AT, "event": "requeue", "tasks": "6"})
    assert (job.counts["done"], job.ready, job.cells[106]) == (0, [100, 0, 0], ord("w"))
    assert not job.may_finish(106, 1 << 16 | 1)  # an answer that was made of the old frame comes too late
    # When all is there, then so is the preview's turn; it is counted apart
    for task in (*range(100), *range(100, 200)):
        do(task, 2)
    assert (job.counts["done"], job.counts["waiting"], job.ready) == (200, 0, [0, 0, 1])
    assert (job.finished, job.task_frame(200)) == (False, [1, 100])
    apply(job, {"at": AT, "event": "skip", "task": 200})
    assert job.finished


def test_asking_again_however_often_brings_no_old_attempt_back() -> None:
    # Given a frame and its comp, both done
    job = staged([("frame", 1, [(0, "frame")])])
    told = {"at": AT, "attempt": "1.0001", "node": "n1", "server": "s"}
    for task in (0, 5):
        replay(job, [{**told, "event": "claim", "task": task}, {**told, "event": "done", "task": task}])
    # When the frame is asked for again, once or several times, before anybody begins with it
    for _ in range(4):
        apply(job, {"at": AT, "event": "requeue", "tasks": "0", "anew": True})
        assert not job.may_finish(0, 1 << 16 | 1)
        assert not job.may_finish(5, 1 << 16 | 1)
        replay(job, ({**told, "event": "done", "task": task} for task in (0, 5)))
        assert (job.cells[0], job.cells[5]) == (ord("w"), ord("w"))
    # Then the next attempts are numbered on, and count
    told["attempt"] = "2.0001"
    for task in (0, 5):
        replay(job, [{**told, "event": "claim", "task": task}, {**told, "event": "done", "task": task}])
    assert (job.cells[0], job.cells[5], job.latest[5] >> 16) == (ord("d"), ord("d"), 2)
    assert statistics.disagreements(job) == []


def test_a_journal_that_does_not_say_anew_is_folded_as_it_was_written() -> None:
    job = make_job()
    told = {"at": AT, "task": 0, "attempt": "1.0001", "node": "n1", "server": "s"}
    again = {"at": AT, "event": "requeue", "tasks": "0"}
    replay(job, [{**told, "event": "claim"}, {**told, "event": "done"}, again, {**told, "event": "done"}])
    assert job.cells[0] == ord("d")


def test_what_waits_for_something_that_failed_keeps_no_job_alive() -> None:
    job = staged([("frame", 1, [(0, "frame")])])
    told = {"at": AT, "task": 0, "attempt": "1.0001", "node": "n1", "server": "s"}
    for task in range(5):
        apply(job, {**told, "event": "claim", "task": task})
        apply(job, {**told, "event": "failed", "task": task, "reason": "crash", "final": True})
    assert job.finished
    assert job.counts == {"waiting": 5, "claimed": 0, "done": 0, "failed": 5, "skipped": 0}


def test_a_request_whose_stages_make_no_sense_is_refused() -> None:
    def make(*told: Any) -> Job:
        return Job({"id": "j", "frames": "1-4", "stages": list(told)}, "data::p/x.blend", "")

    good = {"name": "a", "per": "frame", "commands": []}
    assert make(good, {**good, "name": "b", "per": "chunk", "chunk": 3, "tasks": 2}).tasks == 6
    for wrong in (
        (),
        ({},),
        ({**good, "per": "week"},),
        ({**good, "tasks": 5},),
        ({**good, "chunk": -1},),
        ({**good, "tiles": [1, 0]},),
        ({**good, "tiles": 3},),
        (good, good),
        ({**good, "after": [{"stage": "b"}]}, {**good, "name": "b"}),
        ({**good, "optional": True}, {**good, "name": "b"}),
        ({**good, "commands": "rm"},),
        *(["x"], [None]),
    ):
        with pytest.raises(BadInput):
            make(*wrong)


def test_a_hundred_thousand_tasks_are_cheap_to_hold_and_to_ask() -> None:
    job = make_job(100_000)
    for n in range(0, 100_000, 2):
        apply(job, {"at": AT, "event": "claim", "task": n, "attempt": "1.0001", "node": "n", "server": "s"})
        apply(job, {"at": AT, "event": "done", "task": n, "attempt": "1.0001", "node": "n", "seconds": 1})
    assert job.next_task() == 1
    assert job.counts["done"] == 50_000
    assert len(statistics.cells(job)) == 400
    (hour,) = job.usage.by_hour
    assert (hour, job.usage.by_hour[hour]) == (
        "2026-11-21T20",
        {"n": [50_000, 50_000_000, 0, 0, 0, 0, 50_000]},
    )
    apply(job, {"at": AT, "event": "requeue", "tasks": "0-99999"})
    assert job.usage.by_hour == {hour: {"n": [0, 0, 0, 0, 50_000_000, 0, 0]}}
    assert (job.next_task(), job.counts["waiting"], job.usage.milliseconds) == (0, 100_000, 0)


def test_each_hour_has_what_ended_in_it_and_what_was_for_nothing() -> None:
    job = make_job(3)

    def say(at: str, event: str, task: int, **more: Any) -> None:
        at = f"2026-11-21T{at}Z"
        apply(job, {"at": at, "event": event, "task": task, "attempt": "1.0001", "node": "n", **more})

    for task in range(3):
        say("20:59:00", "claim", task, server="s")
    output = {"path": "x.0001.png", "size": 700}
    say("20:59:30", "done", 0, seconds=25, outputs=[output], statistics={"memory_mb": 90.4})
    say("21:01:00.500", "failed", 1, reason="crash", final=True)
    apply(job, {"at": "2026-11-22T00:30:00+02:00", "event": "state", "to": "cancelled"})
    assert job.usage.by_hour == {
        "2026-11-21T20": {"n": [1, 25_000, 0, 0, 0, 0, 1]},
        "2026-11-21T21": {"n": [0, 0, 1, 0, 120_500, 0, 0]},
        "2026-11-21T22": {"n": [0, 0, 0, 0, 91 * 60_000, 0, 0]},
    }
    assert (job.sizes[0], job.memory[0], job.done_at[0]) == (700, 90, 1795294770)
    assert statistics.disagreements(job) == []


def test_of_two_claims_of_one_task_the_first_counts() -> None:
    job = make_job()
    for attempt, node in (("1.0001", "first"), ("1.0002", "second")):
        apply(job, {"at": AT, "event": "claim", "task": 0, "attempt": attempt, "node": node, "server": "s"})
    assert job.claims[0].node == "first"
    apply(job, {"at": AT, "event": "done", "task": 0, "attempt": "1.0002", "node": "second", "seconds": 1})
    assert job.counts["done"] == 0
    apply(job, {"at": AT, "event": "state", "to": "cancelled"})
    apply(job, {"at": AT, "event": "claim", "task": 1, "attempt": "1.0003", "node": "late", "server": "s"})
    assert job.claims == {}


def test_attempts_are_known_again_by_their_id() -> None:
    code = 3 << 16 | 0xAB
    text = attempt_id("20261121-200000-abcdef", 17, code)
    assert text == "20261121-200000-abcdef.17.3.00ab"
    assert split_attempt(text) == ("20261121-200000-abcdef", 17, code)
    assert code_text(code) == "3.00ab"
    for nonsense in (None, 7, "", "a.b", "j.x.1.00", "a.1.1.zz", "a.1.1.1.1"):
        assert split_attempt(nonsense) is None


def test_no_state_is_left_but_through_the_table() -> None:
    for before in states.STATES:
        for after in states.STATES:
            if after in states.MOVES[before]:
                states.check("j", before, after)
            else:
                with pytest.raises(Conflict):
                    states.check("j", before, after)
    assert all(states.MOVES[ended] == {states.WAITING} for ended in states.ENDED)


@given(st.text("wcdfs", min_size=1, max_size=60), st.integers(1, 20))
def test_a_cell_of_several_tasks_shows_the_worst(letters: str, most: int) -> None:
    job = make_job(len(letters))
    job.cells[:] = letters.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "CELLS", most)
        found = sums.cells(job)
    size = -(-len(letters) // most)
    groups = [letters[at : at + size] for at in range(0, len(letters), size)]
    assert found == "".join(min(group, key="fcwds".index) for group in groups)


def test_a_job_that_got_its_licence_waits_for_the_next_as_short_as_at_first() -> None:
    job = make_job()
    told = {"at": AT, "task": 0, "node": "n", "server": "s"}
    for n in (1, 2):
        apply(job, {**told, "event": "claim", "attempt": f"{n}.0001"})
        apply(job, {**told, "event": "failed", "attempt": f"{n}.0001", "rule": "licence", "free": True})
    assert job.troubles.waits == 2
    replay(job, [{**told, "event": kind, "attempt": "3.0001"} for kind in ("claim", "done")])
    assert (job.counts["done"], job.troubles.waits) == (1, 0)
