"""Where things lie on a share, what their names are, and which names are safe.

The only room that knows the folder layout. An address is `share::path/inside`; functions on names take
and give plain strings (an address or a path inside the share alike) or `Path`s. Touches the disk only to
resolve a path (a link must not lead outside its share).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import TypeVar

from server.disk.errors import BadInput, NotFound

SHARE_MARKER = ".croft-share.json"
LOCKS = ".croft-locks"
COMPANION = ".croft"
OLD = "old"
RENDER = "render"
PROJECT_FILE = "project.json"
SET_FILE = "set.json"  # in a project's folder: its own configuration set
SEPARATOR = "::"
NAME_BYTES = 255  # of one name, on every file system that Croft meets
PATH_BYTES = 4000  # of a path inside a share; the kernel takes 4096 for the whole

# Names that are never an asset, whoever made them.
IGNORED = (
    ".*", OLD, "blendcache_*", "*.blend[1-9]", "*.blend[1-9][0-9]", "*@", "Thumbs.db", "thumbs.db",
    "desktop.ini", "#recycle", "@eaDir", "lost+found", "snapraid.*", "~$*", "*.tmp", "*.part", "*.crdownload",
)  # fmt: skip

_P = TypeVar("_P", str, Path)
_SHARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_VERSION = re.compile(r"v(\d{3,6})(?:-([\w.@+-]+))?\Z")
_FRAME = re.compile(r"(.*?)(\d{2,10}|(?<=\.)\d)(\.[A-Za-z0-9]+)\Z")  # one digit alone: `walk.1.png`
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*\ud800-\udfff]')
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    "conin$",
    "conout$",
    *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³"),
}
STEM_BYTES = 100  # of what Croft calls things by: a frame's number, a job's id and endings are added


@dataclass(frozen=True)
class Share:
    """A directory known by the same name on every machine. `root` is where this machine mounts it."""

    name: str
    root: Path
    id: str = ""  # the marker's, once the store has opened it
    branches: tuple[Path, ...] = ()  # mergerfs' disks, where this machine sees them
    out: tuple[Path, ...] = ()  # of these, the ones that were taken out of the pool while it ran
    read_only: str = ""  # why this server doesn't write there; empty: it does

    @functools.cached_property
    def real_root(self) -> str:
        return os.path.realpath(self.root)

    def path(self, inside: str) -> Path:
        """The path of what lies `inside`; BadInput or NotFound when that isn't within this share."""
        check_inside(inside)
        path = self.root / inside if inside else self.root
        real = os.path.realpath(path)
        if real != self.real_root and not real.startswith(self.real_root.rstrip("/") + "/"):
            raise NotFound(
                "{share}{separator}{inside} leads outside its share.",
                share=self.name,
                separator=SEPARATOR,
                inside=inside,
            )
        return path

    def address(self, path: Path | str = "") -> str:
        """The address of a path below the root."""
        try:
            inside = os.path.relpath(path, self.root) if path else "."
        except ValueError as error:
            raise BadInput("{path} is not a path.", path=repr(path)) from error
        if inside == ".":
            return self.name + SEPARATOR
        if inside == ".." or inside.startswith("../"):
            raise BadInput("{path} is not on the share {name}.", path=path, name=self.name)
        return f"{self.name}{SEPARATOR}{inside}"


def parse(address: str) -> tuple[str, str]:
    """Share and inside of an address; BadInput says what is wrong with it."""
    share, separator, inside = address.partition(SEPARATOR)
    if not separator:
        raise BadInput(
            "{address} is not an address: it looks like data::project/folder/file.",
            address=repr(address[:200]),
        )
    if not _SHARE_NAME.match(share):
        raise BadInput("{share} is not the name of a share.", share=repr(share[:200]))
    check_inside(inside)
    return share, inside


def check_inside(inside: str) -> None:
    """BadInput unless this is a clean relative path that can't leave its share by its words."""
    if not inside:
        return
    if "\0" in inside:
        raise BadInput("A path can't hold a NUL character.")
    if inside.startswith("/"):
        raise BadInput(
            "{inside} begins with a slash: a path inside a share doesn't.", inside=repr(inside[:200])
        )
    try:
        if len(os.fsencode(inside)) > PATH_BYTES:
            raise BadInput("This path is longer than {path_bytes} bytes.", path_bytes=PATH_BYTES)
    except UnicodeEncodeError as error:
        raise BadInput("This path holds characters that no file name can.") from error
    for part in inside.split("/"):
        if part in ("", ".", ".."):
            raise BadInput(
                "{inside} is not a clean path: it holds {part}.",
                inside=repr(inside[:200]),
                part=repr(part or "an empty name"),
            )
        if len(os.fsencode(part)) > NAME_BYTES:
            raise BadInput(
                "The name {part}… is longer than {name_bytes} bytes.",
                part=repr(part[:40]),
                name_bytes=NAME_BYTES,
            )


def address(share: str, inside: str = "") -> str:
    """`share::inside`."""
    return f"{share}{SEPARATOR}{inside}"


def join(base: str, *names: str) -> str:
    """An address or inside path with names below it."""
    for name in names:
        # A folder's own name may end in colons; only the first pair ends a share's.
        root = not base or 0 < base.find(SEPARATOR) == len(base) - len(SEPARATOR)
        base = base + name if root else f"{base}/{name}"
    return base


def split(place: str) -> tuple[str, str]:
    """Folder and name of an address or inside path: `data::a/b` -> `data::a`, `b`; `data::b` -> `data::`."""
    head, slash, name = place.rpartition("/")
    if slash:
        return head, name
    share, separator, inside = place.partition(SEPARATOR)
    return (share + separator, inside) if separator else ("", place)


def folder_of(place: str) -> str:
    return split(place)[0]


def name_of(place: str) -> str:
    return split(place)[1]


def top_of(place: str) -> str:
    """`share::top` of an address: its project's folder, where it has one."""
    share, _, inside = place.partition(SEPARATOR)
    return f"{share}{SEPARATOR}{inside.partition('/')[0]}"


def within(place: str, folder: str) -> bool:
    """Whether an address is this folder or lies somewhere below it."""
    return place == folder or place.startswith(folder if folder.endswith(SEPARATOR) else folder + "/")


# What lies beside a file.


def sidecar_of(place: _P) -> _P:
    """`sh010.blend` -> `sh010.blend.json`."""
    if isinstance(place, Path):
        return place.with_name(place.name + ".json")
    return place + ".json"


def file_of_sidecar(place: _P) -> _P:
    """`sh010.blend.json` -> `sh010.blend`. The caller knows that it is a sidecar."""
    if isinstance(place, Path):
        return place.with_name(place.name.removesuffix(".json"))
    return place.removesuffix(".json")


def companion_of(place: _P) -> _P:
    """`shots/sh010.blend` -> `shots/.croft/sh010.blend`: the folder of all else that is known of it."""
    if isinstance(place, Path):
        return place.parent / COMPANION / place.name
    folder, name = split(place)
    return join(folder, COMPANION, name)


def file_of_companion(place: str) -> str:
    """`shots/.croft/sh010.blend/jobs/x` -> `shots/sh010.blend`; '' when it lies in no companion folder."""
    share, separator, inside = place.partition(SEPARATOR)
    if not separator:
        share, inside = "", place
    parts = inside.split("/")
    if COMPANION not in parts[:-1]:
        return ""
    at = parts.index(COMPANION)
    return share + separator + "/".join([*parts[:at], parts[at + 1]])


def job_folder(place: str, job_id: str) -> str:
    """Where a job of this file lies."""
    return join(companion_of(place), "jobs", job_id)


def uploads_folder(place: str, user: str = "") -> str:
    """Where what people upload into a project waits until they add it: each person's apart."""
    base = join(companion_of(join(place, PROJECT_FILE)), "uploads")
    return join(base, user) if user else base


def render_folder(place: str) -> str:
    """`shots/sh010.blend` -> `shots/render/sh010`: where its render versions lie."""
    folder, name = split(place)
    return join(folder, RENDER, own_stem(name))


def stem_of(name: str) -> str:
    """`sh010.blend` -> `sh010`; `.profile` and `noext` stay."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def version_folder(number: int, site: str = "") -> str:
    """`v003`, or `v003-<site>` where there are several sites."""
    return f"v{number:03d}-{site}" if site else f"v{number:03d}"


def version_number(name: str) -> int | None:
    """3 for `v003`, `v003-north` and `v003.json`; None for what isn't a version."""
    match = _VERSION.match(name.removesuffix(".json"))
    return int(match[1]) if match else None


def version_said(name: str) -> int | str:
    """As people say it: 3 for `v003` and `render-v003`; what is none as it is."""
    plain = name.removeprefix("render-")
    number = version_number(plain)
    return plain if number is None else number


def in_version(address: str) -> bool:
    """Does a file lie in the folder of a render's version? No other render uses its name."""
    version = folder_of(address)
    return version_number(name_of(version)) is not None and name_of(folder_of(folder_of(version))) == RENDER


def by_version(name: str) -> tuple[int, str]:
    """What versions are sorted by: `v1000` comes after `v999`."""
    return version_number(name) or 0, name


def snapshot_name(place: str, job_id: str) -> str:
    """`sh010.blend` -> `.sh010.<job id>.blend`: beside the file, so that `//` paths hold."""
    name = name_of(place)
    ending = name[len(stem_of(name)) :]
    if not (ending.isascii() and ending[1:].isalnum() and len(ending) < 12):
        ending = ""
    return f".{own_stem(name)}.{job_id}{ending}"


def sequence_key(name: str) -> tuple[str, int] | None:
    """`shot.0012.png` -> (`shot.@.png`, 12), the key of an image sequence; None without a number."""
    match = _FRAME.match(name)
    return (f"{match[1]}@{match[3]}", int(match[2])) if match else None


def lock_key(inside: str) -> str:
    """The lock's name for a file inside a share (addresses lose their share: machines may differ in it).

    Case and Unicode form don't count: on a disk that ignores them both names are one file.
    """
    inside = inside.rpartition(SEPARATOR)[2]
    plain = unicodedata.normalize("NFC", inside).casefold()
    return hashlib.blake2b(plain.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()


def is_own(inside: str) -> bool:
    """Whether this lies in what is Croft's (or a program's) alone: no person's request may write there."""
    return any(part.startswith(".") for part in inside.split("/"))


# Names.


@functools.lru_cache(maxsize=16)
def _ignored_pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob) for glob in (*IGNORED, *globs)))


def is_ignored(name: str, globs: Iterable[str] = ()) -> bool:
    """Whether a name (of a file or folder) is never an asset nor a folder of assets."""
    return _ignored_pattern(tuple(globs)).match(name) is not None


def safe_name(text: str, fallback: str = "file") -> str:
    """A name that Windows, macOS and Linux all take, as near to the text as can be."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).strip(" .")
    if not name:
        name = fallback
    if name.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        name = "_" + name
    if len(name.encode()) > 200:  # leaves room for `.json` and a job's id
        stem = stem_of(name)
        ending = _cut(name[len(stem) :], 20).rstrip(" .")
        name = _cut(stem, 200 - len(ending.encode())) + ending
    return name


def plain_name(text: str, most: int = 80) -> str:
    """Letters in small, digits and underscores, for names that programs take too: `Héro's 2nd walk!` gives
    `heros_2nd_walk`. '' where nothing is left."""
    letters = unicodedata.normalize("NFKD", text.replace("'", "").replace("’", ""))
    bare = "".join(c for c in letters if not unicodedata.combining(c))
    folded = unicodedata.normalize("NFC", bare.casefold())
    parts = "".join(c if c.isalnum() or c in "_-" else " " for c in folded).split()
    return "_".join(parts)[:most].strip("_-")


@functools.lru_cache(maxsize=1 << 15)
def own_stem(name: str) -> str:
    """What Croft calls that which it makes of a file: `sh010` of `sh010.blend`.

    Where that isn't a name that every system takes, or is too long to add to, a name that is, with a mark
    that tells it from those of other files: `a_b-1f3c9a` of `a?b.blend`.
    """
    stem = stem_of(name)
    safe = safe_name(stem)
    if safe == stem and len(safe.encode()) <= STEM_BYTES and not is_ignored(safe):
        return stem
    mark = hashlib.blake2b(stem.encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    safe = _cut(safe, STEM_BYTES - len(mark) - 1).rstrip(" .")
    return f"{'_' if is_ignored(safe) else ''}{safe}-{mark}"


def _cut(text: str, size: int) -> str:
    """As much of a text as so many bytes of UTF-8 hold."""
    return text.encode()[:size].decode("utf-8", "ignore")
