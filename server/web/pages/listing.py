"""The page of a project's files: a table that is as quick at 100,000 files as at 255.

Nothing here is shown stale: a row is kept for one index entry, a body for the entries that it shows, the
frame around it for all that stands there, each compared by identity, so an edit makes new ones at once.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import bottle
from markupsafe import Markup

from server.disk import paths
from server.disk.encoding import quote
from server.disk.records import Entry
from server.library.search import Row
from server.library.uploads import limits
from server.web import languages, requests
from server.web.languages import Language
from server.web.pages import words
from server.web.pages.shell import HTML, VARY, Shell, all_values
from server.web.requests import Call, etag_matches

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.library.projects import AssetSet, Project

Look = tuple[str | None, int, str]
Choice = tuple[str, str, list[tuple[str, str]]]  # field, label, (value, title) of each option

ROWS = 300  # on one page; the rest behind a link
LOOK_S = 0.4  # how old a page's pictures may be: that one was made isn't a change of the file
ROWS_KEPT = 8192  # some 6 MB
BODIES_KEPT = 24  # some 4 MB
FRAMES_KEPT = 256
FILTERS = ("q", "type", "state", "owner", "sort", "files")
NOBODY = "none"
YES = "1"  # as `files`: textures and other files too, that nobody tracks
HEADS = (  # label, class, the order that a click gives, and the one that the next click gives
    ("Name", "", "name", "-name"),
    ("Type", "wide", "type", "-type"),
    ("Owner", "narrow-off", "owner", "-owner"),
    ("State", "", "state", "-state"),
    ("Priority", "wide", "-priority", "priority"),
    ("Changed", "wide", "-modified", "modified"),
)
SORTS = (
    ("name", "Name"),
    ("-modified", "Newest first"),
    ("-priority", "Most urgent first"),
    ("state", "State"),
    ("type", "Type"),
    ("owner", "Owner"),
    ("path", "Folder"),
)
HERE = "\x00rows\x00"  # stands in a rendered frame where the rows go; no page holds a NUL otherwise


@dataclass(frozen=True, slots=True)
class Wording:
    """All that a row says besides its entry. Compared by identity: settings hand out the same objects
    until a file of theirs changes."""

    titles: dict[str, str]
    set: AssetSet
    now: datetime.datetime
    project: Project

    def same(self, other: Wording) -> bool:
        """Whether rows made with the other one are still right."""
        return (
            self.titles is other.titles
            and self.set is other.set
            and self.project == other.project
            and self.now.date() == other.now.date()
            and self.now.tzinfo is other.now.tzinfo
        )


@dataclass(slots=True)
class Body:
    """The rows of one page of one search. `found` is the whole answer that they were last seen in."""

    found: list[Row]
    entries: list[Entry]
    pictures: list[Look]
    looked: float  # monotonic: when `pictures` were last compared
    wording: Wording
    html: bytes
    order: str
    tag: str


class Listing:
    """Makes the pages of files. One for the whole server; safe for threads."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._rows: OrderedDict[tuple[Language, str], tuple[Entry, Wording, Look, str]] = OrderedDict()
        self._bodies: OrderedDict[tuple[Any, ...], Body] = OrderedDict()
        self._frames: OrderedDict[tuple[Any, ...], tuple[Any, bytes, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, call: Call, ident: str) -> bottle.HTTPResponse:
        """`/p/<project>/assets`, filtered and sorted as its address says."""
        shell = self._shell
        project = shell.project(ident)
        asked = {name: call.query.get(name, "") for name in FILTERS}
        start = requests.number(call.query, "from", 0, 0, 10**9)
        if asked["type"] == "everything":  # in addresses that people kept
            asked["type"], asked["files"] = "", YES
        found = self._found(ident, asked, files=asked["files"] == YES)
        wording = self.wording(project)
        body = self._body((languages.reading(), ident, start, *asked.values()), found, start, wording)
        only = all_values(call, "only") if call.query.get("part") == "1" else None
        if only is not None:
            return self._some(call, found, start, wording, body, asked, set(only))
        before, after = self._frame(call, found, start, wording, body, asked)
        return self._answer(call, before, body, after)

    def _found(self, ident: str, asked: dict[str, str], *, files: bool) -> list[Row]:
        return self._shell.services.assets.rows(
            ident,
            asked["q"],
            type=asked["type"],
            state=asked["state"],
            owner=asked["owner"],
            sort=asked["sort"] or "name",
            files=files,
        )

    def _others(self, project: Project, found: list[Row], asked: dict[str, str]) -> int:
        """How many textures and other files fit, where no asset does."""
        if found or asked["files"] == YES:
            return 0
        return len(self._found(project.ident, asked, files=True))

    def wording(self, project: Project) -> Wording:
        """What rows say at this moment."""
        shell = self._shell
        return Wording(shell.titles(), shell.wording(project), shell.now(), project)

    def rows(self, entries: Iterable[Entry], wording: Wording) -> list[str]:
        """The HTML of each entry's row, made once for each of its states."""
        made: list[str] = []
        kept = self._rows
        make, look_of, lang = None, self._look, languages.reading()
        for entry in entries:
            row, picture = kept.get((lang, entry.address)), look_of(entry)
            if row is not None and row[0] is entry and row[2] == picture and row[1].same(wording):
                made.append(row[3])
                continue
            make = make or self._shell.macro("rows.html", "row")
            html = str(make(self._facts(entry, wording, picture)))
            made.append(html)
            with self._lock:
                kept[lang, entry.address] = (entry, wording, picture, html)
                if len(kept) > ROWS_KEPT:
                    kept.popitem(last=False)
        return made

    # Within

    def _look(self, entry: Entry) -> Look:
        """What a row shows that isn't the entry's own: its picture, how many wait for it, and of a file
        that nobody tracks who uses it."""
        services = self._shell.services
        used = ""
        if entry.facts is None:
            users = services.dependencies.used_by(entry.address)
            used = paths.name_of(users[0]) if len(users) == 1 else f"{len(users)} files" if users else ""
        return services.assets.thumbnail_url(entry), services.dependencies.waiting.get(entry.address, 0), used

    def _facts(self, entry: Entry, wording: Wording, look: Look) -> dict[str, Any]:
        view = self._shell.services.assets.view(entry, wording.project)
        state = wording.set.states.get(view["state"])
        status = view["status"]
        if status == "ok":
            glyph, word = (words.role(state.role), state.title) if state else ("waiting", view["state"])
        else:
            glyph, word = STATUS[status]
        kind = wording.set.types.get(view["type"])
        owner = view["owner"] or ""
        priority = view["priority"] or 0
        return {
            "key": key(entry.address),
            "url": view["url"],
            "name": view["name"],
            "path": view["path"],
            "thumbnail": look[0] if status != "arriving" or view["kind"] == "sequence" else None,
            "type": kind.title if kind else view["type"],
            "owner": wording.titles.get(owner, owner),
            "glyph": glyph,
            "word": word,
            "priority": priority if 1 <= priority <= 5 else 0,
            "priority_word": wording.set.priorities.get(priority, ""),
            "waited": look[1],
            "used": look[2],
            "changed": words.when(view["modified"], wording.now),
        }

    def _body(self, name: tuple[Any, ...], found: list[Row], start: int, wording: Wording) -> Body:
        body, now = self._bodies.get(name), time.monotonic()
        picture_of = self._look
        if body is not None and body.wording.same(wording):
            if body.found is found and now - body.looked < LOOK_S:
                return body
            shown = [row.entry for row in found[start : start + ROWS]]
            same = len(shown) == len(body.entries) and all(map(is_, shown, body.entries))
            if same and [picture_of(entry) for entry in shown] == body.pictures:
                body.found, body.looked = found, now
                return body
        shown = [row.entry for row in found[start : start + ROWS]]
        html = "".join(self.rows(shown, wording)).encode("utf-8", "replace")
        order = " ".join(key(entry.address) for entry in shown)
        tag = hashlib.blake2b(html, digest_size=12).hexdigest()
        pictures = [picture_of(entry) for entry in shown]
        body = Body(found, shown, pictures, now, wording, html, order, tag)
        with self._lock:
            self._bodies[name] = body
            self._bodies.move_to_end(name)
            if len(self._bodies) > BODIES_KEPT:
                self._bodies.popitem(last=False)
        return body

    def _frame(
        self, call: Call, found: list[Row], start: int, wording: Wording, body: Body,
        asked: dict[str, str],
    ) -> tuple[bytes, bytes]:  # fmt: skip
        """What stands before and after the rows, for this person and this search."""
        shell, user = self._shell, call.user
        part = call.query.get("part", "")
        title = shell.services.settings.get("title")
        folders = shell.services.store.index.folders(wording.project.address)
        arriving = self._arriving(wording.project)
        total = len(found)
        who = (user.ident, user.title, user.role) if user else None
        trouble = shell.trouble(wording.project, user)
        problems = shell.services.problems.count(wording.project.address)
        name = (
            languages.reading(),
            who,
            call.csrf,
            call.path,
            part,
            start,
            title,
            folders,
            total,
            arriving,
            trouble,
            problems,
            upload_limits(shell.services.settings),
            self._others(wording.project, found, asked),
            *asked.values(),
        )
        kept = self._frames.get(name)
        if kept is not None and kept[0] is body:
            return kept[1], kept[2]
        text = self._render(call, found, start, wording, body, asked, Markup(HERE))
        before, _, after = text.partition(HERE)
        made = (body, before.encode("utf-8", "replace"), after.encode("utf-8", "replace"))
        with self._lock:
            self._frames[name] = made
            self._frames.move_to_end(name)
            if len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)
        return made[1], made[2]

    def _some(
        self, call: Call, found: list[Row], start: int, wording: Wording, body: Body,
        asked: dict[str, str], only: set[str],
    ) -> bottle.HTTPResponse:  # fmt: skip
        """The page's inside with all rows named and only those in it that may have changed."""
        entries = [row.entry for row in found[start : start + ROWS] if row.entry.address in only]
        rows = Markup("".join(self.rows(entries, wording)))
        text = self._render(call, found, start, wording, body, asked, rows)
        return self._shell.answer(call, text.encode("utf-8", "replace"))

    def _render(
        self, call: Call, found: list[Row], start: int, wording: Wording, body: Body,
        asked: dict[str, str], rows: Markup,
    ) -> str:  # fmt: skip
        shell, project, total = self._shell, wording.project, len(found)
        base = {name: value for name, value in asked.items() if value}
        end = min(start + ROWS, total)
        others = self._others(project, found, asked)
        said = [words.number(total, "file")]
        if total > ROWS:
            said.append(f"{start + 1:,} to {end:,} shown")
        arriving = self._arriving(project)
        if arriving:
            said.append(f"{arriving:,} arriving")
        return shell.render(
            call,
            "assets.html",
            title=f"Files of {project.title}",
            here="Files",
            project=project,
            under=project.address + "/",
            folder=shell.folder_for_people(project.address),
            folders=self._folders(project),
            into=self.drop_folder(project),
            limits=upload_limits(shell.services.settings)[0],
            limits_words=upload_limits(shell.services.settings)[1],
            asked=asked,
            choices=self._choices(wording, asked),
            filtered=any(value for name, value in base.items() if name not in ("sort", "files")),
            others=words.number(others, "other file") if others else "",
            others_url="?" + urlencode({**base, "files": "" if asked["files"] else YES}),
            files_too=asked["files"] == YES,
            total=total,
            summary=" · ".join(said),
            rows=rows,
            order=body.order,
            heads=heads(base),
            more="?" + urlencode({**base, "from": end}) if end < total else "",
            page_rows=min(ROWS, total - end),
        )

    def _choices(self, wording: Wording, asked: dict[str, str]) -> list[Choice]:
        """The filters, with what they offer. A value of the address that isn't offered is kept."""
        people = sorted(wording.titles.items(), key=lambda pair: pair[1].casefold())
        types = [(kind.ident, kind.title) for kind in wording.set.offered_types]
        states = [(state.ident, state.title) for state in wording.set.offered_states()]
        found: list[Choice] = [
            ("type", "Type", [("", "Every type"), *types]),
            ("state", "State", [("", "Every state"), *states]),
            ("owner", "Owner", [("", "Everybody"), (NOBODY, "Nobody yet"), *people]),
            ("sort", "Sorted by", list(SORTS)),
        ]
        for name, _, options in found:
            value = asked[name] or ("name" if name == "sort" else "")
            if value not in (option for option, _ in options):
                options.append((value, value))
        asked["sort"] = asked["sort"] or "name"
        return found

    def _arriving(self, project: Project) -> int:
        """How many files are still being copied, whether or not the filters show them."""
        return len(self._shell.services.assets.rows(project.ident, "is:arriving"))

    def _folders(self, project: Project) -> list[tuple[str, str]]:
        """Where a dropped file may go, inside the project: its folder and those one level below."""
        below = self._shell.services.store.index.folders(project.address)
        return [("", "the project’s folder"), *((name, name) for name in below if name not in limits.CLOSED)]

    def drop_folder(self, project: Project) -> str:
        """Where it goes if nobody says: the folder of shots, where there is one."""
        below = self._shell.services.store.index.folders(project.address)
        return next((name for name in below if name in ("shots", "scenes")), "")

    def _answer(self, call: Call, before: bytes, body: Body, after: bytes) -> bottle.HTTPResponse:
        frame = hashlib.blake2b(before, digest_size=8)
        frame.update(after)
        etag = f"{body.tag}{frame.hexdigest()}"
        headers = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache", "Vary": VARY}
        if etag_matches(call.header("if-none-match"), etag):
            return bottle.HTTPResponse(status=304, headers=headers)
        whole = b"".join((before, body.html, after))
        return bottle.HTTPResponse(whole, 200, headers={**headers, "Content-Type": HTML})


def heads(asked: dict[str, str]) -> list[dict[str, str]]:
    """The columns' heads, each a link that sorts by it."""
    present = {"changed": "modified", "-changed": "-modified"}.get(asked.get("sort", ""), asked.get("sort"))
    made = []
    for label, place, first, second in HEADS:
        order = {first: first, second: second}.get(present or "name", "")
        sort = second if order == first else first
        said = ("descending" if order.startswith("-") else "ascending") if order else ""
        made.append(
            {"label": label, "place": place, "url": "?" + urlencode({**asked, "sort": sort}), "order": said}
        )
    return made


def upload_limits(settings: Settings) -> tuple[str, str]:
    """What may be uploaded, for the page's scripts and in words: said before anything is sent."""
    told = limits.told(settings)
    most = int(told["max_bytes"])
    units = {1 << 30: "GB", 1 << 20: "MB"}  # as an admin means them: 64 << 30 is 64 GB
    said = next((f"{most // one} {unit}" for one, unit in units.items() if most % one == 0), words.size(most))
    return json.dumps({**told, "most": said}), f"Up to {said} each."


STATUS = {
    "arriving": ("running", "Arriving"),
    "missing": ("needs", "Gone"),
    "broken": ("failed", "Can’t be read"),
}


def key(address: str) -> str:
    """The id of an address's row: short, without characters of its own."""
    return "a" + hashlib.blake2b(address.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def page_of(project: str) -> str:
    """The address of a project's page of files."""
    return f"/p/{quote(project, safe='')}/assets"
