"""Search over everything: files, people, projects, what was said of files, renders.

Reads what the rooms below keep in memory and opens no file. Words must all fit; pairs such as `state:us` are
of files, so that a search with one finds nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from server.disk import paths
from server.disk.records import Entry
from server.library.search import Query, fold

if TYPE_CHECKING:
    from server.library.notes import Note
    from server.library.people import User
    from server.library.projects import Project
    from server.web.services import Services

LIMIT = 20  # of each kind, if nobody says
NOTES_MOST = 200  # looked at for the count
Job = Any  # of the farm: in memory, or its sum
T = TypeVar("T")


@dataclass(slots=True)
class Group(Generic[T]):
    """The first of what was found of a kind, and how many there are in all."""

    first: Sequence[T] = ()
    total: int = 0


@dataclass(slots=True)
class Found:
    """What a search finds. `files` by project; assets stand before textures and other files."""

    files: dict[str, Group[Entry]] = field(default_factory=dict)
    people: Group[User] = field(default_factory=Group)
    projects: Group[Project] = field(default_factory=Group)
    notes: Group[Note] = field(default_factory=Group)
    renders: Group[Job] = field(default_factory=Group)

    @property
    def total(self) -> int:
        """How many, of all kinds."""
        rest = self.people.total + self.projects.total + self.notes.total + self.renders.total
        return rest + sum(group.total for group in self.files.values())


def find(services: Services, text: str, project: Project | None = None, limit: int = LIMIT) -> Found:
    """All that fits the text, within one project or everywhere. Nothing for an empty text; BadInput for one
    that is too long."""
    query = Query.parse(text, files=True)
    found = Found()
    if not query.terms:
        return found
    projects = [project] if project is not None else services.projects.list()
    for one in projects:
        rows = services.assets.rows(one.ident, text, files=True)
        if rows:
            first = [row.entry for row in sorted(rows[: 50 * limit], key=lambda row: not row.asset)[:limit]]
            found.files[one.ident] = Group(first, len(rows))
    if any(term.field or term.negated for term in query.terms):
        return found
    words = [term.value for term in query.terms]
    titles = {user.ident: user.title for user in services.people.users()}
    users = [user for user in services.people.users() if not user.disabled]
    found.people = _fitting(users, lambda user: (user.title, user.ident, user.role), words, limit)
    if project is None:
        found.projects = _fitting(projects, lambda one: (one.title, one.ident, one.description), words, limit)
    notes = services.notes.search(text, project.address + "/" if project else "", NOTES_MOST)
    found.notes = Group(notes[:limit], len(notes))
    found.renders = _fitting(
        services.farm.jobs(project=project.ident if project else ""),
        lambda job: (
            str(job.record.get("name") or ""),
            paths.name_of(job.address) if job.address else "",
            titles.get(str(job.record.get("user") or ""), ""),
            job.id,
        ),
        words,
        limit,
    )
    return found


def _fitting(
    things: Iterable[T], said: Callable[[T], Iterable[str]], words: Sequence[str], limit: int
) -> Group[T]:
    """Those of which each word is said."""
    found = []
    for one in things:
        text = fold("\n".join(said(one)))
        if all(word in text for word in words):
            found.append(one)
    return Group(found[:limit], len(found))
