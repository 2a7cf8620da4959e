"""What a rule says: `{"if": {…}, "then": "…"}`. What makes no sense counts for nothing, and is told; but a
mistake in `never-elsewhere` must send nothing out of the house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from server.disk.speech import say

LOCAL, ELSEWHERE, BOTH, NEVER, OVERFLOW = "local", "elsewhere", "both", "never-elsewhere", "overflow"
THENS = (LOCAL, ELSEWHERE, BOTH, OVERFLOW, NEVER)
NAMES = ("project", "user", "type", "requires")  # conditions: one of these names
MOST_RULES = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; None and empty are what it doesn't ask for."""

    number: int  # its place, from 1
    then: str
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of `NAMES`
    priority_at_least: int | None = None
    priority_at_most: int | None = None
    queue_hours_over: float | None = None
    finish_hours_over: float | None = None
    node_hours_today_under: float | None = None
    within_hours: float = 0.0  # what overflow is to keep to
    at_most_nodes: int | None = None
    frames_each: int = 1
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them, and what counts over all jobs together."""

    rules: tuple[Rule, ...] = ()
    node_hours_a_day: float | None = None
    at_most_nodes: int | None = None

    @property
    def by_time(self) -> bool:
        """Does any of them ask how long the queue is?"""
        return any(r.queue_hours_over is not None or r.finish_hours_over is not None for r in self.rules) or (
            any(rule.then == OVERFLOW for rule in self.rules)
        )


NO_RULES = Rules()


def read_rules(told: Mapping[str, Any]) -> tuple[Rules, list[str]]:
    """The rules that a configuration says, and what of it makes no sense."""
    wrong: list[str] = []
    rules: list[Rule] = []
    listed = told.get("rules", [])
    if not isinstance(listed, list):
        wrong.append(say("rules must be a list"))
        listed = []
    if len(listed) > MOST_RULES:
        wrong.append(say("there are more than {most} rules: those beyond don't count", most=MOST_RULES))
    for number, one in enumerate(listed[:MOST_RULES], 1):
        own: list[str] = []
        rule = _rule(number, one, own)
        wrong += [say("rule {n}: {what}", n=number, what=what) for what in own]
        if rule is not None and not own:  # half of a rule would decide what nobody meant
            rules.append(rule)
        elif held := _held(number, one):
            rules.append(held)
    hours = _get(told, "node_hours_a_day", _number, wrong)
    most = _get(told, "at_most_nodes", _whole, wrong)
    for name in told:
        if name not in ("rules", "node_hours_a_day", "at_most_nodes", "schema") and not name.startswith("_"):
            wrong.append(say("there is no key {name}", name=repr(name[:60])))
    return Rules(tuple(rules), hours, most), wrong


def _rule(number: int, told: object, wrong: list[str]) -> Rule | None:
    """One rule, and what of it makes no sense."""
    if not isinstance(told, Mapping):
        wrong.append(say("it must be an object in braces"))
        return None
    then = told.get("then")
    if then not in THENS:
        wrong.append(say("then must be one of {names}", names=", ".join(THENS)))
        return None
    asked = told.get("if", {})
    if not isinstance(asked, Mapping):
        wrong.append(say("if must be an object in braces"))
        return None
    known = {*NAMES, *_NUMBERS}
    for name in [*(n for n in asked if n not in known), *(n for n in told if n not in _OWN)]:
        if not str(name).startswith("_"):
            wrong += [say("there is no key {name}", name=repr(str(name)[:60]))]
    names = {}
    for name in NAMES:
        if name in asked:
            found = _names(asked[name])
            if found is None:
                wrong.append(say("{name} must be a name or a list of names", name=name))
            else:
                names[name] = found
    numbers: dict[str, Any] = {name: _get(asked, name, check, wrong) for name, check in _NUMBERS.items()}
    within = _get(told, "within_hours", _number, wrong)
    over = [numbers[name] for name in ("finish_hours_over", "queue_hours_over") if numbers[name] is not None]
    if then == OVERFLOW and not within:
        within = over[0] if over else 0.0
        if not within:
            wrong.append(say("overflow needs queue_hours_over, finish_hours_over or within_hours"))
    most = _get(told, "at_most_nodes", _whole, wrong)
    each = _get(told, "frames_each", _whole, wrong)
    why = told.get("why", "")
    return Rule(
        number, then, names, **numbers,
        within_hours=within or 0.0, at_most_nodes=most, frames_each=max(1, each or 1), why=str(why)[:300],
    )  # fmt: skip


def _held(number: int, told: object) -> Rule | None:
    """For a mistaken rule that was to keep renders here: it does so for all that it may have meant."""
    meant = get_close_matches(str(told.get("then"))[:60], THENS, 1, 0.5) if isinstance(told, Mapping) else []
    if not isinstance(told, Mapping) or meant != [NEVER]:
        return None
    asked = told.get("if")
    read = (
        {name: _names(asked[name]) for name in NAMES if name in asked} if isinstance(asked, Mapping) else {}
    )
    return Rule(number, NEVER, {name: names for name, names in read.items() if names})


def _get(told: Mapping[str, Any], name: str, check: Callable[[object], bool], wrong: list[str]) -> Any:
    """A number of a rule; None where it isn't there, or isn't one."""
    value = told.get(name)
    if value is None or check(value):
        return value
    kind = say("a whole number") if check is _whole else say("a number")
    wrong.append(say("{name} must be {kind}, 0 or more", name=name, kind=kind))
    return None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


def _names(value: object) -> frozenset[str] | None:
    if isinstance(value, str):
        return frozenset((value,))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    return None


_NUMBERS: dict[str, Callable[[object], bool]] = {
    "priority_at_least": _whole,
    "priority_at_most": _whole,
    "queue_hours_over": _number,
    "finish_hours_over": _number,
    "node_hours_today_under": _number,
}
_OWN = ("if", "then", "why", "at_most_nodes", "frames_each", "within_hours")
