"""When jobs end: as ranges that a simulated farm keeps to, fair as it, and cheap."""

from __future__ import annotations

import heapq
import random

import pytest
from farm_kit import Node, World
from hypothesis import given, settings
from hypothesis import strategies as st

from server.farm.farm import Farm
from server.farm.statistics import estimate
from server.farm.statistics.estimate import Computer, Ends, Stage, Work, ends, paces


def stage(
    waiting: int, seconds: float | None = 10.0, known: int = 20, spread: float = 0.2, need: int = 0
) -> Stage:
    return Stage(waiting, (), seconds, spread, known, need)


def work(ident: str, *stages: Stage, project: str = "p", user: str = "u", **more: object) -> Work:
    return Work(ident, project, user, stages, **more)  # type: ignore[arg-type]


def computers(count: int = 2, slots: int = 2, pace: float = 1.0) -> list[Computer]:
    return [Computer(f"n{n}", slots, frozenset({0}), pace) for n in range(count)]


def likely(found: dict[str, Ends]) -> dict[str, float]:
    return {ident: one.likely for ident, one in found.items()}


def test_one_job_takes_its_frames_over_the_slots() -> None:
    found = ends([work("a", stage(100))], computers())["a"]
    assert found.likely == pytest.approx(250, rel=0.05)
    assert found.earliest < found.likely < found.latest
    assert likely(ends([work("a", stage(1))], computers()))["a"] == pytest.approx(10, rel=0.02)
    assert likely(ends([work("a", stage(100))], computers(pace=2.0)))["a"] == pytest.approx(500, rel=0.05)


def test_a_task_that_is_out_counts_by_what_is_left_of_it() -> None:
    half = Stage(0, (0.5,), 60.0, 0.2, 5)
    assert likely(ends([work("a", half)], computers()))["a"] == pytest.approx(30, rel=0.02)


def test_equal_teams_end_together_and_a_heavier_one_sooner() -> None:
    jobs = [work("a", stage(100), project="green"), work("b", stage(100), project="blue")]
    found = likely(ends(jobs, computers()))
    assert found["a"] == pytest.approx(found["b"]) == pytest.approx(500, rel=0.05)
    jobs = [
        work("a", stage(300), project="green", weight=3.0),
        work("b", stage(300), project="blue", weight=1.0),
    ]
    found = likely(ends(jobs, computers()))
    assert found["a"] < found["b"] == pytest.approx(1500, rel=0.05)


def test_within_a_team_people_share_and_ones_own_jobs_follow_each_other() -> None:
    jobs = [
        work("ana-1", stage(40), user="ana", created="1"),
        work("ana-2", stage(40), user="ana", created="2"),
        work("ben", stage(40), user="ben", created="3"),
        work("ana-3", stage(40), user="ana", created="4", priority=5),
    ]
    found = likely(ends(jobs, computers()))
    assert found["ben"] < found["ana-3"] < found["ana-1"] <= found["ana-2"]


def test_a_short_job_behind_a_long_one_isnt_held_up_until_its_end() -> None:
    jobs = [work("long", stage(10_000), created="1"), work("short", stage(4), created="2")]
    found = likely(ends(jobs, computers()))
    assert found["short"] < 200 < found["long"]
    told = ends(jobs, computers())["short"]  # it may also come after all of the long one
    assert told.earliest < 100
    assert told.latest > 20_000


def test_a_job_waits_for_its_time_its_forerunners_and_its_own_stages() -> None:
    jobs = [
        work("late", stage(4), begins=1000.0),
        work("then", stage(4), after=("late", "gone")),
        work("film", stage(4), stage(1, 5.0), user="other"),
    ]
    found = likely(ends(jobs, computers()))
    assert found["late"] == pytest.approx(1010, abs=4)
    assert found["then"] >= 1020
    assert found["film"] == pytest.approx(15, abs=4)


def test_a_limit_of_tasks_at_once_is_kept() -> None:
    assert likely(ends([work("a", stage(100), most=1)], computers()))["a"] == pytest.approx(1000, rel=0.02)


def test_nothing_is_said_of_what_nobody_knows_and_of_what_nobody_can_do() -> None:
    jobs = [work("new", stage(10, None, 0)), work("other", stage(10, need=7)), work("known", stage(10))]
    assert set(ends(jobs, computers())) == {"known"}
    assert ends(jobs, []) == {}
    ring = [work("a", stage(1), after=("b",)), work("b", stage(1), after=("a",))]
    assert ends(ring, computers()) == {}


def test_what_is_little_known_has_a_wider_range() -> None:
    def width(known: int, spread: float) -> float:
        found = ends([work("a", stage(100, 10.0, known, spread))], computers())["a"]
        return found.latest / found.earliest

    assert 1.05 < width(1000, 0.1) < width(20, 0.3) < width(1, 0.5) < width(1, 1.2) < 12


def test_paces_come_from_frames_of_the_same_jobs() -> None:
    alike = {"fast": (100, 1000.0), "slow": (100, 3000.0)}
    heavy = {"fast": (50, 50_000.0), "usual": (50, 86_600.0)}
    found = paces([alike, heavy, {"lonely": (10, 99_999.0)}])
    assert found["slow"] / found["fast"] == pytest.approx(3, rel=0.1)
    assert found["fast"] < found["usual"] < found["slow"]
    assert "lonely" not in found
    assert 0.8 < paces([{"a": (1, 1.0), "b": (1, 3.0)}])["a"] < 1.0  # one frame says little


def simulated(rng: random.Random, counts: list[int], slots: int, mean: float, spread: float) -> float:
    """When the last of several jobs' frames is done, each slot taking the next in turn."""
    times = [max(0.1, rng.gauss(mean, spread * mean)) for count in counts for _ in range(count)]
    rng.shuffle(times)
    free = [0.0] * slots
    heapq.heapify(free)
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def test_nine_of_ten_simulated_farms_end_within_the_range() -> None:
    rng = random.Random(4)
    within, width = 0, 0.0
    for _ in range(300):
        slots, spread, mean = rng.randint(1, 60), rng.uniform(0.05, 0.5), rng.uniform(2, 300)
        seen = rng.randint(3, 60)
        sample = [max(0.1, rng.gauss(mean, spread * mean)) for _ in range(seen)]
        middle = sum(sample) / seen
        told = (sum((one - middle) ** 2 for one in sample) / seen) ** 0.5 / middle
        counts = [rng.randint(1, 400) for _ in range(rng.randint(1, 4))]
        jobs = [work(str(n), Stage(count, (), middle, told, seen)) for n, count in enumerate(counts)]
        found = ends(jobs, computers(slots, 1)).values()
        actual = simulated(rng, counts, slots, mean, spread)
        low, high = max(one.earliest for one in found), max(one.latest for one in found)
        within += low <= actual <= high
        width += high / low / 300
    assert within / 300 > 0.88, within
    assert width < 1.5  # honest, and of use


WORKS = st.lists(
    st.builds(
        lambda n, seconds, project, user, priority, need, most, begins: Work(
            "", project, user, (stage(n, seconds, need=need),), priority, most=most, begins=begins
        ),
        st.integers(0, 5000), st.none() | st.floats(0.0, 1e5), st.sampled_from("pqr"), st.sampled_from("uvw"),
        st.integers(1, 5), st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.0, 50.0, 1e9]),
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    WORKS, st.lists(st.tuples(st.integers(0, 8), st.sets(st.integers(0, 2)), st.floats(0, 100)), max_size=6)
)
def test_any_queue_has_an_answer_in_a_bounded_number_of_rounds(
    jobs: list[Work], nodes: list[tuple[int, set[int], float]]
) -> None:
    queue = [Work(str(n), *[getattr(one, name) for name in Work.__slots__[1:]]) for n, one in enumerate(jobs)]
    farm = [
        Computer(f"n{n}", slots, frozenset(serves), pace) for n, (slots, serves, pace) in enumerate(nodes)
    ]
    for found in ends(queue, farm).values():
        assert 0 <= found.earliest <= found.likely <= found.latest <= estimate.HORIZON_S


def test_a_jobs_view_tells_its_end_once_a_frame_is_done(world: World, farm: Farm, node: Node) -> None:
    job = farm.submit("anna", {"file": "data::demo/shots/sh010.blend", "frames": "1-10"})
    assert farm.forecast.work_out() == {}  # nobody knows yet what a frame of it takes
    assert farm.view(job)["ends"] is None
    for _ in range(4):
        node.deliver(node.one())
    found = farm.forecast.work_out()[job.id]
    assert found.likely == pytest.approx(6 * 1.5, rel=0.2)
    view = farm.view(job.id)
    assert (
        view["ends"]["earliest"] <= view["ends"]["likely"] == view["estimated_end"] <= view["ends"]["latest"]
    )
    second = farm.submit("ben", {"file": "data::demo/shots/sh010.blend", "frames": "1-10"})
    later = farm.forecast.work_out()[second.id]  # by the file's renders before, and so less surely
    assert later.latest / later.earliest > found.latest / found.earliest
    farm.machines.pause_all(True)
    assert farm.forecast.work_out() == {}
    assert farm.view(second)["ends"] is None


def test_a_plan_that_was_changed_and_a_render_that_never_comes(farm: Farm, node: Node) -> None:
    """A job that waits for one that was stopped has no end; one that begins at once after all has it soon."""
    scene = "data::demo/shots/sh010.blend"
    first = farm.submit("anna", {"file": scene, "frames": "1-4"}).id
    follows = farm.submit(
        "anna", {"file": scene, "frames": "1-4", "after": [{"job": first, "by": "frame"}]}
    ).id
    later = farm.submit("ben", {"file": scene, "frames": "1-4", "start_after": "2036-01-01T20:00:00Z"}).id
    for _ in range(3):
        node.deliver(node.one())
    found = farm.forecast.work_out()
    assert follows in found
    assert later not in found, "that is beyond what can be told"
    farm.set_plan(later, {"start_after": ""}, "ben")
    farm.cancel(first, "anna")
    found = farm.forecast.work_out()
    assert follows not in found
    assert later in found
