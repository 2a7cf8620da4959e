"""Versions of what is rendered from a file: folders `render/<stem>/v001` …, their sidecars, `current`.

A version folder is made here, by the server, and by nobody else: whole, empty, writable for the folder's
group. `v001.json` beside it says which job and which bytes it came from, and what was said of it: approved,
rejected, or neither yet. At most one of a file's versions is approved. `current` is a relative symlink to
that one, else to the newest that has a frame.

    ways    where versions lie, their records, and where `current` leads
    judged  which of them are approved or rejected, kept in memory by the changes that are told
    policy  which of them may go (pure)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.records import utc_now
from server.disk.speech import say
from server.disk.store import Store

from .ways import CURRENT, SCHEMA, has_frames, names_in, place_of, point_current, read, write

__all__ = [
    "CURRENT", "approved", "begin", "close_frames", "current", "has_frames", "held", "judge",
    "listed", "make", "one", "place_of", "read", "settle", "settle_all", "unmake", "unmake_of",
    "update", "why_closed",
]  # fmt: skip

COMMENT_CHARACTERS = 2000
CLOSED_MODE = 0o644  # of an approved version's frames
PENDING = "judge-"  # among the locks: a version is being judged; '.json'


def make(store: Store, address: str, record: dict[str, Any]) -> tuple[str, str]:
    """A new version of the file at `address`: its name and the address of its folder.

    Two servers that make one at the same time get two different ones, and two sites that hear of each other
    only later, too. `record` goes into its sidecar.
    """
    folder = paths.render_folder(address)
    share, inside = paths.parse(folder)
    root = store.share(share).root
    place = root / inside
    with held(store, address):
        files.make_folders(place, root)
        site = store.sites.suffix(store.share(share))
        name = paths.version_folder(_highest(place) + 1, site)
        try:
            os.mkdir(place / name)
            for made in (place.parent, place, place / name):
                _open_to_group(made)
            files.sync_folder(place)
        except OSError as error:
            files.fail(error, place / name)
        write(place / f"{name}.json", {"schema": SCHEMA, "version": name, **record, "approved": False})
        store.index.put_versions(folder, {*store.index.versions(folder), name})  # before the watcher tells
    return name, paths.join(folder, name)


def unmake(store: Store, address: str, name: str) -> None:
    """Take back a version that nothing was rendered into. One with files in it stays."""
    place = place_of(store, address)
    try:
        os.rmdir(place / name)
        (place / f"{name}.json").unlink(missing_ok=True)
        place.rmdir()
        place.parent.rmdir()
    except OSError:
        pass  # something lies there: it is kept


def unmake_of(store: Store, address: str, job_id: str) -> None:
    """Take back the versions that a submission made which never became this job, and those that a crash left
    before it was written whose they are."""
    place = place_of(store, address)
    with held(store, address):
        for name in names_in(place):
            try:
                record = read(place / f"{name}.json")
            except Conflict:
                continue  # a person's to mend
            if record.get("job", job_id) == job_id:
                unmake(store, address, name)


def begin(store: Store, address: str, name: str, at: str) -> None:
    """The first frame of a version lies there: it is one that can be used, and `current` may lead to it."""
    place = place_of(store, address)
    if read(place / f"{name}.json").get("first_frame") is None:
        update(store, address, name, {"state": "running", "first_frame": at})
    else:
        with held(store, address):
            point_current(place)


def update(store: Store, address: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change a version's sidecar under its lock; `current` follows. One that is gone isn't made again."""
    place = place_of(store, address)
    with held(store, address):
        record = read(place / f"{name}.json")
        if not record and not (place / name).is_dir():
            return {}
        record = {**record, **changes}
        write(place / f"{name}.json", record, last=False)
        if not point_current(place, name, record):
            files.sync_folder(place)
    return record


def judge(
    store: Store, address: str, name: str, who: str, approved: bool, rejected: bool = False, comment: str = ""
) -> dict[str, Any]:
    """Approve a version, reject it, or neither any more. Who asks may do so: that was looked at before.

    That it is under way is written first, so that a start finishes what a crash interrupted: the new word
    counts, the one before it goes, `current` follows.
    """
    if approved and rejected:
        raise BadInput("A version is approved or rejected, not both.", field="rejected")
    if len(comment) > COMMENT_CHARACTERS:
        raise BadInput("The comment is longer than {n} characters.", field="comment", n=COMMENT_CHARACTERS)
    place = place_of(store, address)
    with held(store, address):
        record = one(store, address, name)
        said = {"approved": approved, "rejected": rejected, "approved_by": who, "approved_at": utc_now()}
        pointer = _pointer(store, address)
        files.write_atomic(pointer, encoding.dumps({"address": address, "version": name}) + b"\n")
        record = {**record, **said, "comment": comment.strip()}
        write(place / f"{name}.json", record)
        if not approved and (place / name).is_dir():
            _open_to_group(place / name)
        _settle(store, address, name if approved else "")
        pointer.unlink(missing_ok=True)
    return record


def close_frames(store: Store, address: str, name: str) -> None:
    """Nobody but Croft writes into the frames of an approved version, as far as they are ours to close. Takes
    its time where there are thousands: under no lock."""
    with contextlib.suppress(OSError), os.scandir(place_of(store, address) / name) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):  # a node's, of another user
                    os.chmod(entry.path, CLOSED_MODE)


def settle_all(store: Store) -> None:
    """Finish what a crash interrupted while a version was judged."""
    for share in store.shares:
        if store.away(share.name):
            continue
        for pointer in list((share.root / paths.LOCKS).glob(f"{PENDING}*.json")):
            with contextlib.suppress(CroftError, OSError):
                said = read(pointer)
                address, name = str(said.get("address") or ""), str(said.get("version") or "")
                if not address or paths.version_number(name) is None or paths.parse(address)[0] != share.name:
                    pointer.unlink(missing_ok=True)
                    continue
                with held(store, address):
                    if not pointer.exists():
                        continue  # Race: the server that was at it has finished.
                    record = read(place_of(store, address) / f"{name}.json")
                    _settle(store, address, name if record.get("approved") else "")
                    pointer.unlink(missing_ok=True)


def settle(store: Store, address: str) -> None:
    """`current` leads where it should. Under the lock."""
    point_current(place_of(store, address))


def one(store: Store, address: str, name: str) -> dict[str, Any]:
    """A version's sidecar. NotFound."""
    path = place_of(store, address) / f"{name}.json"
    if paths.version_number(name) is None or name.endswith(".json") or not path.exists():
        raise NotFound("{address} has no version {name}.", address=paths.name_of(address), name=name[:40])
    return read(path)


def listed(store: Store, address: str) -> list[dict[str, Any]]:
    """The sidecars of a file's versions, newest first. One that can't be read is told as `broken`."""
    place = place_of(store, address)
    folder = paths.render_folder(address)
    found: list[dict[str, Any]] = []
    for name in names_in(place):
        try:
            record = read(place / f"{name}.json")
        except Conflict as error:
            record = {"broken": error.message}
        found.append({**record, "version": name, "address": paths.join(folder, name)})
    return sorted(found, key=lambda record: paths.by_version(record["version"]), reverse=True)


def approved(store: Store, address: str) -> str:
    """The name of the version that is approved; '' while there is none. Reads one file where `current` leads
    to it."""
    place = place_of(store, address)
    try:
        names = [os.readlink(place / CURRENT)]
    except OSError:  # a disk without symlinks, or a person's own folder of that name
        names = names_in(place)
    for name in names:
        with contextlib.suppress(Conflict):
            if paths.version_number(name) is not None and read(place / f"{name}.json").get("approved"):
                return name
    return ""


def current(store: Store, address: str) -> str:
    """The version that `current` leads to; '' while there is none."""
    try:
        return os.readlink(place_of(store, address) / CURRENT)
    except OSError:
        return approved(store, address)


def why_closed(name: str) -> str:
    """Why an approved version takes no more frames."""
    return say(
        "version {n} is approved and takes no more frames: take the approval back, or render it anew",
        n=paths.version_number(name) or 0,
    )


@contextlib.contextmanager
def held(store: Store, address: str) -> Iterator[None]:
    """Nobody else makes, judges or puts away a version of this file."""
    share, inside = paths.parse(paths.render_folder(address))
    with store.locks(share).hold(paths.lock_key(inside + "/versions")):
        yield


def _pointer(store: Store, address: str) -> Path:
    share, inside = paths.parse(paths.render_folder(address))
    return store.share(share).root / paths.LOCKS / f"{PENDING}{paths.lock_key(inside)}.json"


def _settle(store: Store, address: str, approved: str) -> None:
    """No other version is approved than this one ('' where none was just approved), and it is closed;
    `current` follows."""
    place = place_of(store, address)
    for name in names_in(place) if approved else ():
        with contextlib.suppress(Conflict):
            record = read(place / f"{name}.json")
            if name == approved:
                _close(store, address, name, str(record.get("job") or ""))
            elif record.get("approved"):
                write(place / f"{name}.json", {**record, "approved": False})
                _open_to_group(place / name)
    point_current(place)


def _highest(place: Path) -> int:
    """The highest number in use, of a folder or of the sidecar of one that was deleted."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return 0
    return max((paths.version_number(name) or 0 for name in names), default=0)


def _close(store: Store, address: str, name: str, job: str) -> None:
    """What is approved is Croft's own: nobody adds or replaces a frame of it, or the scene that it was
    rendered from, which is kept with its job."""
    place, jobs = place_of(store, address), paths.companion_of(store.path(address)) / "jobs"
    with contextlib.suppress(OSError):
        os.chmod(place / name, files.OWN_MODE)
        os.chmod(place, files.HELD_MODE)  # people's own pictures may lie there, too
    for folder in (jobs / Path(job).name, jobs, jobs.parent, jobs.parent.parent):
        with contextlib.suppress(OSError):
            os.chmod(folder, files.OWN_MODE)


def _open_to_group(folder: Path) -> None:
    """Computers and people write their own into it; what is another's keeps its name there."""
    group = os.stat(folder.parent).st_gid
    try:
        if os.stat(folder).st_gid != group:
            os.chown(folder, -1, group)
        os.chmod(folder, files.HELD_MODE)
    except OSError:
        pass  # not in that group, or a file system without modes
