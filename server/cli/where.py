"""`run.py where`: where each render may run and why, and what other rules would decide. Changes nothing.

Asks the running server about its open renders; with `--suppose` it needs none, and says what the rules decide
of a render that isn't there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.cli import places
from server.cli.session import running_server
from server.disk.errors import BadInput
from server.farm import policy
from server.farm.policy import Decision, FarmFacts, JobFacts

MOST_BYTES = 4 << 20
FACTS: dict[str, type] = {
    "project": str, "user": str, "type": str, "requires": str, "priority": int, "frames": int, "slots": int,
    "hours": float, "seconds": float, "queue_hours": float, "node_hours_today": float,
}  # fmt: skip


def run(options: argparse.Namespace) -> int:
    told = read(Path(options.rules)) if options.rules else None
    if options.suppose:
        rules = places.settings(options).single("where.json") if told is None else told
        found, wrong = suppose(options.suppose, rules)
        print(words(found))
        return complain(wrong)
    with running_server(options) as server:
        answer = server.get("/api/farm/where") if told is None else server.post("/api/farm/where", told)
    rows = [row for row in answer["jobs"] if options.job in ("", row["job"])]
    if options.job and not rows:
        raise BadInput(f"there is no open render {options.job!r}.")
    if answer["queue_hours"] is not None:
        print(f"The house's own computers are busy for {answer['queue_hours']:.1f} hours.")
    print(f"Computers elsewhere worked {answer['node_hours_today']:.1f} hours today.")
    for row in rows:
        print(f"{row['job']}  {row['name']} ({row['project'] or 'no project'}, {row['waiting']} waiting)")
        print(f"    now   {where(row['now'])}")
        if told is not None and row["then"] != row["now"]:
            print(f"    then  {where(row['then'])}")
    if not rows:
        print("No render is open.")
    return complain(answer["wrong"])


def complain(wrong: list[str]) -> int:
    for why in wrong:
        print(f"where.json: {why}", file=sys.stderr)
    return 1 if wrong else 0


def where(told: Mapping[str, Any]) -> str:
    """One decision in a line."""
    return words(Decision(told["here"], True, told["elsewhere"], told["reason"], told["rule"] or 0))


def words(found: Decision) -> str:
    here = "here" if found.local else "not here"
    rule = f"rule {found.rule}" if found.rule else "no rule"
    return f"{here}, {found.elsewhere} elsewhere ({rule}: {found.reason})"


def read(path: Path) -> dict[str, Any]:
    """The rules of a file."""
    if path.stat().st_size > MOST_BYTES:
        raise BadInput(f"{path} is too large for rules.")
    try:
        told = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise BadInput(f"{path} isn't JSON: {error}.") from error
    if not isinstance(told, dict):
        raise BadInput(f"{path} holds no object in braces.")
    return told


def suppose(said: str, told: Mapping[str, Any]) -> tuple[Decision, list[str]]:
    """What rules decide of a render of which these facts are known."""
    facts: dict[str, Any] = {"frames": 1}
    for part in filter(None, said.split(",")):
        name, found, value = part.partition("=")
        kind = FACTS.get(name.strip())
        if kind is None or not found:
            raise BadInput(f"{part!r} can't be supposed: name=value, of {', '.join(FACTS)}.")
        try:
            facts[name.strip()] = kind(value.strip())
        except ValueError as error:
            raise BadInput(f"{name.strip()} is a number, not {value!r}.") from error
    job = JobFacts(
        project=facts.get("project", ""),
        user=facts.get("user", ""),
        type=facts.get("type", ""),
        priority=facts.get("priority", 3),
        requires=frozenset(filter(None, facts.get("requires", "").split("+"))),
        waiting=facts["frames"],
        here=min(facts["frames"], facts.get("slots", 0)),
        hours=facts.get("hours"),
        task_s=facts.get("seconds"),
    )
    # The queue is at least as long as until this one is done.
    farm = FarmFacts(facts.get("queue_hours", facts.get("hours")), facts.get("node_hours_today", 0.0))
    rules, wrong = policy.read_rules(told)
    return policy.decide(job, farm, rules), wrong
