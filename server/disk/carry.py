"""Carries what is known of a file (its sidecar, its companion) to where the file is now.

Where something lies there already both become one: histories are joined, what could be made again gives way,
versions get free numbers, and what is left over is kept in `old/`. Nothing is lost, and doing it again
finishes what was interrupted. The caller holds the locks of both files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from server.disk import files, intents, moves, paths, sidecar
from server.disk.errors import Broken, NotFound
from server.disk.intents import Intent
from server.disk.paths import Share
from server.disk.records import utc_now
from server.disk.sites import events_of

WHAT = "carry"
CROFT = "croft"  # who, where no person did it
HISTORY_BYTES = 64 << 20
VERSIONS = "versions"
_DERIVED = frozenset(("file.json", "thumbs"))


def carry(share: Share, old: str, new: str, disk: files.Os = files.REAL) -> None:
    """Sidecar and companion of `old` to `new` (both inside the share). The sidecar that `new` has goes:
    the caller knows that nobody wrote it."""
    source, target = share.path(old), share.path(new)
    _to(share, source, paths.sidecar_of(source), paths.companion_of(source), target, new, disk)


def carry_companion(share: Share, old: str, new: str, disk: files.Os = files.REAL) -> None:
    """The companion alone: the sidecar went along with its file."""
    source, target = share.path(old), share.path(new)
    if os.path.isdir(paths.companion_of(source)):
        merge(share, paths.companion_of(source), paths.companion_of(target), new, disk)


def carry_over(
    there: Share, old: str, here: Share, new: str, *, with_sidecar: bool, disk: files.Os = files.REAL
) -> None:
    """The same from one share to another: copied. The caller puts the originals into `old/` then."""
    source, target = there.path(old), here.path(new)
    beside = paths.sidecar_of(source)
    if with_sidecar and os.path.lexists(beside):
        aside = files.temporary(target.parent)
        files.copy_aside(beside, aside, disk=disk)
        disk.replace(aside, paths.sidecar_of(target))
        files.sync_folder(target.parent, disk)
    companion = paths.companion_of(source)
    if companion.is_dir():
        parent = paths.companion_of(target).parent
        files.make_folders(parent, here.root, disk=disk)
        aside = files.temporary(parent)
        try:
            _copy_tree(companion, aside, here.root, disk)
            merge(here, aside, paths.companion_of(target), new, disk)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def rotate(share: Share, carried: Mapping[str, str], disk: files.Os = files.REAL) -> None:
    """Several at once, where some go to what others leave: renamed in a row, or in a circle."""
    left = dict(carried)
    while left:
        free = [old for old, new in left.items() if new not in left]
        if free:
            carry(share, free[0], left.pop(free[0]), disk)
            continue
        old, new = next(iter(left.items()))
        # A circle: one record steps aside, with a note of where it goes, so a start can finish it.
        del left[old]
        parked = _park(share, old, new, disk)
        rotate(share, left, disk)
        finish(parked)
        return


def finish(intent: Intent) -> None:
    """Bring a record that stepped aside to its place; where that isn't free it stays, as one put away."""
    target = intent.home / paths.name_of(str(intent.data["to"]))
    names = list(intent.data["names"])
    beside, companion = paths.sidecar_of(target), paths.companion_of(target)
    free = not os.path.lexists(beside) and not os.path.lexists(companion) and os.path.lexists(target)
    if not free or not any(os.path.lexists(intent.folder / name) for name in names):
        if not any(os.path.lexists(intent.folder / name) for name in names):
            intent.withdraw()
        else:
            intent.end(what="forget")
        return
    new = paths.join(paths.folder_of(intent.inside), target.name)
    _to(intent.share, target, intent.folder / names[0], intent.folder / names[1], target, new, intent.disk)
    intent.withdraw()


def merge(share: Share, source: Path, target: Path, inside: str, disk: files.Os = files.REAL) -> None:
    """Everything of one companion folder into another, which may not be there yet."""
    try:
        if os.path.lexists(target) and not target.is_dir():
            _keep_aside(share, target, inside, target.name, disk)
        if target.is_dir():
            _renumber(source / VERSIONS, target / VERSIONS, disk)
            gave_way = _gave_way(target, paths.sidecar_of(share.path(inside)))
            for rel in list(_clashes(source, target)):
                if rel.startswith("history.") and rel.endswith(".jsonl") and "/" not in rel:
                    _join_histories(source / rel, target / rel, gave_way, disk)
                else:
                    _settle(share, source, target, rel, inside, disk)
        files.make_folders(target.parent, share.root, disk=disk)
        moves.resume(source, target, root=share.root, branches=share.branches, disk=disk)
    except OSError as error:
        files.fail(error, target)


def is_derived(companion: Path) -> bool:
    """Whether a companion folder holds nothing that couldn't be made again (or isn't there)."""
    try:
        names = os.listdir(companion)
    except OSError:
        return True
    return all(name in _DERIVED or name.startswith((".", "history.")) for name in names)


def _to(
    share: Share, source: Path, beside: Path, companion: Path, target: Path, inside: str, disk: files.Os
) -> None:
    if os.path.lexists(beside):
        _replace(beside, paths.sidecar_of(target), disk)
    if os.path.isdir(companion):
        merge(share, companion, paths.companion_of(target), inside, disk)


def _replace(source: Path, target: Path, disk: files.Os) -> None:
    """One sidecar in the place of another, in one step: what is there goes only once the other came."""
    try:
        try:
            disk.replace(source, target)
        except OSError as error:
            if error.errno not in moves.ANOTHER_DISK:
                raise
            # On a pool, or the mount doesn't know yet that the source went: then this finds it missing.
            aside = files.temporary(target.parent)
            files.copy_aside(source, aside, disk=disk)
            disk.replace(aside, target)
            disk.unlink(source)
        files.sync_folder(target.parent, disk)
    except OSError as error:
        files.fail(error, target)


def _park(share: Share, old: str, new: str, disk: files.Os) -> Intent:
    """A record aside, in `old/`, on its way to another name."""
    intent = intents.new(share, old, WHAT, CROFT, disk, to=new)
    name = paths.name_of(old)
    names = [paths.sidecar_of(name), f"{paths.COMPANION}/{name}"]
    home = share.path(old).parent
    intent.data["names"] = dict.fromkeys(names)
    intent.begin()
    for one in names:
        if os.path.lexists(home / one):
            files.make_folders((intent.folder / one).parent, share.root, disk=disk)
            moves.move(home / one, intent.folder / one, root=share.root, branches=share.branches, disk=disk)
    return intent


def _clashes(source: Path, target: Path) -> Iterator[str]:
    """Files of `source`, relative, whose place in `target` is taken."""
    for at, folders, names in os.walk(source):
        base = os.path.relpath(at, source)
        for name in names:
            rel = os.path.normpath(os.path.join(base, name))
            if os.path.lexists(target / rel):
                yield rel
        for name in list(folders):
            rel = os.path.normpath(os.path.join(base, name))
            if os.path.lexists(target / rel) and not (target / rel).is_dir():
                folders.remove(name)
                yield rel


def _settle(share: Share, source: Path, target: Path, rel: str, inside: str, disk: files.Os) -> None:
    """One that both have."""
    top = rel.split("/", 1)[0]
    if top in _DERIVED or top.startswith("."):
        disk.unlink(source / rel)  # what is there was made of the file as it is now
    elif (source / rel).is_dir() or not _same(source / rel, target / rel):
        _keep_aside(share, target / rel, inside, rel, disk)


def _gave_way(companion: Path, beside: Path) -> bool:
    """Whether the record that this companion's histories tell of gave way to another: none knows what is said
    now."""
    try:
        etag = sidecar.read(beside).etag
    except (NotFound, Broken):
        return False
    return all(event.etag != etag for event in events_of(companion))


def _join_histories(source: Path, target: Path, gave_way: bool, disk: files.Os) -> None:
    """The lines of both, each once. Those of the record that comes stay where they are, byte for byte: other
    sites' lines say how far they had seen them. Behind them the others; of a record that gave way they tell
    people what was, and are no changes of this one."""
    first, _ = files.read_bounded(source, HISTORY_BYTES)
    second, _ = files.read_bounded(target, HISTORY_BYTES)
    if not second.startswith(first):  # else they were joined before
        known = set(first.split(b"\n"))
        rest = [line for line in dict.fromkeys(second.split(b"\n")) if line.strip() and line not in known]
        end = b"" if first.endswith(b"\n") else b"\n"
        lines = (_told_only(line) if gave_way else line for line in rest)
        files.write_atomic(target, first + end + b"".join(line + b"\n" for line in lines), disk=disk)
    disk.unlink(source)


def _told_only(line: bytes) -> bytes:
    """A line of a history without what makes it one of the changes that are brought together."""
    with contextlib.suppress(ValueError, TypeError):
        said = orjson.loads(line)
        if isinstance(said, dict) and "etag" in said:
            return orjson.dumps({key: value for key, value in said.items() if key not in ("etag", "seen")})
    return line


def _renumber(source: Path, target: Path, disk: files.Os) -> None:
    """Versions whose numbers are taken get free ones."""
    taken = {name: paths.version_number(name) or 0 for name in intents.names(target)}
    for name in sorted(intents.names(source)):
        if name not in taken or not (source / name).is_dir():
            continue
        others = [paths.version_number(other) or 0 for other in (*taken, *intents.names(source))]
        fresh = paths.version_folder(max(others) + 1)
        record = source / name / "version.json"
        with contextlib.suppress(NotFound, Broken):
            said = sidecar.read(record).data
            files.write_atomic(record, sidecar.dump({**said, "version": fresh, "was": name}), disk=disk)
        disk.rename(source / name, source / fresh)


def _keep_aside(share: Share, path: Path, inside: str, rel: str, disk: files.Os) -> None:
    """Put one thing out of the way, into `old/`."""
    intent = intents.new(share, inside, "forget", CROFT, disk, names={})
    files.make_folders(intent.folder, share.root, disk=disk)
    place = intent.folder / paths.COMPANION / paths.name_of(inside) / rel
    files.make_folders(place.parent, share.root, disk=disk)
    intent.data["names"] = {f"{paths.COMPANION}/{paths.name_of(inside)}": None}
    intent.write(done=True, at=utc_now())
    moves.move(path, place, root=share.root, branches=share.branches, disk=disk)


def _same(one: Path, other: Path) -> bool:
    try:
        if os.path.getsize(one) != os.path.getsize(other) or one.is_symlink() or other.is_symlink():
            return False
        with open(one, "rb") as left, open(other, "rb") as right:
            while chunk := left.read(files.COPY_BYTES):
                if chunk != right.read(files.COPY_BYTES):
                    return False
        return True
    except OSError:
        return False


def _copy_tree(source: Path, target: Path, root: Path, disk: files.Os) -> None:
    for at, _, names in os.walk(source):
        folder = target / os.path.relpath(at, source)
        files.make_folders(Path(os.path.normpath(folder)), root, disk=disk)
        for name in names:
            path = Path(at) / name
            if path.is_symlink() or not path.is_file() or name.startswith(files.TEMPORARY):
                continue
            aside = files.temporary(folder)
            files.copy_aside(path, aside, disk=disk)
            disk.rename(aside, folder / name)
        files.sync_folder(folder, disk)
