"""Whose turn it is: by projects, people, priority and age, with first frames ahead, and within limits."""

from __future__ import annotations

import pytest

from server.farm.scheduler import Limits, Means, Need, Scheduler, Work, misfit

PLAIN = Need("data")
GPU = Need("data", requires=frozenset({"gpu"}))
ANY, GPUS = Means(), Means(provides=frozenset({"gpu"}))


def work(job: str, project: str = "green", user: str = "ana", need: Need = PLAIN, **more: object) -> Work:
    return Work(job, 0, need, project, user, created=job, **more)  # type: ignore[arg-type]


class Line:
    """A scheduler, and a clock that stands still unless a test moves it."""

    def __init__(self) -> None:
        self.of = Scheduler()
        self.now = 0.0

    def put(self, *works: Work, ready: int = 1_000_000, fresh: bool = False) -> None:
        for each in works:
            self.of.put(each, ready, fresh, self.now)

    def give(self, means: Means = ANY, node: str = "") -> str | None:
        """A task is chosen and given out: of which job."""
        choice = self.of.choose(means, self.now, None, node)
        if choice is None:
            return None
        self.of.take(choice, self.now, node)
        self.of.took(choice.job, choice.stage, self.now)
        self.of.settle(self.now)
        return choice.job

    def end(self, job: str) -> None:
        self.of.gave_back(job, 0, self.now)


@pytest.fixture
def line() -> Line:
    return Line()


def test_projects_share_by_their_priority(line: Line) -> None:
    line.put(work("a", "green", weight=3.0), work("b", "blue", weight=1.0))
    given = [line.give() for _ in range(8)]
    assert (given.count("a"), given.count("b")) == (6, 2)


def test_people_of_a_project_share_alike(line: Line) -> None:
    line.put(work("a1"), work("a2"), work("a3"), work("b1", user="ben"))
    given = [line.give() for _ in range(8)]
    assert given.count("b1") == 4


def test_a_persons_work_goes_by_priority_then_age_and_none_waits_for_ever(line: Line) -> None:
    line.put(work("a"), work("b"), work("c", priority=5))
    # Nothing has waited so long that it would be felt
    assert [line.give() for _ in range(8)] == ["c"] * 8
    line.now = 30.0  # three of four by priority, the fourth to what has waited longest
    assert [line.give() for _ in range(8)] == ["c", "c", "c", "a", "c", "c", "c", "b"]
    assert [line.give() for _ in range(8)] == ["c"] * 8


def test_a_job_of_priority_4_counts_half_for_its_owner(line: Line) -> None:
    line.put(work("a"), work("b", user="ben", priority=4))
    given = [line.give() for _ in range(9)]
    assert (given.count("a"), given.count("b")) == (3, 6)


def test_a_first_frame_comes_ahead_of_others_later_ones(line: Line) -> None:
    line.put(work("a"))
    assert line.give() == "a"
    line.put(work("b", user="ben"), fresh=True)
    line.give()
    line.put(work("b", user="ben"), fresh=False)
    line.put(work("z", user="ben"), fresh=True)
    # Ben has as many as Ana, and yet
    assert line.give() == "z"


def test_a_flood_of_new_jobs_does_not_starve_who_is_rendering(line: Line) -> None:
    line.put(work("a"))
    flood = [work(f"n{number:03}", user="ben") for number in range(500)]
    line.put(*flood, fresh=True)
    given: list[str] = []
    for _ in range(100):
        job = line.give()
        assert job is not None
        given.append(job)
        if job != "a":
            line.put(work(job, user="ben"), ready=0)
    assert given.count("a") >= 45
    assert line.of.in_use("green", "ben") >= 45


def test_who_had_less_lately_comes_first_where_both_have_as_many(line: Line) -> None:
    # One slot, frames of 100 s and of 1 s: each has it for as long as the other
    line.put(work("slow", "green"), work("quick", "blue"))
    had = {"slow": 0.0, "quick": 0.0}
    while line.now < 4000:
        job = line.give()
        assert job is not None
        seconds = 100.0 if job == "slow" else 1.0
        line.now += seconds
        had[job] += seconds
        line.end(job)
    assert had["quick"] == pytest.approx(had["slow"], rel=0.1)


def test_who_was_away_does_not_take_everything_afterwards(line: Line) -> None:
    line.put(work("a", "green"))
    for _ in range(3600):
        assert line.give() == "a"
        line.now += 1
        line.end("a")
    line.put(work("b", "blue"))
    given = []
    for _ in range(100):
        job = line.give()
        given.append(job)
        line.now += 1
        line.end(str(job))
    assert 45 <= given.count("b") <= 55


def test_a_node_stays_with_its_job_for_a_while_where_that_is_as_fair(line: Line) -> None:
    line.put(work("a", "green"), work("b", "blue"))
    given = []
    for _ in range(120):
        job = line.give(node="n1")
        given.append(job)
        line.now += 1
        line.end(str(job))
    changes = sum(given[n] != given[n + 1] for n in range(119))
    assert 2 <= changes <= 5
    assert 45 <= given.count("a") <= 75


def test_a_node_with_what_is_rare_takes_work_that_needs_it(line: Line) -> None:
    line.of.meet({ANY: 9, GPUS: 1})
    line.put(work("1 old"), work("2 new", need=GPU))
    assert line.give(GPUS) == "2 new"
    assert line.give(ANY) == "1 old"


def test_what_half_of_the_nodes_have_is_not_rare(line: Line) -> None:
    line.of.meet({ANY: 4, GPUS: 6})
    line.put(work("1 old"), work("2 new", need=GPU))
    assert line.give(GPUS) == "1 old"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(projects={"green": 2}), "project"),
        (Limits(users={"ana": 2}), "user"),
        (Limits(users_each=2), "user"),
        (Limits(licences={"renderman": 2}), "licence renderman"),
    ],
)
def test_limits(line: Line, limits: Limits, said: str) -> None:
    licensed = Need("data", licences=frozenset({"renderman"}))
    line.of.limit(limits)
    line.put(work("a", need=licensed), work("b", "blue", "ben", priority=1))
    given = [line.give() for _ in range(6)]
    assert given.count("a") == 2
    if said in ("user", "licence renderman") and limits.users_each:
        assert given.count("b") == 2
    else:
        assert given.count("b") == 4
    ahead = line.of.ahead("a")
    assert (ahead.limit, ahead.most) == (said, 2)
    line.end("a")
    assert line.give() in ("a", "b")
    assert line.of.in_use("green") <= 2
    line.of.limit(Limits())
    assert "a" in [line.give() for _ in range(4)]


def test_a_job_may_have_so_many_nodes_alone(line: Line) -> None:
    line.put(work("a", most=1))
    assert [line.give(), line.give()] == ["a", None]
    assert line.of.ahead("a").limit == "job"
    line.end("a")
    assert line.give() == "a"


def test_a_limited_job_that_runs_may_change_its_owner_and_priority(line: Line) -> None:
    line.put(work("a", most=2))
    assert line.give() == "a"
    line.put(work("a", most=2, priority=5))
    line.put(work("a", "blue", "ben", most=2, priority=5))
    assert (line.of.in_use("green"), line.of.in_use("blue", "ben")) == (0, 1)
    assert [line.give(), line.give()] == ["a", None]


def test_what_is_reserved_is_not_given_twice(line: Line) -> None:
    line.put(work("a"), ready=1)
    choice = line.of.choose(ANY, 0.0)
    assert choice is not None
    line.of.take(choice, 0.0)
    assert line.of.choose(ANY, 0.0) is None
    line.of.settle(0.0)
    assert line.of.choose(ANY, 0.0) is not None


def test_an_rfam_node_gets_simple_jobs_alone() -> None:
    assert misfit(Need("data", programs=frozenset({"blender"}), simple=True), Means(protocol=1)) == ""
    assert "Croft" in misfit(Need("data"), Means(protocol=1))
    assert "blender" in misfit(Need("data", programs=frozenset({"blender"})), Means(protocol=2))


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (Need("data", groups=frozenset({"b", "a"})), "it is not in any of the groups a, b"),
        (Need("data", memory_mb=16384), "it has 8 GB of memory, and 16 GB are needed"),
        (
            Need("data", does=frozenset({"verify"})),
            "it doesn't know how to do verify: is it older than this?",
        ),
    ],
)
def test_what_a_node_lacks_is_said(need: Need, said: str) -> None:
    assert misfit(need, Means(memory_mb=8192, does=frozenset({"run"}))) == said


def test_reasons_are_told_in_words(line: Line) -> None:
    line.put(work("a"))
    choice = line.of.choose(ANY, 0.0)
    assert choice is not None
    assert choice.why == "Nothing else that this computer can do was waiting."
    line.put(work("b"), work("c", user="ben"), work("d", "blue", "cai", weight=3.0))
    for _ in range(3):
        line.give()
    choice = line.of.choose(ANY, 0.0)
    assert choice is not None
    assert choice.why == (
        "blue had 2 (priority 3), green 1 (priority 1)."
        if choice.work.project == "blue"
        else "green had 0 (priority 1), blue 3 (priority 3). In green ana had 0, ben 0. "
        "Of ana's renders it comes first, by priority and age."
    )
