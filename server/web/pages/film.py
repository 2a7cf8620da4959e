"""A render as a film: the picture on the stage, the scrubber with the time of each frame, the sheet of cells.

What the template `film.html` shows, on a render's own page and on that of its file. Reads the farm's view of
the job; what is shown lies in the address (`?frame=12`), so that it can be handed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.disk.encoding import quote
from server.disk.errors import BadInput
from server.farm import frames as frame_ranges
from server.farm.statistics.film import Film
from server.web.languages import count, say
from server.web.pages import sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

STRIP = 60  # pictures around the present one that a page brings along
FILMS = (".mp4", ".webm", ".mov")
HEIGHT = 100  # of the plot, in its own units

View = Mapping[str, Any]


def film(shell: Shell, call: Call, view: View, *, fps: float, may: bool) -> dict[str, Any]:
    """All that film.html needs of a job."""
    farm, ident = shell.services.farm, str(view["id"])
    told = farm.film(ident)
    frames = frame_ranges.parse(told.numbers, max_frames=10**7)
    newest = view.get("newest") or {}
    asked = asked_for(call, frames)
    n = int(newest.get("n", -1) if asked is None else asked)
    task = farm.frame(ident, n) if 0 <= n < told.total else None
    page = f"/p/{quote(str(view['project']), safe='')}/job/{quote(ident)}"
    counts = view["counts"]
    return {
        "id": ident,
        "api": f"/api/jobs/{quote(ident)}",
        "page": page,
        "frames": told.numbers,
        "word": say("Part") if told.parts else say("Frame"),
        "parts": told.parts,
        "total": told.total,
        "chunk": told.chunk,
        "tiles": told.tiles,
        "fps": f"{fps:g}",
        "done": int(counts.get("done", 0)),
        "newest": {**sheets.pictures(newest), "n": newest.get("n", -1)} if newest else None,
        "at": n if task else 0,
        "chosen": asked is not None,
        "shown": {**shown(page, task), "frame": frames[n]} if task else None,
        "nothing": nothing(view),
        "bare": view["state"] in ("failed", "cancelled") and not counts.get("done"),
        "strip": strip(shell, ident, max(0, n)),
        "plot": drawn(told, frames, page),
        "marks": sheets.sheet(told.cells, told.group, frames, fps),
        "group": told.group,
        "rate": sheets.rate(fps),
        "spoken": words.counted(counts, int(view["total"])),
        "video": video(told)[0],
        "video_words": video(told)[1],
        "may": may,
    }


def asked_for(call: Call, frames: frame_ranges.Frames) -> int | None:
    """The task whose frame the page's address names."""
    text = call.query.get("frame", "")
    try:
        return frames.index(int(text)) if text and len(text) < 12 else None
    except (ValueError, BadInput):
        return None


def shown(page: str, task: View) -> dict[str, Any]:
    """One frame on the stage, and what stands below it."""
    glyph, word = words.TASK_STATES.get(task["state"], ("waiting", task["state"]))
    return {**task, **sheets.pictures(task), "glyph": glyph, "word": word, "facts": facts(task),
            "page": f"{page}/frame/{task['n']}"}  # fmt: skip


def facts(task: View) -> str:
    """'3.2 s on atom-3', 'on atom-3, 40%'."""
    node = str(task.get("node") or "")
    took = words.duration(task.get("seconds")) if task["state"] == "done" else ""
    parts = [took, say("on {computer}", computer=node) if node else ""]
    if task["state"] == "claimed" and task.get("progress"):
        parts.append(words.percent(float(task["progress"])))
    attempts = int(task.get("attempts") or 0)
    if attempts > 1:
        parts.append(count("tried {n} time", "tried {n} times", attempts))
    return " · ".join(part for part in parts if part)


def nothing(view: View) -> str:
    """What stands on an empty stage."""
    if view["state"] in ("failed", "cancelled"):
        return say("No frame of this render is done.")
    if view["counts"].get("done"):  # by a node of RFAM's, which doesn't say what it has written
        return say("Its frames lie where the scene itself writes them.")
    return say("The first frame shows here as soon as it is rendered.")


def strip(shell: Shell, ident: str, n: int) -> list[dict[str, Any]]:
    """The pictures around the present frame, as far as they are done."""
    found, _ = shell.services.farm.records(ident, max(0, n - STRIP // 2), STRIP)
    pictures = [(one, sheets.pictures({**one, "image": one["path"]})) for one in found if one["path"]]
    return [{**one, **images} for one, images in pictures]


def drawn(told: Film, frames: frame_ranges.Frames, page: str) -> dict[str, Any] | None:
    """The plot as numbers for SVG attributes, and the slow frames by name."""
    top = max(told.seconds, default=0.0)
    if top <= 0:
        return None
    limit = told.slow[-1][1] if told.slow else 0.0
    bars = [
        (at * 10 + 1, max(3, round(HEIGHT * seconds / top)), "slow" if limit and seconds >= limit else "")
        for at, seconds in enumerate(told.seconds)
        if seconds > 0
    ]
    slow = [
        {"frame": frames[n], "n": n, "time": words.duration(seconds), "url": f"{page}?frame={frames[n]}"}
        for n, seconds in told.slow
    ]
    said = say(
        "A frame takes {time} in the middle, at most {most}.",
        time=words.duration(told.median),
        most=words.duration(top),
    )
    return {
        "width": len(told.seconds) * 10,
        "bars": bars,
        "median": HEIGHT - round(HEIGHT * told.median / top),
        "slow": slow,
        "words": said,
    }


def video(told: Film) -> tuple[str, str]:
    """The address of the film that was made of the frames, or what is to be said of it meanwhile."""
    if told.video and told.video.lower().endswith(FILMS):
        return f"/files/{quote(told.video, safe='/:@')}?v={told.video_attempts}", ""
    said = {
        "claimed": say("The film is being put together."),
        "failed": say("The film could not be put together."),
    }
    return "", said.get(told.video_state, "")
