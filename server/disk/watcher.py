"""Keeps the index true while people and programs change the shares.

Hears of changes by inotify, and looks at the changed path again; where inotify can't be trusted or has run
out, it looks at folders while people are active. Decides when what arrives has come to rest. One thread
does the looking; it survives whatever it meets. Writes nothing, except what `identity` gives back.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from server.disk import faults, paths
from server.disk.arrivals import Arrivals
from server.disk.entries import FOLDER, GONE, LEFT
from server.disk.errors import CroftError
from server.disk.hearing import OVERFLOW, Hearing
from server.disk.identity import CONTEST_S, Identity
from server.disk.listing import frame_key
from server.disk.records import Change, Problem
from server.disk.scan import Found
from server.disk.speech import say

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

GATHER_S = 0.01  # events of one act come together: one look for all of them
GONE_S = 0.3  # a save renames the old file away first: what went may be back in a moment
ACTIVE_S = 120.0  # people are active until this long after the last request of one
AWAY_LOOK_S = 5.0  # how often a share's marker is asked for
IDLE_LOOK_S = 30.0
FULL_SHARE = 10  # looking at everything may take a tenth of the time, while people are active
NIGHT_HOUR = 3
FRAMES_SHARE = 10  # a folder of very many frames that arrive may take a tenth of the time
FRAMES_MOST_S = 20.0
KEEP_EVERY_S = 600.0  # what is known is kept for the next start, while people are active


class Watcher:
    """Made before the store opens, which starts and closes it."""

    def __init__(
        self,
        store: Store,
        *,
        complete: Callable[[Path], bool | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] | None = None,
        contest_s: float = CONTEST_S,
        gone_s: float = GONE_S,
    ) -> None:
        """`complete(path)`: whether a file has its end; asked once it is quiet. `contest_s`: how long two
        files may hold one uuid before one is taken for a copy. `gone_s`: how soon what went is missed."""
        self._store = store
        self._complete = complete or (lambda path: True)
        self._clock = clock
        self._wall = wall or self._local_time
        self.arrivals = Arrivals(float(store.settings.get("settle_s")), clock)
        self.identity = Identity(store, clock=clock, contest_s=contest_s)
        self._gone_s = gone_s
        self.hearing = Hearing(self._was_unmounted, clock)
        self._condition = self.hearing.condition
        self._delayed: list[tuple[float, str, str, int]] = []  # when to look, folder, name, how
        self._frames: dict[str, tuple[float, dict[str, int]]] = {}  # folder: when, and what to look at
        self._overheard: list[Found] = []  # which files came and went, as other threads' looks saw it
        self._busy = False
        self._stopping = threading.Event()
        self._away: set[str] = set()
        self._halved: dict[str, list[str]] = {}  # shares and those of their disks that aren't mounted
        self._last_active = -ACTIVE_S
        self._last_look = clock()  # of what isn't watched
        self._last_full = clock()
        self._full_s = 0.0
        self._last_away_look = clock()
        self._last_kept = clock()
        self._kept_generation = 0
        self._last_night = self._wall().date()
        self._failed = 0  # looks in a row
        self._why_failed = ""
        self._thread: threading.Thread | None = None
        self.errors = 0  # what the looking thread survived
        self.looks = 0
        store.looks.watcher = self
        store.looks.arrivals = self.arrivals

    def start(self) -> None:
        """Begin to look. Events since the first watch were kept."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._stopping.set()
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.hearing.close()

    def look_again(self, why: str) -> None:
        """Look at everything as soon as may be."""
        self.hearing.ask_for_everything(why)

    def someone_is_active(self) -> None:
        """A person asked for something: what isn't watched is worth looking at. Cheap."""
        now = self._clock()
        woken = now - self._last_active > ACTIVE_S
        self._last_active = now
        if woken:
            with self._condition:
                self._condition.notify_all()

    def overhear(self, found: Found) -> None:
        """Another thread looked: what the index has from it, no look of the watcher's will find."""
        if found.says_of_files():
            with self._condition:
                self._overheard.append(found.of_files())
                self._condition.notify_all()

    def watch(self, path: str, folder: str) -> None:
        """Set the watch of a folder that is about to be listed. FileNotFoundError when it went."""
        self.hearing.watch(path, folder)

    def watched(self, share: str) -> list[str] | None:
        """The folders of a share that are watched; None where not every one could be."""
        return self.hearing.folders(share + paths.SEPARATOR)

    def unsure(self) -> set[str] | None:
        """The folders in which something has happened that wasn't looked at; None: perhaps in any."""
        pending = self.hearing.pending()
        if pending is not None:
            pending.update(folder for _, folder, _, _ in self._delayed.copy())
        return pending

    def settled(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that happened on the disks before this call is in the index, and nothing is
        arriving. False when that took longer."""
        end = self._clock() + timeout_s
        if self._unwatched() or not self.hearing.wait_for_all(end):
            self.hearing.ask_for_everything("somebody waits for it")
        with self._condition:
            return self._condition.wait_for(self._is_at_rest, max(0.0, end - self._clock()))

    def problems(self) -> list[Problem]:
        """What a person should know of."""
        found = self.hearing.problems() + self.identity.problems()
        for name, lost in self._halved.items():
            found.append(
                Problem(
                    f"disk:{name}",
                    "share",
                    paths.address(name),
                    say(
                        "{lost} of the pool of share {name} isn't mounted. What lies there is shown as it "
                        "was, and can't be opened.",
                        lost=", ".join(lost),
                        name=name,
                    ),
                    say(
                        "Mount the disk again, or add it to the pool; if it is broken, copy its files back "
                        "from the backup; if it was meant to go, start Croft anew."
                    ),
                )
            )
        if self._failed > 1:
            found.append(
                faults.problem(
                    "unreadable",
                    "",
                    say(
                        "A look at the shares failed {failed} times in a row ({why_failed}): what changed "
                        "since may show up late.",
                        failed=self._failed,
                        why_failed=self._why_failed,
                    ),
                    say("The server's log says where; Croft tries again by itself."),
                    severity="error",
                )
            )
        for share in self._store.shares:
            try:
                scanner = self._store.scanner(share.name)
            except (CroftError, KeyError):
                continue  # it was never here yet
            unreadable = dict(scanner.lister.unreadable)
            for folder, why in sorted(scanner.failed.copy().items()):
                text = say(
                    "{folder} can’t be understood: {why}. What is known of it stays as it was.",
                    folder=folder,
                    why=why,
                )
                mend = say("The server's log says where it failed; the rest of the share is served.")
                found.append(faults.problem("unreadable", folder, text, mend))
            for address, why in sorted(unreadable.items()):
                path = share.root / paths.parse(address)[1]
                if os.access(path, os.R_OK | os.X_OK):
                    self._store.refresh(address)  # no event tells of rights that were given
                elif os.path.lexists(path):
                    found.append(faults.unreadable(address, why, path))
        return found

    # -- looking ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                if not self._wait():
                    return
                self._work()
                self._failed = 0
            except Exception as error:
                # Whatever it was must not end the watching: the next full look mends what was lost.
                self.errors += 1
                self._failed += 1
                self._why_failed = f"{type(error).__name__}: {error}"
                log.exception("A look at the shares failed")
                self.arrivals.again()
                self.hearing.ask_for_everything("a look failed")
                if self._stopping.wait(min(0.2 * self._failed, 30.0)):
                    return

    def _wait(self) -> bool:
        """Until there is something to do. False when it is time to end."""
        with self._condition:
            while not self._stopping.is_set():
                self._busy = False
                pause = self._pause_s()
                if self.hearing.waiting or pause <= 0:
                    break
                self._condition.notify_all()
                self._condition.wait(pause)
            self._busy = True
        if self.hearing.names_waiting:
            self._stopping.wait(GATHER_S)
        return not self._stopping.is_set()

    def _pause_s(self) -> float:
        """Seconds until a clock, not an event, gives something to do."""
        if self._overheard:
            return 0.0
        now = self._clock()
        active = self._is_active(now)
        pauses = [self._last_away_look + (AWAY_LOOK_S if active or self._away else IDLE_LOOK_S) - now]
        due = self.arrivals.next_due_s()
        if due is not None:
            pauses.append(due)
        if self._delayed:
            pauses.append(self._delayed[0][0] - now)
        if self._frames:
            pauses.append(min(at for at, _ in self._frames.values()) - now)
        identity = self.identity.next_due_s()
        if identity is not None:
            pauses.append(identity)
        if active and self._store.index.generation != self._kept_generation:
            pauses.append(self._last_kept + KEEP_EVERY_S - now)
        if active and self._unwatched():
            pauses.append(self._last_look + float(self._store.settings.get("scan_every_s")) / 2 - now)
        return min(pauses)

    def _work(self) -> None:
        """One round: what was heard, what is due, what a clock asks for."""
        self._look_for_shares()
        self.arrivals.settle_s = float(self._store.settings.get("settle_s"))
        heard, why = self.hearing.take()
        if why:
            self._look_at_everything(why)
            return
        gone = [
            (folder, name) for folder, names in heard.items() for name, how in names.items() if how & LEFT
        ]
        overheard = self._take_overheard(gone)
        found = Found()
        for folder, names in heard.items():
            self._look(folder, names, found)
        self._look_at_delayed(found)
        self._look_at_frames(found)
        self._look_at_arrivals(found)
        self._take_renamed(found, overheard, bool(gone))
        self._look_at_unwatched()
        self._at_night()
        self._keep()
        self._take(self.identity.due())

    def _look(self, folder: str, names: dict[str, int], found: Found) -> None:
        """Looks at names of one folder; those that went a moment later."""
        now = {name: how for name, how in names.items() if not how & GONE}
        later = self._clock() + self._gone_s
        if names.get(paths.COMPANION, 0) & GONE:
            found.companions.add(folder)  # what Croft keeps of all its files was renamed or deleted
        for name, how in names.items():
            if how & GONE:
                heapq.heappush(self._delayed, (later, folder, name, how & FOLDER))
        if folder in self._frames:
            now = self._without_frames(folder, now)
        if now:
            self._look_now(folder, now, found)

    def _without_frames(self, folder: str, names: dict[str, int]) -> dict[str, int]:
        """Names that can be looked at now. A frame takes a listing of its whole folder: while many arrive,
        those wait for the next one together."""
        at, waiting = self._frames[folder]
        if at <= self._clock():
            return names
        for name, how in names.items():
            if frame_key(name):
                waiting[name] = waiting.get(name, 0) | how
        return {name: how for name, how in names.items() if name not in waiting}

    def _look_at_frames(self, found: Found) -> None:
        now = self._clock()
        for folder, (at, names) in list(self._frames.items()):
            if at <= now:
                del self._frames[folder]
                if names:
                    self._look_now(folder, names, found)

    def _take_renamed(self, found: Found, overheard: Found, gone: bool = False) -> None:
        """Files that went may be among those that appeared: these have their records before anybody hears."""
        if gone or found.says_of_files() or overheard.says_of_files():
            found.add(self.identity.renamed(found))
        found.add(overheard)
        self._take(found)

    def _take_overheard(self, gone: Iterable[tuple[str, str]] = ()) -> Found:
        with self._condition:
            overheard, self._overheard = self._overheard, []
        found = Found()
        for one in overheard:
            found.add(one)
        self.identity.before_looks(found, gone)
        return found

    def _look_now(self, folder: str, names: dict[str, int], found: Found) -> None:
        share = folder.partition(paths.SEPARATOR)[0]
        if share in self._away:
            return  # on its return everything is looked at
        self.looks += 1
        began = time.perf_counter()
        seen = self._store.scanner(share).refresh_names(folder, names)
        pause_s = min((time.perf_counter() - began) * FRAMES_SHARE, FRAMES_MOST_S)
        if pause_s > GATHER_S and any("@" in name or frame_key(name) for name in names):
            self._frames[folder] = (self._clock() + pause_s, self._frames.get(folder, (0.0, {}))[1])
        again = self._clock() + max(self.arrivals.settle_s, 0.2)
        for place, name in seen.torn:
            heapq.heappush(self._delayed, (again, place, name, 0))
        for name, how in names.items():
            inner = paths.join(folder, name)
            if how & FOLDER and not self._store.index.has_folder(inner):
                self._forget_watches(inner)
        found.add(seen)

    def _forget_watches(self, folder: str) -> None:
        """A folder went. Its companion's folders have watches too, and no entry in the index."""
        if not self.hearing.watched(folder):
            return
        try:
            if self._store.path(folder).is_dir():
                return
        except CroftError:
            pass
        self.hearing.forget(folder)

    def _look_at_delayed(self, found: Found) -> None:
        now = self._clock()
        due: dict[str, dict[str, int]] = {}
        while self._delayed and self._delayed[0][0] <= now:
            _, folder, name, how = heapq.heappop(self._delayed)
            due.setdefault(folder, {})[name] = how
        for folder, names in due.items():
            self._look_now(folder, names, found)

    def _look_at_arrivals(self, found: Found) -> None:
        due: dict[str, dict[str, int]] = {}
        for address in self.arrivals.due():
            folder, name = paths.split(address)
            if folder.partition(paths.SEPARATOR)[0] in self._away:
                self.arrivals.forget(address)  # on its return it is looked at anew
            elif "@" in name and self._frames.get(folder, (0.0, {}))[0] > self._clock():
                self.arrivals.put_off(address, self._frames[folder][0])
            else:
                due.setdefault(folder, {})[name] = 0
        for folder, names in due.items():
            self._look_now(folder, names, found)
            scanner = self._store.scanner(folder)
            for address in (paths.join(folder, name) for name in names):
                entry = self._store.index.get(address)
                stat = entry.stat if entry is not None else None
                if self.arrivals.settled(address, stat, lambda at=address: self._has_end(at)):  # type: ignore[misc]
                    found.add(scanner.has_settled(address))
                elif self.arrivals.incomplete(address):
                    found.add(scanner.has_no_end(address))

    def _has_end(self, address: str) -> bool | None:
        """Whether a file's end is there; None where it has none to look for."""
        if "@" in paths.name_of(address):
            return True  # a sequence: no more frames came
        try:
            return self._complete(self._store.path(address))
        except Exception:
            log.exception("%s can't be asked for its end", address)
            return None

    def _take(self, found: Found) -> None:
        """What a look found goes to identity, and to whoever listens."""
        if found.addresses or found.jobs or found.companions:
            self._store.notify(found.changes())
        if found.addresses or found.jobs or found.says_of_files():
            self.identity.saw(found)

    # -- by the clock -----------------------------------------------------------------------------

    def _is_active(self, now: float) -> bool:
        return now - self._last_active <= ACTIVE_S

    def _unwatched(self) -> bool:
        """Whether some folder's changes reach us by looking alone."""
        if self.hearing.deaf or self.hearing.limit_reached:
            return True
        return any(
            self._store.scanner(share.name).lister.unwatched
            for share in self._store.shares
            if share.name not in self._away
        )

    def _look_for_shares(self) -> None:
        """Notes which shares are away; the store opens and scans one that came back."""
        self._last_away_look = self._clock()
        before = self._away
        self._away = {share.name for share in self._store.shares if self._store.away(share.name)}
        for name in before - self._away:
            log.info("share %s is back", name)
            self.identity.all_again()
        for share in self._store.shares:
            if share.name not in self._away and self._store.mounts.disks_changed(share.name):
                self._store.mounts.take_in_again(share.name)
                self.identity.all_again()
        halved: dict[str, list[str]] = {}
        for share in self._store.shares:
            if share.name not in self._away:
                lost = self._store.scanner(share.name).lister.lost_branches()
                if lost:
                    halved[share.name] = lost
        for name, lost in halved.items():
            if name not in self._halved:
                log.warning("share %s: not mounted: %s", name, ", ".join(lost))
        if self._halved.keys() - halved.keys():
            self.hearing.ask_for_everything("a disk of a pool is back")
        self._halved = halved

    def _was_unmounted(self) -> None:
        """In inotify's thread: look for the shares at once."""
        self._last_away_look = -IDLE_LOOK_S

    def _look_at_everything(self, why: str) -> None:
        log.info("Looking at every share: %s", why)
        hits = self.hearing.limit_hits
        start = self._clock()
        overheard = self._take_overheard()
        for share in self._store.shares:
            if share.name in self._away:
                continue
            scanner = self._store.scanner(share.name)
            self._take_renamed(scanner.scan(), overheard)
            overheard = Found()
            if why == OVERFLOW:  # what happened inside of jobs shows in no index
                self._store.notify([Change("share", share.name)])
        self.hearing.limit_reached = self.hearing.limit_hits > hits
        for share in self._store.shares:
            if share.name not in self._away:
                self._store.scanner(share.name).lister.remember(
                    self.hearing.deaf or self.hearing.limit_reached
                )
        self._full_s = self._clock() - start
        self._last_full = self._last_look = self._clock()

    def _look_at_unwatched(self) -> None:
        """Folders' mtimes while people are active; every file as often as that costs little."""
        now = self._clock()
        every = float(self._store.settings.get("scan_every_s"))
        if not self._is_active(now) or not self._unwatched() or now - self._last_look < every / 2:
            return
        if now - self._last_full >= max(every, self._full_s * FULL_SHARE):
            self._look_at_everything("not all of it is watched")
            return
        for share in self._store.shares:
            if share.name not in self._away:
                self._take_renamed(self._store.scanner(share.name).scan(changed_only=True), Found())
        self._last_look = self._clock()

    def _local_time(self) -> datetime:
        try:
            return datetime.now(ZoneInfo(str(self._store.settings.get("timezone"))))
        except (ValueError, OSError, ZoneInfoNotFoundError):
            return datetime.now(UTC)

    def _at_night(self) -> None:
        now = self._wall()
        if now.hour == NIGHT_HOUR and now.date() != self._last_night:
            self._last_night = now.date()
            self._look_at_everything("it is night")

    def _keep(self) -> None:
        """Now and then, so that a start after a crash has something to begin with."""
        now = self._clock()
        generation = self._store.index.generation
        if (
            now - self._last_kept >= KEEP_EVERY_S
            and self._is_active(now)
            and generation != self._kept_generation
        ):
            self._store.looks.keep()
            self._last_kept, self._kept_generation = self._clock(), generation

    def _is_at_rest(self) -> bool:
        return not (
            self._busy
            or self._overheard
            or self.hearing.waiting
            or self._delayed
            or any(names for _, names in self._frames.values())
            or self.arrivals.unsettled()
            or self.identity.undecided()
        )
