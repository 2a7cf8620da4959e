"""Which of a file's rendered versions may go: data, and a pure function.

`keep_newest`: so many of those that nobody judged stay, however old. `unapproved_days`, `rejected_days`: how
long the others stay. What is approved, used, being rendered, or the newest of all never goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.speech import say

DAYS_MOST = 36_500.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What `prune` in server.json says, for one project."""

    keep_newest: int = 3
    unapproved_days: float = 14.0
    rejected_days: float = 2.0


@dataclass(frozen=True, slots=True)
class Fact:
    """One version as it is now."""

    name: str
    days: float  # since it ended, or was judged
    approved: bool = False
    rejected: bool = False
    used: str = ""  # by what, in words
    framed: bool = True  # it has a frame


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a version goes, and why, or why not."""

    name: str
    goes: bool
    why: str


def read(told: Any, project: str) -> Policy:
    """A project's policy; what makes no sense counts as not said."""
    said = dict(told) if isinstance(told, Mapping) else {}
    own = said.get("projects")
    own = own.get(project) if isinstance(own, Mapping) else None
    said |= own if isinstance(own, Mapping) else {}
    usual = Policy()
    newest = said.get("keep_newest")
    return Policy(
        newest
        if isinstance(newest, int) and not isinstance(newest, bool) and newest >= 1
        else usual.keep_newest,
        _days(said.get("unapproved_days"), usual.unapproved_days),
        _days(said.get("rejected_days"), usual.rejected_days),
    )


def choose(facts: Iterable[Fact], policy: Policy) -> list[Choice]:
    """What becomes of each, the newest first."""
    ordered = sorted(facts, key=lambda fact: paths.by_version(fact.name), reverse=True)
    framed = next((fact.name for fact in ordered if fact.framed), "")
    unjudged = [fact.name for fact in ordered if not (fact.approved or fact.rejected)]
    kept = set(unjudged[: policy.keep_newest])
    found = []
    for place, fact in enumerate(ordered):
        bound = policy.rejected_days if fact.rejected else policy.unapproved_days
        why = ""
        if fact.approved:
            why = say("approved")
        elif not place or fact.name == framed:
            why = say("the newest")
        elif fact.used:
            why = fact.used
        elif fact.name in kept:
            why = say("one of the {n} newest", n=policy.keep_newest)
        elif fact.days < bound:
            why = say("not {days:g} days old yet", days=bound)
        elif fact.rejected:
            why = say("rejected {days:.0f} days ago", days=fact.days)
        else:
            why = say("not approved for {days:.0f} days", days=fact.days)
        goes = not (fact.approved or not place or fact.name == framed or fact.used or fact.name in kept)
        found.append(Choice(fact.name, goes and fact.days >= bound, why))
    return found


def _days(value: Any, usual: float) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= DAYS_MOST
    return float(value) if fits else usual
