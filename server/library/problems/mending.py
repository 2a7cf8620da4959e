"""What the buttons of problems do: each mends one thing, keeps what was there, and says how to undo it.

A mend looks at the present state first: pressed twice, or after somebody else mended it, it changes nothing
and says so. Whatever it replaces lies in an `old/` folder afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk import deletions, encoding, faults, files, moves, paths, sidecar
from server.disk.errors import BadInput, Broken, Conflict, CroftError, NotFound, ReadOnly
from server.disk.paths import Share
from server.disk.records import Action, plain, utc_now
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..people import User, require
from ..projects import Projects

log = logging.getLogger(__name__)

MENDED = "mend"  # what an intent file calls it
BIG_BYTES = 64 << 20  # of a broken record that is kept
TRIES = 1000  # names tried for a free one


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done, and what takes it back."""

    message: str
    undo: Action | None = None


class Mending:
    """`mend(what, address, …)` by name. Thread-safe: each works under the lock of its file."""

    def __init__(self, store: Store, projects: Projects, assets: Assets) -> None:
        self._store = store
        self._projects = projects
        self._assets = assets
        self._known: dict[str, tuple[str, Callable[[str, Mapping[str, Any], User], Mended]]] = {
            "put-back": ("student", self._put_back),
            "undo-put-back": ("student", self._undo_put_back),
            "rename-apart": ("student", self._rename_apart),
            "rename-back": ("student", self._rename_back),
            "move-back": ("student", self._move_back),
            "touch": ("student", self._touch),
            "drop": ("student", self._drop),
            "readable-name": ("student", self._readable_name),
            "try-share": ("student", self._try_share),
            "accept-clock": ("admin", self._accept_clock),
            "look-at-clock": ("student", self._look_at_clock),
        }

    def add(
        self, name: str, mend: Callable[[str, Mapping[str, Any], User], Mended], role: str = "student"
    ) -> None:
        """Another room's mend."""
        self._known[name] = (role, mend)

    def mend(self, name: str, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """BadInput for a mend that isn't known, and whatever the mend itself finds in its way."""
        role, function = self._known.get(name, ("", None))
        if function is None:
            raise BadInput("Nothing is mended by {name}.", field="mend", name=repr(name[:60]))
        require(user, role)
        done = function(address, more, user)
        log.info("%s: %s by %s", name, address, user.ident)
        return done

    def movable(self, address: str, user: User) -> Share:
        """The share of what this person may give another name: no project as such, nothing protected."""
        share, _ = self._for_people(address)
        if paths.name_of(address) == paths.PROJECT_FILE:
            raise BadInput("A project’s own file keeps its name.", field="address")
        self._assets.check_protection(address, user)
        return share

    # Records that can't be read

    def _put_back(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """The last good record in place of a broken one, which is kept."""
        share, inside = self._for_people(address)
        subject = self._subject(address)
        record, known = self._last_good(address, subject)
        path = share.path(inside)
        with self._store.locks(share.name).hold(paths.lock_key(paths.parse(subject)[1])) as held:
            if not is_broken(path):
                raise Conflict(
                    "{path} can be read again: nothing was changed.", address=address, path=path.name
                )
            kept = self._keep(share, inside, user)
            held.check()
            if path.is_dir() or path.is_symlink():
                moves.move(
                    path, kept / path.name, root=share.root, branches=share.branches, disk=self._store.disk
                )
            files.write_atomic(path, sidecar.dump(record), disk=self._store.disk)
        self._look(address, subject)
        said = (
            say("What was said last is back.") if known else say("Nothing older was known: it begins anew.")
        )
        undo = faults.mending(say("Undo"), "undo-put-back", address, kept=share.address(kept))
        return Mended(
            say("{said} The broken one is kept in {address}.", said=said, address=share.address(kept)), undo
        )

    def _undo_put_back(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """The broken record as it was: what came in its place is kept in its turn."""
        share, inside = self._for_people(address)
        subject = self._subject(address)
        path = share.path(inside)
        kept = self._kept(address, more)
        with self._store.locks(share.name).hold(paths.lock_key(paths.parse(subject)[1])):
            old = kept / path.name
            if old.is_dir() or old.is_symlink():
                self._keep(share, inside, user)
                self._store.disk.unlink(path)
                moves.move(old, path, root=share.root, branches=share.branches, disk=self._store.disk)
            else:
                raw, _ = read(old)
                self._keep(share, inside, user)
                files.write_atomic(path, raw, disk=self._store.disk)
        self._look(address, subject)
        return Mended(say("It is as it was before."))

    def _last_good(self, address: str, subject: str) -> tuple[dict[str, Any], bool]:
        """The record, and whether anything was known of it."""
        if subject == address:  # a project.json
            record = self._projects.last_good(address)
            return record, bool(record)
        record = folded(self._store.history(subject))
        entry = self._store.index.get(subject)
        facts = entry.facts if entry is not None else None
        if facts is not None:
            # What this server saw last may be newer than the history: somebody edited it by hand.
            before = sidecar.facts(record)
            for name in facts.__slots__:
                value = getattr(facts, name)
                if value != getattr(before, name):
                    record[name] = plain(value)
        if record:
            return record, True
        return self._assets.first_record(subject, ""), False

    def _subject(self, address: str) -> str:
        """What a record tells of: the file beside it; a project's own file tells of itself."""
        name = paths.name_of(address)
        if name == paths.PROJECT_FILE:
            return address
        if not name.endswith(".json") or name == ".json":
            raise BadInput("{address} isn't a record of Croft's.", field="address", address=address)
        return paths.file_of_sidecar(address)

    def _keep(self, share: Share, inside: str, user: User) -> Path:
        """A new folder in `old/`, with a copy of what lies at `inside` and a note of who did it."""
        path = share.path(inside)
        ident = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        folder = path.parent / paths.OLD / ident
        disk = self._store.disk
        files.make_folders(folder, share.root, disk=disk)
        intent = {
            "schema": 1,
            "what": MENDED,
            "inside": inside,
            "who": user.ident,
            "at": utc_now(),
            "done": True,
        }
        files.write_atomic(folder / deletions.INTENT, sidecar.dump(intent), disk=disk)
        if path.is_file() and not path.is_symlink():
            raw, _ = read(path)
            files.write_atomic(folder / path.name, raw, disk=disk)
        return folder

    def _kept(self, address: str, more: Mapping[str, Any]) -> Path:
        """The folder that an earlier mend of this file kept something in."""
        place = more.get("kept")
        if not isinstance(place, str) or paths.folder_of(place) != paths.join(
            paths.folder_of(address), paths.OLD
        ):
            raise BadInput("That isn't where it was kept.", field="kept")
        folder = self._store.path(place)
        try:
            intent = sidecar.read(folder / deletions.INTENT).data
        except (NotFound, Broken) as error:
            raise NotFound("{address} is gone.", address=place) from error
        if intent.get("what") != MENDED or not os.path.lexists(folder / paths.name_of(address)):
            raise BadInput("That isn't where it was kept.", field="kept")
        return folder

    # Names

    def _rename_apart(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """One of two names that systems take for one gets a number."""
        share = self.movable(address, user)
        folder, name = paths.split(address)
        there = os.listdir(share.path(paths.parse(folder)[1]))
        if name not in there:
            raise NotFound("There is no {name} any more.", address=address, name=name)
        if not any(other == name for pair in faults.clashes(there) for other in pair):
            raise Conflict(
                "{name} is like no other name here any more: nothing was changed.", address=address, name=name
            )
        new = paths.join(folder, free_name(name, there))
        self._store.move(address, new, user.ident)
        undo = faults.mending(say("Undo"), "rename-back", new, to=address)
        return Mended(say("{name} is named {new} now.", name=name, new=paths.name_of(new)), undo)

    def _rename_back(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        to = more.get("to")
        if not isinstance(to, str) or paths.folder_of(to) != paths.folder_of(address):
            raise BadInput("It goes back to a name in its own folder.", field="to")
        self.movable(address, user)
        self.movable(to, user)
        self._store.move(address, to, user.ident)
        return Mended(say("It is named {to} again.", to=paths.name_of(to)))

    def _move_back(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """A file goes to the name that others look for it under."""
        to = more.get("to")
        if not isinstance(to, str) or paths.SEPARATOR not in to:
            raise BadInput("Say where it goes: to.", field="to")
        project = self._projects.of(address)
        if project is None or self._projects.of(to) != project:
            raise BadInput("It stays in its own project.", field="to")
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None:
            raise BadInput("There is no file {address}.", field="address", address=paths.name_of(address))
        self.movable(address, user)
        self.movable(to, user)
        self._store.move(address, to, user.ident)
        undo = faults.mending(say("Undo"), "move-back", to, to=address)
        return Mended(
            say("{address} is {inside} now.", address=paths.name_of(address), inside=project.inside(to)), undo
        )

    def _readable_name(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """A name that is no text, or too long, becomes one that every program can show."""
        share = self.movable(address, user)
        folder, name = paths.split(address)
        there = os.listdir(share.path(paths.parse(folder)[1]))
        if name not in there:
            raise NotFound("There is no such name any more: nothing was changed.", address=address)
        # Names that aren't UTF-8 mostly come from an old Windows.
        plain = os.fsencode(name).decode("cp1252", "replace") if encoding.shown(name) != name else name
        new = paths.safe_name(plain.replace("\ufffd", "_"))
        if new == name:
            raise Conflict("Every system can show {name}: nothing was changed.", address=address, name=name)
        new = paths.join(folder, free_name(new, there) if new in there else new)
        self._store.move(address, new, user.ident)
        undo = faults.mending(say("Undo"), "rename-back", new, to=address)
        return Mended(say("It is named {new} now.", new=paths.name_of(new)), undo)

    # Times and leftovers

    def _touch(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """A file's time becomes now, or what an undo says that it was."""
        share, inside = self._for_people(address)
        path = share.path(inside)
        at = more.get("at")
        try:
            before = os.stat(path)
            now = int(at) if isinstance(at, str) and at.isdigit() and len(at) < 20 else time.time_ns()
            os.utime(path, ns=(before.st_atime_ns, now))
        except FileNotFoundError as error:
            raise NotFound("There is no {path} any more.", address=address, path=path.name) from error
        except OSError as error:
            files.fail(error, path)
        self._store.refresh(address)
        undo = faults.mending(say("Undo"), "touch", address, at=str(before.st_mtime_ns))
        return Mended(
            say("{path} has the time of now.", path=path.name) if at is None else say("It has its old time."),
            undo,
        )

    def _drop(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """A temporary file that a crash left goes to `old/`."""
        name = paths.name_of(address)
        if not name.startswith(files.TEMPORARY):
            raise BadInput("{name} isn't a temporary file of Croft's.", field="address", name=name)
        share = self._store.check_writable(address)
        inside = paths.parse(address)[1]
        try:
            st = os.lstat(share.path(inside))
        except FileNotFoundError as error:
            raise NotFound("There is no {name} any more.", address=address, name=name) from error
        if time.time() - st.st_mtime < faults.FRESH_S or is_open(st):
            raise Conflict(
                "{name} may still be written to: it is put away once it is an hour old.", name=name
            )
        kept = deletions.delete(share, self._store.locks(share.name), inside, user.ident, self._store.disk)
        place = paths.address(share.name, kept)
        undo = Action(say("Undo"), "POST", "/api/restore", {"folder": place})
        return Mended(say("It is kept as {place}.", place=place), undo)

    # Disks and clocks

    def _try_share(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """Whether a share can be written to by now."""
        share = self._store.share(address)
        if not self._store.mounts.try_again(share.name, at_once=True):
            why = self._store.share(share.name).read_only or say("it isn’t connected")
            raise ReadOnly(
                "Nothing can be written to the share {share} still: {why}.", share=share.name, why=why
            )
        return Mended(say("The share {share} can be written to.", share=share.name))

    def _accept_clock(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        self._store.clocks.accept()
        return Mended(say("From now on this time counts."))

    def _look_at_clock(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """A small file tells what time the share's disk has."""
        share = self._store.check_writable(address)
        path = share.root / paths.LOCKS / f"{files.TEMPORARY}clock-{secrets.token_hex(4)}"
        try:
            path.write_bytes(b"")
            self._store.clocks.wrote(share.name, os.stat(path).st_mtime)
            path.unlink()
        except OSError as error:
            files.fail(error, path)
        return Mended(say("Croft has looked: what is wrong still is said here."))

    # Within

    def _for_people(self, address: str) -> tuple[Share, str]:
        """Share and path inside of what lies in a project; BadInput for what is Croft's own."""
        share = self._store.check_writable(address)
        inside = paths.parse(address)[1]
        if not inside or paths.is_own(inside):
            raise BadInput("{address} isn't a file of a project's.", field="address", address=address)
        return share, inside

    def _look(self, *addresses: str) -> None:
        for address in dict.fromkeys(addresses):
            try:
                self._store.refresh(address)
            except CroftError:
                log.exception("%s can't be looked at", address)


def is_broken(path: Path) -> bool:
    """Whether a record that is there can't be read."""
    try:
        sidecar.read(path)
    except Broken:
        return True
    except NotFound:
        return False
    return False


def is_open(st: os.stat_result) -> bool:
    """Whether this server has that file open: a slow copy keeps the time of what is copied."""
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # Race: closed meanwhile
            known = os.fstat(int(fd))
            if (known.st_dev, known.st_ino) == (st.st_dev, st.st_ino):
                return True
    return False


def folded(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The record that all its changes, oldest first, led to."""
    record: dict[str, Any] = {}
    for event in history:
        fields = event.get("fields")
        for key, change in fields.items() if isinstance(fields, dict) else ():
            if not isinstance(key, str) or not isinstance(change, list) or len(change) != 2:
                continue
            if change[1] is None:
                record.pop(key, None)
            else:
                record[key] = change[1]
    return record


def free_name(name: str, there: list[str]) -> str:
    """`Hero.blend` -> `Hero_2.blend`, or the next number that no other name is like."""
    taken = {other.casefold() for other in there}
    stem = paths.stem_of(name)
    ending = name[len(stem) :]
    for number in range(2, TRIES):
        new = f"{stem}_{number}{ending}"
        if new.casefold() not in taken:
            return new
    raise Conflict("There are too many names like {name}.", name=name)


def read(path: Path) -> tuple[bytes, os.stat_result]:
    """The bytes of a record, broken or not."""
    try:
        return files.read_bounded(path, BIG_BYTES)
    except FileNotFoundError as error:
        raise NotFound("There is no {file} any more.", path=str(path), file=path.name) from error
    except OSError as error:
        files.fail(error, path)
