"""Assets: which files are assets, finding them, showing them, editing what people say of them.

A listing is kept for each project and brought up to date by comparing the index's entries, so that a
search among 100,000 assets costs what its matches cost. What it answers is shared: callers must not
change it. Every edit is validated here and written by the store.
"""

from __future__ import annotations

import datetime
import difflib
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.disk import paths
from server.disk.errors import BadContent, BadInput, Broken, Conflict, Forbidden, NotFound
from server.disk.records import Entry, Stat
from server.disk.store import Store

from .media import kinds
from .people import People, User, require
from .projects import AssetSet, Project, Projects
from .search import Query, Row, parse_cursor

LIMIT, LIMIT_MOST = 100, 1000  # assets a page of an answer
QUERIES_KEPT = 16  # answers remembered for each project
VIEWS_KEPT = 4096
FACTS_KEPT = 4096
HISTORY_MOST = 1000  # changes told
ASSET_KINDS = ("scene", "film")  # what becomes an asset by itself
TEXT_LIMITS = {"name": 200, "description": 20_000, "type": 100, "pipeline": 200, "start": 100, "end": 100}
LIST_LIMIT = 200
SUPERVISORS = ("protect", "creator", "final")  # fields that students can't set


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
    ) -> None:
        self._store = store
        self._projects = projects
        self._people = people
        self._hopeless = hopeless
        self.outdated: Callable[[str], None] = lambda address: None  # told of files to be read again
        self._listings: dict[str, Listing] = {}
        self._lock = threading.Lock()
        self._views: OrderedDict[str, tuple[Entry, dict[str, Any]]] = OrderedDict()
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

    @staticmethod
    def kind(entry: Entry) -> str:
        """`scene`, `image`, `film`, `sequence` or `file`."""
        return kinds.kind(paths.name_of(entry.address))

    def thumbnail_url(self, entry: Entry) -> str | None:
        """Where the picture of a file is; None where there can't be one. It changes with the file."""
        stat = entry.stat
        if stat is None or not kinds.drawable(paths.name_of(entry.address)):
            return None
        if self._hopeless(entry.address, stat):
            # A scene without a preview shows its newest render, which a new version changes.
            versions = self._store.index.versions(paths.render_folder(entry.address))
            if not versions or self.kind(entry) != "scene":
                return None
            return f"/thumb/{quote(entry.address, safe='/:@')}?w=256&of={quote(versions[-1])}"
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
            raise NotFound(f"There is no file {address}.", address=address)
        return entry

    def view(self, entry: Entry, project: Project | None = None) -> dict[str, Any]:
        """An asset as the API shows it, without reading the disk; shared, so not to be changed."""
        kept = self._views.get(entry.address)
        if kept is not None and kept[0] is entry and kept[1]["thumbnail"] == self.thumbnail_url(entry):
            return kept[1]
        project = project or self._projects.of(entry.address)
        view = self._make_view(entry, project)
        with self._lock:
            self._views[entry.address] = (entry, view)
            if len(self._views) > VIEWS_KEPT:
                self._views.popitem(last=False)
        return view

    def one(self, address: str) -> dict[str, Any]:
        """An asset as the API shows it, with the facts read from its content. NotFound.

        Facts of an earlier state are shown until those of the present one are there.
        """
        entry = self.get(address)
        record = self.file_record(address)
        if entry.stat is not None and not tells_of(record, entry.stat):
            self.outdated(address)  # it changed while no server looked
        return {**self.view(entry), "facts": dict(record.get("facts") or {})}

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
            raise BadInput(f"{address} lies in no project.", address=address)
        checked = self.validate(changes, self._projects.set_of(project), user)
        if checked:
            self._store.edit(address, checked, etag=etag, who=user.ident)
        return self.one(entry.address)

    def create(self, address: str, fields: Mapping[str, Any], user: User) -> dict[str, Any]:
        """Make an asset of a file that is there; its view.

        NotFound without the file, Conflict if it is an asset already, BadInput as `edit` has it.
        """
        require(user, "student")
        entry = self.get(address)
        project = self._projects.of(address)
        if project is None:
            raise BadInput(f"{address} lies in no project.", address=address)
        if entry.facts is not None:
            raise Conflict(f"{address} is an asset already.", address=address)
        if entry.stat is None:
            raise NotFound(f"The file {address} is gone.", address=address)
        checked = self.validate(fields, self._projects.set_of(project), user)
        record = {**self.first_record(address, user.ident), **checked}

        def make(data: dict[str, Any]) -> dict[str, Any]:
            if data:  # Race: someone else, or ingest, made it meanwhile.
                raise Conflict(f"{address} is an asset already.", address=address)
            return record

        self._store.edit(address, make, who=user.ident)
        return self.one(address)

    def delete(self, address: str, user: User) -> str:
        """Move an asset and all that is known of it to `old/`; the address it has there."""
        require(user, "student")
        entry = self.get(address)
        if entry.facts is not None and entry.facts.protect and not user.at_least("supervisor"):
            raise Forbidden(f"{paths.name_of(address)} is protected. Ask a supervisor to delete it.")
        if self._projects.of(address) is None or paths.name_of(address) == paths.PROJECT_FILE:
            raise BadInput(f"{address} isn't an asset of a project.", address=address)
        return str(self._store.delete(address, user.ident))

    def first_record(self, address: str, who: str) -> dict[str, Any]:
        """The sidecar that a new asset begins with: its words guessed from where it lies."""
        project = self._projects.of(address)
        words = self._projects.set_of(project)
        inside = project.inside(address) if project else paths.parse(address)[1]
        kind = kinds.kind(paths.name_of(address))
        ident = words.type_for(inside, kind)
        chosen = words.types.get(ident)
        return {
            "schema": 1,
            "name": pretty(paths.name_of(address)),
            "description": "",
            "type": ident,
            "creator": who,
            "owner": "",
            "support": [],
            "state": words.default_state,
            "priority": project.render_priority
            if project and project.render_priority in words.priorities
            else words.default_priority,
            "render": bool(chosen and chosen.render),
            "final": False,
            "tags": [],
            "uuid": str(uuid.uuid4()),
        }

    def validate(self, changes: Mapping[str, Any], words: AssetSet, user: User) -> dict[str, Any]:
        """The changes, as they are stored. BadInput names what is wrong, Forbidden what a student can't."""
        if not isinstance(changes, Mapping):
            raise BadInput("The changes must be a JSON object of fields.")
        checked: dict[str, Any] = {}
        for field, value in changes.items():
            check = FIELDS.get(field)
            if check is None:
                if field in FIXED:
                    raise BadInput(f"'{field}' can't be changed.", field=field)
                near = difflib.get_close_matches(str(field), FIELDS, 1, 0.5)
                hint = f" Did you mean '{near[0]}'?" if near else f" Known are {', '.join(FIELDS)}."
                raise BadInput(f"There is no field '{str(field)[:100]}'.{hint}", field=str(field)[:100])
            if field in SUPERVISORS and not user.at_least("supervisor"):
                raise Forbidden(f"Only a supervisor may set '{field}'.", field=field)
            checked[field] = check(field, value, words, self._people)
        return checked

    # Within

    def _listing(self, project: Project) -> Listing:
        listing = self._listings.get(project.address)
        if listing is None:
            with self._lock:
                listing = self._listings.setdefault(project.address, Listing(self._store, project.address))
        return listing

    def _make_view(self, entry: Entry, project: Project | None) -> dict[str, Any]:
        facts, stat = entry.facts, entry.stat
        name = paths.name_of(entry.address)
        inside = project.inside(entry.address) if project else paths.parse(entry.address)[1]
        return {
            "address": entry.address,
            "project": project.ident if project else "",
            "path": inside,
            "name": (facts.name if facts else "") or pretty(name),
            "description": facts.description if facts else "",
            "type": facts.type if facts else "",
            "state": facts.state if facts else "",
            "priority": facts.priority if facts else 0,
            "owner": facts.owner if facts else "",
            "creator": facts.creator if facts else "",
            "support": list(facts.support) if facts else [],
            "tags": list(facts.tags) if facts else [],
            "render": facts.render if facts else False,
            "final": facts.final if facts else False,
            "protect": facts.protect if facts else False,
            "status": entry.status,
            "broken": entry.broken,
            "kind": kinds.kind(name),
            "size": stat.size if stat else None,
            "modified": rfc3339(stat.mtime_ns) if stat else None,
            "etag": entry.etag,
            "uuid": facts.uuid if facts else "",
            "thumbnail": self.thumbnail_url(entry),
            "facts": {},
            "jobs": sorted(entry.jobs, reverse=True),  # ids begin with their time
            "url": f"/p/{quote(project.ident)}/asset/{quote(inside)}" if project else "",
        }


class Listing:
    """The rows of one project, kept in step with the index; sorted and filtered as they are asked for."""

    def __init__(self, store: Store, address: str) -> None:
        self._store = store
        self._address = address
        self._top = paths.top_of(address)
        self._lock = threading.Lock()
        self._generation = -1
        self._rows: dict[str, Row] = {}
        self._answers: OrderedDict[tuple[Query, AssetSet], list[Row]] = OrderedDict()
        self._entries: dict[tuple[Query, AssetSet], tuple[Entry, ...]] = {}

    def page(
        self, query: Query, words: AssetSet, limit: int, after: list[Any] | None
    ) -> tuple[list[Row], int, str]:
        """Rows from after the cursor's place on, how many match in all, and the next cursor."""
        rows = self.rows(query, words)
        start = query.place(rows, after, words) if after is not None else 0
        part = rows[start : start + limit]
        more = start + limit < len(rows)
        return part, len(rows), query.cursor(part[-1], words) if more and part else ""

    def rows(self, query: Query, words: AssetSet) -> list[Row]:
        """All that match, in order; remembered until an entry of the project changes."""
        key = (query, words)
        with self._lock:
            self._refresh()
            rows = self._answers.get(key)
            if rows is not None:
                self._answers.move_to_end(key)
                return rows
            rows = query.run(self._rows.values(), words)
            self._answers[key] = rows
            if len(self._answers) > QUERIES_KEPT:
                self._entries.pop(self._answers.popitem(last=False)[0], None)
            return rows

    def entries(self, query: Query, words: AssetSet) -> tuple[Entry, ...]:
        """The entries of `rows`, as one tuple that stays the same as long as they do."""
        rows = self.rows(query, words)
        key = (query, words)
        with self._lock:
            kept = self._entries.get(key)
            if kept is None or self._answers.get(key) is not rows:
                kept = tuple(row.entry for row in rows)
                if self._answers.get(key) is rows:
                    self._entries[key] = kept
            return kept

    def count(self) -> int:
        """How many rows are assets."""
        with self._lock:
            self._refresh()
            return sum(1 for row in self._rows.values() if row.asset)

    def _refresh(self) -> None:
        """Take over what changed in the index: entries are replaced whole, so identity tells."""
        index = self._store.index
        generation = index.generation_of(self._top)
        if generation == self._generation:
            return
        before = self._rows
        rows: dict[str, Row] = {}
        changed = False
        for entry in index.under(self._address):
            row = before.get(entry.address)
            if row is None or row.entry is not entry:
                if not listed(entry):
                    continue
                row = Row(entry, is_asset(entry))
                changed = True
            rows[entry.address] = row
        if changed or len(rows) != len(before):
            self._rows = rows
            self._answers.clear()
            self._entries.clear()
        self._generation = generation


def is_asset(entry: Entry) -> bool:
    """Whether people track this file: it has a sidecar (or a broken one), or will get one by itself."""
    if entry.facts is not None or entry.broken:
        return True
    return entry.stat is not None and kinds.kind(paths.name_of(entry.address)) in ASSET_KINDS


def listed(entry: Entry) -> bool:
    """Whether a listing shows this file at all, as an asset or as a file."""
    name = paths.name_of(entry.address)
    return name != paths.PROJECT_FILE and f"/{paths.RENDER}/" not in entry.address


def tells_of(record: Mapping[str, Any], stat: Stat) -> bool:
    """Whether a `file.json` was made of this state of the file."""
    return (record.get("size"), record.get("mtime_ns")) == (stat.size, stat.mtime_ns)


def pretty(name: str) -> str:
    """A file name as people would write it: `hero_walk-v2.blend` gives `Hero walk v2`."""
    stem = paths.stem_of(name).replace("_", " ").replace("-", " ")
    words = " ".join(stem.split()) or name
    return words[0].upper() + words[1:]


def rfc3339(time_ns: int) -> str:
    """A stored time. A file's may lie anywhere: what no calendar holds is shown as the epoch."""
    try:
        moment = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# What an edit may say


def _text(field: str, value: Any, words: AssetSet, people: People) -> str:
    limit = TEXT_LIMITS.get(field, 1000)
    if not isinstance(value, str):
        raise BadInput(f"'{field}' must be a text.", field=field)
    if len(value) > limit:
        raise BadInput(f"'{field}' is longer than {limit} characters.", field=field)
    if any(ord(c) < 32 and c not in "\n\t\r" for c in value):
        raise BadInput(f"'{field}' holds control characters.", field=field)
    return value


def _line(field: str, value: Any, words: AssetSet, people: People) -> str:
    text = _text(field, value, words, people).strip()
    if not text:
        raise BadInput(f"'{field}' is empty.", field=field)
    if "\n" in text or "\r" in text:
        raise BadInput(f"'{field}' must be one line.", field=field)
    return text


def _one_of(field: str, value: Any, known: Mapping[str, Any]) -> str:
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, 1, 0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"Use one of {', '.join(known)}."
    raise BadInput(f"'{str(value)[:100]}' isn't a {field} here. {hint}", field=field)


def _type(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.types)


def _state(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.states)


def _priority(field: str, value: Any, words: AssetSet, people: People) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value in words.priorities:
        return value
    least, most = min(words.priorities), max(words.priorities)
    raise BadInput(f"'priority' must be a whole number from {least} to {most}.", field=field)


def _person(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    if not isinstance(value, str):
        raise BadInput(f"'{field}' must be a user's name.", field=field)
    return _one_of(field, value, {user.ident: user for user in people.users()})


def _persons(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return [_person(field, one, words, people) for one in _list(field, value)]


def _yes_no(field: str, value: Any, words: AssetSet, people: People) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput(f"'{field}' must be true or false.", field=field)


def _seconds(field: str, value: Any, words: AssetSet, people: People) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return value
    raise BadInput(f"'{field}' must be a number, 0 or more.", field=field)


def _texts(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return list(dict.fromkeys(_line(field, one, words, people) for one in _list(field, value)))


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"'{field}' must be a list.", field=field)
    if len(value) > LIST_LIMIT:
        raise BadInput(f"'{field}' holds more than {LIST_LIMIT} entries.", field=field)
    return value


def _plain(field: str, value: Any, words: AssetSet, people: People) -> Any:
    """RFAM's free fields: a short text, a number or nothing."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return _text(field, value, words, people)


FIELDS: dict[str, Callable[[str, Any, AssetSet, People], Any]] = {
    "name": _line,
    "description": _text,
    "type": _type,
    "owner": _person,
    "support": _persons,
    "state": _state,
    "priority": _priority,
    "tags": _texts,
    "render": _yes_no,
    "final": _yes_no,
    "protect": _yes_no,
    "creator": _person,
    "time_budget": _seconds,
    "dependencies": _texts,
    "rating": _seconds,
    "pipeline": _plain,
    "start": _plain,
    "end": _plain,
    "render_time": _seconds,
}
FIXED = frozenset({
    "schema", "uuid", "derived_from", "address", "project", "path", "status", "kind", "size", "modified",
    "etag", "thumbnail", "facts", "jobs", "url", "broken",
})  # fmt: skip


def check_content(entry: Entry) -> None:
    """BadContent unless this is a scene that can be rendered."""
    if kinds.kind(paths.name_of(entry.address)) != "scene":
        raise BadContent(f"{paths.name_of(entry.address)} isn't a scene: only .blend files can be rendered.")
