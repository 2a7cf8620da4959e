"""The page of one file: its picture, what is in it, what people say of it, and its renders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import NotFound
from server.library.assets.listing import becomes_asset
from server.web.pages import cards, content, film, listing, problems, saves, sheets, uses, words
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
    status = listing.STATUS.get(a["status"])
    if status is None:
        state = wording.states.get(a["state"])
        status = (words.role(state.role), state.title) if state else ("waiting", a["state"] or "No state yet")
    made = cards.cards(shell, call, views)
    troubles = problems.of_asset(shell, call, a["address"])
    told = any(trouble["kind"] == "sidecar" for trouble in troubles)
    return shell.page(
        call,
        "asset.html",
        title=a["name"],
        here="Files",
        project=project,
        a=a,
        status=status,
        notice=None
        if told
        else notice(a, saves.missing_actions(shell, call, a) if a["status"] == "missing" else []),
        folder=shell.folder_for_people(a["address"].rpartition("/")[0]),
        picture=picture(a),
        movie="/files/" + quote(a["address"], safe="/:")
        if a["kind"] == "film" and a["status"] == "ok"
        else "",
        small=a["kind"] != "image",
        picture_words=f"Picture of {a['name']}",
        no_picture="No picture yet." if a["kind"] != "file" else "This kind of file has no picture.",
        film=film.film(
            shell, call, view, fps=cards.scene_of(shell, view)[0], may=made[views.index(view)]["may"]
        )
        if view
        else None,
        newest=made[views.index(view)] if view else None,
        failed=cards.failures(shell, view) if view else [],
        jobs=made,
        more_jobs=f"and {len(found) - JOBS} earlier ones" if len(found) > JOBS else "",
        priorities=cards.priorities(shell, project),
        saves=saves.section(shell, call, a),
        uses=uses.section(shell, a, project),
        troubles=troubles,
        render=render_box(shell, a, facts) if a["kind"] == "scene" and a["status"] == "ok" else None,
        api=api,
        fields=fields(shell, a, wording) if is_asset else [],
        may_edit=call.user is not None and a["status"] in ("ok", "arriving"),
        mine=button("Mine", "POST", api + "/mine") if call.user and tracked and not a["owner"] else None,
        make_asset=button("Make it an asset", "POST", "/api/assets", {"address": a["address"]})
        if call.user and not is_asset and a["status"] == "ok"
        else None,
        facts=in_words(shell, a, facts),
        download="/files/" + quote(a["address"], safe="/:")
        if a["status"] != "missing" and a["kind"] != "sequence"
        else "",
        statistics=[*sheets.sums(view), *all_renders(shell, a, facts)] if view else [],
    )


def all_renders(shell: Shell, a: Thing, facts: Thing) -> list[tuple[str, str]]:
    """What the whole of it would take, and what all its renders cost."""
    return sheets.whole(shell.services.farm.renders(a["address"], facts.get("frames")))


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
        text = (
            f"This file is incomplete: its copy was broken off after {words.size(a['size'])}. It isn’t used. "
        )
        path = "/api/assets/" + quote(a["address"], safe="/:")
        actions = [button("Delete it", "DELETE", path)]
        return {"bad": True, "text": text + "Copy it again.", "actions": actions}
    if a["status"] == "arriving":
        text = "This file is still arriving. It can be used a moment after the copy has ended."
        return {"bad": False, "text": text, "actions": []}
    if a["status"] == "missing":
        text = "The file is gone; what is known of it stays. "
        text += "Put it back under this name, and all is as it was."
        return {"bad": True, "text": text, "actions": gone}
    if a["status"] == "broken":
        text = f"What Croft wrote down of this file can’t be read: {a.get('broken') or 'it isn’t valid'}. "
        text += "It is shown as it was last. Mend the .json file beside it, or restore it from the backup."
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
    frames = facts.get("frames")
    first, last = (frames[0], frames[1]) if isinstance(frames, list) and len(frames) == 2 else ("", "")
    said = []
    if facts.get("scene"):
        said.append(str(facts["scene"]))
    if facts.get("resolution"):
        said.append("{} × {} pixels".format(*facts["resolution"]))
    if facts.get("fps"):
        said.append(f"{facts['fps']:g} frames a second")
    if facts.get("engine"):
        said.append(ENGINES.get(str(facts["engine"]), str(facts["engine"])))
    text = " · ".join(said)
    if not facts:
        text = "The scene hasn’t been read yet: say which frames."
    elif facts.get("camera") is False:
        text += ". This scene has no camera: add one in Blender and save, else every frame fails."
    elif facts.get("format") in ("FFMPEG", "AVI_JPEG", "AVI_RAW"):
        text += ". The scene asks for a film: frames are made as pictures."
    return {
        "first": first,
        "last": last,
        "words": text,
        "warnings": uses.warnings(shell, a["address"]),
        "body": json.dumps({"file": a["address"]}),
        "page": render_page(a),
    }


def fields(shell: Shell, a: dict[str, Any], wording: AssetSet) -> list[dict[str, Any]]:
    """What people may change, each with its value."""
    people = sorted(shell.titles().items(), key=lambda pair: pair[1].casefold())

    def field(name: str, label: str, **more: Any) -> dict[str, Any]:
        base: Thing = {
            "name": name,
            "label": label,
            "value": a.get(name) or "",
            "options": [],
            "number": False,
        }
        return {**base, "long": False, "wide": False, "list": False, "date": False, **more}

    def offered(name: str, options: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
        value = a.get(name) or ""
        if value in (option for option, _ in options):
            return options
        words = {"state": wording.state(str(value)).title, "type": wording.type(str(value)).title}
        return [(value, words.get(name, str(value)) or "–"), *options]

    states = [(state.ident, state.title) for state in wording.offered_states(a["type"])]
    types = [(kind.ident, kind.title) for kind in wording.offered_types]
    priorities = list(wording.priorities.items())
    return [
        field("name", "Name", wide=True),
        field("state", "State", options=offered("state", states)),
        field("owner", "Owner", options=offered("owner", [("", "Nobody yet"), *people])),
        field("type", "Type", options=offered("type", types)),
        field("priority", "Priority", number=True, options=offered("priority", priorities)),
        field("due", "To be delivered on", date=True),
        field("description", "Description", long=True, wide=True),
        field("tags", "Tags, with commas between", wide=True, list=True, value=", ".join(a["tags"])),
    ]


def scenes_in_words(scenes: Any) -> str:
    """'Walk (3 to 26), Second (1 to 250)', of a file with several."""
    if not isinstance(scenes, list) or len(scenes) < 2:
        return ""
    framed = [(one["name"], one.get("frames")) for one in scenes[:12]]
    return ", ".join("{} ({} to {})".format(name, *frames) if frames else name for name, frames in framed)


def in_words(shell: Shell, a: Thing, facts: Thing) -> list[tuple[str, str]]:
    """The facts of the file and of its content."""
    frames, resolution = facts.get("frames"), facts.get("resolution")
    found = [
        ("Size", words.size(a["size"])),
        ("Changed", words.when(a["modified"], shell.now())),
        ("Named", ", ".join(f"{field} {value}" for field, value in a["named"].items())),
        ("Made by", shell.titles().get(a["creator"] or "", "")),
        ("Saved with", f"Blender {facts['blender']}" if facts.get("blender") else ""),
        ("Frames", f"{frames[0]} to {frames[1]}" if frames else ""),
        ("Frames a second", f"{facts['fps']:g}" if facts.get("fps") else ""),
        ("Picture", "{} × {}".format(*resolution) if resolution else ""),
        ("Rendered by", ENGINES.get(str(facts.get("engine")), str(facts.get("engine") or ""))),
        ("Writes to", str(facts.get("output") or "")),
        ("Scenes", scenes_in_words(facts.get("scenes"))),
        *content.in_words(a["kind"], facts),
    ]
    return [(word, value) for word, value in found if value]
