"""Assets: which files are assets, finding them, showing them, editing what people say of them.

A listing is kept for each project and brought up to date by what the index says has changed, so that a
search among 100,000 assets costs what its matches cost. What it answers is shared: callers must not
change it. Every edit is validated here and written by the store.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, Broken, Conflict, NotFound
from server.disk.records import Entry, Stat
from server.disk.store import Store

from ..dependencies import Dependencies
from ..media import complete, kinds, sane
from ..people import People, User, require
from ..projects import AssetSet, AssetType, Project, Projects
from ..search import Query, Row, parse_cursor
from . import guard
from .fields import validate, with_changes
from .listing import NOBODY, Listing, is_asset
from .many import Many
from .view import pretty, rfc3339, shown

LIMIT, LIMIT_MOST = 100, 1000  # assets a page of an answer
VIEWS_KEPT = 4096
FACTS_KEPT = 4096
USED_BY_MOST = 1000  # users told
HISTORY_MOST = 1000  # changes told


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a search's answer. `next` is the cursor that continues it, '' at the end."""

    items: list[dict[str, Any]]
    next: str
    total: int


class Assets:
    """Search, views and edits. Thread-safe.

    `hopeless` says of an address and stat that no thumbnail can be had, so that no page asks again.
    """

    def __init__(
        self,
        store: Store,
        projects: Projects,
        people: People,
        hopeless: Callable[[str, Stat], bool] = lambda address, stat: False,
        dependencies: Dependencies | None = None,
    ) -> None:
        self._store = store
        self._projects = projects
        self._people = people
        self._hopeless = hopeless
        self._dependencies = dependencies
        self.outdated: Callable[[str], None] = lambda address: None  # told of files to be read again
        self.peek: Callable[[str], dict[str, Any]] = lambda address: {}  # what a file that is no asset tells
        self.protection: Callable[[str], dict[str, Any] | None] = lambda address: None  # of a protected one
        self.many = Many(store, projects, people, self)
        self._listings: dict[str, Listing] = {}
        self._due: dict[str, tuple[tuple[Entry, ...], tuple[Entry, ...]]] = {}
        self._lock = threading.Lock()
        self._views: OrderedDict[str, tuple[Entry, AssetSet, dict[str, Any]]] = OrderedDict()
        self._facts: OrderedDict[str, tuple[tuple[int, int, int], dict[str, Any]]] = OrderedDict()

    # Finding

    def search(
        self,
        project: str,
        q: str = "",
        *,
        type: str = "",
        state: str = "",
        owner: str = "",
        sort: str = "name",
        limit: int = LIMIT,
        cursor: str = "",
        files: bool = False,
    ) -> Page:
        """The assets of a project that fit all that is given, `limit` of them from `cursor` on.

        `q` is words and `field:value` pairs as people type them (see `search`); `sort` one of its SORTS,
        with a '-' before it the other way round. With `files` those that aren't assets are found too.
        NotFound for the project, BadInput for an unknown sort or a spoilt cursor.
        """
        found = self._projects.get(project)
        words = self._projects.set_of(found)
        query = Query.parse(q, type=type, state=state, owner=owner, sort=sort, files=files)
        rows, total, following = self._listing(found).page(
            query, words, min(max(1, limit), LIMIT_MOST), parse_cursor(cursor, query)
        )
        return Page([self.view(row.entry, found) for row in rows], following, total)

    def find(
        self,
        project: str,
        q: str = "",
        *,
        type: str = "",
        state: str = "",
        owner: str = "",
        sort: str = "name",
        files: bool = False,
    ) -> tuple[Entry, ...]:
        """As `search`, but the whole answer as the index's entries: the same tuple until one changes."""
        found = self._projects.get(project)
        query = Query.parse(q, type=type, state=state, owner=owner, sort=sort, files=files)
        return self._listing(found).entries(query, self._projects.set_of(found))

    def due(self, project: str) -> tuple[Entry, ...]:
        """Those of a project that are to be delivered on some day. Cheap while none of its assets changes."""
        everything = self.find(project)
        known = self._due.get(project)
        if known is None or known[0] is not everything:
            found = tuple(entry for entry in everything if entry.facts is not None and entry.facts.due)
            known = self._due[project] = (everything, found)
        return known[1]

    def rows(
        self,
        project: str,
        q: str = "",
        *,
        type: str = "",
        state: str = "",
        owner: str = "",
        sort: str = "name",
        files: bool = False,
    ) -> list[Row]:
        """As `find`, as the listing's own rows: the same list until one changes, and not to be changed."""
        found = self._projects.get(project)
        query = Query.parse(q, type=type, state=state, owner=owner, sort=sort, files=files)
        return self._listing(found).rows(query, self._projects.set_of(found))

    @staticmethod
    def kind(entry: Entry) -> str:
        """`scene`, `image`, `film`, `sequence` or `file`."""
        return kinds.kind(paths.name_of(entry.address))

    def thumbnail_url(self, entry: Entry) -> str | None:
        """Where the picture of a file is; None where there can't be one. It changes with the file."""
        stat = entry.stat
        if stat is None or entry.incomplete or not kinds.drawable(paths.name_of(entry.address)):
            return None
        if self.kind(entry) == "scene":
            # A scene shows its newest render, which a new version changes.
            versions = self._store.index.versions(paths.render_folder(entry.address))
            if versions:
                return f"/thumb/{quote(entry.address, safe='/:@')}?w=256&of={quote(versions[-1])}"
        if self._hopeless(entry.address, stat):
            return None
        return f"/thumb/{quote(entry.address, safe='/:@')}?w=256&v={stat.mtime_ns & 0xFFFFFFFFFF:x}"

    def count(self, project: str) -> int:
        """How many assets a project has."""
        found = self._projects.get(project)
        return self._listing(found).count()

    def get(self, address: str) -> Entry:
        """The index's entry of a file. NotFound if there is none; BadInput for a malformed address."""
        paths.parse(address)
        entry: Entry | None = self._store.index.get(address)
        if entry is None:
            raise NotFound("There is no file {address}.", address=address)
        return entry

    def view(self, entry: Entry, project: Project | None = None) -> dict[str, Any]:
        """An asset as the API shows it, without reading the disk; shared, so not to be changed."""
        kept = self._views.get(entry.address)
        project = project or self._projects.of(entry.address)
        words = self._projects.set_of(project)
        if kept is not None and kept[0] is entry and kept[1] is words and self._is_shown_by(kept[2], entry):
            return kept[2]
        view = shown(entry, project, self.standing(entry), self.thumbnail_url(entry))
        view["named"] = dict(words.named(paths.name_of(entry.address)))
        with self._lock:
            self._views[entry.address] = (entry, words, view)
            if len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        return view

    def one(self, address: str) -> dict[str, Any]:
        """An asset as the API shows it, with the facts read from its content. NotFound.

        Facts of an earlier state are shown until those of the present one are there. What the index keeps a
        beginning of, such as a long description, is read here.
        """
        entry = self.get(address)
        said: dict[str, Any] = {}
        if entry.facts is not None and not entry.broken:
            try:
                side = self._store.read(address)
                if side.etag != entry.etag:  # Race: edited past us a moment ago. One ETag for one record.
                    self._store.refresh(address)
                    entry, side = self.get(address), self._store.read(address)
                said = side.data if side.etag == entry.etag else {}
            except (NotFound, Broken):
                pass
        record = self.file_record(address)
        facts = dict(record.get("facts") or {})
        if entry.stat is not None and not tells_of(record, entry.stat):
            self.outdated(address)  # it changed while no server looked
            if not record and entry.facts is None and not entry.arriving:
                facts = self.peek(address)
        view = {**self.view(entry), "facts": facts, "uses": [], "used_by": []}
        if isinstance(said.get("description"), str):
            view["description"] = said["description"]
        since = said.get("statistics_since")
        view["protection"] = self.protection(address)
        view["statistics_since"] = since[:40] if isinstance(since, str) else ""
        if self._dependencies is not None:
            view["uses"] = [
                {"path": use.raw, "kind": use.kind, "address": use.address or None, "status": use.status}
                for use in self._dependencies.uses(address)
            ]
            view["used_by"] = self._dependencies.used_by(address)[:USED_BY_MOST]
        return view

    def _is_shown_by(self, view: Mapping[str, Any], entry: Entry) -> bool:
        """Whether what isn't the entry's own, but shown with it, is still so."""
        if view["thumbnail"] != self.thumbnail_url(entry):
            return False
        return (view["waited_for_by"], view["true_priority"]) == self.standing(entry)

    def standing(self, entry: Entry) -> tuple[int, float]:
        """How many assets wait for this one, and its true priority: its own, or what it rises to by that."""
        own = entry.facts.priority if entry.facts is not None else 0
        if self._dependencies is None:
            return 0, own
        waiting = self._dependencies.waiting.get(entry.address, 0)
        return waiting, self._dependencies.true_priority(entry.address, own)

    def facts(self, address: str) -> dict[str, Any]:
        """What was read from the file's content: `file.json`'s `facts`; {} while nothing was."""
        return dict(self.file_record(address).get("facts") or {})

    def file_record(self, address: str) -> dict[str, Any]:
        """The whole `file.json`: size, mtime_ns, hash, facts, and `error` where reading failed; or {}."""
        place = paths.join(paths.companion_of(address), "file.json")
        try:
            st = os.stat(self._store.path(place))
        except OSError:
            return {}
        stamp = (st.st_size, st.st_mtime_ns, st.st_ino)
        kept = self._facts.get(address)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            data: dict[str, Any] = self._store.read_json(place)
        except (NotFound, Broken):
            return {}
        if "facts" in data:
            data["facts"] = sane.facts(data["facts"])
        with self._lock:
            self._facts[address] = (stamp, data)
            if len(self._facts) > FACTS_KEPT:
                self._facts.popitem(last=False)
        return data

    def history(self, address: str) -> list[dict[str, Any]]:
        """Who changed which field of an asset, newest first, of all sites: at, who, field, old, new."""
        self.get(address)
        told: list[dict[str, Any]] = []
        for event in reversed(self._store.history(address)):
            fields = event.get("fields")
            for field, change in fields.items() if isinstance(fields, dict) else ():
                old, new = change if isinstance(change, list) and len(change) == 2 else (None, change)
                told.append({
                    "at": event.get("at"), "who": event.get("who"), "field": field, "old": old, "new": new,
                    "address": address,
                })  # fmt: skip
            if len(told) >= HISTORY_MOST:
                break
        return told[:HISTORY_MOST]

    # Editing

    def edit(
        self, address: str, changes: Mapping[str, Any], user: User, *, etag: str | None = None
    ) -> dict[str, Any]:
        """Change fields of an asset's sidecar; its view afterwards.

        BadInput names a wrong field or value (and the nearest known one), Stale an edit made on an older
        record, Forbidden who may not; NotFound, Broken, ReadOnly, ShareAway, Busy as the store has them.
        """
        require(user, "student")
        entry = self.get(address)
        project = self._projects.of(address)
        if project is None:
            raise BadInput("{address} lies in no project.", address=address)
        checked = validate(changes, self._projects.set_of(project), user, self._people)
        guard.check_owner(entry, checked, user)
        if checked and entry.facts is None and not entry.broken:
            # Who says something of a file that nobody tracks makes it an asset.
            self._check_here(entry)
            first = self.first_record(address, user.ident)
            self._store.edit(
                address, lambda data: with_changes(data or first, checked), etag=etag, who=user.ident
            )
        elif checked:
            self._store.edit(address, lambda data: with_changes(data, checked), etag=etag, who=user.ident)
        return self.one(entry.address)

    def checked(self, address: str, fields: Mapping[str, Any], user: User) -> dict[str, Any]:
        """These fields as they would be stored for a file at this address. Refuses as `edit` does."""
        return validate(fields, self._projects.set_of(self._projects.of(address)), user, self._people)

    def take(self, address: str, user: User) -> dict[str, Any]:
        """Make an asset that nobody owns this user's; its view.

        Conflict where somebody else does, or where the file isn't an asset, or isn't there whole.
        """
        require(user, "student")
        entry = self.get(address)
        self._check_here(entry)
        if entry.facts is None:
            raise Conflict(
                "{name} isn't an asset. Make it one first.",
                address=address,
                name=paths.name_of(address),
            )

        def make(data: dict[str, Any]) -> dict[str, Any]:
            owner = data.get("owner") or ""
            if owner not in ("", user.ident):  # Race: somebody was quicker.
                title = self._people.user(owner).title if self._people.known(owner) else owner
                raise Conflict(
                    "{name} is {title}’s.",
                    address=address,
                    owner=owner,
                    name=paths.name_of(address),
                    title=title,
                )
            return {**data, "owner": user.ident}

        self._store.edit(address, make, who=user.ident)
        return self.one(address)

    def create(self, address: str, fields: Mapping[str, Any], user: User) -> dict[str, Any]:
        """Make an asset of a file that is there; its view.

        NotFound without the file, Conflict if it is an asset already, BadInput as `edit` has it.
        """
        require(user, "student")
        entry = self.get(address)
        project = self._projects.of(address)
        if project is None:
            raise BadInput("{address} lies in no project.", address=address)
        if entry.facts is not None:
            raise Conflict("{address} is an asset already.", address=address)
        self._check_here(entry)
        checked = validate(fields, self._projects.set_of(project), user, self._people)
        record = with_changes(self.first_record(address, user.ident), checked)

        def make(data: dict[str, Any]) -> dict[str, Any]:
            if data:  # Race: someone else, or ingest, made it meanwhile.
                raise Conflict("{address} is an asset already.", address=address)
            return record

        self._store.edit(address, make, who=user.ident)
        return self.one(address)

    def delete(self, address: str, user: User) -> str:
        """Move an asset and all that is known of it to `old/`; the address it has there."""
        self.check_deletable(address, user)
        return str(self._store.delete(address, user.ident))

    def check_deletable(self, address: str, user: User) -> None:
        """Nothing, if this person may delete this file; else what stands against it."""
        require(user, "student")
        entry = self.get(address)
        guard.check(entry, user, self._people)
        if self._projects.of(address) is None or paths.name_of(address) == paths.PROJECT_FILE:
            raise BadInput("{address} isn't an asset of a project.", address=address)

    def check_protection(self, address: str, user: User) -> None:
        """Before a file is published, replaced, moved or deleted: see `guard`."""
        guard.check(self._store.index.get(address), user, self._people)

    def first_record(self, address: str, who: str) -> dict[str, Any]:
        """The sidecar that a new asset begins with: its words guessed from where it lies."""
        project = self._projects.of(address)
        words = self._projects.set_of(project)
        inside = project.inside(address) if project else paths.parse(address)[1]
        kind = kinds.kind(paths.name_of(address))
        ident = words.type_for(inside, kind)
        chosen = words.type(ident)
        person = self.owner_of(address)
        return {
            "schema": 1,
            "name": pretty(paths.name_of(address)),
            "description": "",
            "type": ident,
            "creator": person if person and not self._people.known(who) else who,
            "owner": person,
            "support": [],
            "state": chosen.state if chosen.state in words.states else words.default_state,
            "priority": first_priority(project, chosen, words),
            "render": chosen.render and kind == "scene",
            "final": chosen.final and kind == "scene",
            "tags": [],
            "uuid": str(uuid.uuid4()),
        }

    # Within

    def _check_here(self, entry: Entry) -> None:
        """NotFound where the file is gone, Conflict while it is still being copied."""
        name = paths.name_of(entry.address)
        if entry.stat is None:
            raise NotFound("The file {address} is gone.", address=entry.address)
        if entry.incomplete:
            raise Conflict("{name} is incomplete. Copy it again.", address=entry.address, name=name)
        if entry.arriving and entry.facts is None and not self._is_whole(entry):
            raise Conflict(
                "{name} is still arriving. Try again in a moment.", address=entry.address, name=name
            )

    def _is_whole(self, entry: Entry) -> bool:
        if self.kind(entry) == "sequence":
            return True
        return complete(self._store.path(entry.address), thorough=True)

    def owner_of(self, address: str) -> str:
        """Who put this file there, as its uid says; '' for nobody who is known. A sequence is whose its
        first frame is."""
        folder, name = paths.split(address)
        path = self._store.path(folder)
        try:
            if kinds.kind(name) == "sequence":
                frames = (one.name for one in os.scandir(path))
                name = min(frame for frame in frames if (paths.sequence_key(frame) or ("",))[0] == name)
            user = self._people.of_uid(os.stat(path / name).st_uid)
        except (OSError, ValueError):
            return ""  # Race: it went meanwhile
        return user.ident if user is not None else ""

    def _listing(self, project: Project) -> Listing:
        listing = self._listings.get(project.address)
        if listing is None:
            with self._lock:
                rise = self._dependencies.rise if self._dependencies is not None else lambda: NOBODY
                listing = Listing(self._store, project.address, rise)
                listing = self._listings.setdefault(project.address, listing)
        return listing


def first_priority(project: Project | None, chosen: AssetType, words: AssetSet) -> int:
    """A new asset's: a project that isn't like the others says so, else its type does."""
    said = project.render_priority if project is not None else 0
    found = said if said != words.default_priority and said in words.priorities else chosen.priority
    return found if found in words.priorities else words.default_priority


def tells_of(record: Mapping[str, Any], stat: Stat) -> bool:
    """Whether a `file.json` was made of this state of the file, by what reads files now."""
    of = (record.get("size"), record.get("mtime_ns"), record.get("reader", 1))
    return of == (stat.size, stat.mtime_ns, kinds.READER)


__all__ = ["Assets", "Page", "first_priority", "is_asset", "pretty", "rfc3339", "tells_of"]
