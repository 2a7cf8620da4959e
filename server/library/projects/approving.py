"""Who may approve a version: a project says it with `approve_by`. Pure.

`supervisors` (the default): supervisors and admins. `lighter`: the shot's lighter, too: who owns or supports
the file and has a role of the project that is called after light; where nobody has one, who owns the file.
"""

from __future__ import annotations

from server.disk.records import Entry

from ..people import User
from .record import Project

SUPERVISORS, LIGHTER = "supervisors", "lighter"
APPROVE_BY = (SUPERVISORS, LIGHTER)
LIGHT = ("light", "licht", "belicht", "lumi", "éclair", "eclair")  # in what roles are called


def approve_by(project: Project) -> str:
    """What the project says; what it can't mean counts as supervisors alone."""
    return project.approve_by if project.approve_by in APPROVE_BY else SUPERVISORS


def lighters(project: Project, entry: Entry) -> set[str]:
    """Who lights this file."""
    if entry.facts is None:
        return set()
    lit = {
        person
        for role in project.roles
        if any(word in role.title.casefold() for word in LIGHT)
        for person in role.people
    }
    if not lit:
        return {entry.facts.owner} - {""}
    return lit & {entry.facts.owner, *entry.facts.support}


def may_approve(project: Project | None, entry: Entry | None, user: User | None) -> bool:
    """Whether somebody may approve or reject a version of this file."""
    if user is None:
        return False
    if user.at_least("supervisor"):
        return True
    if project is None or entry is None or not user.at_least("student"):
        return False
    return approve_by(project) == LIGHTER and user.ident in lighters(project, entry)
