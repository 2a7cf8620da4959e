"""The page of a project's files, as table, thumbnails or contact sheet: as quick at 100,000 files as at 255.

Nothing here is shown stale: a row is kept for one index entry, a body for the entries that it shows, the
frame around it for all that stands there, each compared by identity, so an edit makes new ones at once.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any

import bottle
from markupsafe import Markup

from server.disk.encoding import quote
from server.disk.records import Entry
from server.disk.speech import Said, count, say
from server.library.search import Row
from server.library.uploads import limits
from server.web import languages, requests
from server.web.pages import filters, words
from server.web.pages.file_rows import STATUS, FileRows, Look, Wording, key
from server.web.pages.filters import Asked
from server.web.pages.shell import HTML, VARY, Shell, all_values
from server.web.requests import Call, etag_matches

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.library.projects import Project

__all__ = ["STATUS", "Listing", "key", "page_of", "upload_limits"]

ROWS = 100  # of the first piece, and of each that follows as one scrolls
ROWS_MOST = 1000  # on one page; the rest behind a link
LOOK_S = 0.4  # how old a page's pictures may be: that one was made isn't a change of the file
BODIES_KEPT = 24  # some 4 MB
FRAMES_KEPT = 256
HERE = "\x00rows\x00"  # stands in a rendered frame where the rows go; no page holds a NUL otherwise


@dataclass(frozen=True, slots=True)
class Part:
    """Which of the rows that were found are shown."""

    start: int
    rows: int


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
        self._rows = FileRows(shell)
        self.wording, self.rows = self._rows.wording, self._rows.rows
        self._bodies: OrderedDict[tuple[Any, ...], Body] = OrderedDict()
        self._frames: OrderedDict[tuple[Any, ...], tuple[Any, bytes, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, call: Call, ident: str) -> bottle.HTTPResponse:
        """`/p/<project>/assets`, filtered, sorted and shown as its address says."""
        project = self._shell.project(ident)
        asked = filters.asked_of(call.query)
        part = Part(
            requests.number(call.query, "from", 0, 0, 10**9),
            requests.number(call.query, "rows", ROWS, 1, ROWS_MOST),
        )
        found = self._found(ident, asked, files=asked["files"] == filters.YES)
        may = call.user is not None and call.user.at_least("student")
        wording = self.wording(project, asked["view"], may=may)
        body = self._body((languages.reading(), ident, part, may, *asked.values()), found, part, wording)
        before, after = self._frame(call, found, part, wording, body, asked)
        only = all_values(call, "only") if call.query.get("part") == "1" else None
        if only is None:
            return self._answer(call, before, body, after)
        # All rows are named in the frame; there are only those that may have changed, and those beyond the
        # ones that the browser has.
        wanted, have = set(only), requests.number(call.query, "have", ROWS_MOST, 0, 10**9)
        fresh = [entry for n, entry in enumerate(body.entries) if n >= have or entry.address in wanted]
        rows = self.rows(fresh, wording)
        return self._shell.answer(call, b"".join((before, "".join(rows).encode("utf-8", "replace"), after)))

    def _found(self, ident: str, asked: Asked, *, files: bool) -> list[Row]:
        return self._shell.services.assets.rows(
            ident,
            asked["q"],
            type=asked["type"],
            state=asked["state"],
            owner=asked["owner"],
            sort=asked["sort"] or filters.FIRST,
            files=files,
        )

    def _others(self, project: Project, found: list[Row], asked: Asked) -> int:
        """How many textures and other files fit, where no asset does."""
        if found or asked["files"] == filters.YES:
            return 0
        return len(self._found(project.ident, asked, files=True))

    # Within

    def _body(self, name: tuple[Any, ...], found: list[Row], part: Part, wording: Wording) -> Body:
        body, now = self._bodies.get(name), time.monotonic()
        picture_of = self._rows.look
        span = slice(part.start, part.start + part.rows)
        if body is not None and body.wording.same(wording):
            if body.found is found and now - body.looked < LOOK_S:
                return body
            shown = [row.entry for row in found[span]]
            same = len(shown) == len(body.entries) and all(map(is_, shown, body.entries))
            if same and [picture_of(entry) for entry in shown] == body.pictures:
                body.found, body.looked = found, now
                return body
        shown = [row.entry for row in found[span]]
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
        self, call: Call, found: list[Row], part: Part, wording: Wording, body: Body, asked: Asked
    ) -> tuple[bytes, bytes]:
        """What stands before and after the rows, for this person and this search. A page's inside alone is
        nobody's own, so that a hundred browsers that hear of one change share it."""
        shell, user = self._shell, call.user
        title = shell.services.settings.get("title")
        folders = shell.services.store.index.folders(wording.project.address)
        inside = call.query.get("part", "") == "1"
        who = None if inside or user is None else (user.ident, user.title, user.role, call.csrf)
        problems = shell.services.problems.count(wording.project.address)
        name = (
            languages.reading(),
            who,
            inside,
            wording.may,
            call.path,
            part,
            title,
            folders,
            len(found),
            shell.services.assets.count(wording.project.ident),
            self._arriving(wording.project),
            shell.trouble(wording.project, user),
            problems,
            shell.services.notes.unread(user.ident) if user and not inside else 0,
            upload_limits(shell.services.settings),
            self._others(wording.project, found, asked),
            *asked.values(),
        )
        kept = self._frames.get(name)
        if kept is not None and kept[0] is body:
            return kept[1], kept[2]
        text = self._render(call, found, part, wording, body, asked)
        before, _, after = text.partition(HERE)
        made = (body, before.encode("utf-8", "replace"), after.encode("utf-8", "replace"))
        with self._lock:
            self._frames[name] = made
            self._frames.move_to_end(name)
            if len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)
        return made[1], made[2]

    def _render(
        self, call: Call, found: list[Row], part: Part, wording: Wording, body: Body, asked: Asked
    ) -> str:
        shell, project, total = self._shell, wording.project, len(found)
        end = min(part.start + part.rows, total)
        others = self._others(project, found, asked)
        told, said = upload_limits(shell.services.settings)
        files_too = asked["files"] == filters.YES
        return shell.render(
            call,
            "assets.html",
            title=say("Files of {project}", project=project.title),
            here="Files",
            project=project,
            under=project.address + "/",
            folder=shell.folder_for_people(project.address),
            folders=self._folders(project),
            into=self.drop_folder(project),
            limits=told,
            limits_words=said,
            asked=asked,
            may=wording.may,
            pills=filters.pills(wording.set, asked),
            views=filters.views(asked),
            choices=filters.choices(wording.set, wording.titles, asked),
            fields=filters.fields(wording.set, wording.titles) if wording.may else [],
            filtered=filters.is_narrowed(asked),
            everything=filters.address({"view": asked["view"], "sort": asked["sort"]}),
            others=others,
            others_url=filters.address(asked, files="" if files_too else filters.YES),
            files_too=files_too,
            total=total,
            summary=self._summary(project, total, part.start, end, asked),
            rows=Markup(HERE),
            order=body.order,
            heads=filters.heads(wording.set, asked),
            more=filters.address(asked, **{"from": end}) if end < total else "",
            further=self._further(part, asked),
            back=filters.address(asked, **{"from": max(0, part.start - ROWS)}) if part.start else "",
            following=min(ROWS, total - end),
        )

    def _further(self, part: Part, asked: Asked) -> str:
        """The address of this page with another piece; '' where it holds as many rows as it may."""
        rows = min(part.rows + ROWS, ROWS_MOST)
        return filters.address(asked, **{"from": part.start, "rows": rows}) if rows > part.rows else ""

    def _summary(self, project: Project, total: int, start: int, end: int, asked: Asked) -> list[Said]:
        """How many there are, of how many; which of them are shown, where not all can be at once."""
        everything = self._shell.services.assets.count(project.ident)
        said = [count("{n} file", "{n} files", total)]
        if filters.is_narrowed(asked) and asked["files"] != filters.YES:
            said = [count("{some} of {n} file", "{some} of {n} files", everything, some=f"{total:,}")]
        if start:
            said.append(say("{first} to {last} shown", first=f"{start + 1:,}", last=f"{end:,}"))
        arriving = self._arriving(project)
        if arriving:
            said.append(count("{n} arriving", "{n} arriving", arriving))
        return said

    def _arriving(self, project: Project) -> int:
        """How many files are still being copied, whether or not the filters show them."""
        return len(self._shell.services.assets.rows(project.ident, "is:arriving"))

    def _folders(self, project: Project) -> list[tuple[str, str]]:
        """Where a dropped file may go, inside the project: its folder and those one level below."""
        below = self._shell.services.store.index.folders(project.address)
        own = ("", say("the project’s folder"))
        return [own, *((name, name) for name in below if name not in limits.CLOSED)]

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
        return bottle.HTTPResponse(self._shell.stamped(whole), 200, headers={**headers, "Content-Type": HTML})


def upload_limits(settings: Settings) -> tuple[str, Said]:
    """What may be uploaded, for the page's scripts and in words: said before anything is sent."""
    told = limits.told(settings)
    said = words.size_limit(int(told["max_bytes"]))
    return str(told["chunk_bytes"]), say("Up to {size} each.", size=said)


def page_of(project: str) -> str:
    """The address of a project's page of files."""
    return f"/p/{quote(project, safe='')}/assets"
