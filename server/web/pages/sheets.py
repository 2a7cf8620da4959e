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
from urllib.parse import unquote

from markupsafe import Markup

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import key
from server.disk.speech import say as say_later
from server.farm.frames import Frames
from server.farm.jobs import inputs
from server.web import languages
from server.web.languages import count, say
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
    "renderer error": say_later("the render program ended with an error"),
    "crash": say_later("the render program crashed"),
    "out of memory": say_later("the computer’s memory was full"),
    "time-out": say_later("it took longer than it may"),
    "missing file": say_later("a file is missing"),
    "bad output": say_later("the picture wasn’t whole"),
    "the node was not heard of any more": say_later("the computer was switched off or lost its network"),
}
IT_FAILED = say_later("it failed")
KEPT = (
    key("{computer} is kept from this render: {why}."),
    key("{computer} is kept from some frames of it: {why}."),
)
KEPT_UNTIL = (
    key("{computer} is kept from this render until {when}: {why}."),
    key("{computer} is kept from some frames of it until {when}: {why}."),
)
TELLING = ("renderer error", "time-out")  # reasons that say less than the node's own words
MEND = say_later("Read the last lines of its log, mend the scene, and render it again.")
MENDS = {  # the one thing to do
    "renderer error": say_later(
        "Read the last lines: they say what is wrong. Mend the scene, save it, render again."
    ),
    "crash": say_later(
        "Render it again. If it crashes everywhere, open this frame in Blender and make it simpler."
    ),
    "out of memory": say_later(
        "Make the textures smaller or hide what the camera can’t see, then render it again."
    ),
    "time-out": say_later(
        "Look what is heavy in this frame, such as hair, smoke or samples, then render it again."
    ),
    "missing file": say_later(
        "Put the file back into the project’s folder, save the scene, render it again."
    ),
    "bad output": say_later(
        "Render it again. If it stays so, ask whoever looks after the server: is the disk full?"
    ),
    "the node was not heard of any more": say_later("Render it again, now that other computers are there."),
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
        "failed_words": count("{n} frame failed", "{n} frames failed", int(counts.get("failed", 0))),
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
    said = say("version {number}", number=int(number)) if number.isdigit() else ""
    user = str(job.get("user") or "")
    parts = (said, titles.get(user, user), words.when(job.get("submitted"), now))
    return " · ".join(part for part in parts if part)


def because(job: View, titles: Mapping[str, str]) -> str:
    """'Waiting because no computer is running.': the farm's reason in people's words; '' without one."""
    why = str(job.get("why") or "").strip()
    if not why:
        return ""
    before, by, who = why.rstrip(".").rpartition(" by ")
    if by and who in titles:
        why = f"{before} by {titles[who]}"
    why = in_peoples_words(why).rstrip(".")
    if job["state"] in ("waiting", "running"):
        return say("Waiting because {why}.", why=why)
    return f"{words.capital(why)}."


def told(job: View, now: datetime.datetime) -> list[str]:
    """What happened while it rendered: files that changed, computers that are kept from it."""
    changes = [one["sentence"] for one in job.get("changes") or () if one.get("sentence")]
    if not changes and job.get("changed") and job["state"] in OPEN:
        changes = [inputs.sentence(list(job["changed"]))]
    # Not with a capital: they begin with the name of a file.
    found = [f"{in_peoples_words(text).rstrip('.')}." for text in changes[:NOTICES]]
    held = job.get("held")
    if held and held.get("why"):
        until, why = words.when(held.get("until"), now, today=False), in_peoples_words(held["why"])
        found.append(say("It rests until {when}: {why}.", when=until, why=why.rstrip(".")))
    for one in list(job.get("avoided") or ())[:NOTICES]:
        until = words.when(one.get("until"), now, today=False)
        why = in_peoples_words(one.get("why") or IT_FAILED).rstrip(".")
        whole, part = KEPT_UNTIL if until else KEPT
        found.append(say(whole if one.get("whole") else part, computer=one["node"], when=until, why=why))
    return found


def reason(text: str) -> str:
    """Why a frame failed, in people's words."""
    return str(languages.told(REASONS.get(text)) or in_peoples_words(text))


def what_failed(failure: View) -> str:
    """The same of one failure as the farm tells it: what a rule, or the node itself, says of it is more."""
    told = str(failure.get("reason") or "")
    if failure.get("say") and (failure.get("rule") or told in TELLING):
        return in_peoples_words(failure["say"]).rstrip(".")
    return reason(told)


def mend(task: View) -> str:
    """The one thing to do about a frame that failed."""
    return languages.known(
        task.get("to_do") or task.get("say") or MENDS.get(str(task.get("reason") or ""), MEND)
    )


def in_peoples_words(text: str) -> str:
    """What the farm says in its own words, said in those of people: 'computer', not 'node'; in other
    languages their sentences see to that."""
    if languages.reading() is languages.IN_ENGLISH:
        return _FARM_WORDS.sub(lambda found: PEOPLES_WORDS[found[0]], text)
    return languages.known(text)


def progress(job: View) -> str:
    """'12 of 24 frames · 3.2 s a frame', with failed and left out ones named."""
    counts, total = job["counts"], int(job["total"])
    done, failed, skipped = (int(counts.get(key, 0)) for key in ("done", "failed", "skipped"))
    parts = [words.number(total, "frame")]
    if done != total:
        parts = [count("{done:,} of {n} frame", "{done:,} of {n} frames", total, done=done)]
    if failed:
        parts.append(words.number(failed, "failed", "failed"))
    if skipped:
        parts.append(words.number(skipped, "left out", "left out"))
    each = job.get("seconds_per_task")
    if done and isinstance(each, (int, float)):
        parts.append(say("{time} a frame", time=words.duration(each)))
    begun, ended = words.moment(job.get("started")), words.moment(job.get("ended"))
    if begun and ended and job["state"] == "done":
        parts.append(say("{time} in all", time=words.duration((ended - begun).total_seconds())))
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
    # Where the scene itself writes, the next render has the same names and begins to count anew.
    attempt = f"&v={task.get('attempts', 0)}" if paths.in_version(unquote(path)) else ""
    thumbnail = f"/thumb/{path}?w=256{attempt}"
    return {"image": image, "large": thumbnail.replace("w=256", "w=1024"), "thumbnail": thumbnail}


def rows(project: str, job_id: str, tasks: Sequence[View]) -> list[dict[str, Any]]:
    """The table of a job's frames."""
    found = []
    for task in tasks:
        glyph, word = words.TASK_STATES.get(task["state"], ("waiting", task["state"]))
        attempts = int(task.get("attempts") or 0)
        tried = count("once", "{n} times", attempts) if attempts else ""
        time = words.duration(task.get("seconds")) if task["state"] == "done" else ""
        page = f"/p/{quote(project, safe='')}/job/{quote(job_id)}/frame/{task['n']}"
        frame = task.get("frame", task.get("frames"))
        if isinstance(frame, list):
            frame = say("{first} to {last}", first=frame[0], last=frame[1])
        more = {
            "frame": "" if frame is None else frame,
            "glyph": glyph,
            "word": words.capital(word),
            "tried": tried,
            "time": time,
            "page": page,
        }
        found.append({**task, **more})
    return found


def sums(job: View) -> list[tuple[str, str]]:
    """What a render took, as pairs of word and value."""
    done, seconds = int(job["counts"].get("done", 0)), job.get("seconds")
    found = [(say("A frame, in the middle"), words.duration(job.get("median_seconds")))]
    if done and seconds:
        found.append((say("A frame, on average"), words.duration(float(seconds) / done)))
        found.append((say("Fastest"), words.duration(job.get("seconds_shortest"))))
        found.append((say("Slowest"), words.duration(job.get("seconds_longest"))))
    lost = float(job.get("seconds_for_nothing") or 0)
    if lost or (done and seconds):
        cost = say("It has cost so far") if job["state"] in OPEN else say("It cost")
        spent = float(seconds or 0) + lost
        found.append((cost, say("{time} of a computer", time=words.duration(spent))))
        found.append((say("Of that for nothing"), words.duration(lost or None)))
    begun, ended = words.moment(job.get("started")), words.moment(job.get("ended"))
    if begun and ended:
        found.append((say("From start to end"), words.duration((ended - begun).total_seconds())))
    nodes = sorted(job.get("nodes") or {})
    found.append((say("Computers"), words.some(nodes, 8)))
    if job.get("peak_memory_mb"):
        found.append((say("Memory, at most"), words.size(int(job["peak_memory_mb"]) * 1_000_000)))
    found.append((say("All pictures"), words.size(job.get("output_bytes") or None)))
    tried = int(job.get("failed_attempts") or 0) + int(job.get("lost_attempts") or 0)
    if tried:
        found.append((say("Tried again"), words.number(tried, "time")))
    return [(word, value) for word, value in found if value]


def whole(renders: View) -> list[tuple[str, str]]:
    """Of all renders of a file: what the scene's whole range would take, and what they cost together."""
    found, span = [], renders.get("whole")
    if span:
        time = say("{time} of a computer", time=words.duration(span["seconds"]))
        if span.get("elapsed") and span.get("slots"):
            time = say("about {time} by the computers that are here", time=words.duration(span["elapsed"]))
        found.append((say("All of {first} to {last}", first=span["first"], last=span["last"]), time))
    hours = float((renders.get("all") or {}).get("hours") or 0)
    if int(renders.get("count") or 0) > 1 and hours:
        found.append((say("All its renders"), say("{time} of a computer", time=words.duration(hours * 3600))))
    return found
