"""The HTML of each file in a listing, made once for each of its states.

A row is kept for one index entry and compared by identity with what is true now, so that an edit makes a new
one at once and 100,000 files that rest cost nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.disk import paths
from server.disk.encoding import shown
from server.disk.records import Entry
from server.disk.speech import Said, count, say
from server.web import languages
from server.web.languages import Language
from server.web.pages import filters, words
from server.web.pages.shell import Shell

if TYPE_CHECKING:
    from server.library.projects import AssetSet, Project

Look = tuple[str | None, int, Said | None, int]
Name = tuple[Language, str, str, bool]

ROWS_KEPT = 8192  # some 8 MB
STATUS: dict[str, tuple[str, str]] = {
    "arriving": ("running", say("Arriving")),
    "missing": ("needs", say("Gone")),
    "broken": ("failed", say("Can’t be read")),
}
MACROS = {filters.TABLE: "row", filters.THUMBNAILS: "card", filters.CONTACT: "frame"}


@dataclass(frozen=True, slots=True)
class Wording:
    """All that a row says besides its entry. Compared by identity: settings hand out the same objects
    until a file of theirs changes."""

    titles: dict[str, str]
    set: AssetSet
    now: datetime.datetime
    project: Project
    view: str = filters.TABLE
    may: bool = False  # change something in the row

    def same(self, other: Wording) -> bool:
        """Whether rows made with the other one are still right."""
        return (
            self.titles is other.titles
            and self.set is other.set
            and self.project == other.project
            and self.now.date() == other.now.date()
            and self.now.tzinfo is other.now.tzinfo
        )


class FileRows:
    """Makes and keeps rows. One for the whole server; safe for threads."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._kept: OrderedDict[Name, tuple[Entry, Wording, Look, str]] = OrderedDict()
        self._lock = threading.Lock()

    def wording(self, project: Project, view: str = filters.TABLE, *, may: bool = False) -> Wording:
        """What rows say at this moment."""
        shell = self._shell
        return Wording(shell.titles(), shell.wording(project), shell.now(), project, view, may)

    def rows(self, entries: Iterable[Entry], wording: Wording) -> list[str]:
        """The HTML of each entry's row."""
        made: list[str] = []
        kept, look_of = self._kept, self.look
        make, reading = None, languages.reading()
        for entry in entries:
            name = (reading, entry.address, wording.view, wording.may)
            row, look = kept.get(name), look_of(entry)
            if row is not None and row[0] is entry and row[2] == look and row[1].same(wording):
                made.append(row[3])
                continue
            make = make or self._shell.macro("rows.html", MACROS[wording.view])
            html = str(make(self._facts(entry, wording, look)))
            made.append(html)
            with self._lock:
                kept[name] = (entry, wording, look, html)
                if len(kept) > ROWS_KEPT:
                    kept.popitem(last=False)
        return made

    def look(self, entry: Entry) -> Look:
        """What a row shows that isn't the entry's own: its picture, how many wait for it, of a file that
        nobody tracks who uses it, and how many of its notes are open."""
        services = self._shell.services
        used = None
        if entry.facts is None and (users := services.dependencies.used_by(entry.address)):
            used = (
                say("used by {file}", file=shown(paths.name_of(users[0])))
                if len(users) == 1
                else count("used by {n} file", "used by {n} files", len(users))
            )
        picture, waiting = services.assets.thumbnail_url(entry), services.dependencies.waiting
        opened = services.notes.open_count(entry.address)
        return picture, waiting.get(entry.address, 0), used, opened

    def _facts(self, entry: Entry, wording: Wording, look: Look) -> dict[str, Any]:
        view = self._shell.services.assets.view(entry, wording.project)
        state = wording.set.states.get(view["state"])
        status = view["status"]
        word: str
        if status == "ok":
            glyph, word = (words.role(state.role), state.title) if state else ("waiting", view["state"])
        else:
            glyph, word = STATUS[status]
        kind = wording.set.types.get(view["type"])
        owner = view["owner"] or ""
        priority = view["priority"] or 0
        return {
            "key": key(entry.address),
            "address": entry.address,
            "may": wording.may and _can_change(entry),
            "url": view["url"],
            "name": view["name"],
            "path": view["path"],
            "thumbnail": look[0] if status != "arriving" or view["kind"] == "sequence" else None,
            "type": kind.title if kind else view["type"],
            "type_ident": view["type"],
            "owner": wording.titles.get(owner, owner),
            "owner_ident": owner,
            "state": view["state"],
            "stands": status != "missing",
            "glyph": glyph,
            "word": word,
            "urgency": wording.set.visible,
            "priority": priority if wording.set.visible and 1 <= priority <= 5 else 0,
            "priority_word": wording.set.priorities.get(priority, ""),
            "waited": look[1],
            "used": look[2],
            "notes": look[3],
            "changed": words.when(view["modified"], wording.now),
        }


def _can_change(entry: Entry) -> bool:
    """Whether its row offers changes: not while its record can't be read, nor where its name is no text,
    which no page can name."""
    return entry.facts is not None and not entry.broken and shown(entry.address) == entry.address


def key(address: str) -> str:
    """The id of an address's row: short, without characters of its own."""
    return "a" + hashlib.blake2b(address.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
