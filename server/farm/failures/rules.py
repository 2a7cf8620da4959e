"""What a renderer's last lines mean, as data: `config/failure_rules/*.json` and `rules` of a job type.

A rule is `{"match", "is", "say"}`: a pattern for one line, what kind of failure that is, and a sentence for
people, in which `{1}` stands for the pattern's first group. The first rule that fits any of the last lines
counts, those of the job type before the general ones.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say
from server.farm.failures.patterns import compiled

LINES = 60  # from the end of a log that are looked at
LINE_LENGTH = 300  # characters of each
ENOUGH_S = 0.2  # then it is as if no rule fitted
MOST_RULES = 200
MOST_SAID = 300
WAIT_S = 60.0  # before a licence is asked for again; doubled each time
LONGEST_WAIT_S = 900.0

KINDS = {
    "fatal": say("no computer can do better: it has failed for good"),
    "licence": say("a licence is missing: tried again later, not counted"),
    "later": say("something is missing that will be there later: tried again then, not counted"),
    "memory": say("the computer has too little memory: one with more tries it, not counted"),
    "missing": say("a file is missing"),
    "lacking": say(
        "the computer lacks what this scene asks for: others try it, and it gets no more of the job"
    ),
    "computer": say("the computer is at fault: others try it, not counted, and it rests"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    match: re.Pattern[str]
    kind: str
    say: str
    wait_s: float = WAIT_S


@dataclass(frozen=True, slots=True)
class Found:
    """The rule that fits, and its sentence."""

    kind: str
    say: str
    wait_s: float = WAIT_S


@dataclass(frozen=True, slots=True)
class RuleFile:
    """Rules of one file, and for which programs' jobs they are; none: for all."""

    programs: frozenset[str]
    rules: tuple[Rule, ...]


def read(told: object) -> tuple[Rule, ...]:
    """Rules from a file; BadInput for the first that makes no sense."""
    if not isinstance(told, list) or len(told) > MOST_RULES:
        raise BadInput("rules is a list of at most {most_rules} rules.", most_rules=MOST_RULES)
    found = []
    for data in told:
        if not isinstance(data, Mapping):
            raise BadInput('A rule is an object: {"match", "is", "say"}.')
        kind, say, wait_s = data.get("is"), data.get("say", ""), data.get("wait_s", WAIT_S)
        if kind not in KINDS:
            raise BadInput(
                "A rule is one of {kinds}, not {kind}.", kinds=", ".join(KINDS), kind=repr(str(kind)[:40])
            )
        if not isinstance(say, str) or len(say) > MOST_SAID:
            raise BadInput(
                "What a rule says is a sentence of at most {most_said} characters.", most_said=MOST_SAID
            )
        if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)) or not 1 <= wait_s <= 86_400:
            raise BadInput("wait_s is a number of seconds from 1 to 86400.")
        found.append(Rule(compiled(data.get("match")), str(kind), say, float(wait_s)))
    return tuple(found)


def read_file(data: Mapping[str, Any]) -> RuleFile:
    """One file of general rules."""
    programs = data.get("programs", [])
    if not isinstance(programs, list) or not all(isinstance(name, str) for name in programs):
        raise BadInput("programs is a list of words such as blender.")
    return RuleFile(frozenset(programs), read(data.get("rules", [])))


def judge(rules: Iterable[Rule], log: str, clock: Callable[[], float] = time.monotonic) -> Found | None:
    """The first rule that fits one of a log's last lines, the newest first."""
    lines = last_lines(log)
    began = clock()
    for rule in rules:
        for line in lines:
            found = rule.match.search(line)
            if found is not None:
                return Found(rule.kind, _filled(rule.say or line, found), rule.wait_s)
            if clock() - began > ENOUGH_S:
                return None
    return None


def last_lines(log: str) -> Sequence[str]:
    """The newest first. The node's own sentence, which stands first of all, is among them."""
    lines = [line.strip()[:LINE_LENGTH] for line in log[-LINES * 2000 :].splitlines()]
    lines = [line for line in lines if line]
    kept = lines[-LINES:]
    if len(lines) > LINES:
        kept.insert(0, lines[0])
    return kept[::-1]


def _filled(say: str, found: re.Match[str]) -> str:
    for number, text in enumerate(found.groups(), 1):
        say = say.replace("{%d}" % number, (text or "").strip()[:120])  # noqa: UP031
    return say[:MOST_SAID]
