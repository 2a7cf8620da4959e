"""What a path that stands in a scene means: which file of which share.

Takes paths as Blender stores them, from any system: `//` relative to the scene, `..`, absolute ones, drive
letters and UNC names. An absolute path is a file of a share where it begins as some machine names that
share. Reads no disk.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.paths import Share

_DRIVE = re.compile(r"[A-Za-z]:/")
# A Linux Blender that saves a scene from Windows elsewhere takes its drives for folders.
_LOST_DRIVE = re.compile(r"//(?:\.\./)+([A-Za-z]:/.*)", re.DOTALL)
_TILES = {"<UDIM>": "1001", "<UVTILE>": "u1_v1"}
BUILT_IN = ("<builtin>", "", "//", "Render Result", "Viewer Node")


@dataclass(frozen=True, slots=True)
class Link:
    """Where a path leads. `address` '' where that is on no share; `absolute`: as one machine names it."""

    address: str
    absolute: bool


class Links:
    """The shares and their names on other machines: `aliases` and `people` of each share's configuration."""

    def __init__(self, shares: Sequence[Share], configured: Mapping[str, Mapping[str, object]]) -> None:
        roots: list[tuple[str, str, bool]] = []  # beginning with its slash, share, whether case counts
        for share in shares:
            known = configured.get(share.name, {})
            named = ("people", "windows", "macos", "linux")
            names: list[object] = [str(share.root), share.real_root, *(known.get(name) for name in named)]
            more = known.get("aliases")
            names += more if isinstance(more, list) else [more]
            for name in names:
                if isinstance(name, str) and name.strip("/\\ "):
                    plain = name.replace("\\", "/").rstrip("/") + "/"
                    foreign = "\\" in name or _DRIVE.match(plain) is not None
                    roots.append((plain.casefold() if foreign else plain, share.name, not foreign))
        self._roots = sorted(set(roots), key=lambda root: -len(root[0]))
        self._real = {share.name: str(share.root).rstrip("/") for share in shares}

    def resolve(self, source: str, raw: str) -> Link | None:
        """What `raw` in the scene at the address `source` leads to; None for what is no file."""
        if raw in BUILT_IN or "\0" in raw:
            return None
        plain = raw.replace("\\", "/")
        for tile, first in _TILES.items():
            plain = plain.replace(tile, first)
        lost = _LOST_DRIVE.fullmatch(plain)
        if lost is not None:
            plain = lost[1]
        rooted = plain.startswith("/") and not plain.startswith("//")
        if rooted or raw.startswith("\\\\") or _DRIVE.match(plain):
            return Link(self._on_a_share(posixpath.normpath(plain)), True)
        share, inside = paths.parse(paths.folder_of(source))
        place = posixpath.normpath(posixpath.join(inside or ".", plain.removeprefix("//").lstrip("/") or "."))
        if place == ".." or place.startswith("../"):
            # Above its share: beside it on this machine may lie another one.
            whole = posixpath.normpath(f"{self._real.get(share, '/' + share)}/{place}")
            return Link(self._on_a_share(whole), False)
        return Link(address(share, place), False)

    def _on_a_share(self, whole: str) -> str:
        folded = whole.casefold()
        for root, share, case_counts in self._roots:
            if (whole if case_counts else folded).startswith(root):
                return address(share, whole[len(root) :])
        return ""


def address(share: str, inside: str) -> str:
    """The address, or '' where that can't be one."""
    try:
        paths.check_inside(inside)
    except CroftError:
        return ""
    return paths.address(share, inside) if inside and inside != "." else ""


def plain_key(text: str) -> str:
    """Without case and Unicode form: what Windows and macOS take for the same name."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def alike(name: str, names: Iterable[str]) -> str:
    """The one of these names that differs from `name` in case or Unicode form alone; ''."""
    wanted = plain_key(name)
    return next((other for other in names if plain_key(other) == wanted), "")
