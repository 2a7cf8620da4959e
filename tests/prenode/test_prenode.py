"""What a prenode starts and takes back, and that nothing is started twice, whatever breaks in between."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prenode_kit import JOB, OTHER, Crash, Rig

from prenode import wire
from prenode.book import HOUR_S

POINTS = ["crash before", "crash after", "crash after, late", "lose", "lose, late", "late", "refuse"]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.bridge.close()


def test_it_starts_what_is_wanted_and_no_more(rig: Rig) -> None:
    rig.server.want(4)
    rig.rounds(3)
    assert [count for count, _, _ in rig.cluster.submissions] == [4]
    rig.cluster.turn("running")
    rig.server.want(6)
    rig.rounds(3)
    assert [count for count, _, _ in rig.cluster.submissions] == [4, 2]
    assert {run["state"] for run in rig.server.runs} == {"waiting", "running"}
    assert {run["job"] for run in rig.server.runs} == {JOB}
    assert {run["there"] for run in rig.server.runs} == {"1_1", "1_2", "1_3", "1_4", "2_1", "2_2"}


def test_less_is_wanted_and_what_waits_is_taken_back_while_what_runs_goes_on(rig: Rig) -> None:
    rig.server.want(4)
    rig.rounds()
    rig.cluster.turn("running", ("1", 1))
    rig.rounds()
    rig.server.want(2)
    rig.rounds(2)
    assert len(rig.cluster.alive()) == 2
    assert rig.cluster.alive(state="running") == [("1", 1)]
    rig.server.demand.clear()
    rig.rounds(2)
    assert rig.cluster.alive() == [("1", 1)]


def test_a_cancelled_job_has_nothing_left_over_there(rig: Rig) -> None:
    rig.server.want(3)
    rig.rounds()
    rig.cluster.turn("running", ("1", 1))
    rig.server.demand.clear()
    rig.server.ended = [JOB]
    rig.rounds(2)
    assert rig.cluster.alive() == [("1", 1)]  # it may end by itself
    rig.rounds(6)
    assert rig.cluster.alive() == []
    rig.rounds()
    assert rig.server.runs == []  # taken back isn't failed


def test_one_that_began_before_it_could_be_taken_back_goes_on(rig: Rig) -> None:
    rig.server.want(1)
    rig.rounds()
    rig.server.demand.clear()
    rig.cluster.turn("running")  # after the listing, before the cancel: the listing still says that it waits
    rig.bridge.book.open()[0][1].state = "waiting"
    rig.bridge._obey({"demand": [], "ended": []})
    rig.rounds()
    assert rig.server.runs[0]["state"] == "running"
    rig.server.want(1)
    rig.rounds(2)
    assert len(rig.cluster.submissions) == 1


def test_one_that_began_where_the_engine_takes_back_both_has_not_failed(rig: Rig) -> None:
    rig.cluster.spares_running = False
    rig.server.want(1)
    rig.rounds()
    rig.cluster.turn("running")
    rig.bridge.book.open()[0][1].state = "waiting"
    rig.bridge._obey({"demand": [], "ended": []})
    rig.server.demand.clear()
    rig.rounds()
    assert rig.server.runs == []
    rig.server.want(1)
    rig.rounds()
    assert len(rig.cluster.submissions) == 2  # at once: nothing went wrong


def test_never_more_than_it_may(tmp_path: Path) -> None:
    rig = Rig(tmp_path, at_most=5)
    rig.server.want(4)
    rig.server.want(4, OTHER)
    rig.rounds(3)
    assert (len(rig.cluster.alive(JOB)), len(rig.cluster.alive(OTHER))) == (4, 1)
    rig.bridge.close()


def test_what_a_job_requires_becomes_options(tmp_path: Path) -> None:
    rig = Rig(tmp_path, provides=["fast"], requirements={"big": ["--constraint=big"]}, options=["-p", "x"])
    rig.server.want(1, requires=["big", "fast", "gpu"], memory_mb=4000)
    rig.server.want(1, OTHER, requires=["renderman"])
    rig.rounds(2)
    ((_, name, options),) = rig.cluster.submissions
    assert options == ["--constraint=big", "--gres=gpu:1", "--mem=4000M"]
    assert name.startswith(f"croft.lab.{JOB}.")
    assert "renderman" in rig.server.heard[-1]["troubles"][OTHER]
    rig.bridge.close()


# ---- what fails over there


def test_what_failed_is_started_again_later_and_later_and_the_server_hears_why(rig: Rig) -> None:
    rig.server.want(1)
    waits = []
    for number in range(1, 5):
        rig.rounds()
        rig.until(lambda n=number: len(rig.cluster.submissions) == n, 500)
        rig.ends((str(number), 1), 1, "node: there is no Blender at /opt/blender")
        rig.rounds()
        before = rig.now
        assert [run["why"] for run in rig.server.runs if run["state"] == "failed"] == [
            "node: there is no Blender at /opt/blender"
        ] * number
        rig.until(lambda n=number: len(rig.cluster.submissions) == n + 1, 500)
        waits.append(rig.now - before)
    assert waits == sorted(waits)
    assert waits[0] < 15 < 70 < waits[-1]
    rig.ends(("5", 1), 1, "still none")
    rig.rounds(300)  # ten minutes
    assert len(rig.cluster.submissions) == 5
    assert "Failed 5 times" in rig.server.heard[-1]["troubles"][JOB]
    rig.rounds(2, HOUR_S)
    rig.server.want(4)
    rig.rounds(2)
    assert rig.cluster.submissions[-1][0] == 1  # one finds out whether it goes again


def test_what_the_cluster_lost_is_started_again(rig: Rig) -> None:
    rig.server.want(4)
    rig.rounds()
    rig.cluster.turn("running")
    rig.rounds()
    rig.cluster.turn("lost", ("1", 1), ("1", 2), why="NodeFail")
    rig.rounds()
    assert [(run["state"], run["why"]) for run in rig.server.runs if run["state"] == "lost"] == [
        ("lost", "NodeFail")
    ] * 2
    rig.until(lambda: len(rig.cluster.alive()) == 4)
    rig.cluster.turn("cancelled", ("1", 3))  # by somebody over there
    rig.until(lambda: len(rig.cluster.alive()) == 3)
    rig.until(lambda: len(rig.cluster.alive()) == 4)
    assert "somebody has cancelled it over there" in {run["why"] for run in rig.server.runs}
    del rig.cluster.nodes["1", 4]  # forgotten without a word
    rig.rounds(2)
    assert len(rig.cluster.submissions) == 3  # not at the first listing without it
    rig.until(lambda: len(rig.cluster.alive()) == 4)
    assert rig.cluster.most_alive[JOB] == 4


def test_a_listing_that_misses_one_for_once_means_nothing(rig: Rig) -> None:
    rig.server.want(2)
    rig.rounds(2)
    rig.cluster.hidden["1", 2] = 1
    for _ in range(10):
        rig.rounds()
        assert [run["state"] for run in rig.server.runs] == ["waiting"] * 2
    assert len(rig.cluster.submissions) == 1
    rig.cluster.hidden["1", 2] = 6  # taken for gone, and there all the same
    rig.until(lambda: "lost" in {run["state"] for run in rig.server.runs})
    rig.until(lambda: [run["state"] for run in rig.server.runs] == ["waiting"] * 2)
    rig.rounds(20)
    assert len(rig.cluster.alive()) == 2


def test_one_that_is_still_cleaned_up_over_there_is_no_new_one(rig: Rig) -> None:
    rig.server.want(1)
    rig.rounds()
    rig.ends(("1", 1), 0)
    rig.cluster.turn("running", ("1", 1))  # as Slurm's COMPLETING
    rig.server.demand.clear()
    for _ in range(50):
        rig.rounds()
        assert rig.server.runs == []


def test_nodes_that_find_nothing_to_do_are_not_started_round_and_round(rig: Rig) -> None:
    rig.server.want(2)
    rig.rounds()
    rig.ends(("1", 1), 75)
    rig.ends(("1", 2), 75)
    rig.rounds(4)
    assert len(rig.cluster.submissions) == 1
    assert rig.server.runs == []  # nothing is wrong with them
    rig.until(lambda: len(rig.cluster.submissions) == 2)
    rig.ends(("2", 1), 0)
    rig.rounds(2)
    assert len(rig.cluster.alive()) == 2  # it had something to do: the next at once


def test_one_whose_time_is_up_is_replaced_at_once_unless_it_had_done_nothing(rig: Rig) -> None:
    rig.server.want(1)
    rig.rounds()
    rig.ends(("1", 1), 0, told=True)
    rig.cluster.turn("over", ("1", 1), why="TimeLimit")
    rig.rounds()
    assert len(rig.cluster.submissions) == 2
    assert {run["state"] for run in rig.server.runs} <= {"waiting"}
    rig.ends(("2", 1), 75, told=True)
    rig.cluster.turn("over", ("2", 1), why="TimeLimit")
    rig.rounds(4)
    assert len(rig.cluster.submissions) == 2
    assert [run["why"] for run in rig.server.runs] == ["its time was up before it had done a frame"]
    rig.until(lambda: len(rig.cluster.submissions) == 3)


def test_an_engine_that_refuses_is_asked_again_later(rig: Rig) -> None:
    rig.server.want(2)
    rig.cluster.points = ["refuse"]
    rig.rounds()
    assert rig.cluster.nodes == {}
    rig.rounds()
    assert "invalid partition" in rig.server.runs[0]["why"]
    assert rig.server.heard[-1]["error"] == "Slurm took no nodes for sh010: sbatch: error: invalid partition"
    rig.until(lambda: len(rig.cluster.alive()) == 2)
    assert len(rig.cluster.submissions) == 1


# ---- nothing twice


@pytest.mark.parametrize("point", POINTS)
def test_a_submission_that_breaks_anywhere_is_not_made_twice(rig: Rig, point: str) -> None:
    rig.server.want(3)
    rig.cluster.points = [point]
    try:
        rig.rounds()
    except Crash:
        rig.again()
    rig.until(lambda: len(rig.cluster.alive()) == 3)
    rig.rounds(30)
    assert rig.cluster.most_alive[JOB] == 3
    assert len(rig.cluster.alive()) == 3
    assert {run["there"] for run in rig.server.runs if run["state"] == "waiting"} == {"1_1", "1_2", "1_3"}


def test_a_book_that_is_lost_or_torn_is_written_anew_from_the_listing(rig: Rig) -> None:
    rig.server.want(3)
    rig.rounds()
    rig.cluster.turn("running", ("1", 2))
    book = rig.config.folder / "state.json"
    for content in ("", '{"schema": 1, "batches": [{'):
        book.write_text(content)
        rig.again()
        rig.rounds(3)
        assert len(rig.cluster.submissions) == 1
        assert len(rig.server.runs) == 3
    book.unlink()
    rig.again()
    rig.rounds(3)
    assert len(rig.cluster.submissions) == 1
    rig.server.demand.clear()
    rig.server.ended = [JOB]
    rig.rounds(10)
    assert rig.cluster.alive() == []


def test_nothing_is_done_while_either_side_is_away(rig: Rig) -> None:
    rig.server.want(2)
    rig.rounds()
    rig.cluster.down = True
    rig.server.want(5)
    rig.rounds(40)
    assert "can't be asked: squeue: error" in rig.server.heard[-1]["error"]
    assert len(rig.server.runs) == 2
    rig.cluster.down = False
    rig.server.error = wire.Away("the server can't be reached")
    rig.rounds(40)
    assert len(rig.cluster.alive()) == 2
    rig.server.error = None
    rig.rounds(2)
    assert rig.server.heard[-1]["error"] == ""
    assert len(rig.cluster.alive()) == 5
    assert rig.cluster.most_alive[JOB] == 5


def test_whatever_happens_there_are_never_more_than_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dice throws crashes, lost answers, failures, restarts of both sides, at two jobs that come and go."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # no power is cut here
    for seed in range(6):
        dice = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        rig = Rig(folder, retry_time=2)
        most = {JOB: 0, OTHER: 0}
        for _ in range(120):
            event = dice.randrange(12)
            job = dice.choice([JOB, OTHER])
            if event == 0:
                rig.server.want(dice.randint(0, 5), job)
                rig.server.ended = []
            elif event == 1:
                rig.cluster.points = [dice.choice(POINTS)]
            elif event == 2:
                rig.cluster.down = not rig.cluster.down
            elif event == 3:
                rig.again()
            elif event in (4, 5) and rig.cluster.alive(job):
                rig.cluster.turn(
                    dice.choice(["lost", "cancelled", "failed"]), dice.choice(rig.cluster.alive(job))
                )
            elif event == 6 and rig.cluster.alive(job):
                rig.ends(dice.choice(rig.cluster.alive(job)), dice.choice([0, 0, 75, 1]))
            elif event == 7 and rig.cluster.alive(job, "waiting"):
                rig.cluster.turn("running", dice.choice(rig.cluster.alive(job, "waiting")))
            elif event == 8:
                rig.server.demand = [wish for wish in rig.server.demand if wish["job"] != job]
                rig.server.ended = [job]
            wanted = {wish["job"]: wish["nodes"] for wish in rig.server.demand}
            before = {name: len(rig.cluster.alive(name)) for name in most}
            try:
                rig.rounds()
            except Crash:
                rig.again()
            for name in most:
                # Nothing was added beyond what is wanted now; what runs from before may stay.
                alive = len(rig.cluster.alive(name))
                assert alive <= max(before[name], wanted.get(name, 0)), (seed, name)
        rig.cluster.down, rig.cluster.points, rig.server.ended = False, [], []
        rig.server.want(3)
        rig.server.want(2, OTHER)
        rig.until(lambda r=rig: all(len(r.cluster.alive(n)) >= c for n, c in ((JOB, 3), (OTHER, 2))), 4000)
        rig.bridge.close()


def test_the_token_is_in_no_script_and_readable_for_one_user_alone(rig: Rig) -> None:
    rig.server.want(1)
    rig.rounds()
    node = rig.config.folder / "node.json"
    assert json.loads(node.read_text())["token"] == "a node's token"
    assert stat.S_IMODE(node.stat().st_mode) == 0o600
    for script in (rig.config.folder / "runs").glob("*.sh"):
        assert "a node's token" not in script.read_text()


def test_older_programs_go_once_nobody_runs_them(rig: Rig) -> None:
    older = rig.config.folder / "program-0a1b2c3d4e5f"
    rig.server.want(1)
    rig.rounds()
    older.mkdir()
    rig.rounds(1, 100)
    assert older.exists()
    rig.ends(("1", 1), 0)
    rig.server.demand.clear()
    rig.rounds(2, 100)
    assert not older.exists()
    assert rig.bridge.program.home.exists()


def test_a_clock_that_is_put_back_holds_nothing_up(rig: Rig) -> None:
    rig.server.want(1)
    rig.rounds()
    rig.ends(("1", 1), 1, "broken")
    rig.rounds()
    rig.now -= 86400
    rig.rounds(2)
    assert len(rig.cluster.submissions) == 2


def test_nothing_is_written_while_nothing_happens(rig: Rig) -> None:
    rig.server.want(2)
    rig.rounds(2)
    before = (rig.config.folder / "state.json").stat().st_ino
    rig.rounds(5)
    assert (rig.config.folder / "state.json").stat().st_ino == before
