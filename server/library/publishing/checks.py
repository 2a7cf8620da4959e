"""The named checks that a file goes through before it is published: a table, and what each finds.

An `error` stops, a `warning` asks, a `note` is told, `off` isn't looked for. A configuration set, an asset
type of it and a project say other severities by the check's id. A new check is a row and a function. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk import paths
from server.disk.speech import key, say

from ..dependencies import Use
from ..dependencies.hints import lacks
from ..names import stem_of
from ..projects import AssetSet, AssetType

ERROR, WARNING, NOTE, OFF = "error", "warning", "note", "off"
SEVERITIES = (ERROR, WARNING, NOTE, OFF)
MOST = 50  # findings of one check
FIND = key("Put it back as {path}. Or open the scene in Blender: File › External Data › Find Missing Files.")

Said = tuple[str, str]  # what is wrong, and what to do


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found. `id` is the check's."""

    id: str
    severity: str
    text: str
    todo: str = ""

    def view(self) -> dict[str, Any]:
        """As the API tells it, and a version's record keeps it."""
        return {"id": self.id, "severity": self.severity, "message": self.text, "todo": self.todo}


@dataclass(frozen=True)
class Subject:
    """What the checks see of a file: nothing of it is read here."""

    address: str
    kind: str  # scene, image, film, sequence, file
    words: AssetSet
    type: AssetType
    project: str = ""  # its title
    facts: Mapping[str, Any] = field(default_factory=dict)  # of its content as it is now; {}: nobody knows
    whole: bool = True  # its end is there
    uses: tuple[tuple[Use, str], ...] = ()  # what it uses, itself or through a library: with who names it

    @property
    def name(self) -> str:
        return paths.name_of(self.address)

    def through(self, scene: str) -> str:
        """The library that uses something, '' where that is the file itself."""
        return "" if scene == self.address else paths.name_of(scene)


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the table. `kinds`: of files that it looks at; none: all."""

    id: str
    severity: str
    kinds: tuple[str, ...]
    find: Callable[[Subject], Iterable[Said]]


def incomplete(subject: Subject) -> Iterator[Said]:
    if not subject.whole:
        yield (
            say("The file ends in the middle: it wasn’t written to its end."),
            say("Save it again, or copy it again."),
        )


def unread(subject: Subject) -> Iterator[Said]:
    if subject.whole and not subject.facts.get("scenes"):
        yield say("Nobody could look into the file: what it uses isn’t known."), ""
    elif subject.facts.get("partial"):
        yield say("So much is in the file that not everything it uses was found."), ""


def missing_library(subject: Subject) -> Iterator[Said]:
    return _lacking(subject, lambda use: use.status == "missing" and use.kind == "library")


def missing_file(subject: Subject) -> Iterator[Said]:
    return _lacking(subject, lambda use: use.status == "missing" and use.kind != "library")


def absolute_path(subject: Subject) -> Iterator[Said]:
    return _lacking(subject, lambda use: use.status in ("absolute", "outside"))


def frame_rate(subject: Subject) -> Iterator[Said]:
    wanted, has = subject.words.fps, subject.facts.get("fps")
    if wanted and isinstance(has, int | float) and abs(has - wanted) > 0.01:
        yield (
            say("It runs at {has:g} frames a second; the project’s are {wanted}.", has=has, wanted=wanted),
            say("In Blender: Output › Format › Frame Rate, {wanted}.", wanted=wanted),
        )


def resolution(subject: Subject) -> Iterator[Said]:
    width, height = subject.words.resolution
    has, percentage = subject.facts.get("resolution"), subject.facts.get("percentage", 100)
    if not (width and height and isinstance(has, list) and len(has) == 2) or has == [width, height]:
        return
    if has == [width * percentage // 100, height * percentage // 100]:
        yield (
            say(
                "Its pictures are {percentage} % of the project’s: {w} × {h} pixels.",
                percentage=percentage,
                w=has[0],
                h=has[1],
            ),
            say("In Blender: Output › Format › %, 100."),
        )
    else:
        yield (
            say(
                "Its pictures are {w} × {h} pixels; the project’s are {width} × {height}.",
                w=has[0],
                h=has[1],
                width=width,
                height=height,
            ),
            say("In Blender: Output › Format › Resolution, and 100 %."),
        )


def name_pattern(subject: Subject) -> Iterator[Said]:
    pattern = subject.type.pattern
    fits = fitting(pattern, subject.type.title, subject.project)
    if "{name}" in pattern and not fits.fullmatch(stem_of(subject.name)):
        yield _named(subject.name, pattern)
    elif subject.words.naming and subject.words.patterns and not subject.words.named(subject.name):
        yield _named(subject.name, subject.words.patterns[0].text)


def missing_frames(subject: Subject) -> Iterator[Said]:
    gaps = subject.facts.get("missing")
    if isinstance(gaps, str) and gaps:
        yield say("Frames are missing: {frames}.", frames=gaps[:200]), ""


CHECKS: tuple[Check, ...] = (
    Check("incomplete", ERROR, (), incomplete),
    Check("missing-library", ERROR, ("scene",), missing_library),
    Check("missing-file", WARNING, ("scene",), missing_file),
    Check("absolute-path", WARNING, ("scene",), absolute_path),
    Check("frame-rate", WARNING, ("scene",), frame_rate),
    Check("resolution", WARNING, ("scene",), resolution),
    Check("name-pattern", WARNING, (), name_pattern),
    Check("missing-frames", WARNING, ("sequence",), missing_frames),
    Check("unread", NOTE, ("scene",), unread),
)


def found(subject: Subject, said: Mapping[str, str]) -> list[Finding]:
    """What the checks find, the worst first. `said` are severities other than the table's."""
    result: list[Finding] = []
    for check in CHECKS:
        severity = said.get(check.id, check.severity)
        severity = severity if severity in SEVERITIES else check.severity
        if severity == OFF or (check.kinds and subject.kind not in check.kinds):
            continue
        rows = dict.fromkeys(check.find(subject))
        result += [Finding(check.id, severity, *row) for row in list(rows)[:MOST]]
    return sorted(result, key=lambda one: SEVERITIES.index(one.severity))


def fitting(pattern: str, type: str, project: str) -> re.Pattern[str]:
    """What the names of new files that a type's pattern makes look like."""
    values = {"{name}": ".+", "{type}": paths.plain_name(type), "{project}": paths.plain_name(project)}
    parts = re.split("(" + "|".join(map(re.escape, values)) + ")", pattern)
    text = "".join(values.get(part, re.sub(r"[^\w-]", "_", part)) for part in parts)
    return re.compile(text, re.IGNORECASE | re.DOTALL)


def _named(name: str, pattern: str) -> Said:
    return (
        say("{name} isn’t called as files are here: {pattern}.", name=name, pattern=pattern),
        say("Save it under such a name."),
    )


def _lacking(subject: Subject, which: Callable[[Use], bool]) -> Iterator[Said]:
    for use, scene in subject.uses:
        told = lacks(use, subject.through(scene)) if which(use) else None
        if told is not None and use.status == "missing":
            place = use.address.partition(paths.SEPARATOR)[2]
            yield told[0], say(FIND, path=place)
        elif told is not None:
            yield told
