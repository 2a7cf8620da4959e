"""Checks rendered versions: their sidecars, and whether their frames are there and whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.check.parts import Parts, count, is_plain, names_in
from server.disk.records import Problem
from server.disk.speech import say

PASSING = ("preview", "part")  # kinds of outputs that may go: made again, or put together into others


class Renders:
    """The `render` folders of one share."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def renders(self, inside: str) -> Iterator[Problem]:
        for stem in sorted(names_in(self.parts.share.root / inside)):
            place = paths.join(inside, stem)
            if stem == paths.COMPANION or not (self.parts.share.root / place).is_dir():
                continue
            found = self.parts.list(place)
            if isinstance(found, Problem):
                yield found
                continue
            for entry in sorted(found, key=lambda entry: entry.name):
                name = entry.name
                if entry.is_symlink():
                    yield from self.parts.link(paths.join(place, name))
                elif name.endswith(".json") and paths.version_number(name) is not None:
                    record = yield from self.parts.read(paths.join(place, name))
                    if record is not None:
                        yield from self.parts.newer(paths.join(place, name), record)
                        yield from self._outputs(paths.join(place, name), record)
                elif name.startswith(files.TEMPORARY):
                    yield from self.parts.leftover(paths.join(place, name), entry)

    def _outputs(self, place: str, record: dict[str, Any]) -> Iterator[Problem]:
        """The version's files: there, and as long as they were when they were accepted."""
        folder = self.parts.share.root / place.removesuffix(".json")
        if not folder.is_dir():
            yield self.parts.problem(
                "version", place, say("The version's folder {folder} is gone.", folder=folder.name),
                say("Copy it back from a backup, or delete its sidecar."),
            )  # fmt: skip
            return
        outputs = record.get("outputs")
        sizes: dict[str, object] = {}
        for output in outputs if isinstance(outputs, list) else ():
            facts = output if isinstance(output, dict) else {"name": output}
            name = facts.get("path", facts.get("name"))
            if isinstance(name, str) and "#" not in name:  # frames are compared with their job's journal
                sizes[name] = facts.get("size")
        yield from self._compare(place, folder, sizes)

    def frames(self, place: str, record: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[Problem]:
        """What the job's attempts delivered: there, and as long as it was when it was accepted."""
        inside = record.get("folder")
        if not isinstance(inside, str) or not is_plain(inside):
            return
        version = paths.join(paths.folder_of(paths.file_of_companion(place)), inside)
        folder = self.parts.share.root / version
        if not folder.is_dir() or not os.path.isfile(f"{folder}.json"):
            return  # told with the version's sidecar; without one, somebody has done away with it
        sizes: dict[str, object] = {}
        beside: dict[str, object] = {}  # the video of its frames, beside the version's folder
        for event in events:
            outputs = event.get("outputs") if event.get("event") == "done" else None
            for output in outputs if isinstance(outputs, list) else ():
                if not isinstance(output, dict) or not isinstance(output.get("path"), str):
                    continue
                if output.get("kind") in PASSING:
                    continue
                path = output["path"]
                if output.get("kind") == "video":
                    beside[folder.name + os.path.splitext(path)[1]] = output.get("size")
                else:
                    sizes[path] = output.get("size")
        yield from self._compare(version + ".json", folder, sizes)
        yield from self._compare(version + ".json", folder.parent, beside)

    def _compare(self, place: str, folder: Path, sizes: dict[str, object]) -> Iterator[Problem]:
        """One problem for all files of a version that aren't as they should be."""
        gone, other = [], []
        for name, size in sizes.items():
            if not is_plain(name):
                continue
            try:
                there = os.stat(folder / name).st_size
            except OSError:
                gone.append(name)
            else:
                if isinstance(size, int) and size != there:
                    other.append(f"{name} ({there} bytes instead of {size})")
        for names, words in ((gone, "gone"), (other, "of another length than when accepted")):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                yield self.parts.problem(
                    "version",
                    place,
                    say(
                        "Of its {count} {names} {words} {words2}: {names2}{more}.",
                        count=count(len(sizes), "file"),
                        names=len(names),
                        words="is" if len(names) == 1 else "are",
                        words2=words,
                        names2=", ".join(names[:3]),
                        more=more,
                    ),
                    say("Copy them back from a backup, or render them again."),
                )
