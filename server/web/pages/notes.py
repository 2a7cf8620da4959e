"""Notes as pages show them: beside a file and its renders, with what is drawn on the picture; and the page of
what concerns one, of what is to be done, of all that was said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, CroftError
from server.disk.speech import count, say
from server.farm import frames as frame_ranges
from server.library.notes import ANYBODY, MENTION, MINE, REPLY, TEXT_MOST, TODO, Note
from server.library.notes.record import has_items, item_of, key_of, pieces_of
from server.library.people import SOMEONE
from server.web import requests
from server.web.pages import words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.notes import News
    from server.library.projects import Project

Thing = dict[str, Any]  # what a template shows of one

ROWS = 50  # on one page
CLOSED = 20  # done or resolved ones below a file's open ones
ANSWERED = 160  # characters of a note that are shown above an answer to it
HEIGHT = 1000  # of a drawing, in its own units
WHY = {
    TODO: ("needs", say("For you to do")),
    MENTION: ("needs", say("Names you")),
    REPLY: ("running", say("An answer")),
    MINE: ("waiting", say("On your file")),
}
SHOWN = (
    ("mine", say("For you")),
    ("todo", say("To do")),
    ("open", say("Open ‹notes›")),
    ("all", say("All ‹notes›")),
)
EMPTY = {
    "mine": say(
        "Nothing concerns you yet. What others say of your files, and where they name you, shows up here."
    ),
    "todo": say("Nothing is left for you to do."),
    "open": say("No note is open. Write one on a file’s page, or beside its render."),
    "all": say("Nobody has said anything yet. Write a note on a file’s page, or beside its render."),
}
WHERE = {  # the keys are those of marks.PLACES
    "top left": say("Top left"),
    "top middle": say("Top middle"),
    "top right": say("Top right"),
    "middle left": say("Left ‹side›"),
    "middle": say("Middle"),
    "middle right": say("Right ‹side›"),
    "bottom left": say("Bottom left"),
    "bottom middle": say("Bottom middle"),
    "bottom right": say("Bottom right"),
}


def section(
    shell: Shell,
    call: Call,
    project: Project,
    address: str,
    film: Mapping[str, Any] | None = None,
    version: str = "",
    *,
    picture: bool = False,
    only: bool = False,
) -> Thing | None:
    """What asset_notes.html shows of a file: on its own page, or (`only`) of one version of its renders. To
    look at it is to have read it. None where the file isn't there any more."""
    services = shell.services
    try:
        notes = services.notes.of(address, answered=True)
    except CroftError:
        return None
    fresh = unread(shell, call, address)
    if only:
        others = [note for note in notes if note.version not in ("", version) and not note.reply_to]
        notes = tuple(note for note in notes if note.version in ("", version) or note.reply_to)
    else:
        others = []
    view = Film(film)
    made = threads(shell, call, project, notes, fresh, view)
    opened = [one for one in made if any(part["open"] for part in (one, *one["answers"]))]
    closed = [one for one in made if one not in opened]
    api = f"/api/assets/{quote(address, safe='/:@')}/notes"
    return {
        "api": api,
        "call": f"POST {api} {json.dumps({'version': version} if version else {})}",
        "open": opened,
        "closed": closed[:CLOSED],
        "closed_words": count("{n} done or resolved", "{n} done or resolved", len(closed)),
        "others": count("{n} more of other renders", "{n} more of other renders", len(others))
        if others
        else "",
        "page": page_of(project, address),
        "all": f"/p/{quote(project.ident, safe='')}/notes?show=all&file={quote(address, safe='')}",
        "more": len(closed) > CLOSED,
        "marks": drawn(shell, notes, view),
        "may": call.user is not None and call.user.at_least("student"),
        "draws": picture or film is not None,
        "frame": view.now,
        "version": version,
        "most": TEXT_MOST,
        "people": people(shell),
        "places": list(WHERE.items()),
    }


class Film:
    """The frames of the film that stands beside the notes."""

    def __init__(self, film: Mapping[str, Any] | None) -> None:
        self.frames = (
            frame_ranges.parse(film["frames"], max_frames=10**7) if film and film["frames"] else None
        )
        self.now: int | None = film["shown"]["frame"] if film and film.get("shown") else None

    def index(self, frame: int) -> int | None:
        """Which of them this is; None where it isn't among them."""
        try:
            return self.frames.index(frame) if self.frames is not None else None
        except (ValueError, BadInput):
            return None


def unread(shell: Shell, call: Call, address: str) -> set[str]:
    """Which notes of this file are new to who looks; from now on they aren't."""
    if call.user is None:
        return set()
    news = shell.services.notes.for_user(call.user.ident)
    fresh = {one.note.id for one in news if not one.read and one.note.address == address}
    if fresh and call.query.get("part") != "1":  # a page that brings itself up to date isn't looked at
        shell.services.notes.read(call.user.ident, fresh)
    return fresh


def threads(
    shell: Shell, call: Call, project: Project | None, notes: Sequence[Note], fresh: set[str], film: Film
) -> list[Thing]:
    """First notes, the newest first, each with its answers, the oldest first."""
    first = {note.id: one(shell, call, note, fresh, film) for note in notes if not note.reply_to}
    for note in notes:
        if note.reply_to in first:
            first[note.reply_to]["answers"].append(one(shell, call, note, fresh, film))
    return list(first.values())[::-1]


def one(shell: Shell, call: Call, note: Note, fresh: set[str], film: Film) -> Thing:
    """A note as notes_macros.html shows it."""
    user = call.user
    may = user is not None and user.at_least("student") and not note.deleted
    mine = user is not None and note.who == user.ident
    api = f"/api/assets/{quote(note.address, safe='/:@')}/notes/{note.id}"
    index = film.index(note.frame) if note.frame is not None else None
    return {
        "id": note.id,
        "api": api,
        "who": person(shell, note.who),
        "gone": note.deleted,
        "when": words.when(note.at, shell.now()),
        "edited": bool(note.edited),
        "edit_key": note.edited or note.at,
        "blocks": blocks(shell, note, api),
        "text": note.text,
        "frame": note.frame,
        "frame_n": index,
        "here": index is not None and note.frame == film.now,
        "version": note.version,
        "drawn": note.marks is not None,
        "todo": todo(shell, note),
        "resolved": note.resolved,
        "resolved_by": person(shell, note.resolved_by)["title"] if note.resolved_by else "",
        "open": note.open,
        "new": note.id in fresh,
        "may": may,
        "may_edit": may and mine,
        "may_delete": may and (mine or (user is not None and user.at_least("supervisor"))),
        "may_resolve": may and not (note.reply_to or note.ticks),
        "first": not note.reply_to,
        "reply": f"POST {api.rpartition('/')[0]} {json.dumps({'reply_to': note.id})}",
        "answers": [],
    }


def person(shell: Shell, ident: str) -> Mapping[str, Any]:
    """Who that is; whoever was forgotten is somebody."""
    if ident in ("", SOMEONE):
        return {"ident": "", "title": say("Somebody"), "photo": "", "initials": "?"}
    return shell.person(ident)


def todo(shell: Shell, note: Note) -> str:
    """Who is to do it."""
    if not note.todo:
        return ""
    if note.todo == ANYBODY:
        return say("To do")
    return say("To do for {user}", user=person(shell, note.todo)["title"])


def blocks(shell: Shell, note: Note, api: str) -> list[Thing]:
    """A note's text: what there is to do line by line, with the button that ticks it, and all else."""
    ticks = {tick.key: tick for tick in note.ticks}
    listed = has_items(note.text)
    found: list[Thing] = []
    plain: list[str] = []

    def told() -> None:
        text = "\n".join(plain).strip("\n")
        if text:
            found.append({"tick": None, "parts": parts(shell, text)})
        plain.clear()

    for line in note.text.split("\n"):
        tick = ticks.get(key_of(item_of(line))) if listed and item_of(line) else None
        if tick is None:
            plain.append(line)
        else:
            told()
            found.append({"tick": ticked(tick, note, api), "parts": parts(shell, tick.text)})
    told()
    if ticks and not listed:
        parts_of_all = found[0]["parts"] if found else [("", say("See the picture"))]
        found = [{"tick": ticked(note.ticks[0], note, api), "parts": parts_of_all}]
    return found


def ticked(tick: Any, note: Note, api: str) -> Thing:
    call = f"PATCH {api} {json.dumps({'ticks': {tick.key: not tick.done}})}"
    return {"key": f"k-{note.id}-{tick.key}", "done": tick.done, "call": call}


def parts(shell: Shell, text: str) -> list[tuple[str, str]]:
    """A text as (title of whom it names, '' for words) and what to show."""
    titles = shell.titles()
    found = []
    for ident, said in pieces_of(text):
        known = titles.get(ident, "") if ident else ""
        found.append((known, f"@{known}" if known else said))
    return found


def drawn(shell: Shell, notes: Sequence[Note], film: Film) -> list[Thing]:
    """What is drawn in open notes, as SVG has it. Those of another frame are hidden until it is shown."""
    found = []
    for note in notes:
        if note.marks is None or not (note.open or note.reply_to):
            continue
        wide = round(note.marks.aspect * HEIGHT)
        found.append({
            "id": note.id,
            "wide": wide,
            "tall": HEIGHT,
            "frame": "" if note.frame is None else note.frame,
            "off": film.now is not None and note.frame not in (None, film.now),
            "lines": [path(line, wide) for line in note.marks.lines],
            "x": round(note.marks.lines[0][0] * wide),
            "y": round(note.marks.lines[0][1] * HEIGHT),
            "who": person(shell, note.who)["initials"],
        })  # fmt: skip
    return found


def path(line: Sequence[float], wide: int) -> str:
    """A line as the `d` of an SVG path; a dot is a line to where it begins."""
    points = [f"{x * wide:.0f} {y * HEIGHT:.0f}" for x, y in zip(line[::2], line[1::2], strict=True)]
    return "M" + "L".join(points if len(points) > 1 else points * 2)


def people(shell: Shell) -> list[tuple[str, str]]:
    """Everybody who can be given something to do."""
    users = shell.services.settings.folder("users")
    found = [(ident, title) for ident, title in shell.titles().items() if not users[ident].get("disabled")]
    return sorted(found, key=lambda pair: pair[1].casefold())


def page_of(project: Project, address: str) -> str:
    """The page of the file that a note is of."""
    return f"/p/{quote(project.ident, safe='')}/asset/{quote(project.inside(address), safe='/')}"


def url(shell: Shell, note: Note) -> str:
    """Where a note can be read: on its file's page, at its frame."""
    project = shell.services.projects.of(note.address)
    if project is None:
        return "/notes"
    frame = f"?frame={note.frame}" if note.frame is not None else ""
    return f"{page_of(project, note.address)}{frame}#n-{note.id}"


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/notes`, `/p/<project>/notes`: `?show=mine`, `todo`, `open`, `all`; `&q=` words, `&file=` one file."""
    notes, user, query = shell.services.notes, call.require("guest"), call.query
    project = shell.project(ident) if ident else None
    under = project.address + "/" if project else ""
    file = query.get("file", "")
    show = query.get("show") or ("all" if file else "mine")
    show = show if show in dict(SHOWN) else "mine"
    start = requests.number(query, "from", 0, 0, 10**9)
    found = notes.shown(user.ident, show, under, query.get("q", ""))
    if file:
        found = [note for note in found if note.address == file]
    news = {one.note.id: one for one in notes.for_user(user.ident)} if show == "mine" else {}
    kept = {name: value for name, value in (("q", query.get("q", "")), ("file", file)) if value}
    made = [listed(shell, call, note, news.get(note.id)) for note in found[start : start + ROWS]]
    counts = {"mine": notes.unread(user.ident), "todo": len(notes.todo_for(user.ident))}
    return shell.page(
        call,
        "notes.html",
        title=say("Notes"),
        here="Notes",
        project=project,
        show=show,
        tabs=[
            (word, "?" + urlencode({"show": name, **kept}), name == show, counts.get(name, 0))
            for name, word in SHOWN
        ],
        rows=made,
        summary=count("{n} note", "{n} notes", len(found)),
        empty=say("No note holds these words.") if query.get("q") else EMPTY[show],
        unread=counts["mine"],
        asked=query.get("q", ""),
        file=file,
        file_name=paths.name_of(file) if file else "",
        above=ident != "",
        more="?" + urlencode({"show": show, **kept, "from": start + ROWS})
        if start + ROWS < len(found)
        else "",
    )


def listed(shell: Shell, call: Call, note: Note, news: News | None) -> Thing:
    """A note on the page of notes: with its file, and why it is there."""
    fresh = {note.id} if news is not None and not news.read else set()
    made = one(shell, call, note, fresh, Film(None))
    project = shell.services.projects.of(note.address)
    answered = ""
    if note.reply_to:
        with contextlib.suppress(CroftError):  # it was deleted
            answered = shell.services.notes.one(note.address, note.reply_to).text[:ANSWERED]
    return {
        **made,
        "answered": answered,
        "file": paths.name_of(note.address),
        "url": url(shell, note),
        "project": project.title if project else "",
        "why": WHY.get(news.why) if news is not None else None,
    }
