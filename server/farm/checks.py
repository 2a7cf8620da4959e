"""What should be known before a render is asked for: what the farm can't reach, what would be missing in
the picture, what it would wait for. Each with one thing to do. Asks, and changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk import paths
from server.disk.errors import BadContent, CroftError
from server.disk.speech import say, together
from server.disk.store import Store
from server.farm import frames as frame_ranges
from server.farm.committer.board import Board
from server.farm.jobs import facts
from server.farm.jobs.facts import Facts
from server.farm.jobs.submit import Submitter
from server.farm.nodes.node import Node
from server.farm.reasons import Reasons
from server.library.dependencies import Use
from server.library.dependencies.hints import lacks

MOST = 50  # notices
FACTS_LOOK_S = 0.1
FRAMES = "blender-frames"
FILMS = ("FFMPEG", "AVI_RAW", "AVI_JPEG")
ERROR, WARNING, NOTE = "error", "warning", "note"
UsesOf = Callable[[str], Iterable[tuple[Use, str]]]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know. An `error` can't be rendered; what is `lasting` the job keeps as a warning."""

    severity: str
    kind: str
    text: str
    todo: str = ""
    lasting: bool = True
    suggest: tuple[tuple[str, Any], ...] = ()  # what of the request would mend it

    def view(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "text": self.text,
            "todo": self.todo,
            "suggest": dict(self.suggest),
        }

    @property
    def sentence(self) -> str:
        """All of it in one text."""
        return f"{self.text} {self.todo}".strip()


class Checks:
    """Made once. `uses` says what a scene names, itself and through its libraries."""

    def __init__(self, board: Board, submitter: Submitter, reasons: Reasons, uses: UsesOf) -> None:
        self._board = board
        self._store: Store = board.store
        self._submitter = submitter
        self._reasons = reasons
        self._uses = uses

    def ask(self, user: str, request: Mapping[str, Any], role: str = "admin") -> dict[str, Any]:
        """What there is to know of this request, the worst first; `ok` where it can be submitted."""
        try:
            record = self._submitter.check(user, request, role)
        except CroftError as error:
            return {"ok": False, "notices": [refused(error).view()], "frames": None, "total": None}
        found = sorted(self.notices(record), key=lambda notice: (ERROR, WARNING, NOTE).index(notice.severity))
        return {
            "ok": all(notice.severity != ERROR for notice in found),
            "notices": [notice.view() for notice in found[:MOST]],
            "frames": record["frames"],
            "total": record["total"],
        }

    def await_facts(self, request: Mapping[str, Any], seconds: float) -> None:
        """A scene that was saved a moment ago is just being read: that is worth waiting for, shortly."""
        address = request.get("file") if isinstance(request, Mapping) else None
        entry = self._store.index.get(address) if isinstance(address, str) and seconds else None
        if entry is None or entry.stat is None or not entry.address.casefold().endswith(".blend"):
            return
        path = self._store.path(entry.address)
        until = time.monotonic() + seconds
        if facts.of(path).present:
            return
        while not facts.of(path).present:
            if time.monotonic() > until:
                return
            time.sleep(FACTS_LOOK_S)
        time.sleep(FACTS_LOOK_S)  # what it names is taken in from there

    def notices(self, record: Mapping[str, Any]) -> list[Notice]:
        """Of a request that is well formed."""
        path = self._store.path(record["file"])
        known = facts.of(path)
        found: dict[Notice, None] = {}
        for part in (
            self._of_scene(record, known),
            self._of_files(record),
            self._of_output(record, known),
            self._of_computers(record, known),
            self._of_now(record, path, known),
        ):
            found.update(dict.fromkeys(part))
        return list(found)

    def refuse(self, found: Iterable[Notice]) -> None:
        """Raise what can't work."""
        for notice in found:
            if notice.severity == ERROR:
                raise BadContent(notice.sentence)

    # -- the scene ------------------------------------------------------------------------------------

    def _of_scene(self, record: Mapping[str, Any], known: Facts) -> Iterator[Notice]:
        given = record.get("parameters") or {}
        name = given.get("scene")
        if name and known.present and known.told.get("scenes") and not known.scene(name):
            yield Notice(
                ERROR,
                "scene",
                say("The file has no scene called {name}.", name=name),
                say("Choose one that it has."),
            )
            return
        scene = known.scene(name)
        if scene.get("camera") is False and not given.get("camera") and scene.get("renderable") is not True:
            certain = known.present and scene.get("renderable") is False
            yield Notice(
                ERROR if certain else WARNING,
                "camera",
                say("The scene has no camera: there is nothing that it could be seen by."),
                say("In Blender: Add › Camera, save, and render again."),
            )
        yield from _of_range(record, known.frames(name), scene.get("step"))
        if known.told and known.told.get("whole") is False:
            yield Notice(
                WARNING, "broken", say("The file ends in the middle: it may not open."), say("Save it again.")
            )

    def _of_files(self, record: Mapping[str, Any]) -> Iterator[Notice]:
        for use, scene in self._uses(record["file"]):
            told = lacks(use, "" if scene == record["file"] else paths.name_of(scene))
            if told is not None:
                yield Notice(WARNING, "missing" if use.status == "missing" else "elsewhere", *told)

    def _of_output(self, record: Mapping[str, Any], known: Facts) -> Iterator[Notice]:
        scene = known.scene((record.get("parameters") or {}).get("scene"))
        asked = (record.get("parameters") or {}).get("format")
        if scene.get("format") in FILMS and not asked and record["type"].endswith("frames"):
            yield Notice(
                NOTE, "film", say("The scene makes a film: each frame becomes a PNG picture instead.")
            )
        if record["output"] == "version":
            return
        raw = scene.get("output")
        if isinstance(raw, str) and not facts.output_folder(self._store, record["file"], raw):
            yield Notice(
                WARNING,
                "output",
                say(
                    "The scene’s own output path, {raw}, lies on each computer by itself: the frames "
                    "would be scattered.",
                    raw=raw or say("which is empty"),
                ),
                say("Let the frames go to a new version, or set a path that begins with // in Blender."),
                suggest=(("output", "version"),),
            )

    # -- the farm -------------------------------------------------------------------------------------

    def _of_computers(self, record: Mapping[str, Any], known: Facts) -> Iterator[Notice]:
        needs = [work.need for work in self._board.works_of(record)]
        for need in needs:
            why, _ = self._reasons.capable(need)
            if why:
                yield Notice(
                    WARNING,
                    "computers",
                    say("No computer can render it now: {why}.", why=why),
                    say("It waits until one can. Start one, or tell whoever looks after the farm."),
                    lasting=False,
                )
                return
        saved, least = version(known.told.get("blender")), version(known.told.get("reads_from"))
        if not saved or not needs or "blender" not in needs[0].programs:
            return
        have = sorted(filter(None, (version(node.programs.get("blender")) for node in self._here())))
        if have and have[0] < saved:
            older = have[-1] < saved
            text: str = say(
                "The file was saved with Blender {saved}; the computers have {have}."
                if older
                else "The file was saved with Blender {saved}; some computers have only {have}.",
                saved=shown(saved),
                have=shown(have[0]),
            )
            if least and have[-1] < least:
                text = together([text, say("It needs {least} at least.", least=shown(least))])
            yield Notice(
                WARNING,
                "blender",
                text,
                say(
                    "What is new in {saved} would be missing: save it with {have}, or ask for the "
                    "computers to be updated.",
                    saved=shown(saved),
                    have=shown(have[0]),
                ),
            )

    def _here(self) -> list[Node]:
        now, heartbeat_s = self._board.monotonic(), self._board.nodes.heartbeat_s()
        present = self._board.nodes.present()
        return [node for node in present if node.seen_at and node.state(now, heartbeat_s) != "away"]

    def _of_now(self, record: Mapping[str, Any], path: Path, known: Facts) -> Iterator[Notice]:
        if os.path.lexists(f"{path}@"):
            yield Notice(
                WARNING,
                "saving",
                say("Blender is saving the file just now: the save before this one would be rendered."),
                say("Wait a moment."),
                lasting=False,
            )
        elif not known.present and path.suffix.casefold() == ".blend":
            yield Notice(
                NOTE,
                "reading",
                say("It was saved just now: what it uses is still being looked at."),
                lasting=False,
            )
        folder = record.get("writes") or paths.folder_of(record["file"])
        self._board.room.look(folder)
        low = self._board.room.why(folder)
        if low:
            yield Notice(
                WARNING,
                "room",
                say("The render would wait: {low}.", low=low),
                say("Delete old renders."),
                lasting=False,
            )
        if self._board.nodes.farm_paused:
            yield Notice(
                NOTE, "paused", say("All computers are paused: it waits until they go on."), lasting=False
            )


def refused(error: CroftError) -> Notice:
    """What can't be submitted, as a notice: the last sentence is what to do."""
    text, dot, todo = error.message.partition(". ")
    return Notice(ERROR, "refused", text + dot.strip() if todo else error.message, todo, lasting=False)


def _of_range(record: Mapping[str, Any], frames: tuple[int, int] | None, step: object) -> Iterator[Notice]:
    """Frames that the scene itself wouldn't render."""
    if frames is None:
        return
    asked = frame_ranges.parse(record["frames"], max_frames=10**7)
    first, last = frames
    beyond = [part for part in asked.ranges if part[0] < first or part[-1] > last]
    span = f"{first}-{last}" if first != last else str(first)
    if beyond:
        inside = any(part[-1] >= first and part[0] <= last for part in asked.ranges)
        yield Notice(
            WARNING,
            "range",
            say(
                "Some frames lie outside of the scene, which runs from {first} to {last}."
                if inside
                else "All of these frames lie outside of the scene, which runs from {first} to {last}.",
                first=first,
                last=last,
            ),
            say("Render {span}, or change the scene’s range in Blender.", span=span),
            suggest=(("frames", span),),
        )
    elif (
        isinstance(step, int) and step > 1 and any(part.step % step for part in asked.ranges if len(part) > 1)
    ):
        yield Notice(
            NOTE,
            "step",
            say("The scene renders one of {step} frames only: this asks for more of them.", step=step),
            suggest=(("frames", f"{span}x{step}"),),
        )


def version(text: object) -> tuple[int, int] | None:
    """(3, 4) of `3.4.1`."""
    found = re.match(r"(\d+)\.(\d+)", text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def shown(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"
