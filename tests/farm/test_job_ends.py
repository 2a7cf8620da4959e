"""What follows on a job's end: in rounds that are short, done again after a failure or a crash."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from farm_kit import Node, World, until

from server.disk.errors import DiskFull
from server.farm.committer.ends import FAILED_REST_S, Ends
from server.farm.committer.live import Ended
from server.farm.farm import Farm
from server.farm.jobs import record as records
from server.farm.jobs.place import Place

Submit = Callable[..., str]
JOBS = "demo/shots/.croft/sh010.blend/jobs"


def render_all(node: Node) -> None:
    while tasks := node.ask(5):
        for task in tasks:
            node.deliver(task)


def test_a_round_ends_after_a_while_and_the_rest_is_left_for_the_next(farm: Farm) -> None:
    ticks = itertools.count()
    ends = Ends(farm.board, farm._committer, lambda: next(ticks) * 0.15, farm.keeper._each)
    done: list[int] = []

    def duty(number: int) -> None:
        done.append(number)
        if number == 1:
            raise DiskFull("No room.", path="")

    farm.board.stirred.clear()
    assert ends._for_a_while([1, 2, 3, 4], duty, 0.2) == [2, 3, 4, 1]
    assert done == [1]


@pytest.mark.parametrize("left", [b"", b'{"schema": 1, "state": "do', bytes(300)])
def test_a_sum_that_a_power_cut_tore_is_made_again(
    world: World, farm: Farm, node: Node, submit: Submit, left: bytes
) -> None:
    job_id = submit("1-2")
    render_all(node)
    until(lambda: records.result_matches(world.root / JOBS / job_id))
    world.close()
    (world.root / JOBS / job_id / "result.json").write_bytes(left)
    again = world.open()
    until(lambda: records.result_matches(world.root / JOBS / job_id))
    assert again.view(job_id)["counts"]["done"] == 2


def test_a_disk_that_is_full_at_a_jobs_end(
    world: World, farm: Farm, node: Node, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its version's record is complete before its sum is there, which is what a start goes by.
    real, tries = Place.write_result, []

    def write_result(place: Place, *arguments: Any) -> None:
        told = json.loads((world.root / "demo/shots/render/sh010/v001.json").read_bytes())
        assert told["state"] == "done"
        tries.append(place)
        if len(tries) == 1:
            raise DiskFull("No room.", path="")
        real(place, *arguments)

    monkeypatch.setattr(Place, "write_result", write_result)
    job_id = submit("1-2")
    render_all(node)
    until(lambda: tries)
    until(lambda: farm.board.live[job_id].rests_until)
    assert not (world.root / JOBS / job_id / "result.json").exists()
    world.clock.now += FAILED_REST_S + 1
    until(lambda: records.result_matches(world.root / JOBS / job_id))
    world.close()
    assert isinstance(world.open().job(job_id), Ended)


def test_jobs_that_end_together_are_summed_up_after_one_commit(
    world: World, farm: Farm, node: Node, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = Ends._commit
    monkeypatch.setattr(Ends, "_commit", lambda ends, ops: batches.append(len(ops)) or real(ends, ops))
    jobs = [submit("1") for _ in range(6)]
    lives = [farm.board.live[job_id] for job_id in jobs]
    for live in lives:
        live.rests_until = 1e9  # until all have ended
    done = [node.render(task) for task in node.ask(6)]
    assert all(answer["id"] == "accepted" for answer in node.say(*done) if "uuid" in answer)
    for live in lives:
        live.rests_until = 0.0
    until(lambda: all(records.result_matches(world.root / JOBS / job_id) for job_id in jobs))
    assert sum(batches) == 6
    assert max(batches) > 1
