"""The page of one file: its picture, what is in it, what people say of it, and its renders."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError, NotFound
from server.library.assets.listing import becomes_asset
from server.web.languages import count, known, say
from server.web.pages import (
    about,
    cards,
    content,
    film,
    history,
    listing,
    notes,
    problems,
    protection,
    published,
    saves,
    sheets,
    uses,
    versions,
    words,
)
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import AssetSet

Thing = dict[str, Any]  # an API view, or what a template shows of one

JOBS = 5
INLINE = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".svg", ".avif"}
ENGINES = {"CYCLES": "Cycles", "BLENDER_EEVEE": "Eevee", "BLENDER_EEVEE_NEXT": "Eevee"}
ENGINES["BLENDER_WORKBENCH"] = "Workbench"


def page(shell: Shell, call: Call, ident: str, path: str) -> bottle.HTTPResponse:
    """`/p/<project>/asset/<path>`."""
    services = shell.services
    project = shell.project(ident)
    try:
        a = services.assets.one(f"{project.address}/{path}")
    except NotFound:
        gone = saves.gone(shell, call, project, f"{project.address}/{path}")
        if gone is None:
            raise
        return gone
    farm = services.farm
    found = farm.jobs(project=ident, file=a["address"])
    views = [farm.view(job) for job in found[:JOBS]]
    view = newest_render(views)
    facts = a["facts"]
    tracked, api = bool(a["etag"]), "/api/assets/" + quote(a["address"], safe="/:")
    is_asset = tracked or becomes_asset(a["address"])
    wording = shell.wording(project)
    made = cards.cards(shell, call, views)
    troubles = problems.of_asset(shell, call, a["address"])
    shown = None
    if view:
        may = made[views.index(view)]["may"]
        with contextlib.suppress(NotFound):  # somebody deleted its files: Problems tell of it
            shown = film.film(shell, call, view, fps=cards.scene_of(shell, view)[0], may=may)
    told = any(trouble["kind"] == "sidecar" for trouble in troubles)
    here, student = a["status"] != "missing", call.user is not None and call.user.at_least("student")
    may_edit = student and a["status"] in ("ok", "arriving")
    return shell.page(
        call,
        "asset.html",
        title=a["name"],
        here="Files",
        project=project,
        a=a,
        status=status_of(a, wording),
        owner=shell.person(a["owner"]) if a["owner"] else None,
        notice=None if told else notice(a, [] if here else saves.missing_actions(shell, call, a)),
        picture=picture(a),
        movie="/files/" + quote(a["address"], safe="/:")
        if a["kind"] == "film" and a["status"] == "ok"
        else "",
        small=a["kind"] != "image",
        no_picture=say("No picture yet.")
        if a["kind"] != "file"
        else say("This kind of file has no picture."),
        film=shown,
        talk=notes.section(
            shell,
            call,
            project,
            a["address"],
            shown,
            str((view or {}).get("version") or ""),
            picture=a["kind"] == "image",
        ),
        newest=made[views.index(view)] if view else None,
        failed=cards.failures(shell, view) if view and shown else [],
        jobs=made,
        more_jobs=count("and {n} earlier one", "and {n} earlier ones", len(found) - JOBS)
        if len(found) > JOBS
        else "",
        priorities=cards.priorities(shell, project),
        versions=versions.section(shell, call, a),
        published=published.section(shell, call, a),
        saves=saves.section(shell, call, a),
        uses=uses.section(shell, a, project),
        did=history.of_file(shell, call, a["address"], project),
        troubles=troubles,
        guarded=protection.section(shell, a, call.user),
        render=render_box(shell, a, facts) if a["kind"] == "scene" and a["status"] == "ok" else None,
        api=api,
        tracked=tracked,
        fields=about.fields(shell, a, wording, call.user) if is_asset else [],
        helpers=about.supporters(shell, a, project, call.user if may_edit else None),
        hours=about.hours(a, may_edit),
        lies=about.lies(shell, call, a["address"]),
        may_edit=may_edit,
        mine=button(say("Mine"), "POST", api + "/mine") if student and tracked and not a["owner"] else None,
        make_asset=button(say("Make it an asset"), "POST", "/api/assets", {"address": a["address"]})
        if student and not is_asset and a["status"] == "ok"
        else None,
        facts=in_words(shell, a, facts),
        download="/files/" + quote(a["address"], safe="/:") if here and a["kind"] != "sequence" else "",
        figures=figures(shell, a, facts, view, student and tracked),
        copying={
            "act": f"POST {api}/clone",
            "then": f"/p/{quote(ident, safe='')}/asset/{{path}}",
            "name": say("{name} copy", name=a["name"]),
        }
        if student and is_asset and a["status"] == "ok" and a["kind"] != "sequence"
        else None,
        locking=button(say("Protect this file"), "POST", api + "/lock")
        if tracked
        and a["status"] == "ok"
        and not a["protect"]
        and shell.services.protection.may_unlock(a["address"], call.user)
        else None,
        deleting=button(say("Delete this file"), "DELETE", api)
        if student and here and not a["protect"]
        else None,
    )


def status_of(a: Thing, wording: AssetSet) -> tuple[str, str]:
    """The production state of a file that is there, else what is the matter with it: glyph and word."""
    status = listing.STATUS.get(a["status"])
    if status is not None:
        return status
    if not a["state"]:
        return ("waiting", say("No state yet"))
    state = wording.state(a["state"])
    return (words.role(state.role), known(state.title))


def figures(shell: Shell, a: Thing, facts: Thing, view: Thing | None, may: bool) -> Thing:
    """What rendering it took: the newest render, all of them, the whole range; and counting anew."""
    since, api = a["statistics_since"], about.api_of(a)
    counts = view is not None and str(view.get("submitted") or "") >= since
    renders = shell.services.farm.renders(a["address"], about.span(a), since)
    rows = [*(sheets.sums(view) if view is not None and counts else []), *sheets.whole(renders)]
    rows = rows or ([] if since else rfam_times(shell, a))
    acts = []
    before = (f"PATCH {api}", {"statistics_since": since})
    if may and rows:
        acts.append(button(say("Count from now on"), "PATCH", api, {"statistics_since": "now"}, *before))
    if may and since:
        acts.append(button(say("Count all again"), "PATCH", api, {"statistics_since": ""}, *before))
    return {"rows": rows, "since": words.when(since, shell.now()) if since else "", "acts": acts}


def rfam_times(shell: Shell, a: Thing) -> list[tuple[str, str]]:
    """What RFAM noted of its renders: for each frame how long each of them took."""
    try:
        said = shell.services.store.read(a["address"]).data.get("render_time") if a["etag"] else None
    except CroftError:
        return []
    frames = {
        frame: float(times[-1])
        for frame, times in (said.items() if isinstance(said, dict) else ())
        if isinstance(times, list) and times and isinstance(times[-1], (int, float)) and 0 <= times[-1] < 1e9
    }
    if not frames:
        return []
    low, high = min(frames, key=frames.__getitem__), max(frames, key=frames.__getitem__)
    return [
        (say("Frames"), words.figure(len(frames))),
        (say("A frame, on average"), words.duration(sum(frames.values()) / len(frames))),
        (say("Fastest"), say("{time}, frame {n}", time=words.duration(frames[low]), n=low[:20])),
        (say("Slowest"), say("{time}, frame {n}", time=words.duration(frames[high]), n=high[:20])),
        (say("All of them"), say("{time} of a computer", time=words.duration(sum(frames.values())))),
    ]


def newest_render(views: list[Thing]) -> Thing | None:
    """The one to watch: what renders and has frames, else the newest with frames, else what goes on."""
    framed = [view for view in views if view["counts"].get("done")]
    running = [view for view in framed if view["state"] == "running"]
    return next(iter((*running, *framed, *(view for view in views if view["state"] in cards.OPEN))), None)


def picture(a: dict[str, Any]) -> str:
    """The file itself where a browser can show it, else its preview."""
    if a["kind"] == "image" and any(a["path"].lower().endswith(ending) for ending in INLINE):
        return "/files/" + quote(a["address"], safe="/:")
    url = a["thumbnail"] or ""
    return url.replace("w=256", "w=1024")


def notice(a: dict[str, Any], gone: list[Thing]) -> dict[str, Any] | None:
    """What is the matter with the file, and what to do."""
    if a["incomplete"]:
        text = say(
            "This file is incomplete: its copy was broken off after {size}. It isn’t used. Copy it again.",
            size=words.size(a["size"]),
        )
        return {"bad": True, "text": text, "actions": [button(say("Delete it"), "DELETE", about.api_of(a))]}
    if a["status"] == "arriving":
        text = say("This file is still arriving. It can be used a moment after the copy has ended.")
        return {"bad": False, "text": text, "actions": []}
    if a["status"] == "missing":
        text = say(
            "The file is gone; what is known of it stays. Put it back under this name, and all is as it was."
        )
        return {"bad": True, "text": text, "actions": gone}
    if a["status"] == "broken":
        text = say(
            "What Croft wrote down of this file can’t be read: {why}. It is shown as it was last. Mend the "
            ".json file beside it, or restore it from the backup.",
            why=a.get("broken") or say("it isn’t valid"),
        )
        return {"bad": True, "text": text, "actions": []}
    return None


def button(
    label: str,
    method: str,
    path: str,
    body: Thing | None = None,
    undo: str = "",
    undo_body: Thing | None = None,
) -> Thing:
    """A button that calls the API, and what takes it back: `PATCH /api/…`."""
    made = {"label": label, "act": f"{method} {path}", "body": json.dumps(body) if body else ""}
    return {**made, "undo": undo, "undo_body": json.dumps(undo_body) if undo_body else ""}


def render_page(a: dict[str, Any]) -> str:
    """Where a render is asked for with all that can be set."""
    _, _, inside = a["address"].partition("::")
    return f"/p/{quote(a['project'], safe='')}/render/{quote(inside.partition('/')[2], safe='/')}"


def render_box(shell: Shell, a: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """The form that renders: prefilled from the scene, and saying what it will do."""
    span = about.span(a)
    first, last = span or ("", "")
    shown, told = [], []
    if facts.get("scene"):
        shown.append(str(facts["scene"]))
    if facts.get("resolution"):
        width, height = facts["resolution"]
        shown.append(say("{width} × {height} pixels", width=width, height=height))
    if facts.get("fps"):
        shown.append(say("{n} frames a second", n=f"{facts['fps']:g}"))
    if facts.get("engine"):
        shown.append(ENGINES.get(str(facts["engine"]), str(facts["engine"])))
    if not facts:
        told.append(say("The scene hasn’t been read yet: say which frames."))
    elif facts.get("camera") is False:
        told.append(say("This scene has no camera: add one in Blender and save, else every frame fails."))
    elif facts.get("format") in ("FFMPEG", "AVI_JPEG", "AVI_RAW"):
        told.append(say("The scene asks for a film: frames are made as pictures."))
    return {
        "first": first,
        "last": last,
        "words": shown,
        "told": told,
        "warnings": uses.warnings(shell, a["address"]),
        "body": json.dumps({"file": a["address"]}),
        "page": render_page(a),
    }


def scenes_in_words(scenes: Any) -> str:
    """'Walk (3 to 26), Second (1 to 250)', of a file with several."""
    if not isinstance(scenes, list) or len(scenes) < 2:
        return ""
    framed = [(one["name"], one.get("frames")) for one in scenes[:12]]
    return ", ".join(
        say("{scene} ({first} to {last})", scene=name, first=frames[0], last=frames[1]) if frames else name
        for name, frames in framed
    )


def in_words(shell: Shell, a: Thing, facts: Thing) -> list[tuple[str, str]]:
    """The facts of the file and of its content."""
    frames, resolution = facts.get("frames"), facts.get("resolution")
    found = [
        (say("Size"), words.size(a["size"])),
        (say("Changed"), words.when(a["modified"], shell.now())),
        (say("Named"), ", ".join(f"{field} {value}" for field, value in a["named"].items())),
        (say("Made by"), shell.titles().get(a["creator"] or "", "")),
        (say("Saved with"), f"Blender {facts['blender']}" if facts.get("blender") else ""),
        (say("Frames"), say("{first} to {last}", first=frames[0], last=frames[1]) if frames else ""),
        (say("Frames a second"), about.figure(float(facts["fps"])) if facts.get("fps") else ""),
        (say("Picture"), "{} × {}".format(*resolution) if resolution else ""),
        (say("Rendered by"), ENGINES.get(str(facts.get("engine")), str(facts.get("engine") or ""))),
        (say("Writes to"), str(facts.get("output") or "")),
        (say("Scenes"), scenes_in_words(facts.get("scenes"))),
        *content.in_words(a["kind"], facts),
    ]
    return [(word, value) for word, value in found if value]
