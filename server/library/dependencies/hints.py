"""What is missing, in words, and where it may be: the problems that follow from who uses what.

A file that scenes name and that isn't there may have been renamed (its uuid tells), be spelled otherwise,
lie in another folder, or in `old/` since somebody deleted it. Looked for only for what is shown, and again
after a while.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.disk import deletions, faults, paths, sidecar
from server.disk.errors import CroftError
from server.disk.records import Action, Problem
from server.disk.speech import count, key, say, together
from server.disk.store import Store

from .links import alike

if TYPE_CHECKING:
    from . import Dependencies, Use

EFFECT = {
    "scene": say("What it holds will be missing in the picture."),
    "texture": say("What it covers will be pink in the picture."),
    "file": say("The picture will lack it."),
}
WORDS = {"library": "scene", "image": "texture", "texture": "texture"}
LACKING = {
    "scene": (key("The scene {file} isn’t there."), key("The scene {file}, which {user} uses, isn’t there.")),
    "texture": (
        key("The texture {file} isn’t there."),
        key("The texture {file}, which {user} uses, isn’t there."),
    ),
    "file": (key("The file {file} isn’t there."), key("The file {file}, which {user} uses, isn’t there.")),
}
OUTSIDE = (
    key("{path} lies on one computer alone: others render without it."),
    key("{path}, which {user} uses, lies on one computer alone: others render without it."),
)
ABSOLUTE = (
    key("{path} is the path of one computer: others may not find it."),
    key("{path}, which {user} uses, is the path of one computer: others may not find it."),
)
MOST = 1000  # problems of a kind
HINTS_MOST = 200  # of which it is told where the file may be
LOOK_S = 3.0  # before a hint is looked for again, if anything changed at all
OLD_MOST = 500  # deletions of one folder that are looked through
SCRIPT = Path(__file__).resolve().parents[3] / "misc" / "relink.py"


@dataclass(frozen=True, slots=True)
class Hint:
    """Where a missing file may be."""

    text: str = ""
    address: str = ""  # of the file that it may be now
    actions: tuple[Action, ...] = ()


class Hints:
    """Looks for missing files. Safe for threads: the worst that two do is the same work twice."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[float, int, Hint]] = {}  # when, as of which generation of the index
        self._elsewhere: tuple[float, int, frozenset[str], dict[str, list[str]]] = (0.0, -1, frozenset(), {})

    def problems(
        self, dependencies: Dependencies, absent: list[str], odd: Mapping[str, tuple[Use, ...]]
    ) -> Iterator[Problem]:
        """One problem for each missing file, one for each scene with paths that only some computers know."""
        if not absent:
            self._known.clear()
        for place, target in enumerate(absent[:MOST]):
            yield self._missing(dependencies, target, absent, place < HINTS_MOST)
        if len(absent) > MOST:
            n = len(absent) - MOST
            yield more(
                "missing-texture",
                count(
                    "{n} more file that scenes use isn’t there.",
                    "{n} more files that scenes use aren’t there.",
                    n,
                ),
            )
        for address, uses in list(odd.items())[:MOST]:
            yield self._absolute(address, uses)
        if len(odd) > MOST:
            n = len(odd) - MOST
            yield more(
                "absolute-path",
                count(
                    "{n} more scene names files by one computer’s paths.",
                    "{n} more scenes name files by one computer’s paths.",
                    n,
                ),
            )

    def of(self, dependencies: Dependencies, target: str, absent: Iterable[str] = ()) -> Hint:
        """Where this missing file may be."""
        kept = self._known.get(target)
        generation = self._store.index.generation
        if kept is not None and (kept[1] == generation or self._clock() - kept[0] < LOOK_S):
            return kept[2]
        hint = self._look_for(dependencies, target, absent)
        self._known[target] = (self._clock(), generation, hint)
        return hint

    def _missing(self, dependencies: Dependencies, target: str, absent: list[str], hinted: bool) -> Problem:
        users = dependencies.sources(target)
        kind = next(
            (use.kind for user in users[:1] for use in dependencies.uses(user) if use.address == target), ""
        )
        hint = self.of(dependencies, target, absent) if hinted else Hint()
        name = paths.name_of(target)
        text = together([listed(name, users), hint.text])
        mend = say(
            "Put it back as {path}. Or open the scene in Blender: File › External Data › Find Missing Files.",
            path=target.partition(paths.SEPARATOR)[2],
        )
        command = self._relink(users, target, hint.address) if hint.address else ""
        return faults.problem(
            "missing-library" if kind == "library" else "missing-texture",
            target, text, mend, *hint.actions, command=command,
        )  # fmt: skip

    def _absolute(self, address: str, uses: tuple[Use, ...]) -> Problem:
        """One problem for a scene's paths that only some computers know."""
        name, paths_of = paths.name_of(address), [use.raw for use in uses]
        some: str = ", ".join(paths_of[:3])
        if len(uses) > 3:
            some = count("{names} and {n} more", "{names} and {n} more", len(uses) - 3, names=some)
        outside = [use for use in uses if use.status == "outside"]
        text = count(
            "{name} names a file by a path of one computer: {some}.",
            "{name} names {n} files by a path of one computer: {some}.",
            len(uses),
            name=name,
            some=some,
        )
        if outside:
            mend = say(
                "Copy them into the project’s folder; then in Blender: File › External Data › Find "
                "Missing Files, and Make Paths Relative."
            )
            return faults.problem("absolute-path", address, text, mend)
        mend = say("In Blender: File › External Data › Make Paths Relative, then save.")
        pairs = [(use.raw, self._path(use.address)) for use in uses]
        return faults.problem("absolute-path", address, text, mend, command=self._command([address], pairs))

    # Looking

    def _look_for(self, dependencies: Dependencies, target: str, absent: Iterable[str]) -> Hint:
        name = paths.name_of(target)
        moved = dependencies.moved(target)
        if moved:
            inside = moved.partition(paths.SEPARATOR)[2]
            back = faults.mending(say("Move it back"), "move-back", moved, to=target)
            return Hint(say("It was moved: it is {inside} now.", inside=inside), moved, (back,))
        other = self._spelled_otherwise(target)
        if other:
            spelled = paths.name_of(other) if paths.folder_of(other) == paths.folder_of(target) else other
            label = say("Rename {old} to {new}", old=paths.name_of(other), new=name)
            beside = paths.folder_of(other) == paths.folder_of(target)
            acts = (faults.mending(label, "move-back", other, to=target),) if beside else ()
            return Hint(
                say("It is there as {spelled}: upper and lower case differ.", spelled=spelled), other, acts
            )
        deleted = self._deleted(target)
        if deleted:
            bring = Action(say("Bring it back"), "POST", "/api/restore", {"folder": deleted})
            return Hint(say("Somebody deleted it; it is kept."), "", (bring,))
        there = self._of_that_name(name, target, absent)
        if len(there) == 1:
            inside = there[0].partition(paths.SEPARATOR)[2]
            return Hint(say("A file of that name is {inside}.", inside=inside), there[0])
        if there:
            lie = [paths.folder_of(a).partition(paths.SEPARATOR)[2] or say("the share") for a in there[:3]]
            folders = ", ".join(lie)
            return Hint(say("Files of that name lie in {folders}.", folders=folders))
        return Hint()

    def _spelled_otherwise(self, target: str) -> str:
        """The same path but for upper and lower case, or for how accents are stored."""
        index = self._store.index
        share, inside = paths.parse(target)
        parts = inside.split("/")
        folder = paths.address(share)
        for part in parts[:-1]:
            found = alike(part, index.folders(folder))
            if not found:
                return ""
            folder = paths.join(folder, found)
        names = [paths.name_of(e.address) for e in index.folder(folder) if e.stat is not None]
        found = alike(parts[-1], names)
        other = paths.join(folder, found) if found else ""
        return other if other != target else ""

    def _deleted(self, target: str) -> str:
        """The folder that a deletion of this very file lies in; the newest one."""
        try:
            old = self._store.path(paths.join(paths.folder_of(target), paths.OLD))
            names = sorted(os.listdir(old), reverse=True)[:OLD_MOST]
        except (OSError, CroftError):
            return ""
        inside = paths.parse(target)[1]
        for name in names:
            try:
                if not os.path.lexists(old / name / paths.name_of(target)):
                    continue
                intent = sidecar.read(old / name / deletions.INTENT).data
            except CroftError:
                continue
            if intent.get("what") == "delete" and intent.get("inside") == inside:
                return paths.join(paths.folder_of(target), paths.OLD, name)
        return ""

    def _of_that_name(self, name: str, target: str, absent: Iterable[str]) -> list[str]:
        """Files of the same project with this name. One pass over the index finds those of all that miss."""
        at, generation, names, found = self._elsewhere
        now = self._store.index.generation
        if name not in names or (generation != now and self._clock() - at > LOOK_S):
            names = frozenset({name, *(paths.name_of(other) for other in list(absent)[:HINTS_MOST])})
            found = {}
            for entry in self._store.index.entries():
                known = paths.name_of(entry.address)
                if known in names and entry.stat is not None:
                    found.setdefault(known, []).append(entry.address)
            self._elsewhere = (self._clock(), now, names, found)
        top = paths.top_of(target)
        return [address for address in found.get(name, ()) if paths.top_of(address) == top]

    # Commands

    def _path(self, address: str) -> str:
        try:
            return str(self._store.path(address))
        except CroftError:
            return ""

    def _relink(self, users: list[str], target: str, found: str) -> str:
        return self._command(users, [(self._path(target), self._path(found))])

    def _command(self, scenes: list[str], pairs: list[tuple[str, str]]) -> str:
        """What names files anew in these scenes, on a machine that has Blender."""
        files = " ".join(shlex.quote(self._path(scene)) for scene in scenes[:20])
        said = " ".join(shlex.quote(part) for pair in pairs[:20] for part in pair)
        script = shlex.quote(str(SCRIPT))
        if len(scenes) == 1:
            return f"blender -b {files} --python {script} -- {said}"
        return f'for scene in {files}; do blender -b "$scene" --python {script} -- {said}; done'


def listed(name: str, users: list[str]) -> str:
    """'wood.png isn’t there. sh010.blend, sh020.blend and 3 more use it.'"""
    names = [paths.name_of(user) for user in users]
    if not names:
        return say("{file} isn’t there. Nothing uses it.", file=name)
    if len(names) == 1:
        return say("{file} isn’t there. {user} uses it.", file=name, user=names[0])
    if len(names) <= 3:
        some = ", ".join(names[:-1])
        return say("{file} isn’t there. {users} and {user} use it.", file=name, users=some, user=names[-1])
    return count(
        "{file} isn’t there. {users} and {n} more use it.",
        "{file} isn’t there. {users} and {n} more use it.",
        len(names) - 2,
        file=name,
        users=", ".join(names[:2]),
    )


def more(kind: str, text: str) -> Problem:
    """The rest of a list that is too long to be of use."""
    return Problem(f"{kind}:more", kind, "", text, say("Mend these first."))


def too_many(most: int) -> Problem:
    """There are more uses than are followed."""
    text = say("Scenes name more than {most:,} files: what the newest of them use isn’t followed.", most=most)
    return Problem(
        "uses:more", "setup", "", text, say("Split the share in several, each with a server of its own.")
    )


def word(use: Use) -> str:
    """What a person calls such a file."""
    return WORDS.get(use.kind, "file")


def lacks(use: Use, through: str = "") -> tuple[str, str] | None:
    """What a picture lacks for this use, or may lack on some computers, and what to do; None where all is
    well. `through`: the library that uses it."""
    by = 1 if through else 0
    if use.status == "missing" and use.kind != "asset":
        what = word(use)
        mend = say("In Blender: File › External Data › Find Missing Files.")
        lack = say(LACKING[what][by], file=paths.name_of(use.address), user=through)
        return lack, together([EFFECT[what], mend])
    if use.status == "outside":
        return (
            say(OUTSIDE[by], path=use.raw, user=through),
            say("Copy it into the project’s folder and use it from there."),
        )
    if use.status == "absolute":
        return (
            say(ABSOLUTE[by], path=use.raw, user=through),
            say("In Blender: File › External Data › Make Paths Relative."),
        )
    return None
