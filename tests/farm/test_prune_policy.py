"""Which rendered versions may go: pure."""

from __future__ import annotations

from typing import Any

import pytest

from server.library.versions.policy import Fact, Policy, choose, read


def old(name: str, **more: Any) -> Fact:
    return Fact(name, 100.0, **more)


def gone(*facts: Fact, **policy: Any) -> list[str]:
    return [choice.name for choice in choose(facts, Policy(**policy)) if choice.goes]


def test_the_newest_the_approved_and_the_used_stay_however_old() -> None:
    facts = [old("v001", approved=True), old("v002", used="used by comp.blend"), old("v003"), old("v004")]
    assert gone(*facts, keep_newest=1) == ["v003"]
    said = {choice.name: str(choice.why) for choice in choose(facts, Policy(keep_newest=1))}
    assert said == {
        "v001": "approved", "v002": "used by comp.blend", "v003": "not approved for 100 days",
        "v004": "the newest",
    }  # fmt: skip


def test_so_many_of_the_newest_stay_and_what_is_young() -> None:
    facts = [*(old(f"v00{n}") for n in range(1, 7)), Fact("v007", 1.0)]
    assert gone(*facts, keep_newest=3) == ["v004", "v003", "v002", "v001"]
    young = [Fact(f"v00{n}", 13.9) for n in range(1, 7)]
    assert gone(*young, keep_newest=1) == []
    assert gone(*young, keep_newest=1, unapproved_days=13) == ["v005", "v004", "v003", "v002", "v001"]


def test_what_was_rejected_goes_sooner_and_keeps_no_other_from_its_place() -> None:
    facts = [Fact("v001", 3.0), Fact("v002", 3.0, rejected=True), Fact("v003", 3.0, rejected=True)]
    assert gone(*facts, keep_newest=1) == ["v002"]  # v003 is the newest all the same
    assert gone(Fact("v001", 99.0), *facts[1:], keep_newest=1) == ["v002"]


def test_the_newest_with_frames_stays_below_one_without() -> None:
    assert gone(old("v001"), old("v002"), old("v003", framed=False), keep_newest=1) == ["v001"]


def test_v999_is_older_than_v1000() -> None:
    assert gone(old("v999"), old("v1000"), keep_newest=1) == ["v999"]


@pytest.mark.parametrize("told", [None, 3, {"keep_newest": 0}, {"keep_newest": "x", "projects": 1}])
def test_what_makes_no_sense_counts_as_not_said(told: Any) -> None:
    assert read(told, "green") == Policy()


def test_a_project_may_have_its_own() -> None:
    told = {"keep_newest": 5, "unapproved_days": 1, "projects": {"green": {"keep_newest": 1}}}
    assert read(told, "green") == Policy(1, 1.0)
    assert read(told, "blue") == Policy(5, 1.0)
