"""What happens when a file has settled on a share: it becomes an asset, and its content is read.

A scene or film without a sidecar gets one, made under its lock and only if there is still none, so several
servers may do this at once. A scene is then read in the bounded helper and hashed without any lock, and
what it told goes to `file.json`, which no edit depends on. Textures and other files stay files. Works from
a queue in a few threads of low priority; nothing is read or written while nothing changes.

A file that lacks its end is no asset and isn't read, whoever says that it has settled: the store hears of it
and waits for the rest. A start looks for the end of what came lately, so that no copy that was cut off
while no server ran is taken for whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from server.disk import conflicts, faults, paths
from server.disk.encoding import quote
from server.disk.errors import Broken, Busy, CroftError, DiskFull, NotFound, ReadOnly, ShareAway
from server.disk.records import Action, Change, Entry, Problem, Stat
from server.disk.speech import say
from server.disk.store import Store

from .assets import Assets, rfc3339, tells_of
from .assets.listing import becomes_asset
from .media import Media, complete, facts_of, kinds
from .media.ends import CHECKS
from .media.thumbs import PASSING
from .projects import Projects

log = logging.getLogger(__name__)

CROFT = "croft"  # who, in a history, where no person did it
FILE_SCHEMA = 1
HASH_NAME = "blake2b-160"
CHUNK_BYTES = 4 << 20
HASH_AT_ONCE_BYTES = 64 << 20  # larger files are usable before their hash is known
NICE = 10
THREADS_MOST = 4
RETRY_S = (1.0, 5.0, 30.0, 120.0)  # after a busy lock or a full disk
SLOW_RETRY_S = (10.0, 120.0)  # before a file that takes too long is said to
SLOW_KEPT = 1000
LATELY_S = 7 * 86400  # a start looks for the ends of files that came since
UNREADABLE = ("time", "memory", "damaged", "crash")  # of this state of the file, for good


class Ingest:
    """Follows the store's changes from `start` to `close`. Public methods are thread-safe."""

    def __init__(
        self,
        store: Store,
        projects: Projects,
        assets: Assets,
        media: Media,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._wall = wall
        self._projects = projects
        self._assets = assets
        self._media = media
        self._clock = clock
        lock = threading.RLock()
        self._condition = threading.Condition(lock)  # there is something to do
        # Apart: threads with nothing to do that told it each other would never come to rest.
        self._rests = threading.Condition(lock)
        self._queue: OrderedDict[str, int] = OrderedDict()  # address: how often it was tried
        self._later: dict[str, tuple[float, int]] = {}  # address: when again, how often it was tried
        self._to_read: OrderedDict[str, int] = OrderedDict()  # likewise; the newest is read first
        self._to_look_at: OrderedDict[str, None] = OrderedDict()  # whether they have their end
        self._to_hash: OrderedDict[str, None] = OrderedDict()
        self._slow: dict[tuple[str, int, int], int] = {}  # a state of a file: how often it was too slow
        self._doing: set[str] = set()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._unsubscribe: Callable[[], None] = lambda: None
        self.faults = 0

    def start(self) -> None:
        """Begin: what lies there without a sidecar is taken in, then whatever changes."""
        # While one waits for a helper, another writes what it learned.
        for number in range(min(self._media.readers + 1, THREADS_MOST)):
            thread = threading.Thread(target=self._work, name=f"ingest-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._unsubscribe = self._store.subscribe(self._changed)
        self._assets.outdated = lambda address: self.ask([address])
        self._assets.peek = self._media.peek
        self.sweep()

    def close(self) -> None:
        """Stop after the present file."""
        self._unsubscribe()
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)

    def sweep(self, place: str = "") -> None:
        """Look again at what has no sidecar yet, everywhere or below an address."""
        index = self._store.index
        entries: Iterable[Entry] = index.under(place) if place else index.entries()
        since = (self._wall() - LATELY_S) * 1e9
        bare = [entry for entry in entries if entry.facts is None]
        with self._condition:
            self._to_look_at.update((e.address, None) for e in bare if _may_lack_its_end(e, since))
        self.ask([entry.address for entry in bare if _wanted(entry)])

    def ask(self, addresses: Iterable[str]) -> None:
        """Have files looked at: facts that are out of date are read again."""
        with self._condition:
            for address in addresses:
                self._later.pop(address, None)
                self._queue[address] = 0
            self._condition.notify_all()

    def wait(self, timeout_s: float = 30.0) -> bool:
        """Until nothing is left to do now; False if that took longer. For tests and `rescan`."""
        with self._rests:
            return self._rests.wait_for(
                lambda: (
                    not (self._queue or self._to_read or self._to_look_at or self._to_hash or self._doing)
                ),
                timeout_s,
            )

    def current(self, address: str) -> bool:
        """Whether `file.json` tells of the file as it is now; if not, it is asked to be read again."""
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None or not _wanted(entry):
            return True
        if tells_of(self._assets.file_record(address), entry.stat):
            return True
        self.ask([address])
        return False

    def problems(self) -> list[Problem]:
        """Copies that were broken off: an hour has passed, and their end isn't there."""
        return [self._incomplete(entry) for entry in self._store.index.incomplete()]

    # Within

    def _incomplete(self, entry: Entry) -> Problem:
        name, size = paths.name_of(entry.address), entry.stat.size if entry.stat else 0
        text = say(
            "{name} is incomplete: its copy was broken off after {size:,} bytes. It isn’t used.",
            name=name,
            size=size,
        )
        actions: tuple[Action, ...] = ()
        if self._projects.of(entry.address) is not None:
            path = "/api/assets/" + quote(entry.address, safe="/:@")
            actions = (
                Action(
                    say("Delete it"),
                    "DELETE",
                    path,
                ),
            )
        return faults.problem("incomplete", entry.address, text, say("Copy it again."), *actions)

    def _changed(self, changes: list[Change]) -> None:
        """In whichever thread made the change: only note what to look at."""
        wanted = []
        for change in changes:
            if change.kind == "asset":
                entry = self._store.index.get(change.id)
                if entry is not None and _wanted(entry):
                    wanted.append(change.id)
            elif change.kind == "share":
                self.sweep(paths.address(change.id))
            elif change.kind == "project":  # the files that were there before it was one
                for project in self._projects.list():
                    if change.id in (project.ident, project.address, paths.name_of(project.address)):
                        self.sweep(project.address)
        if wanted:
            self.ask(wanted)

    def _work(self) -> None:
        """A thread: survives whatever a file does."""
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._condition:
                self._due()
                found = self._pick()
                if self._closed:
                    return
                if found is None:
                    self._rests.notify_all()
                    self._condition.wait(self._next_due())
                    continue
                step, address, tried = found
                self._doing.add(address)
            try:
                step(address)
            except (Busy, DiskFull) as error:
                self._put_off(address, tried, error)
            except (ShareAway, ReadOnly, NotFound, Broken) as error:
                log.debug("%s not taken in: %s", address, error.message)
            except Exception:
                self.faults += 1
                log.exception("%s can't be taken in", address)
            finally:
                with self._condition:
                    self._doing.discard(address)
                    self._condition.notify_all()

    def _pick(self) -> tuple[Callable[[str], None], str, int] | None:
        """What to do next, of a file that no other thread is at: take in, then read, then look at textures
        and the like, then hash."""
        for address in self._queue:
            if address not in self._doing:
                return self._take, address, self._queue.pop(address)
        for address in reversed(self._to_read):
            if address not in self._doing:
                return self._read, address, self._to_read.pop(address)
        for address in self._to_look_at:
            if address not in self._doing:
                del self._to_look_at[address]
                return self._look_at, address, 0
        for address in self._to_hash:
            if address not in self._doing:
                del self._to_hash[address]
                return self._hash, address, 0
        return None

    def _put_off(self, address: str, tried: int, error: CroftError) -> None:
        if tried >= len(RETRY_S):
            log.warning("%s not taken in: %s", address, error.message)
            return
        with self._condition:
            self._later[address] = (self._clock() + RETRY_S[tried], tried + 1)

    def _due(self) -> None:
        now = self._clock()
        for address, (when, tried) in list(self._later.items()):
            if when <= now:
                del self._later[address]
                self._queue.setdefault(address, tried)

    def _next_due(self) -> float | None:
        if not self._later:
            return None
        return max(0.05, min(when for when, _ in self._later.values()) - self._clock())

    def _take(self, address: str) -> None:
        """One settled file: its sidecar if it lacks one. Its content is read when no sidecar is wanted."""
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None or entry.arriving:
            return
        if not _wanted(entry):
            return
        record = self._assets.file_record(address)
        known = tells_of(record, entry.stat)
        # Of an asset that was never read it is taken for granted: it came with its sidecar, by a restore.
        if (entry.facts is None or (record and not known)) and not self._has_its_end(entry):
            return
        if self._projects.of(address) is None:
            return
        self._store.check_writable(address)
        if entry.facts is None and not entry.broken and faults.fits_a_record(paths.name_of(address)):
            self._make_sidecar(address)
        if not known:
            with self._condition:
                self._to_read[address] = 0
                self._to_read.move_to_end(address)

    def _look_at(self, address: str) -> None:
        """A file that is no asset and came while perhaps no server ran: whether it is whole."""
        entry = self._store.index.get(address)
        if entry is not None and entry.stat is not None and entry.facts is None and not entry.arriving:
            self._has_its_end(entry)

    def _has_its_end(self, entry: Entry) -> bool:
        """Whether a file is whole. If not, the store is told, and waits for the rest of it."""
        if entry.stat is None or kinds.kind(paths.name_of(entry.address)) == "sequence":
            return True
        if complete(self._store.path(entry.address), thorough=True):
            return True
        log.info("%s lacks its end: it is taken for a copy that goes on", entry.address)
        self._store.looks.doubt(entry.address, entry.stat)
        return False

    def _read(self, address: str) -> None:
        """Facts and hash of a file, if they are still wanted."""
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None or not _wanted(entry):
            return
        if not tells_of(self._assets.file_record(address), entry.stat):
            self._read_content(address, entry.stat)

    def _make_sidecar(self, address: str) -> None:
        def make(data: dict[str, Any]) -> dict[str, Any]:
            # Race: another server, or a person, made one meanwhile. Theirs stays.
            return data or self._assets.first_record(address, CROFT)

        self._store.edit(address, make, who=CROFT)
        log.info("%s is an asset now", address)

    def _read_content(self, address: str, stat: Stat) -> None:
        """Facts and hash into `file.json`, unless the file changes meanwhile: then it comes again."""
        record: dict[str, Any] = {
            "schema": FILE_SCHEMA,
            "reader": kinds.READER,
            "size": stat.size,
            "mtime_ns": stat.mtime_ns,
            "read": rfc3339(time.time_ns()),
        }
        words = self._projects.set_of(self._projects.of(address))
        if named := words.named(paths.name_of(address)):
            record["named"] = dict(named)
        kind = kinds.kind(paths.name_of(address))
        if kind == "sequence":
            record["facts"] = self._media.sequence(address)
            if record["facts"]:
                self._write(address, record)
            return
        if kind in kinds.READ:
            answer = self._media.look(address)
            if answer.error in ("gone", "dropped"):
                return
            seen = (answer.data.get("size", stat.size), answer.data.get("mtime_ns", stat.mtime_ns))
            if seen != (stat.size, stat.mtime_ns):
                return
            if answer.error in PASSING and self._once_more(address, stat):
                return
            record["facts"] = facts_of(answer)
            if answer.error in UNREADABLE:
                record["error"] = str(answer.data.get("why", answer.error))
            elif record["facts"].get("whole") is False:
                record["error"] = str(record["facts"].get("why") or say("it ends in the middle"))
        if stat.size <= HASH_AT_ONCE_BYTES:
            digest = content_hash(self._store.path(address), stat, lambda: self._closed)
            if digest is None:
                return
            record["hash"] = digest
        self._write(address, record)
        if "hash" not in record:
            with self._condition:
                self._to_hash[address] = None

    def _once_more(self, address: str, stat: Stat) -> bool:
        """Whether a file that took too long is read again later: the machine may have been busy."""
        state = (address, stat.size, stat.mtime_ns)
        with self._condition:
            tried = self._slow.pop(state, 0)
            if tried >= len(SLOW_RETRY_S):
                return False
            self._slow[state] = tried + 1
            if len(self._slow) > SLOW_KEPT:
                self._slow.pop(next(iter(self._slow)))
            self._later[address] = (self._clock() + SLOW_RETRY_S[tried], 0)
        return True

    def _hash(self, address: str) -> None:
        """The hash of a large file, which was usable without it."""
        entry = self._store.index.get(address)
        record = self._assets.file_record(address)
        if entry is None or entry.stat is None or "hash" in record or not tells_of(record, entry.stat):
            return
        digest = content_hash(self._store.path(address), entry.stat, lambda: self._closed)
        if digest is not None:
            self._write(address, {**record, "hash": digest})

    def _write(self, address: str, record: dict[str, Any]) -> None:
        place = paths.join(paths.companion_of(address), "file.json")
        sequence = kinds.kind(paths.name_of(address)) == "sequence"  # which is no file of its own
        if not sequence and not os.path.lexists(self._store.path(address)):
            return  # Race: moved away; its companion must not be made again here.
        before = self._assets.file_record(address)
        self._store.write_json(place, record)
        if not sequence and has_other_content(before, record):
            self._tell_saved(address, before, record)
        self._store.notify([Change("asset", address)])

    def _tell_saved(self, address: str, before: dict[str, Any], record: dict[str, Any]) -> None:
        """That somebody saved the file, in its history: when its time says, if that can be."""
        entry = self._store.index.get(address)
        if entry is None or entry.facts is None:
            return  # nobody tracks it
        changed = rfc3339(int(record["mtime_ns"]))
        said = {"saved": record["size"], "of": record["mtime_ns"]}
        if str(before.get("read") or "~") <= changed <= rfc3339(time.time_ns()):
            said["at"] = changed
        self._store.tell(address, self._assets.owner_of(address), said)


def has_other_content(before: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a file is another one than when it was read before; False where it never was."""
    if not before or "size" not in before or "mtime_ns" not in before:
        return False
    if before.get("hash") and record.get("hash"):
        return bool(before["hash"] != record["hash"])
    return bool((before["size"], before["mtime_ns"]) != (record["size"], record["mtime_ns"]))


def content_hash(path: Path, stat: Stat, stopped: Callable[[], bool] = lambda: False) -> str | None:
    """`blake2b-160:<hex>` of a file's bytes; None if it changed meanwhile, went away, or it was stopped.

    Read in chunks, without any lock, and put out of the page cache's way by no more than its own size.
    """
    digest = hashlib.blake2b(digest_size=20)
    try:
        with open(path, "rb", buffering=0) as file:
            if not _same(os.fstat(file.fileno()), stat):
                return None
            while chunk := file.read(CHUNK_BYTES):
                if stopped():
                    return None
                digest.update(chunk)
            if not _same(os.fstat(file.fileno()), stat):
                return None
    except OSError:
        return None
    return f"{HASH_NAME}:{digest.hexdigest()}"


def _same(st: os.stat_result, stat: Stat) -> bool:
    return (st.st_size, st.st_mtime_ns) == (stat.size, stat.mtime_ns)


def _wanted(entry: Entry) -> bool:
    """Whether this file becomes an asset by itself, now; or is one, to be known again by its content."""
    if entry.stat is None or entry.arriving or f"/{paths.RENDER}/" in entry.address:
        return False
    if entry.facts is None and conflicts.is_copy(paths.name_of(entry.address)):
        return False  # the other side's save of an asset that is there: a person is asked
    return entry.facts is not None or becomes_asset(entry.address)


def _may_lack_its_end(entry: Entry, since_ns: float) -> bool:
    """Whether a file that is none of our assets came lately, and is of a kind that has an end."""
    return (
        entry.stat is not None
        and not entry.arriving
        and entry.stat.ctime_ns >= since_ns
        and kinds.suffix(paths.name_of(entry.address)) in CHECKS
        and not becomes_asset(entry.address)
    )
