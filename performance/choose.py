#!/usr/bin/env python3
"""What it costs to say which job a node gets its next task from: 1,000 jobs waiting, 500 nodes at work.

A step is what one task takes of the scheduler: the node's last task ends, the next is chosen, reserved and
counted. 20 projects of 5 people each, jobs of four kinds of need, a tenth of the nodes with what is rare.
The ratio is to a bare look at every job beside it: the `min` of 1,000 tuples, which knows no shares, no
limits and no needs. Besides: the same with one job, to see what the number of jobs costs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from server.farm.scheduler import Means, Need, Scheduler, Work  # noqa: E402

JOBS, NODES, PROJECTS, PEOPLE = 1000, 500, 20, 5
GPU, BIG = frozenset({"gpu"}), frozenset({"big"})
NEEDS = [Need("data"), Need("data", programs=frozenset({"blender"})), Need("data", GPU), Need("data", BIG)]
BLENDER = frozenset({"blender"})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each kind, in turn")
    given = parser.parse_args()
    many, one, bare = [], [], []
    for _ in range(given.rounds):
        many.append(measure(JOBS, given.steps))
        one.append(measure(1, given.steps))
        bare.append(look_at_all(given.steps // 20))
    result = {
        "script": "choose",
        "ratio": round(statistics.median(m / b for m, b in zip(many, bare, strict=True)), 3),
        "against_one_job": round(statistics.median(m / o for m, o in zip(many, one, strict=True)), 2),
        "absolute": {
            "us_a_step": round(statistics.median(many) * 1e6, 1),
            "us_a_step_with_one_job": round(statistics.median(one) * 1e6, 1),
            "us_of_a_bare_look_at_every_job": round(statistics.median(bare) * 1e6, 1),
            "jobs": JOBS,
            "nodes": NODES,
        },
    }
    print(json.dumps(result))
    return 0


def means_of(node: int) -> Means:
    if node % 10 == 0:
        return Means(shares=frozenset({"data"}), provides=GPU | BIG, programs=BLENDER)
    return Means(shares=frozenset({"data"}), programs=BLENDER)


def measure(jobs: int, steps: int) -> float:
    """Seconds a step."""
    rng = random.Random(1)
    line, now = Scheduler(), 0.0
    for number in range(jobs):
        project, person = number % PROJECTS, number // PROJECTS % PEOPLE
        need = NEEDS[number % 4] if jobs > 1 else NEEDS[0]
        work = Work(
            f"job{number:04}",
            0,
            need,
            f"project{project:02}",
            f"person{project:02}{person}",
            weight=float(1 + project % 5),
            priority=1 + number % 5,
            created=f"{number:04}",
        )
        line.put(work, 10**9, False, now)
    nodes = [(f"node{number:03}", means_of(number)) for number in range(NODES)]
    kinds = dict.fromkeys((means for _, means in nodes), 0)
    for _, means in nodes:
        kinds[means] += 1
    line.meet(kinds)
    doing: dict[str, tuple[str, int]] = {}

    def step(node: str, means: Means) -> None:
        ended = doing.get(node)
        if ended is not None:
            line.expect_end(*ended, now)
        choice = line.choose(means, now, None, node)
        assert choice is not None
        line.take(choice, now, node)
        if ended is not None:
            line.gave_back(*ended, now)
        line.took(*choice.key, now)
        line.settle(now)
        doing[node] = choice.key

    for node, means in nodes:
        step(node, means)
    order = [rng.choice(nodes) for _ in range(steps)]
    began = time.perf_counter()
    for node, means in order:
        now += 0.001
        step(node, means)
    return (time.perf_counter() - began) / steps


def look_at_all(steps: int) -> float:
    """Seconds for the least of 1,000 tuples, as a plain look at every job would find it."""
    rng = random.Random(1)
    keys = [(rng.random(), rng.randint(1, 5), f"{n:04}", f"job{n:04}") for n in range(JOBS)]
    began = time.perf_counter()
    for _ in range(steps):
        min((share, -priority, created, job) for share, priority, created, job in keys)
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    raise SystemExit(main())
