"""Renders as people see them: cells, progress, the end that is expected, frames and their pictures.

Takes the API's own view of a job and of its tasks, and adds the words and marks that the templates show.
Does no I/O; what comes from files stays a plain string, which the templates escape.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from server.disk.encoding import quote
from server.farm.frames import Frames
from server.farm.jobs import inputs
from server.web.pages import words

NOTICES = 4  # of each kind
OPEN = ("running", "waiting", "paused")
ROW_CELLS = 96  # where many renders stand under each other: four rows of a second
CARD_CELLS = 144  # three rows of two seconds on a desk, six of one second on a phone
WORST = "fcwsd"  # of several frames in one cell the first of these is shown
RATES = (12, 24, 25, 30)  # croft.css draws the second's heavier rule for these

PEOPLES_WORDS = {"node": "computer", "nodes": "computers", "job": "render", "jobs": "renders"}
PEOPLES_WORDS |= {
    "cancelled": "stopped",
    "task": "frame",
    "tasks": "frames",
    "the farm is": "all computers are",
}
REASONS = {  # of the wire, said to people
    "renderer error": "Blender ended with an error",
    "crash": "Blender crashed",
    "out of memory": "the computer’s memory was full",
    "time-out": "it took longer than it may",
    "missing file": "a file is missing",
    "bad output": "the picture wasn’t whole",
    "the node was not heard of any more": "the computer was switched off or lost its network",
}
TELLING = ("renderer error", "time-out")  # reasons that say less than the node's own words
MEND = "Read the last lines of its log, mend the scene, and render it again."
MENDS = {  # the one thing to do
    "renderer error": "Read the last lines: they say what is wrong. Mend the scene, save it, render again.",
    "crash": "Render it again. If it crashes everywhere, open this frame in Blender and make it simpler.",
    "out of memory": "Make the textures smaller or hide what the camera can’t see, then render it again.",
    "time-out": "Look what is heavy in this frame, such as hair, smoke or samples, then render it again.",
    "missing file": "Put the file back into the project’s folder, save the scene, render it again.",
    "bad output": "Render it again. If it stays so, ask whoever looks after the server: is the disk full?",
    "the node was not heard of any more": "Render it again, now that other computers are there.",
}
_FARM_WORDS = re.compile(r"\b(the farm is|nodes?|jobs?|tasks?|cancelled)\b")

View = Mapping[str, Any]


def card(
    job: View,
    now: datetime.datetime,
    *,
    titles: Mapping[str, str],
    may: bool,
    fps: float = 24,
    limit: int = CARD_CELLS,
) -> dict[str, Any]:
    """What the macros of a job need besides the API's view of it."""
    total, counts, state = int(job["total"]), job["counts"], job["state"]
    stuck = state == "running" and bool(job.get("why"))  # begun, but nobody works on it just now
    glyph, word = words.JOB_STATES.get("waiting" if stuck else state, ("waiting", state))
    marks, group = cells(str(job.get("cells", "")), total, limit)
    end = words.done_between(job.get("ends"), now)
    return {
        **job,
        "url": "/api/jobs/" + quote(job["id"]),
        "requeue": f"POST /api/jobs/{quote(job['id'])}/requeue",
        "skip": f"POST /api/jobs/{quote(job['id'])}/skip",
        "page": page_of(job),
        "asset_page": asset_page(str(job["project"]), str(job["file"])),
        "glyph": glyph,
        "word": word,
        "marks": marks,
        "group": group,
        "sheet": f"fps{rate(fps)}" if group == 1 else "",
        "spoken": words.counted(counts, total),
        "about": about(job, now, titles),
        "progress_words": progress(job),
        "end_words": end,
        "may": may,
        "elsewhere": bool(job.get("elsewhere")),
        "thumbnail": job.get("thumbnail"),
        "why": because(job, titles),
        "warnings": list(job.get("warnings") or ()),
        "file_name": str(job["file"]).rpartition("/")[2],
        "told": told(job, now),
        "forgiving": bool(job.get("avoided")),
        "failed_words": f"{words.number(int(counts.get('failed', 0)), 'frame')} failed",
    }


def page_of(job: View) -> str:
    """The page of a render."""
    return f"/p/{quote(str(job['project']), safe='')}/job/{quote(str(job['id']))}"


def asset_page(project: str, address: str) -> str:
    """The page of the file at this address."""
    _, _, inside = address.partition("::")
    return f"/p/{quote(project)}/asset/{quote(inside.partition('/')[2])}"


def about(job: View, now: datetime.datetime, titles: Mapping[str, str]) -> str:
    """'version 3 · Ana · today 14:05'."""
    version = str(job.get("version") or "")
    number = version.removeprefix("v").partition("-")[0]
    said = f"version {int(number)}" if number.isdigit() else ""
    user = str(job.get("user") or "")
    parts = (said, titles.get(user, user), words.when(job.get("submitted"), now))
    return " · ".join(part for part in parts if part)


def because(job: View, titles: Mapping[str, str]) -> str:
    """'Waiting because no computer is running.': the farm's reason in people's words; '' without one."""
    why = in_peoples_words(str(job.get("why") or "")).strip().rstrip(".")
    if not why:
        return ""
    before, by, who = why.rpartition(" by ")
    if by and who in titles:
        why = f"{before} by {titles[who]}"
    if job["state"] in ("waiting", "running"):
        return f"Waiting because {why}."
    return f"{why[0].upper()}{why[1:]}."


def told(job: View, now: datetime.datetime) -> list[str]:
    """What happened while it rendered: files that changed, computers that are kept from it."""
    changes = [str(one["sentence"]) for one in job.get("changes") or () if one.get("sentence")]
    if not changes and job.get("changed") and job["state"] in OPEN:
        changes = [inputs.sentence(list(job["changed"]))]
    found = [in_peoples_words(f"{capital(text.rstrip('.'))}.") for text in changes[:NOTICES]]
    held = job.get("held")
    if held and held.get("why"):
        found.append(in_peoples_words(f"It rests until {words.when(held.get('until'), now)}: {held['why']}."))
    for one in list(job.get("avoided") or ())[:NOTICES]:
        until = words.when(one.get("until"), now).removeprefix("today ")
        kept = "this render" if one.get("whole") else "some frames of it"
        kept += f" until {until}" if until else ""
        said = f"{one['node']} is kept from {kept}: {one.get('why') or 'it failed'}"
        found.append(f"{in_peoples_words(said).rstrip('.')}.")
    return found


def reason(text: str) -> str:
    """Why a frame failed, in people's words."""
    return REASONS.get(text) or in_peoples_words(text)


def what_failed(failure: View) -> str:
    """The same of one failure as the farm tells it: what a rule, or the node itself, says of it is more."""
    told = str(failure.get("reason") or "")
    if failure.get("say") and (failure.get("rule") or told in TELLING):
        return in_peoples_words(str(failure["say"])).rstrip(".")
    return reason(told)


def mend(task: View) -> str:
    """The one thing to do about a frame that failed."""
    return str(task.get("to_do") or task.get("say") or MENDS.get(str(task.get("reason") or ""), MEND))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_peoples_words(text: str) -> str:
    """The farm's own words exchanged for those of people: 'computer', not 'node'."""
    return _FARM_WORDS.sub(lambda found: PEOPLES_WORDS[found[0]], text)


def progress(job: View) -> str:
    """'12 of 24 frames · 3.2 s a frame', with failed and left out ones named."""
    counts, total = job["counts"], int(job["total"])
    done, failed, skipped = (int(counts.get(key, 0)) for key in ("done", "failed", "skipped"))
    parts = [words.number(total, "frame") if done == total else f"{done:,} of {words.number(total, 'frame')}"]
    if failed:
        parts.append(f"{failed:,} failed")
    if skipped:
        parts.append(f"{skipped:,} left out")
    each = job.get("seconds_per_task")
    if done and isinstance(each, (int, float)):
        parts.append(f"{words.duration(each)} a frame")
    begun, ended = words.moment(job.get("started")), words.moment(job.get("ended"))
    if begun and ended and job["state"] == "done":
        parts.append(f"{words.duration((ended - begun).total_seconds())} in all")
    return " · ".join(parts)


def cells(letters: str, total: int, limit: int) -> tuple[Markup, int]:
    """The marks of a sheet of at most `limit` cells, and how many frames one of them stands for."""
    if not letters:
        return Markup(""), 1
    each = max(1, round(total / len(letters)))  # the view may have gathered a long job already
    group = -(-len(letters) // limit)
    if group > 1:
        letters = "".join(worst(letters[at : at + group]) for at in range(0, len(letters), group))
    return _marks(letters), each * group


def sheet(letters: str, group: int, frames: Frames, fps: float) -> Markup:
    """A render's own sheet: a row for each second, that begins with its frame's number."""
    row = {12: 24}.get(rate(fps), rate(fps))
    numbers = tuple(frames[at * group] for at in range(0, len(letters), row))
    return _sheet(letters, row, numbers)


@lru_cache(maxsize=64)
def _sheet(letters: str, row: int, numbers: tuple[int, ...]) -> Markup:
    rows = (letters[at : at + row] for at in range(0, len(letters), row))
    parts = (
        f'<b aria-hidden="true">{number}</b>{_marks(text)}'
        for number, text in zip(numbers, rows, strict=True)
    )
    return Markup("".join(parts))


def worst(letters: str) -> str:
    return next((letter for letter in WORST if letter in letters), "w")


@lru_cache(maxsize=512)
def _marks(letters: str) -> Markup:
    known = {letter: f'<i class="{letter}"></i>' for letter in "wcdfs"}
    return Markup("".join(known.get(letter, known["w"]) for letter in letters))


def rate(fps: float) -> int:
    """The frame rate among those that the sheet has rules for."""
    return min(RATES, key=lambda known: abs(known - (fps or 24)))


def pictures(task: View) -> dict[str, str]:
    """Where a task's picture is: `image` as rendered, `large` as a browser can show it, `thumbnail`."""
    address = str(task.get("image") or "")
    if not address:
        return {"image": "", "large": "", "thumbnail": ""}
    path = quote(address, safe="/:@")
    if address.startswith("/files/"):  # the API's own form of it
        path = address.removeprefix("/files/").partition("?")[0]
    image = f"/files/{path}"
    # An attempt's number changes with the picture: rendered again, it isn't taken from the browser's store.
    thumbnail = f"/thumb/{path}?w=256&v={task.get('attempts', 0)}"
    return {"image": image, "large": thumbnail.replace("w=256", "w=1024"), "thumbnail": thumbnail}


def rows(project: str, job_id: str, tasks: Sequence[View]) -> list[dict[str, Any]]:
    """The table of a job's frames."""
    found = []
    for task in tasks:
        glyph, word = words.TASK_STATES.get(task["state"], ("waiting", task["state"]))
        attempts = int(task.get("attempts") or 0)
        tried = "once" if attempts == 1 else f"{attempts} times" if attempts else ""
        time = words.duration(task.get("seconds")) if task["state"] == "done" else ""
        page = f"/p/{quote(project, safe='')}/job/{quote(job_id)}/frame/{task['n']}"
        frame = task.get("frame", task.get("frames"))
        frame = f"{frame[0]} to {frame[1]}" if isinstance(frame, list) else "" if frame is None else frame
        more = {
            "frame": frame,
            "glyph": glyph,
            "word": word.capitalize(),
            "tried": tried,
            "time": time,
            "page": page,
        }
        found.append({**task, **more})
    return found


def sums(job: View) -> list[tuple[str, str]]:
    """What a render took, as pairs of word and value."""
    done, seconds = int(job["counts"].get("done", 0)), job.get("seconds")
    found = [("A frame, in the middle", words.duration(job.get("median_seconds")))]
    if done and seconds:
        found.append(("A frame, on average", words.duration(float(seconds) / done)))
        found.append(("Fastest", words.duration(job.get("seconds_shortest"))))
        found.append(("Slowest", words.duration(job.get("seconds_longest"))))
        cost = "It has cost so far" if job["state"] in OPEN else "It cost"
        found.append((cost, f"{words.duration(float(seconds))} of a computer"))
    begun, ended = words.moment(job.get("started")), words.moment(job.get("ended"))
    if begun and ended:
        found.append(("From start to end", words.duration((ended - begun).total_seconds())))
    nodes = sorted(job.get("nodes") or {})
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    found.append(("Computers", ", ".join(nodes[:8]) + more))
    if job.get("peak_memory_mb"):
        found.append(("Memory, at most", f"{int(job['peak_memory_mb']):,} MB"))
    found.append(("All pictures", words.size(job.get("output_bytes") or None)))
    tried = int(job.get("failed_attempts") or 0) + int(job.get("lost_attempts") or 0)
    if tried:
        found.append(("Tried again", words.number(tried, "time")))
    return [(word, value) for word, value in found if value]


def whole(renders: View) -> list[tuple[str, str]]:
    """Of all renders of a file: what the scene's whole range would take, and what they cost together."""
    found, span = [], renders.get("whole")
    if span:
        time = f"{words.duration(span['seconds'])} of a computer"
        if span.get("elapsed") and span.get("slots"):
            time = f"about {words.duration(span['elapsed'])} by the computers that are here"
        found.append((f"All of {span['first']} to {span['last']}", time))
    hours = float((renders.get("all") or {}).get("hours") or 0)
    if int(renders.get("count") or 0) > 1 and hours:
        found.append(("All its renders", f"{words.duration(hours * 3600)} of a computer"))
    return found
