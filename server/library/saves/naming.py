"""What saves that are brought back are called. Pure but for one listing."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from server.disk import deletions, intents, paths


def renamed(found: dict[str, Path], name: str) -> dict[str, Path]:
    """The same files under the name that the asset has now; a sequence's frames keep their numbers."""
    if not deletions.is_sequence(name):
        return dict.fromkeys([name], next(iter(found.values())))
    return {new: found[old] for old, new in deletions.named_as([*found], name)}


def beside_name(name: str, label: str) -> str:
    """`hero.blend` and `v002` to `hero v002.blend`, `shot.@.png` to `shot (v002).@.png`.

    Pictures whose names end with digits would be taken for the frames of a sequence.
    """
    stem = paths.stem_of(name)
    ending = name[len(stem) :]
    if stem.endswith("@"):
        bare = stem[:-1].rstrip("._-")
        stem, ending = bare, stem[len(bare) :] + ending
    if not (paths.version_number(label) and ending.lower() == ".blend"):
        label = f"({label})"
    room = 200 - len(f" {label}{ending}".encode())  # leaves room for `.json`
    short = os.fsencode(stem)[:room].decode("utf-8", "ignore").rstrip(" .")
    return f"{short} {label}{ending}"


def label(id: str) -> str:
    """How a file brought back beside is told from the present one: `v002`, `render v002`, else its day and
    time (UTC)."""
    if paths.version_number(id) is not None:
        return id
    if paths.version_number(id.removeprefix("render-")) is not None:
        return id.replace("-", " ", 1)
    digits = "".join(c for c in id if c.isdigit())
    try:
        when = datetime.datetime.strptime(digits[:12] + "+0000", "%Y%m%d%H%M%z")
    except ValueError:
        return "earlier"
    return f"{when:%Y-%m-%d %H.%M}"


def files_of(path: Path, name: str) -> dict[str, Path]:
    if "@" not in name or not path.is_dir():
        return {name: path}
    keys = ((paths.sequence_key(entry), entry) for entry in intents.names(path))
    return {entry: path / entry for key, entry in keys if key is not None and key[0] == name}
