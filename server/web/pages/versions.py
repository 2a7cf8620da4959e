"""What was rendered from a file, on its page, and two of the versions side by side."""

from __future__ import annotations

import json
import os
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.library import versions as rendered
from server.library.media import kinds
from server.library.versions.judged import APPROVED, REJECTED
from server.web.languages import say
from server.web.pages import judging, sheets, words
from server.web.pages.about import api_of
from server.web.pages.shell import Shell
from server.web.requests import Call

SHOWN = 6  # the others are folded away
MOST = 60
Thing = dict[str, Any]


def section(shell: Shell, call: Call, a: Thing) -> Thing:
    """What a template shows of a file's versions; `?left=`, `right=` and `at=` choose two, and a frame."""
    listed = rendered.listed(shell.services.store, a["address"])
    approved = [record for record in listed if record.get("approved")]
    renders = [render(shell, call, a, record) for record in [*approved, *listed][: MOST + len(approved)]]
    renders = list({row["id"]: row for row in renders}.values())
    groups = {
        said: [row for row in renders if row["verdict"]["said"] == said] for said in (APPROVED, "", REJECTED)
    }
    pictured = [row for row in renders if row["frames"] or row["film"]]
    left, right = (call.query.get(side, "") for side in ("left", "right"))
    chosen = {row["id"]: row for row in pictured}
    two = (
        compare(chosen[left], chosen[right], call.query.get("at", ""))
        if {left, right} <= chosen.keys()
        else None
    )
    newest = [row["id"] for row in pictured[:2]]
    return {
        "approved": groups[APPROVED],
        "renders": groups[""][:SHOWN],
        "more": groups[""][SHOWN:],
        "rejected": groups[REJECTED],
        # Where nothing is approved yet, that is what there is to see.
        "open": call.query.get("unapproved") == "1" or not groups[APPROVED],
        "choices": [(row["id"], row["title"]) for row in pictured] if len(pictured) > 1 else [],
        "left": left if left in chosen else newest[-1] if newest else "",
        "right": right if right in chosen else newest[0] if newest else "",
        "two": two,
    }


def render(shell: Shell, call: Call, a: Thing, record: Thing) -> Thing:
    """One version of what was rendered: its frames by their numbers, and what the farm knows of it."""
    name, address = str(record["version"]), str(record["address"])
    frames, film = content(shell, address)
    view = job_of(shell, str(record.get("job") or ""))
    number = paths.version_number(name) or 0
    made = base(shell, call, a, record, f"render-{name}", say("Version {n}", n=number))
    student = call.user is not None and call.user.at_least("student")
    middle = sorted(frames)[len(frames) // 2] if frames else None
    facts = dict(sheets.sums(view)) if view else {}
    made |= {
        "folder": address,
        "frames": frames,
        "film": f"/files/{quote(paths.join(address, film), safe='/:@')}" if film else "",
        "picture": picture(shell, address, frames.get(middle, "") if middle is not None else film, 256),
        "count": words.number(len(frames), "frame") if frames else "",
        "size": words.size(told_bytes(record)),
        "page": sheets.page_of(view) if view else "",
        "state": words.JOB_STATES.get(str(view["state"]), ("", ""))
        if view and view["state"] != "done"
        else None,
        "told": list(facts.items()),
        "source": f"POST {api_of(a)}/restore {json.dumps({'save': f'render-{name}', 'beside': True})}"
        if student and record.get("job") and a["status"] == "ok"
        else "",
    }
    return made


def base(shell: Shell, call: Call, a: Thing, record: Thing, ident: str, title: str) -> Thing:
    """What both kinds have: whose it is and when, and what was said of it."""
    who, now = str(record.get("who") or record.get("user") or ""), shell.now()
    approved = bool(record.get("approved"))
    said = APPROVED if approved else REJECTED if record.get("rejected") else ""
    return {
        "id": ident,
        "title": title,
        "when": words.when(record.get("at") or record.get("created"), now),
        "who": shell.titles().get(who, who),
        "comment": str(record.get("comment") or "")[:500],
        "answer": str(record.get("approved_comment") or "")[:500],
        "approved": approved,
        "approved_by": shell.titles().get(str(record.get("approved_by") or ""), ""),
        "verdict": judging.verdict(shell, call, a["address"], ident, said),
    }


def compare(left: Thing, right: Thing, at: str) -> Thing:
    """Two versions side by side at one frame: one that both have, if there is any."""
    both = sorted(set(left["frames"]) & set(right["frames"])) or sorted({*left["frames"], *right["frames"]})
    wanted = int(at) if at.removeprefix("-").isdecimal() and len(at) < 12 else None
    frame = min(both, key=lambda n: abs(n - wanted)) if both and wanted is not None else None
    if both and frame is None:
        frame = both[len(both) // 2]
    place = both.index(frame) if frame is not None else 0
    facts = [
        (say("Frames"), left["count"], right["count"]),
        (say("Size"), left["size"], right["size"]),
        (say("Made by"), left["who"], right["who"]),
        (say("When"), left["when"], right["when"]),
        (say("Approved"), approval(left), approval(right)),
    ]
    told = dict(right["told"])
    facts += [(word, value, told.get(word, "")) for word, value in left["told"][:5]]
    return {
        "frame": frame,
        "first": both[0] if both else None,
        "last": both[-1] if both else None,
        "before": both[place - 1] if frame is not None and place else None,
        "after": both[place + 1] if frame is not None and place + 1 < len(both) else None,
        "sides": [side(one, frame) for one in (left, right)],
        "facts": [fact for fact in facts if fact[1] or fact[2]],
    }


def side(one: Thing, frame: int | None) -> Thing:
    name = one["frames"].get(frame, "") if frame is not None else ""
    place = quote(paths.join(one["folder"], name), safe="/:@") if name else ""
    return {
        **one,
        "large": f"/thumb/{place}?w=1024" if place else "",
        "whole": f"/files/{place}" if place else "",
    }


def approval(one: Thing) -> str:
    return (
        (say("by {person}", person=one["approved_by"]) if one["approved_by"] else say("yes"))
        if one["approved"]
        else ""
    )


def content(shell: Shell, address: str) -> tuple[dict[int, str], str]:
    """The frames in a version's folder by their numbers, of the sequence that has most; and a film in it."""
    groups: dict[str, dict[int, str]] = {}
    film = ""
    try:
        names = os.listdir(shell.services.store.path(address))
    except (CroftError, OSError):
        return {}, ""
    for name in names:
        if name[0] == ".":
            continue
        frame = paths.sequence_key(name)
        if kinds.kind(name) == "film":
            film = min(film or name, name)
        elif frame is not None:
            groups.setdefault(frame[0], {})[frame[1]] = name
    return max(groups.values(), key=len, default={}), film


def picture(shell: Shell, folder: str, name: str, width: int) -> str:
    """Where the picture of a frame is; with its time, so that one that was rendered again is asked for."""
    if not name or not kinds.drawable(name):
        return ""
    try:
        changed = os.stat(shell.services.store.path(paths.join(folder, name))).st_mtime_ns
    except (CroftError, OSError):
        return ""
    return f"/thumb/{quote(paths.join(folder, name), safe='/:@')}?w={width}&v={changed & 0xFFFFFFFFFF:x}"


def told_bytes(record: Thing) -> int | None:
    """What the pictures of a version weigh together, as its record says; None where it doesn't."""
    outputs = record.get("outputs")
    sizes = (
        [one.get("bytes") for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    )
    return sum(size for size in sizes if isinstance(size, int)) or None


def job_of(shell: Shell, job_id: str) -> Thing | None:
    """The render that made a version, where the farm knows it."""
    if not job_id:
        return None
    try:
        return shell.services.farm.view(job_id)
    except CroftError:
        return None
