"""What takes a change back: by which call, and for an edit of fields the taking back itself."""

from __future__ import annotations

import datetime
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, Conflict, Forbidden, NotFound
from server.disk.records import Action
from server.disk.speech import say
from server.disk.store import Store

from ..assets.fields import FIELDS, SUPERVISORS
from ..people import User, require
from ..projects import Projects, changes
from .lines import Entry, cut, gathered, ident
from .reading import ALL_BYTES, histories

EDITABLE = frozenset(FIELDS) - {"protect"}  # what unlocks says why
PARTLY = (
    "description",
    "statistics_since",
    "render_time",
)  # fields that the index hasn't whole, or not at all
SETTLED_NS = 2_000_000_000  # a disk's clock and ours may differ by so much
LABEL = say("Undo")


def action(store: Store, projects: Projects, entry: Entry, user: User | None) -> Action | None:
    """The call that takes this back; None where that can't be done, or not by this person. By the index."""
    if user is None or not user.at_least("student"):
        return None
    api = f"/api/assets/{quote(entry.address, safe='/:@')}"
    known = store.index.get(entry.address)
    kept = entry.more.get("kept")
    if entry.kind == "edit":
        film = paths.name_of(entry.address) == paths.PROJECT_FILE
        if may_set_back(projects, entry, user) if film else may_undo(store, entry, user):
            return Action(LABEL, "POST", "/api/history/undo", {"address": entry.address, "id": entry.id})
    elif entry.kind == "deleted":
        return Action(LABEL, "POST", "/api/restore", {"folder": entry.more.get("folder")})
    elif known is None:
        return None
    elif entry.kind in ("back", "upload") and isinstance(kept, str) and kept:
        return Action(LABEL, "POST", f"{api}/restore", {"save": kept})
    elif entry.kind == "upload":
        # What somebody has worked on since isn't that upload any more.
        if known.stat is not None and known.stat.mtime_ns < at_ns(entry.at) + SETTLED_NS:
            return Action(LABEL, "DELETE", api)
    elif entry.kind == "approved" and entry.more.get("on") is True and user.at_least("supervisor"):
        version = quote(str(entry.more.get("approved") or ""), safe="")
        return Action(LABEL, "PATCH", f"{api}/versions/{version}", {"approved": False})
    return None


def may_undo(store: Store, entry: Entry, user: User) -> bool:
    """Whether it looks as if `undo` would do."""
    known = store.index.get(entry.address)
    facts = known.facts if known is not None and not known.broken else None
    if facts is None or not may_set(set(entry.fields), user):
        return False
    for name, (_, new) in entry.fields.items():
        if name in PARTLY:
            continue  # whoever undoes it looks
        present = getattr(facts, name, None)
        if name == "pipeline":
            present = dict(facts.pipeline)
        elif isinstance(present, tuple):
            present = list(present)
        if (present or None) != (new or None):
            return False
    return True


def may_set_back(projects: Projects, entry: Entry, user: User) -> bool:
    """As `may_undo`, of what was changed of a project."""
    project = projects.of(entry.address)
    if project is None or not changes.may_change(user, project) or not entry.fields:
        return False
    if not user.at_least("supervisor") and not entry.fields.keys().isdisjoint(changes.SUPERVISORS):
        return False
    now = changes.told(project)
    return all(name in now and cut(now[name]) == new for name, (_, new) in entry.fields.items())


def may_set(fields: set[str], user: User) -> bool:
    return fields <= EDITABLE and (user.at_least("supervisor") or fields.isdisjoint(SUPERVISORS))


def undo(store: Store, projects: Projects, address: str, id: str, user: User) -> list[str]:
    """Set back what an edit changed, if nobody changed it since; the fields."""
    require(user, "student")
    lines = (
        line
        for site, said in histories(paths.companion_of(store.path(address)), ALL_BYTES)
        for line in gathered(said)
        if ident(site, line) == id
    )
    fields = next(lines, {}).get("fields")
    if not isinstance(fields, dict) or not fields:
        raise NotFound("There is no such change any more.", address=address)
    if not all(isinstance(change, list) and len(change) == 2 for change in fields.values()):
        raise BadInput("This can't be undone.", address=address)
    project = projects.of(address)
    if project is not None and address == paths.join(project.address, paths.PROJECT_FILE):
        projects.set_back(project.ident, fields, user)
        return list(fields)
    if not EDITABLE.issuperset(fields) or "uuid" in fields:
        raise BadInput("This can't be undone.", address=address)
    if not may_set(set(fields), user):
        raise Forbidden("Only a supervisor may undo this.", address=address)

    def back(record: dict[str, Any]) -> dict[str, Any]:
        for name, change in fields.items():
            if record.get(name) != change[1]:
                told = say(
                    "'{field}' of {file} was changed again since: nothing was undone.",
                    field=name,
                    file=paths.name_of(address),
                )
                raise Conflict(told, address=address, field=name)
            if change[0] is None:
                record.pop(name, None)
            else:
                record[name] = change[0]
        return record

    store.edit(address, back, who=user.ident)
    return list(fields)


def at_ns(at: str) -> int:
    """A stored time as a file's are; 0 for none."""
    try:
        return int(datetime.datetime.fromisoformat(at).timestamp() * 1e9)
    except (ValueError, OverflowError):
        return 0
