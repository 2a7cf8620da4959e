"""Which image sequences lie in a folder, and how their frames are just now. One listing, and a stat for each
frame: of a pool's disks where the server sees them. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from server.disk import paths
from server.disk.errors import NotFound
from server.disk.listing import Item, Lister, Listing, Unreadable, sequences_in
from server.disk.paths import Share

from ..media import sequences
from ..publishing.pins import hash_of_list

FRAMES_MOST = 1_000_000  # of one sequence: a manifest of 40 MB
Frames = Mapping[str, tuple[int, int]]
"""Of each frame, by the digits in its name: size in bytes, and the time of its last change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One image sequence as it lies there. `facts` as media/sequences tells them."""

    key: str  # `plate.@.exr`
    frames: Frames
    facts: Mapping[str, object]
    changed_ns: int  # the newest ctime

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.frames.values())

    @property
    def hash(self) -> str:
        """As what is made with it is pinned: of names, sizes and times. No frame is read."""
        begin, _, end = self.key.rpartition("@")
        return hash_of_list((f"{begin}{digits}{end}", *known) for digits, known in self.frames.items())


@dataclass(slots=True)
class Content:
    """What a folder holds: its sequences by name, the folders to look at next, and what is none of these."""

    sequences: list[Sequence] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that belong to no sequence
    links: list[str] = field(default_factory=list)  # that aren't followed


def content(share: Share, inside: str, globs: Iterable[str] = ()) -> Content:
    """What lies in this folder. NotFound where there is none, or none that can be listed."""
    listing = _listed(share, inside, globs)
    found = sequences_in(listing.files, listing.companions)
    frames = {name for names in found.values() for name in names}
    others = [
        name for name in listing.files if name not in frames and not _is_record(name, listing.files, found)
    ]
    made = [_sequence(key, names, listing.files) for key, names in sorted(found.items())]
    there = [sequence for sequence in made if sequence.frames]
    return Content(there, sorted(listing.folders), sorted(others), sorted(listing.links))


def one(share: Share, inside: str, globs: Iterable[str] = ()) -> Sequence | None:
    """The sequence of this name as it is now; None where it has no frame any more."""
    folder, key = paths.split(inside)
    try:
        listing = _listed(share, folder, globs)
    except NotFound:
        return None
    names = sequences_in(listing.files, (key,)).get(key, [])
    made = _sequence(key, names, listing.files)
    return made if made.frames else None


def _listed(share: Share, inside: str, globs: Iterable[str]) -> Listing:
    place = share.path(inside)  # a link must not lead outside
    try:
        listing = Lister(share, globs).folder(inside)
    except Unreadable as error:
        raise NotFound("{folder} can’t be looked into.", folder=place.name or share.name) from error
    if listing is None:
        raise NotFound("There is no folder {folder}.", folder=share.address(place))
    return listing


def _sequence(key: str, names: Iterable[str], files: Mapping[str, Item]) -> Sequence:
    frames: dict[str, tuple[int, int]] = {}
    changed_ns = 0
    begin, _, end = key.rpartition("@")
    head, tail = len(begin), len(end)
    for name in names:
        try:
            st = files[name].stat(follow_symlinks=False)
        except OSError:
            continue  # Race: it went after the listing
        frames[name[head : len(name) - tail]] = (st.st_size, st.st_mtime_ns)
        changed_ns = max(changed_ns, st.st_ctime_ns)
    facts = sequences.told({int(digits) for digits in frames}, min(map(len, frames))) if frames else {}
    return Sequence(key, frames, facts, changed_ns)


def _is_record(name: str, files: Mapping[str, Item], found: Mapping[str, object]) -> bool:
    """What Croft or a project says of others: nobody misses it in a list of what isn't published."""
    if not name.endswith(".json"):
        return False
    subject = name.removesuffix(".json")
    known = subject in files or subject in found or paths.version_number(subject) is not None
    return known or name in (paths.PROJECT_FILE, paths.SET_FILE)
