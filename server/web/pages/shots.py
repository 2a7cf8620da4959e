"""The shots of a project: the film in order, as pictures and played as one, and how far each shot is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import BadInput, NotFound
from server.disk.records import Entry
from server.library.versions.judged import APPROVED
from server.web import requests
from server.web.languages import count, say
from server.web.pages import cards, home, judging, listing, sheets, words
from server.web.pages.shell import Shell
from server.web.reel import FPS, Reel, Shot
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import AssetSet, Project

ROWS = 100  # shots of the table, and pictures of the sheet, on one page
STARS = 5


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/shots`; `?frame=12` shows that frame of the film, `?from=100` further shots."""
    services, project = shell.services, shell.project(ident)
    reel = services.reels.of(project)
    fps = rate(shell, reel)
    wording = shell.wording(project)
    start = requests.number(call.query, "from", 0, 0, 10**9)
    rendered = services.reels.rendered(project)
    rows = rendered[start : start + ROWS]
    stages = stages_of(wording, rows)
    seconds = reel.total / fps
    gaps = sum(1 for shot in reel.shots if shot.is_gap)
    said = [count("{n} shot", "{n} shots", len(reel.shots)), words.duration(seconds)]
    if gaps:
        said.append(count("{n} without a picture", "{n} without a picture", gaps))
    return shell.page(
        call,
        "shots.html",
        title=say("Shots of {project}", project=project.title),
        here="Shots",
        project=project,
        base=f"/p/{quote(ident, safe='')}",
        under=project.address + "/",
        summary=say("{shots} · {length}", shots=said[0], length=said[1]) if reel.shots else "",
        gaps=said[2] if gaps else "",
        film=film(shell, call, project, reel, fps) if len(reel.shots) > gaps else None,
        tiles=[tile(shell, call, project, shot, fps) for shot in reel.shots[start : start + ROWS]],
        stages=list(stages.items()),
        rows=[row(shell, project, entry, stages) for entry in rows],
        states=[(state.ident, state.title) for state in wording.offered_states()],
        offered={state.ident for state in wording.offered_states()},
        stars=[(n, "★" * n + "☆" * (STARS - n)) for n in range(STARS + 1)],
        owners=sorted(shell.titles().items(), key=lambda pair: pair[1].casefold()),
        may_edit=call.user is not None and call.user.at_least("student"),
        before=f"?from={max(0, start - ROWS)}" if start else "",
        more=f"?from={start + ROWS}" if start + ROWS < len(rendered) else "",
    )


def stages_of(wording: AssetSet, entries: list[Entry]) -> dict[str, str]:
    """The stages of the pipeline: the set's, and those that a shot here has besides."""
    found = dict(wording.stages)
    for entry in entries:
        for stage, _ in entry.facts.pipeline if entry.facts is not None else ():
            if stage:
                found.setdefault(stage, stage)
    return found


def row(shell: Shell, project: Project, entry: Entry, stages: dict[str, str]) -> dict[str, Any]:
    """One shot of the table."""
    view = shell.services.assets.view(entry, project)
    pipeline = view["pipeline"]
    return {
        **home.line(shell, project, entry),
        "etag": view["etag"] or "",
        "rating": round(view["rating"]),
        "due_day": view["due"],
        "word": pipeline.get("", ""),  # RFAM's, for all of it
        "stages": [(stage, title, pipeline.get(stage, "")) for stage, title in stages.items()],
        "notes": shell.services.notes.open_count(entry.address),
    }


def tile(shell: Shell, call: Call, project: Project, shot: Shot, fps: float) -> dict[str, Any]:
    """A shot on the contact sheet."""
    view = shell.services.assets.view(shot.entry, project)
    return {
        "key": listing.key(shot.entry.address),
        "name": shot.name,
        "url": view["url"],
        "first": shot.first,
        "gap": shot.is_gap,
        "approved": shot.approved,
        "verdict": verdict(shell, call, shot),
        "stars": "★" * round(view["rating"]),
        "thumbnail": "" if shot.is_gap else picture(shell, shot),
        "length": words.duration(shot.count / fps),
        "state": home.state_of(shell.wording(project), view["state"]),
    }


def verdict(shell: Shell, call: Call, shot: Shot) -> dict[str, Any] | None:
    """The buttons that approve or reject what stands in the film."""
    version = "" if shot.is_gap else str(shell.services.farm.job(shot.job).record.get("version") or "")
    if not version or not judging.may(shell, call, shot.entry.address):
        return None
    return judging.verdict(
        shell, call, shot.entry.address, f"render-{version}", APPROVED if shot.approved else None
    )


def picture(shell: Shell, shot: Shot) -> str:
    """What stands for a shot's render."""
    newest = shell.services.farm.view(shell.services.farm.job(shot.job)).get("newest")
    return sheets.pictures(newest)["thumbnail"] if newest else ""


def rate(shell: Shell, reel: Reel) -> float:
    """Frames a second: the first shot's that has a render."""
    for shot in reel.shots:
        if not shot.is_gap:
            return cards.scene_of(shell, {"file": shot.entry.address})[0]
    return FPS


# ---- the film


def film(shell: Shell, call: Call, project: Project, reel: Reel, fps: float) -> dict[str, Any]:
    """What film.js plays, as it plays a render: every frame of every shot, one after the other."""
    n = asked_for(call, reel)
    first = next((shot.first for shot in reel.shots if not shot.is_gap), 0)
    at = first if n is None else n
    found = shell.services.reels.records(reel, at, 1)
    shown = record(project, found[0]) if found and found[0]["n"] == at else None
    base = f"/p/{quote(project.ident, safe='')}/film"
    return {
        "api": f"/api/projects/{quote(project.ident, safe='')}/film/{reel.tag}",
        "page": base,
        "frames": f"1-{reel.total}",
        "total": reel.total,
        "fps": f"{fps:g}",
        "at": at,
        "chosen": n is not None,
        "shown": shown,
        "caption": caption(project, reel, at, base),
    }


def asked_for(call: Call, reel: Reel) -> int | None:
    """The frame that the page's address names, counted from 0."""
    text = call.query.get("frame", "")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return None
    return int(text) - 1 if 1 <= int(text) <= reel.total else None


def caption(project: Project, reel: Reel, n: int, base: str) -> dict[str, str]:
    """What stands below the picture: which shot it is of."""
    shot = reel.at(n)
    if shot is None:
        return {"name": "", "frame": "", "page": ""}
    place = say("frame {n} of {total}", n=n - shot.first + 1, total=shot.count)
    return {"name": shot.name, "frame": place, "page": f"{base}/frame/{n}"}


def record(project: Project, one: dict[str, Any]) -> dict[str, Any]:
    """A frame of the film, as film.js takes it. The task is the frame's number: its page finds the rest."""
    n, shot = int(one["n"]), one["shot"]
    found = {"n": n, "task": n, "frame": n + 1, "shot": shot.name, "gap": shot.is_gap}
    if shot.is_gap:
        slate = f"/p/{quote(project.ident, safe='')}/film/gap.svg?shot={quote(shot.name, safe='')}"
        return {**found, "thumbnail": slate, "image": slate, "large": slate}
    return {**found, **sheets.pictures({**one, "image": one["path"]})}


def to_frame(shell: Shell, ident: str, n: str) -> bottle.HTTPResponse:
    """`/p/<project>/film/frame/<n>`: to the page of that frame, or of the shot that has none."""
    project = shell.project(ident)
    reel = shell.services.reels.of(project)
    if not (n.isascii() and n.isdigit() and len(n) < 12):
        raise BadInput("The address isn't one.")
    shot = reel.at(int(n))
    if shot is None:
        raise NotFound(say("The film has no frame {n}.", n=int(n) + 1))
    goal = str(shell.services.assets.view(shot.entry, project)["url"])
    found = [] if shot.is_gap else shell.services.reels.records(reel, int(n), 1)
    if found and found[0]["n"] == int(n):
        goal = f"/p/{quote(ident, safe='')}/job/{quote(shot.job)}/frame/{found[0]['task']}"
    return bottle.HTTPResponse(status=303, headers={"Location": goal})


SLATE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" viewBox="0 0 640 360">'
    '<rect width="640" height="360" fill="#12181C"/>'
    '<rect x="16" y="16" width="608" height="328" fill="none" stroke="#758894" stroke-dasharray="8 8"/>'
    '<g fill="#E9EFF2" font-family="system-ui, sans-serif" text-anchor="middle">'
    '<text x="320" y="176" font-size="40" font-weight="600">{name}</text>'
    '<text x="320" y="224" font-size="24" fill="#A3B1BA">{said}</text></g></svg>'
)


def slate(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/film/gap.svg?shot=SH030`: what a shot without a picture shows in the film."""
    shell.project(ident)
    name = "".join(one if one.isprintable() else " " for one in call.query.get("shot", "")[:60])
    said = say("No picture yet")
    svg = SLATE.replace("{said}", escape(str(said))).replace("{name}", escape(name))
    headers = {"Content-Type": "image/svg+xml; charset=utf-8", "Cache-Control": "private, max-age=3600"}
    return bottle.HTTPResponse(svg.encode("utf-8", "replace"), 200, headers=headers)
