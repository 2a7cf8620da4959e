"""What lies in a folder: names, files, links, companions, jobs.

Reads the disk and nothing else; watches each folder before listing it, so that nothing that happens in
between is lost. On a mergerfs pool whose branches are visible it lists the branches and lays them over each
other as the mount shows them. Knows which names count, not what becomes of them.
"""

from __future__ import annotations

import logging
import os
import re
import stat as modes
import zlib
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Protocol

from server.disk import paths
from server.disk.branches import is_remote
from server.disk.files import TEMPORARY
from server.disk.paths import COMPANION, SEPARATOR, Share, join

log = logging.getLogger(__name__)

RESULT_FILE = "result.json"
FRAMES = (
    ".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".tga", ".dpx", ".hdr", ".bmp", ".webp", ".jp2",
    ".PNG", ".JPG", ".JPEG", ".EXR", ".TIF", ".TIFF", ".TGA", ".DPX", ".HDR", ".BMP", ".WEBP", ".JP2",
)  # fmt: skip
CAMERAS = frozenset({  # what cameras and telephones call their pictures, before the number
    "img", "imgp", "cimg", "mg", "dsc", "dscn", "dscf", "dsci", "pxl", "pict", "sam", "gopr", "dji", "mvi",
})  # fmt: skip
NO_JOBS: tuple[str, ...] = ()
NOTES = "notes"  # the folder in a companion

# What of a companion folder makes a file that left no sidecar worth showing as missing, besides jobs.
WORTH_KEEPING = frozenset((NOTES, "versions"))

Companion = tuple[tuple[str, ...], bool, tuple[str, ...]]
"""Its jobs, whether it is worth showing without its file, the names of its notes."""


class Item(Protocol):
    """A file of a listing: an `os.DirEntry`, or one looked at by itself."""

    @property
    def path(self) -> str: ...

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """One name looked at by itself: what a DirEntry is to a listing."""

    name: str
    path: str
    status: os.stat_result

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self.status


@dataclass(slots=True)
class Listing:
    """A folder's content, the branches laid over each other as the pool's mount shows them."""

    files: dict[str, Item] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    companions: dict[str, Companion] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    """Links that count as nothing: to folders, and to what lies elsewhere."""


class Unreadable(Exception):
    """A folder is there but can't be listed: what is known of it stays."""


class Lister:
    """Lists the folders of one share."""

    def __init__(
        self,
        share: Share,
        globs: Iterable[str] = (),
        watch: Callable[[str, str], None] | None = None,
    ) -> None:
        self.watch = watch
        self.ignored = ignorer(globs)
        self.unreadable: dict[str, str] = {}  # address -> why
        self.leftovers: dict[str, tuple[str, ...]] = {}  # folder -> temporary files of Croft's in it
        self.unwatched = not share.branches and is_remote(share.root)
        """Whether things change there that inotify doesn't tell of."""
        self.mtimes: dict[str, tuple[int, ...]] | None = {} if self.unwatched else None  # of folders
        self.roots = tuple(str(branch) for branch in share.branches) or (str(share.root),)
        self.disks = disk_numbers(self.roots)
        self._prefix = share.name + SEPARATOR
        self._out = tuple(map(str, share.out))
        self._branches = tuple((str(branch), _device(branch)) for branch in share.branches)

    def lost_branches(self) -> list[str]:
        """Disks of the pool that were there and aren't mounted now: what lies on them isn't gone."""
        gone = [branch for branch, device in self._branches if _device(branch) != device]
        return [*gone, *self._out]

    def paths(self, inside: str) -> list[str]:
        """Where a folder lies: once, or once on each branch."""
        return [f"{root}/{inside}" for root in self.roots] if inside else list(self.roots)

    def folder(self, inside: str) -> Listing | None:
        """What is in a folder; None when it isn't there. Watches it first."""
        listing = Listing()
        files, folders, ignored = listing.files, listing.folders, self.ignored
        folder = self._prefix + inside
        mtimes: list[int] = []
        temporary: list[str] = []
        there = False
        for path in self.paths(inside):
            has_companions = False
            try:
                if self.mtimes is not None:
                    mtimes.append(os.stat(path).st_mtime_ns)  # before listing: a later change is seen later
                if self.watch is not None:
                    self.watch(path, folder)
                with os.scandir(path) as items:
                    for item in items:
                        name = item.name
                        if ignored(name):
                            has_companions = has_companions or name == COMPANION
                            if name.startswith(TEMPORARY):
                                temporary.append(name)
                        elif name in files:
                            continue  # a branch further down: the mount shows the first
                        elif item.is_dir(follow_symlinks=False):
                            folders.add(name)
                        elif name in folders:
                            continue
                        elif item.is_file(follow_symlinks=False):
                            files[name] = item
                        elif item.is_symlink():
                            if seen := self._linked(name, item.path):
                                files[name] = seen
                            else:
                                listing.links.add(name)
                there = True
                self.unreadable.pop(folder, None)
            except (FileNotFoundError, NotADirectoryError):
                continue  # Race: it went after its parent was listed; or another branch has it
            except OSError as error:
                self.unreadable[folder] = str(error.strerror)
                log.warning("%s can't be listed: %s", folder, error)
                raise Unreadable from error
            if has_companions:
                self._list_companions(path, folder, listing, mtimes)
        if temporary:
            self.leftovers[folder] = tuple(temporary)
        else:
            self.leftovers.pop(folder, None)
        if not there:
            return None
        if self.mtimes is not None:
            self.mtimes[folder] = tuple(mtimes)
        return listing

    def names(self, inside: str, names: Iterable[str]) -> Listing:
        """As `folder`, for some of its names alone."""
        listing = Listing()
        places = self.paths(inside)
        for name in names:
            if self.ignored(name):
                continue  # `a.blend1`, of whose JSON file somebody asked
            for place in places:
                item = self._seen(place, name)
                if item is None or name in listing.files:
                    continue
                if modes.S_ISDIR(item.status.st_mode):
                    listing.folders.add(name)
                elif name not in listing.folders:
                    listing.files[name] = item
            for place in places:
                companion = f"{place}/{COMPANION}/{name}"
                if os.path.isdir(companion):
                    address = join(self._prefix + inside, COMPANION, name)
                    self._add_companion(companion, address, name, listing.companions)
        return listing

    def folders(self, inside: str) -> set[str] | None:
        """The folders in a folder, dot-folders apart; None when it isn't there. Watches it first."""
        found: set[str] = set()
        there = False
        for path in self.paths(inside):
            try:
                if self.watch is not None:
                    self.watch(path, self._prefix + inside)
                with os.scandir(path) as items:
                    found.update(
                        i.name for i in items if i.name[0] != "." and i.is_dir(follow_symlinks=False)
                    )
                there = True
            except OSError:
                continue
        return found if there else None

    def versions(self, inside: str) -> set[str] | None:
        """The versions in a `render/<stem>` folder that have a sidecar; None when it isn't there."""
        found: set[str] = set()
        there = False
        for path in self.paths(inside):
            try:
                if self.watch is not None:
                    self.watch(path, self._prefix + inside)
                names = os.listdir(path)
                there = True
            except OSError:
                continue
            found.update(
                name[:-5]
                for name in names
                if name.endswith(".json") and paths.version_number(name) is not None
            )
        return found if there else None

    def exists(self, inside: str, name: str) -> bool:
        return any(os.path.lexists(f"{place}/{name}") for place in self.paths(inside))

    def unchanged(self, inside: str) -> bool:
        """Whether a folder's mtimes are those of its last listing."""
        known = (self.mtimes or {}).get(self._prefix + inside)
        if known is None:
            return False
        now: list[int] = []
        for path in self.paths(inside):
            for place in (path, f"{path}/{COMPANION}"):
                try:
                    now.append(os.stat(place).st_mtime_ns)
                except OSError:
                    continue
        return tuple(now) == known

    def remember(self, wanted: bool) -> None:
        """Whether folders' mtimes are kept, so that `unchanged` can tell: where not all is watched."""
        if wanted or self.unwatched:
            self.mtimes = self.mtimes or {}
        else:
            self.mtimes = None

    def forget(self, folder: str) -> None:
        """A folder went, and all below it."""
        if self.mtimes is not None:
            for known in [k for k in self.mtimes if paths.within(k, folder)]:
                del self.mtimes[known]

    def _list_companions(self, path: str, folder: str, listing: Listing, mtimes: list[int]) -> None:
        base = f"{path}/{COMPANION}"
        address = join(folder, COMPANION)
        try:
            if self.mtimes is not None:
                mtimes.append(os.stat(base).st_mtime_ns)
            if self.watch is not None:
                self.watch(base, address)
            with os.scandir(base) as items:
                names = [item.name for item in items if item.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for name in names:
            if not self.ignored(name):
                self._add_companion(f"{base}/{name}", f"{address}/{name}", name, listing.companions)

    def _add_companion(self, path: str, address: str, name: str, companions: dict[str, Companion]) -> None:
        """What the index needs of one companion folder on one branch, laid over what is known of it."""
        try:
            if self.watch is not None:
                self.watch(path, address)
            content = os.listdir(path)
        except OSError:
            return
        jobs = self._job_ids(f"{path}/jobs", f"{address}/jobs") if "jobs" in content else NO_JOBS
        notes = self._notes(f"{path}/{NOTES}", f"{address}/{NOTES}") if NOTES in content else ()
        keeps = bool(jobs) or not WORTH_KEEPING.isdisjoint(content)
        if name in companions:
            more, kept, said = companions[name]
            jobs, keeps = tuple(sorted({*more, *jobs})), kept or keeps
            notes = tuple(sorted({*said, *notes}))
        companions[name] = (jobs, keeps, notes)

    def _notes(self, path: str, address: str) -> tuple[str, ...]:
        try:
            if self.watch is not None:
                self.watch(path, address)
            return notes_among(os.listdir(path))
        except OSError:
            return ()

    def _job_ids(self, path: str, address: str) -> tuple[str, ...]:
        try:
            if self.watch is not None:
                self.watch(path, address)
            with os.scandir(path) as items:
                ids = sorted(i.name for i in items if i.name[0] != "." and i.is_dir(follow_symlinks=False))
        except OSError:
            return NO_JOBS
        if self.watch is not None:
            for job_id in ids:
                # A job that hasn't ended may be changed by another server or a restore.
                if not os.path.lexists(f"{path}/{job_id}/{RESULT_FILE}"):
                    try:
                        self.watch(f"{path}/{job_id}", f"{address}/{job_id}")
                    except OSError:
                        pass  # Race: it went meanwhile
        return tuple(job_id for job_id in ids if job_id.isascii())

    def _seen(self, place: str, name: str) -> _Seen | None:
        path = f"{place}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if modes.S_ISLNK(status.st_mode):
            return self._linked(name, path)
        if modes.S_ISREG(status.st_mode) or modes.S_ISDIR(status.st_mode):
            return _Seen(name, path, status)
        return None

    def _linked(self, name: str, path: str) -> _Seen | None:
        """A link to a file counts as that file, where it doesn't lead out of the share."""
        try:
            real = os.path.realpath(path)
            if not any(paths.within(real, os.path.realpath(root)) for root in self.roots):
                return None
            status = os.stat(real)
        except OSError:
            return None
        return _Seen(name, real, status) if modes.S_ISREG(status.st_mode) else None


def notes_among(names: Iterable[str]) -> tuple[str, ...]:
    """The names of notes in the listing of a `notes` folder, sorted."""
    return tuple(sorted(name for name in names if name.endswith(".json") and name[0] != "."))


def _device(path: str | os.PathLike[str]) -> int:
    """Which file system lies there; an unmounted disk leaves an empty folder of another one."""
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1


def disk_numbers(roots: Sequence[str]) -> dict[int, int]:
    """By device what tells the inodes of one disk of a pool from those of another, and is the same after a
    restart; none where there is but one place."""
    numbers = {_device(root): zlib.crc32(os.fsencode(root)) << 32 for root in sorted(roots)}
    return numbers if len(roots) > 1 else {}


def ignorer(globs: Iterable[str] = ()) -> Callable[[str], bool]:
    """`paths.is_ignored` for these globs, made for names by the hundred thousand."""
    patterns = (*paths.IGNORED, *globs)
    exact: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    rest: list[str] = []
    for glob in patterns:
        wild = sum(glob.count(c) for c in "*?[")
        if wild == 0:
            exact.add(glob)
        elif wild == 1 and glob.endswith("*"):
            starts.append(glob[:-1])
        elif wild == 1 and glob.startswith("*"):
            ends.append(glob[1:])
        else:
            rest.append(glob)
    first, last = tuple(starts), tuple(ends)
    pattern = re.compile("|".join(map(translate, rest))) if rest else None
    # `*.blend[1-9]`: the pattern is asked only of names that end in a digit.
    numbers_only = all(glob.endswith(("[1-9]", "[0-9]")) for glob in rest)

    def ignored(name: str) -> bool:
        if name.startswith(first) or name.endswith(last) or name in exact:
            return True
        if pattern is None or (numbers_only and not name[-1].isdigit()):
            return False
        return pattern.match(name) is not None

    return ignored


def frame_key(name: str) -> str:
    """`shot.0012.png` to `shot.@.png`, `walk0012.png` to `walk@.png`; empty for what isn't a frame.

    Stricter than a number before the ending: `sh010.png` and `sh020.png` are two images, and photographs
    that a camera has numbered are no film.
    """
    key = paths.sequence_key(name) if name.endswith(FRAMES) else None
    if key is None:
        return ""
    head = key[0][: key[0].rindex("@")]
    digits = len(name) - len(key[0]) + 1
    if head.endswith("."):
        return key[0]
    if head.strip("_- ").casefold() in CAMERAS:
        return ""
    return key[0] if digits > (2 if head.endswith(("_", "-")) else 3) else ""


def sequences_in(files: Collection[str], companions: Container[str]) -> dict[str, list[str]]:
    """Image sequences of a folder by key (`name.@.ext`), with the names of their frames: several numbered
    images, or a sidecar or companion that says so."""
    groups: dict[str, list[str]] = {}
    for name in files:
        if name.endswith(FRAMES) and (key := frame_key(name)) and name + ".json" not in files:
            groups.setdefault(key, []).append(name)
    return {
        key: group
        for key, group in groups.items()
        if (len(group) > 1 and (not is_loose(key) or are_close(group)))
        or key + ".json" in files
        or key in companions
    }


def is_loose(key: str) -> bool:
    """Whether nothing stands between the name and the number: only frames that lie close are a sequence."""
    return not key[: key.rindex("@")].endswith((".", "_", "-"))


def are_close(names: Iterable[str]) -> bool:
    """Whether at least every second number is there, as in what a program wrote."""
    numbers = [found[1] for name in names if (found := paths.sequence_key(name))]
    return len(numbers) > 1 and max(numbers) - min(numbers) < 2 * len(numbers)
