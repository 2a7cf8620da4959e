"""Whole farms in simulated time: fair shares, nobody idle or starved, and a week of troubles."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from simulation import Simulation

from server.farm.jobs import states

MINUTE, DAY = 60.0, 86_400.0
MORE = pytest.mark.soak
OTHERS = [(slots, seed) for slots in (3, 7, 20, 48) for seed in range(2, 6)]


def lasting(rng: random.Random, least: float, most: float) -> Callable[[int], float]:
    """How long each task takes, by its number."""
    seed, base = rng.random(), rng.uniform(least, most)
    return lambda task: base * (0.7 + 0.6 * random.Random(f"{seed}{task}").random())


@pytest.mark.parametrize(
    ("slots", "seed"), [(7, 0), (48, 1), *(pytest.param(s, n, marks=MORE) for s, n in OTHERS)]
)
def test_equal_teams_have_equal_slots_over_ten_minutes_and_students_in_a_team_too(
    tmp_path: Path, seed: int, slots: int
) -> None:
    rng = random.Random(seed)
    farm = Simulation(tmp_path, seed)
    # Three teams: of two people, three and one; frames of quite different lengths; one of them comes late
    teams = {"green": ["ana", "ben"], "blue": ["cai", "dua", "eli"], "red": ["fay"]}
    for project, people in teams.items():
        for number, user in enumerate(people):
            for _ in range(number + 1):
                farm.job(project, user, 20_000, lasting(rng, 2, 6 if slots < 10 else 25))
    while slots:
        size = min(slots, rng.choice([1, 2, 4]))
        farm.machine(slots=size)
        slots -= size
    farm.run(5 * MINUTE)
    for _ in range(3):
        farm.busy.clear()
        farm.run(farm.now + 10 * MINUTE)
        had = {p: sum(s for (project, _), s in farm.busy.items() if project == p) for p in teams}
        mean = sum(had.values()) / 3
        assert all(abs(seconds / mean - 1) <= 0.1 for seconds in had.values()), had
        for project, people in teams.items():
            each = [farm.busy[project, user] for user in people]
            mean = sum(each) / len(each)
            assert all(abs(seconds / mean - 1) <= 0.1 for seconds in each), (project, each)
    farm.close()


def test_a_team_of_twice_the_priority_has_twice_the_slots(tmp_path: Path) -> None:
    farm = Simulation(tmp_path, 1)
    farm.weights = {"green": 4, "blue": 2}
    farm.job("green", "ana", 20_000, 3.0)
    farm.job("blue", "ben", 20_000, 5.0)
    for _ in range(9):
        farm.machine()
    farm.run(MINUTE)
    farm.busy.clear()
    farm.run(11 * MINUTE)
    assert farm.busy["green", "ana"] / farm.busy["blue", "ben"] == pytest.approx(2, rel=0.1)
    farm.close()


def test_a_long_job_does_not_starve_a_short_one_of_the_same_person(tmp_path: Path) -> None:
    farm = Simulation(tmp_path, 1)
    farm.machine()
    farm.job("green", "ana", 5000, 10.0)
    farm.run(10 * MINUTE)
    short = farm.job("green", "ana", 10, 10.0)
    # Its first frame comes at once
    farm.run(farm.now + 21)
    assert farm.live(short).job.counts["done"] == 1
    farm.run(farm.now + 10 * MINUTE)
    assert farm.live(short).state == states.DONE
    farm.close()


def test_a_flood_of_jobs_leaves_others_their_share(tmp_path: Path) -> None:
    farm = Simulation(tmp_path, 1)
    for _ in range(10):
        farm.machine()
    farm.job("green", "ana", 5000, 10.0)
    farm.run(5 * MINUTE)
    for _ in range(300):
        farm.job("blue", "ben", 20, 10.0)
    farm.busy.clear()
    farm.run(farm.now + 10 * MINUTE)
    had = farm.busy["green", "ana"], farm.busy["blue", "ben"]
    assert had[0] == pytest.approx(had[1], rel=0.1)
    farm.close()


def test_nodes_stay_with_their_jobs(tmp_path: Path) -> None:
    # Three teams on four nodes: the odd one goes round, but not with every frame
    farm = Simulation(tmp_path, 1)
    nodes = [farm.machine() for _ in range(4)]
    for project in ("green", "blue", "red"):
        farm.job(project, "ana", 5000, 2.0)
    farm.run(10 * MINUTE)
    for node in nodes:
        chosen = [each.choice.job for each in farm.board.choices.of(node.name)]
        assert sum(a != b for a, b in pairwise(chosen)) <= 4
    farm.close()


def weeks_work(farm: Simulation, rng: random.Random, days: float, jobs: int) -> None:
    """Jobs of four projects over the days: short and long, of rare needs, after others, limited, broken."""
    farm.weights = {"green": 5, "blue": 3, "red": 3, "grey": 1}
    before: dict[str, str] = {}

    def submit() -> None:
        project = rng.choice(["green", "blue", "red", "grey"])
        user = f"{project}{rng.randrange(5)}"
        frames = rng.choice([1, 5, 24, 24, 100, 100, 250])
        more: dict[str, object] = {"priority": rng.choice([2, 3, 3, 3, 4, 5])}
        if rng.random() < 0.15:
            more["requires"] = [rng.choice(["gpu", "big"])]
        if rng.random() < 0.1:
            more["nodes_most"] = rng.randint(1, 6)
        if rng.random() < 0.1:
            more["licences"] = ["renderman"]
        if rng.random() < 0.1 and project in before:
            more["after"] = [{"job": before[project], "by": rng.choice(["all", "frame"])}]
        if rng.random() < 0.3:
            more["order"] = "spread"
        bad = None
        if rng.random() < 0.05:
            bad = (lambda task: True) if rng.random() < 0.5 else (lambda task: task % 7 == 3)
        ident = farm.job(
            project,
            user,
            frames,
            lasting(rng, 5, rng.choice([20, 60, 300, 900])),
            preview=rng.random() < 0.5,
            bad=bad,
            **more,
        )
        if bad is None:
            before[project] = ident

    for _ in range(jobs):
        farm.at(rng.uniform(0, days * DAY), submit)


def trouble(farm: Simulation, rng: random.Random, days: float, each: int) -> None:
    """Kills, hangs, cut cables, sick and slow nodes."""

    def strike() -> None:
        machine = rng.choice(farm.machines)
        if not machine.up or not machine.heard:
            return
        # As many as `retries` sick at once may condemn a frame that is well: that is what retries say.
        what = rng.randrange(4)
        if what == 0:
            farm.kill(machine, rng.uniform(20, 600))
        elif what == 1:
            farm.disconnect(machine, rng.choice([20.0, 120.0, 1800.0]))
        elif what == 2:
            farm.make_sick(machine, rng.uniform(60, 3600))
        else:
            farm.slow_down(machine, 20.0, rng.uniform(60, 3600))

    for _ in range(each):
        farm.at(rng.uniform(0, days * DAY), strike)


def live_through(farm: Simulation, rng: random.Random, days: float, jobs: int, strikes: int) -> None:
    weeks_work(farm, rng, days, jobs)
    trouble(farm, rng, days, strikes)

    def look() -> None:
        """What the keeper does: jobs in which something waits for a node that is gone are judged again."""
        due = [live.id for live in farm.board.live.values() if live.job.open and live.job.failures]
        farm.ask_about(due)
        if farm.now < days * DAY or farm.unfinished():
            farm.at(farm.now + 300, look)

    farm.at(300, look)
    farm.run(days * DAY)
    farm.run(days * DAY + 30 * DAY, done=lambda: not farm.unfinished())
    assert farm.unfinished() == []
    farm.check()
    assert farm.idle_checks > 20


@pytest.mark.parametrize("sick", [3, 5])
def test_sick_nodes_that_come_upon_a_small_new_job_at_once_condemn_none_of_its_frames(
    tmp_path: Path, sick: int
) -> None:
    for seed in range(20):
        farm = Simulation(tmp_path / str(seed), seed)
        machines = [farm.machine() for _ in range(20)]
        farm.job("green", "ana", 40, 5.0)  # all have done something well
        farm.run(MINUTE)
        for machine in machines[:sick]:
            farm.make_sick(machine, 2 * MINUTE)
        # More nodes than frames, which are long: the sick ones find nothing but what others of them gave up
        farm.job("green", "ana", 18 if sick == 3 else 12, 5 * MINUTE)
        farm.run(DAY, done=lambda farm=farm: not farm.unfinished())
        farm.check()
        farm.close()


def build(farm: Simulation, rng: random.Random, nodes: int) -> None:
    for number in range(nodes):
        provides = " ".join(label for label, each in (("gpu", 5), ("big", 7)) if number % each == 0)
        farm.machine(rng.choice([1, 1, 2, 4]), rng.uniform(0.5, 2.5), provides)


LIMITS = {"users": {"grey0": 6}, "projects": {"grey": 20}, "licences": {"renderman": 3}}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=MORE) for seed in range(2, 30))])
def test_some_hours_of_troubles_on_a_small_farm(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    farm = Simulation(tmp_path, seed, step_s=1.0, limits=LIMITS)
    build(farm, rng, 20)
    live_through(farm, rng, 0.15, jobs=40, strikes=60)
    farm.close()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2))
def test_a_week_of_troubles_on_500_nodes(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    farm = Simulation(tmp_path, seed, step_s=5.0, limits=LIMITS)
    build(farm, rng, 500)
    live_through(farm, rng, 7.0, jobs=3000, strikes=5000)
    farm.close()
