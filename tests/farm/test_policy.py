"""Where a job may run is data, and a pure function of the job, the farm and the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.farm.policy import NO_RULES, Decision, FarmFacts, JobFacts, Rules, decide, read_rules

JOB = JobFacts(
    "green", "ana", "blender-frames", 3, frozenset({"gpu"}), waiting=60, here=2, hours=5, task_s=600
)
FARM = FarmFacts(queue_hours=5, node_hours_today=10)


def rules(*listed: dict[str, Any], **more: Any) -> Rules:
    found, wrong = read_rules({"rules": list(listed), **more})
    assert wrong == []
    return found


def where(job: JobFacts, *listed: dict[str, Any], farm: FarmFacts = FARM, **more: Any) -> Decision:
    return decide(job, farm, rules(*listed, **more))


def test_without_rules_both_take_part_and_what_our_own_begin_is_not_asked_for() -> None:
    found = decide(JOB, FARM, NO_RULES)
    assert (found.where, found.elsewhere, found.rule) == ("", 58, 0)
    # Those at work there count, and where nothing waits they are all that are wanted
    assert decide(replace(JOB, there=7, waiting=1), FARM, NO_RULES).elsewhere == 7


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"project": "green"}, True),
        ({"project": ["red", "blue"]}, False),
        ({"user": ["ana", "ben"], "type": "blender-frames"}, True),
        ({"requires": "gpu"}, True),
        ({"requires": ["cpu"]}, False),
        ({"priority_at_least": 3, "priority_at_most": 3}, True),
        ({"priority_at_least": 4}, False),
        ({"priority_at_most": 2}, False),
        ({"queue_hours_over": 4.9}, True),
        ({"queue_hours_over": 5}, False),
        ({"finish_hours_over": 5.1}, False),
        ({"node_hours_today_under": 10}, False),
        ({"node_hours_today_under": 11}, True),
        ({}, True),
    ],
)
def test_a_rule_fits_when_all_of_its_conditions_do(condition: dict[str, Any], fits: bool) -> None:
    found = where(JOB, {"if": condition, "then": "local", "why": "it is small"})
    assert (found.where == "here", found.rule == 1) == (fits, fits)
    assert found.reason == (
        "it is rendered here: it is small" if fits else "it is rendered here and elsewhere"
    )


def test_the_first_that_fits_decides_and_never_counts_anywhere() -> None:
    listed: list[dict[str, Any]] = [
        {"then": "elsewhere"},
        {"if": {"project": "x"}, "then": "never-elsewhere"},
    ]
    found = where(JOB, *listed, {"then": "local"})
    assert (found.where, found.elsewhere, found.rule) == ("elsewhere", 60, 1)
    secret = where(replace(JOB, project="x"), *listed)
    assert (secret.where, secret.elsewhere, secret.rule) == ("here", 0, 2)
    assert secret.reason == "it is never rendered elsewhere"


def test_what_nobody_knows_passes_no_limit_of_hours() -> None:
    fresh = replace(JOB, hours=None, task_s=None)
    two_hours = {"if": {"queue_hours_over": 2}, "then": "both"}
    assert where(fresh, two_hours, {"then": "local"}, farm=FarmFacts()).where == "here"
    assert where(fresh, {"then": "overflow", "within_hours": 2}).where == "here"


def test_overflow_asks_for_as_many_as_hold_the_time() -> None:
    rule = {"if": {"queue_hours_over": 2}, "then": "overflow"}
    # Five hours here, two allowed: three fifths of the frames go elsewhere, twelve frames each in two hours
    found = where(JOB, rule)
    assert (found.where, found.elsewhere) == ("", 3)
    assert "5.0 hours, and 2 are allowed: 3 computers elsewhere" in found.reason
    # It is done in time here, though the queue is long
    soon = where(replace(JOB, hours=1.9), rule)
    assert (soon.where, soon.elsewhere) == ("here", 0)
    # What overflowed does so until it is well below, so that nothing is started and ended by turns
    still = replace(JOB, hours=1.9, there=2, rule=1)
    assert where(still, rule, farm=FarmFacts(queue_hours=1.9)).rule == 1
    assert where(replace(still, hours=1.7), rule, farm=FarmFacts(queue_hours=1.9)).elsewhere == 0
    assert where(replace(still, hours=1.7), rule, farm=FarmFacts(queue_hours=1.7)).rule == 0
    assert where(replace(JOB, hours=1.7), rule, farm=FarmFacts(queue_hours=1.7)).rule == 0


def test_limits_hold() -> None:
    both = {"then": "both", "at_most_nodes": 20}
    assert where(JOB, both).elsewhere == 20
    assert where(JOB, {"then": "both", "frames_each": 5}).elsewhere == 12
    # Each with enough to do, and none of those that are at work is one too many
    assert where(replace(JOB, there=30), {"then": "both", "frames_each": 5}).elsewhere == 30
    spent = where(replace(JOB, there=4), both, node_hours_a_day=10)
    assert (spent.where, spent.elsewhere) == ("here", 4)
    assert "used up" in spent.reason
    assert where(JOB, {"then": "elsewhere"}, node_hours_a_day=10).where == "nowhere"
    assert where(JOB, both, node_hours_a_day=10.1).elsewhere == 20


def test_what_makes_no_sense_is_told_and_counts_for_nothing() -> None:
    listed = [
        7,
        {"then": "mars"},
        {"then": "local", "if": []},
        {"then": "local", "if": {"colour": "red"}},
        {"then": "local", "if": {"project": 7}},
        {"then": "local", "if": {"priority_at_least": 2.5}},
        {"then": "local", "if": {"queue_hours_over": True}},
        {"then": "overflow"},
        {"then": "both", "at_most_nodes": -1},
        {"then": "both", "only": 1},
        {"then": "local", "_note": "mine", "if": {"_who": "me"}},
    ]
    found, wrong = read_rules({"rules": listed, "node_hours_a_day": "many", "colour": 1, "_note": "x"})
    assert [rule.number for rule in found.rules] == [11]
    assert len(wrong) == 12
    assert wrong[0] == "rule 1: it must be an object in braces"
    assert "rule 4: there is no key 'colour'" in wrong
    assert "there is no key 'colour'" in wrong
    assert read_rules({"rules": {}})[1] == ["rules must be a list"]


@pytest.mark.parametrize(
    ("rule", "green"),
    [
        ({"if": {"project": "green"}, "then": "never-elswhere"}, True),
        ({"if": {"project": "green"}, "then": "never"}, True),
        ({"if": {"projekt": "green"}, "then": "never-elsewhere"}, True),
        ({"if": {"project": ["green", 7]}, "then": "never-elsewhere"}, True),
        ({"if": {"project": "red"}, "then": "never-elsewhere", "only": 1}, False),
        ({"if": {"project": "green"}, "then": "elsewere"}, False),
        ({"if": {"project": "green"}, "then": "bóth"}, False),
    ],
)
def test_a_mistake_in_what_is_to_stay_here_sends_nothing_elsewhere(rule: dict[str, Any], green: bool) -> None:
    found, wrong = read_rules({"rules": [{"then": "both"}, rule]})
    assert wrong
    assert decide(replace(JOB, project="green"), FARM, found).remote is not green
