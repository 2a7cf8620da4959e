"""A node that fails where others don't rests, and always comes back."""

from __future__ import annotations

from server.farm.nodes.sickness import LONGEST_REST_S, Sickness


def fail(
    sick: Sickness, *tasks: int, job: str = "j", now: float = 0.0, well: bool = False, too: bool = False
) -> None:
    for task in tasks:
        sick.failed(now, (job, task), "crash", others_do_well=well, elsewhere_too=too)


def test_three_in_a_row_where_others_do_well() -> None:
    sick = Sickness()
    fail(sick, 1, 2, well=True)
    assert not sick.why(0)
    sick.succeeded()
    fail(sick, 3, 4, well=True)
    assert not sick.why(0), "it did one well between"
    fail(sick, 5, well=True)
    assert sick.why(0) == (
        "sick: 3 frames failed in a row where others do well (crash); "
        "rests for 30 seconds more, then tries again"
    )


def test_the_same_task_again_is_one() -> None:
    sick = Sickness()
    fail(sick, 1, 1, 1, 1, well=True)
    assert not sick.why(0)


def test_a_broken_scene_makes_nobody_sick() -> None:
    """Nobody did well: it may be the scene. Nor when the tasks failed on another node as well."""
    sick = Sickness()
    fail(sick, *range(20))
    assert not sick.why(0)
    fail(sick, *range(20), job="k", too=True)
    assert not sick.why(0)
    other = Sickness()
    for job in "jkl":
        fail(other, 1, job=job)
        other.excused((job, 1))
    assert not other.why(0), "two broken scenes on every node"


def test_failing_across_jobs() -> None:
    sick = Sickness()
    fail(sick, 1, job="j")
    fail(sick, 1, job="k")
    fail(sick, 1, job="l")
    assert "of several renders" in sick.why(0)


def test_what_another_did_well_is_held_against_it() -> None:
    sick = Sickness()
    fail(sick, 1, 2, 3, too=True)
    for task in (1, 2, 3):
        assert not sick.why(0)
        sick.proven(0, ("j", task))
    # Two stood against it when it fell ill at the first that was certain of three? All three are.
    assert "where others do well" in sick.why(0)


def test_it_rests_longer_each_time_and_always_returns() -> None:
    sick, now, rests = Sickness(), 0.0, []
    fail(sick, 1, 2, well=True)
    for task in range(20):
        fail(sick, 100 + task, now=now, well=True)
        rests.append(sick.rests_until - now)
        assert sick.why(now)
        now = sick.rests_until
        assert not sick.why(now), "it is back by itself"
    assert rests[:4] == [30, 60, 120, 240]
    assert max(rests) == LONGEST_REST_S
    sick.succeeded()
    fail(sick, 1, now=now, well=True)
    assert not sick.why(now), "one well done ends the probation"


def test_at_fault_at_once_and_forgiven() -> None:
    sick = Sickness()
    sick.failed(0, ("j", 1), "the disk is full (/tmp)", False, False, at_fault=True)
    assert "the disk is full (/tmp)" in sick.why(0)
    fail(sick, 2, 3, 4, well=True)
    assert sick.rests == 1, "what was out when it fell ill doesn't count again"
    sick.forgive()
    assert not sick.why(0)
