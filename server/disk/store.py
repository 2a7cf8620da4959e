"""The one way to files on the shares: every read, edit, upload and deletion of Croft's goes through here.

A write is: lock, read what is there, decide, write aside, replace, index, release, notify. Foreign edits
come in through `refresh`. A share whose marker is gone is away: nothing is written there, nothing missing.
Knows nothing of what a file means.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from server.disk import files, moves, paths, probes, sidecar
from server.disk.branches import branches_of
from server.disk.errors import (
    BadInput,
    Broken,
    Conflict,
    CroftError,
    NotFound,
    ReadOnly,
    ShareAway,
    Stale,
    TooLarge,
)
from server.disk.index import Index
from server.disk.journal import Journal
from server.disk.locks import TIMEOUT_S, Locks
from server.disk.paths import Share
from server.disk.records import Change, Problem, Stat
from server.disk.scan import Scanner
from server.disk.settings import Settings
from server.disk.sidecar import Sidecar

log = logging.getLogger("croft.store")


JSON_BYTES = 64 << 20  # of a file of Croft's own: facts of a huge scene, a result
INTENT = "intent.json"
INTENTS = "intent-"  # in the locks' folder: where an unfinished deletion lies
LOW_BYTES = 1 << 30  # less room than this is told as a problem

Changes = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
Subscriber = Callable[[list[Change]], None]


class Watcher(Protocol):
    """What the store needs of the watcher that stands above it."""

    def start(self) -> None: ...
    def close(self) -> None: ...
    def problems(self) -> list[Problem]: ...
    def watch(self, path: str, folder: str) -> None: ...


class Store:
    """All shares of one server. Safe for threads and, through the locks, beside other servers."""

    def __init__(
        self,
        settings: Settings,
        shares: Sequence[Share],
        clock: Callable[[], float] = time.monotonic,
        disk: files.Os = files.REAL,
    ) -> None:
        self.settings = settings
        self.index = Index()
        self.watcher: Watcher | None = None
        self.arrivals: Any = None  # the watcher's, handed to the scanners
        self.clock = clock
        self.disk = disk
        self.probes: dict[str, probes.Probe] = {}
        self.site: str = settings.get("site")
        self._shares = {share.name: share for share in shares}
        self._locks: dict[str, Locks] = {}
        self._scanners: dict[str, Scanner] = {}
        self._gone: dict[str, str] = {share.name: "it wasn't opened yet" for share in shares}
        self._opening = threading.RLock()
        self._subscribers: list[Subscriber] = []
        self._history: dict[str, str] = {}  # address -> what went wrong with its history
        holder = f"{socket.gethostname()} process {os.getpid()} site {self.site}"
        for share in shares:
            self._locks[share.name] = Locks(share.root, holder)

    # Opening.

    def open(self) -> None:
        """Find the shares, try their disks, finish what a crash interrupted, scan, watch."""
        for name in list(self._shares):
            self._open_share(name)
        if self.watcher is not None:
            self.watcher.start()

    def close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()

    # Where things are.

    @property
    def shares(self) -> list[Share]:
        return list(self._shares.values())

    def share(self, name: str) -> Share:
        """The share of this name, or the one that an address is on."""
        found = self._shares.get(name.partition(paths.SEPARATOR)[0])
        if found is None:
            raise NotFound(f"There is no share {name.partition(paths.SEPARATOR)[0]!r}.", share=name)
        return found

    def path(self, address: str) -> Path:
        """Where an address lies on this machine. It need not exist, but can't be outside its share."""
        name, inside = paths.parse(address)
        return self.share(name).path(inside)

    def locks(self, share: str) -> Locks:
        """The locks of a share (or of the share of an address)."""
        return self._locks[self.share(share).name]

    def scanner(self, share: str) -> Scanner:
        return self._scanners[self.share(share).name]

    def away(self, share: str) -> bool:
        """Whether the share isn't mounted. One that came back is opened on the way."""
        name = self.share(share).name
        found = self._shares[name]
        if name in self._gone:
            self._open_share(name)
            return name in self._gone
        if not os.path.isfile(found.root / paths.SHARE_MARKER):
            self._leave(name, "its marker is gone")
            return True
        return False

    def check_writable(self, address: str) -> Share:
        """The share of an address; ShareAway or ReadOnly when nothing may be written there."""
        share = self.share(address)
        if self.away(share.name):
            raise ShareAway(
                f"The share {share.name} isn't mounted at {share.root} ({self._gone[share.name]}). "
                "Nothing is lost; mount it again.",
                share=share.name,
            )
        share = self._shares[share.name]
        if share.read_only:
            raise ReadOnly(f"The share {share.name} is read-only here: {share.read_only}.", share=share.name)
        return share

    # Reading.

    def read(self, address: str) -> Sidecar:
        """The sidecar of the file at this address: NotFound where it has none, Broken where it is bad."""
        return sidecar.read(paths.sidecar_of(self.path(address)))

    def read_json(self, address: str) -> dict[str, Any]:
        """Any of Croft's own JSON files: NotFound or Broken as for a sidecar."""
        path = self.path(address)
        try:
            raw, _ = files.read_bounded(path, JSON_BYTES)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"There is no {address}.", path=str(path)) from error
        except OSError as error:
            raise Broken(
                f"{path} can't be read: {error.strerror}.", path=str(path), why=str(error)
            ) from error
        return sidecar.parse(raw, path)

    def history(self, address: str) -> list[dict[str, Any]]:
        """Who changed which field of this asset when, of all sites, oldest first."""
        folder = paths.companion_of(self.path(address))
        events: list[dict[str, Any]] = []
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return []
        for name in names:
            if name.startswith("history.") and name.endswith(".jsonl"):
                events += Journal(folder / name).read()[0]
        return sorted(events, key=lambda event: str(event.get("at", "")))

    # Writing.

    def edit(
        self,
        address: str,
        changes: Changes,
        *,
        etag: str | None = None,
        who: str,
        timeout_s: float = TIMEOUT_S,
    ) -> Sidecar:
        """Change fields of a sidecar, or make it. Returns what is there now.

        `changes` is new values by key, or a function from the present record to the new one (called under
        the lock: it must be quick). Stale when the sidecar isn't the one of `etag` any more; Broken and
        ReadOnly leave it as it is.
        """
        share = self.check_writable(address)
        path = share.path(paths.parse(address)[1])
        beside = paths.sidecar_of(path)
        try:
            with self.locks(share.name).hold(paths.lock_key(address), timeout_s) as held:
                old = self._present(path, beside)
                if etag is not None and etag != old.etag:
                    raise Stale(
                        f"{address} was changed by somebody else meanwhile. Look at it and try again.",
                        etag=old.etag,
                        record=old.data,
                    )
                if old.newer:
                    raise ReadOnly(
                        f"{address} was written by a newer Croft (schema {old.data['schema']}): "
                        f"this one knows {sidecar.SCHEMA} and leaves it alone.",
                        path=str(beside),
                    )
                new = dict(changes(dict(old.data)) if callable(changes) else {**old.data, **changes})
                if old.etag and new == old.data:
                    return old
                raw = self._dump(new, old.raw)
                journal = self._open_history(share, path)
                held.check()
                st = files.write_atomic(beside, raw, disk=self.disk)
                self._record(journal, address, who, old, new)
                return Sidecar(new, raw, sidecar.etag(raw), Stat.of(st))
        finally:
            self._look(address)

    def write_json(self, address: str, data: Mapping[str, Any]) -> None:
        """Write one of Croft's own JSON files, its folders included. The caller holds what lock it needs.

        A file of a newer schema stays; so does a broken one, except in a companion folder, where Croft
        alone writes.
        """
        share = self.check_writable(address)
        path = share.path(paths.parse(address)[1])
        files.make_folders(path.parent, share.root, disk=self.disk)
        old = b""
        try:
            old, _ = files.read_bounded(path, JSON_BYTES)
            if sidecar.schema_of(sidecar.parse(old, path)) > sidecar.SCHEMA:
                raise ReadOnly(f"{address} was written by a newer Croft; it stays as it is.", path=str(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            files.fail(error, path)
        except Broken:
            if not paths.file_of_companion(address):
                raise
        raw = self._dump(data, old, JSON_BYTES)
        if raw != old:
            files.write_atomic(path, raw, disk=self.disk)
            self._look(address)

    def temporary(self, address: str) -> Path:
        """A name beside the file of this address, for `place` to give its real name."""
        share = self.check_writable(address)
        path = share.path(paths.parse(address)[1])
        files.make_folders(path.parent, share.root, disk=self.disk)
        return files.temporary(path.parent)

    def place(self, temporary: Path, address: str, who: str) -> None:
        """Give a whole, flushed file its name; Conflict when something is there already."""
        share = self.check_writable(address)
        path = share.path(paths.parse(address)[1])
        if path == share.root or len(os.fsencode(path.name)) > paths.NAME_BYTES - len(".json"):
            raise BadInput(f"{address} can't be the name of a file: it is too long, or empty.")
        files.make_folders(path.parent, share.root, disk=self.disk)
        with self.locks(share.name).hold(paths.lock_key(address)):
            try:
                fd = self.disk.open(temporary, os.O_RDWR)
                try:
                    files.share_with_group(fd, path.parent)
                    self.disk.fsync(fd)
                finally:
                    self.disk.close(fd)
            except OSError as error:
                files.fail(error, temporary)
            if temporary.parent == path.parent:
                moves.place(temporary, path, disk=self.disk)
            else:
                moves.move(temporary, path, root=share.root, branches=share.branches, disk=self.disk)
        log.info("%s placed by %s", address, who)
        self._look(address)

    def make_folder(self, address: str) -> None:
        """Make a folder and its parents, for the group."""
        share = self.check_writable(address)
        path = share.path(paths.parse(address)[1])
        files.make_folders(path, share.root, disk=self.disk)
        self._look(address)

    def move(self, address: str, new: str, who: str) -> None:
        """Rename a file with its sidecar and companion, or a folder. Within one share."""
        share = self.check_writable(address)
        if self.share(new).name != share.name:
            raise BadInput("A move goes within one share; copy it to the other.")
        source, target = share.path(paths.parse(address)[1]), share.path(paths.parse(new)[1])
        files.make_folders(target.parent, share.root, disk=self.disk)
        try:
            with self.locks(share.name).hold_all([paths.lock_key(address), paths.lock_key(new)]):
                if os.path.lexists(target):
                    raise Conflict(f"{new} is there already.", path=str(target))
                self._move_all(share, source, target)
        finally:
            self._look(address)
            self._look(new)
        log.info("%s moved to %s by %s", address, new, who)

    def delete(self, address: str, who: str) -> str:
        """Move a file, its sidecar and its companion into `old/`; returns that folder's address.

        An intent file is written first, so that a start finishes what a crash interrupted.
        """
        share = self.check_writable(address)
        inside = paths.parse(address)[1]
        if not inside:
            raise BadInput("A share can't be deleted.")
        path = share.path(inside)
        ident = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        aside = paths.join(paths.folder_of(address), paths.OLD, ident)
        folder = share.path(paths.parse(aside)[1])
        try:
            with self.locks(share.name).hold(paths.lock_key(address)):
                what = [name for name in self._belongings(path) if os.path.lexists(path.parent / name)]
                if not what:
                    raise NotFound(f"There is no {address}.", path=str(path))
                files.make_folders(folder, share.root, disk=self.disk)
                intent = {
                    "schema": 1,
                    "what": "delete",
                    "address": address,
                    "who": who,
                    "at": utc_now(),
                    "done": False,
                    "names": {name: _identity(path.parent / name) for name in what},
                }
                pointer = share.root / paths.LOCKS / f"{INTENTS}{ident}.json"
                where = json.dumps({"folder": paths.parse(aside)[1]}).encode("utf-8")
                files.write_atomic(pointer, where, disk=self.disk)
                files.write_atomic(folder / INTENT, self._dump(intent, b""), disk=self.disk)
                self._finish(share, folder, intent, pointer)
        finally:
            self._look(address)
        log.info("%s deleted by %s: it lies in %s", address, who, aside)
        return aside

    # Looking again, and telling.

    def refresh(self, address: str) -> list[Change]:
        """Look at this place on disk again: a file, its sidecar, a folder, anything below a companion."""
        share = self.share(address)
        if self.away(share.name):
            return []
        changes: list[Change] = self._scanners[share.name].refresh(address).changes()
        self.notify(changes)
        return changes

    def rescan(self, share: str | None = None) -> list[Change]:
        """Look at everything again."""
        changes: list[Change] = []
        for name in [self.share(share).name] if share else list(self._shares):
            if not self.away(name):
                changes += self._scanners[name].scan().changes()
        self.notify(changes)
        return changes

    def subscribe(self, function: Subscriber) -> Callable[[], None]:
        """Be told of changes, after they were made and locks released. Returns how to end that."""
        self._subscribers = [*self._subscribers, function]

        def end() -> None:
            self._subscribers = [known for known in self._subscribers if known is not function]

        return end

    def notify(self, changes: list[Change]) -> None:
        """Tell everybody who subscribed; what fails there is logged and harms nobody else."""
        if not changes:
            return
        for function in self._subscribers:
            try:
                function(changes)
            except Exception:
                log.exception("a subscriber failed")

    def problems(self) -> list[Problem]:
        """What a person should know of the shares and their sidecars."""
        found = self.settings.problems()
        for name, share in list(self._shares.items()):
            place = share.name + paths.SEPARATOR
            if self.away(name):
                why = self._gone.get(name, "")
                found.append(
                    Problem(
                        f"away:{name}",
                        "share",
                        place,
                        f"The share {name} isn't there: {why}.",
                        f"Mount it at {share.root}. Emptied on purpose? Remove config/shares/{name}.json.",
                    )
                )
                continue
            if share.read_only:
                found.append(
                    Problem(
                        f"read-only:{name}",
                        "share",
                        place,
                        f"Nothing can be written to the share {name}: {share.read_only}.",
                        "Mend the mount or its rights and start Croft again.",
                    )
                )
            free = _free(share.root)
            if free is not None and free < LOW_BYTES:
                found.append(
                    Problem(
                        f"full:{name}",
                        "share",
                        place,
                        f"The share {name} has {free >> 20} MB left.",
                        "Empty old/ folders and old versions, or add a disk.",
                    )
                )
        for entry in self.index.entries():
            if entry.broken:
                found.append(
                    Problem(
                        f"broken:{entry.address}",
                        "sidecar",
                        entry.address,
                        f"{paths.sidecar_of(entry.address)} can't be read: {entry.broken}. "
                        "What it said last is shown; nothing is written to it.",
                        "Correct it in a text editor, or copy it back from a backup.",
                    )
                )
        for address, why in list(self._history.items()):
            found.append(
                Problem(
                    f"history:{address}",
                    "history",
                    address,
                    f"A change of {address} is missing in its history: {why}",
                    "Make room on the disk; the change itself was made.",
                )
            )
        return found + (self.watcher.problems() if self.watcher is not None else [])

    # Shares that come and go.

    def _open_share(self, name: str) -> None:
        with self._opening:
            if name not in self._gone:
                return
            share = self._shares[name]
            try:
                marker, why = self._marker(share)
            except (CroftError, OSError) as error:
                marker, why = None, str(error)
            if marker is None:
                if self._gone[name] != why:
                    log.warning("share %s is away: %s", name, why)
                self._gone[name] = why
                return
            share = self._probe(share, marker)
            self._shares[name] = share
            watch = self.watcher.watch if self.watcher is not None else None
            scanner = self._scanners[name] = Scanner(
                share,
                self.index,
                globs=tuple(self.settings.get("ignore")),
                watch=watch,
                arrivals=self.arrivals,
                here=lambda: not self.away(name),
            )
            del self._gone[name]
        # Outside the guard: the scan's own threads may find the share gone again.
        if not share.read_only:
            self._finish_intents(share)
        began = time.perf_counter()
        changes = scanner.scan().changes()
        log.info("share %s scanned in %.2f s", name, time.perf_counter() - began)
        self.notify([*changes, Change("share", name)])

    def _leave(self, name: str, why: str) -> None:
        with self._opening:
            if name in self._gone:
                return
            self._gone[name] = why
        log.warning("share %s is away: %s", name, why)
        self.notify([Change("share", name)])

    def _marker(self, share: Share) -> tuple[probes.Marker | None, str]:
        """The marker of a share that is here, made when it is configured for the first time."""
        known = dict(self.settings.folder("shares").get(share.name, {}))
        root = str(share.root)
        before = known.get("id") if known.get("root", root) == root else None
        marker = probes.read_marker(share.root)
        if marker is None:
            if before:
                return None, f"{share.root} has no {paths.SHARE_MARKER}"
            if not share.root.is_dir():
                share.root.mkdir(parents=True)
                share.root.chmod(files.FOLDER_MODE)
            marker = probes.Marker(secrets.token_hex(16), share.name)
            try:
                probes.write_marker(share.root, marker, disk=self.disk)
            except ReadOnly:
                # A share that nobody ever wrote to, and that can't be written to: shown as it is.
                log.warning("share %s has no marker and can't be written to", share.name)
        elif before and before != marker.id:
            return None, f"another share lies at {share.root}: its marker holds another id"
        if known.get("id") != marker.id or known.get("root") != root:
            try:
                self.settings.write("shares", share.name, {**known, "id": marker.id, "root": root})
            except CroftError as error:
                log.warning("the id of share %s can't be kept: %s", share.name, error)
        return marker, ""

    def _probe(self, share: Share, marker: probes.Marker) -> Share:
        branches = branches_of(share.root)
        found = self.probes[share.name] = probes.probe(share.root, len(branches))
        why = found.why
        if not why and marker.locks and marker.locks != found.lock_class:
            why = (
                f"other servers lock it as {marker.locks}, this one could only as {found.lock_class}; if "
                f"there are none any more, remove the key locks from {share.root / paths.SHARE_MARKER}"
            )
        elif not why and not marker.locks:
            marked = dataclasses.replace(marker, locks=found.lock_class)
            try:
                probes.write_marker(share.root, marked, disk=self.disk)
            except CroftError as error:
                why = error.message
        log.info("share %s at %s: %s", share.name, share.root, found.line())
        if why:
            log.warning("share %s is read-only here: %s", share.name, why)
        return dataclasses.replace(share, id=marker.id, branches=branches, read_only=why)

    # Parts of a write.

    def _look(self, address: str) -> None:
        """Take into the index what was written; what was written stays written if that fails."""
        try:
            self.refresh(address)
        except Exception:
            log.exception("%s can't be looked at", address)

    def _present(self, path: Path, beside: Path) -> Sidecar:
        try:
            return sidecar.read(beside)
        except NotFound:
            if not os.path.lexists(path) and "@" not in path.name:
                raise NotFound(f"There is no {path.name}.", path=str(path)) from None
            return sidecar.EMPTY

    def _dump(self, data: Mapping[str, Any], like: bytes, limit: int = sidecar.MAX_BYTES) -> bytes:
        try:
            raw = sidecar.dump(data, like)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"This can't be written as JSON: {error}.") from error
        if len(raw) > limit:
            raise TooLarge(f"A record of {len(raw)} bytes is too long; {limit} are allowed.", limit=limit)
        return raw

    def _open_history(self, share: Share, path: Path) -> Journal:
        """The asset's history of this site. Its folder is made before the edit: a full disk shows here."""
        folder = paths.companion_of(path)
        files.make_folders(folder, share.root, disk=self.disk)
        return Journal(folder / f"history.{paths.safe_name(self.site)}.jsonl", self.disk)

    def _record(self, journal: Journal, address: str, who: str, old: Sidecar, new: dict[str, Any]) -> None:
        """One line for one edit. Not flushed by itself: a power cut may cost the last lines."""
        fields = {
            key: [old.data.get(key), new.get(key)]
            for key in dict.fromkeys([*old.data, *new])
            if key not in old.data or key not in new or old.data[key] != new[key]
        }
        try:
            journal.append([{"at": utc_now(), "who": who, "fields": fields}])
            self._history.pop(address, None)
        except (CroftError, TypeError) as error:
            # The edit itself stands; to refuse it now would be untrue.
            log.warning("the history of %s lacks a change: %s", address, error)
            self._history[address] = str(error)
        finally:
            journal.close()

    def _belongings(self, path: Path) -> list[str]:
        """What goes when this file goes, as names in its folder: itself, its sidecar, its companion."""
        own = [path.name]
        if "@" in path.name and not os.path.lexists(path):
            own = sorted(
                name for name in _names(path.parent) if (paths.sequence_key(name) or ("",))[0] == path.name
            )
        return [*own, paths.sidecar_of(path).name, f"{paths.COMPANION}/{path.name}"]

    def _move_all(self, share: Share, source: Path, target: Path) -> None:
        pairs = [
            (source, target),
            (paths.sidecar_of(source), paths.sidecar_of(target)),
            (paths.companion_of(source), paths.companion_of(target)),
        ]
        if not os.path.lexists(source):
            raise NotFound(f"There is no {source.name}.", path=str(source))
        for old, new in pairs:
            if os.path.lexists(old):
                files.make_folders(new.parent, share.root, disk=self.disk)
                moves.move(old, new, root=share.root, branches=share.branches, disk=self.disk)

    # Deletions that a crash interrupted.

    def _finish(self, share: Share, folder: Path, intent: dict[str, Any], pointer: Path) -> None:
        """Move what an intent names and what is still the same; then the intent is a record."""
        home = folder.parent.parent
        for name, identity in intent["names"].items():
            source, target = home / name, folder / name
            if not os.path.lexists(source) or (identity and not _same(source, identity)):
                continue  # moved already; or a person put another of this name there: that one stays
            files.make_folders(target.parent, share.root, disk=self.disk)
            moves.resume(source, target, root=share.root, branches=share.branches, disk=self.disk)
        done = self._dump({**intent, "done": True}, b"")
        files.write_atomic(folder / INTENT, done, disk=self.disk)
        try:
            self.disk.unlink(pointer)
        except FileNotFoundError:
            pass
        except OSError as error:
            files.fail(error, pointer)

    def _finish_intents(self, share: Share) -> None:
        for name in _names(share.root / paths.LOCKS):
            if not re.fullmatch(INTENTS + r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\.json", name):
                continue
            pointer = share.root / paths.LOCKS / name
            try:
                inside = str(sidecar.parse(pointer.read_bytes(), pointer).get("folder", ""))
                folder = share.path(inside)
                if folder.parent.name != paths.OLD:
                    raise BadInput(f"{inside} is no folder of deletions.")
                try:
                    intent = sidecar.read(folder / INTENT).data
                except NotFound:
                    self.disk.unlink(pointer)  # nothing was moved yet: the deletion never began
                    continue
                address = str(intent["address"])
                with self.locks(share.name).hold(paths.lock_key(address)):
                    if not os.path.lexists(pointer):
                        continue  # Race: another server finished it.
                    log.info("finishing the deletion of %s", address)
                    self._finish(share, folder, intent, pointer)
            except (CroftError, OSError, KeyError, AttributeError) as error:
                log.warning("the deletion %s can't be finished: %s", pointer, error)


def configured_shares(settings: Settings, data: Path | str | None) -> list[Share]:
    """The shares that the configuration names, `data` always among them."""
    found: dict[str, Share] = {}
    for name, facts in {"data": {}, **settings.folder("shares")}.items():
        where = data if name == "data" and data is not None else facts.get("path")
        if isinstance(where, (str, Path)) and str(where):
            found[name] = Share(name, Path(os.path.abspath(where)))
    roots = sorted((os.path.realpath(share.root), share.name) for share in found.values())
    for outer, first in roots:
        for inner, second in roots:
            if first != second and (inner == outer or inner.startswith(outer.rstrip("/") + "/")):
                raise BadInput(f"The share {second} lies within {first}: a file would have two addresses.")
    return list(found.values())


def utc_now() -> str:
    """Now, as it is stored: RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _identity(path: Path) -> list[int]:
    """What tells a file from a later one of its name. A folder has its inode alone: its times change."""
    st = os.lstat(path)
    return [st.st_ino, 0, 0] if os.path.isdir(path) else [st.st_ino, st.st_size, st.st_mtime_ns]


def _same(path: Path, identity: object) -> bool:
    try:
        return os.path.isdir(path) or _identity(path) == identity
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _free(root: Path) -> int | None:
    try:
        found = os.statvfs(root)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
