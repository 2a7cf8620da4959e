"""Backups as earlier saves: what a file was at some time, for its owner and supervisors; and their age.

A file that didn't change over many backups is one save. Only ever reads the backups. Knows misc/backup's
trees through disk/backups, and where they lie from the key `backup` of server.json.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk import faults, paths
from server.disk.backups import Backups as Trees
from server.disk.backups import Tree
from server.disk.errors import Forbidden, NotFound
from server.disk.records import Problem, Stat
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store

from .people import User
from .saves import Save

PREFIX = "backup-"  # of a save's id; the tree's name follows
LATE_MINUTES = 60.0  # a backup every ten minutes may fail a few times before it is told
LOOKED_S = 20.0  # how long an answer about the disk is good
FRAMES_MOST = 200_000  # of a sequence over all backups: older ones are passed over beyond
REMEMBERED = 500  # files whose states are kept in memory

State = tuple[Any, ...]  # what tells one state of a file from another


class Backups:
    """A source of saves. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._trees: Trees | None = None
        self._states_of: OrderedDict[tuple[str, str], tuple[object, Sequence[tuple[State, Tree, Tree]]]]
        self._states_of = OrderedDict()
        self._present_of: OrderedDict[str, tuple[Stat, State | None]] = OrderedDict()
        self._told: tuple[float, tuple[Problem, ...]] = (-LOOKED_S, ())

    def trees(self) -> Trees | None:
        """Where they lie; None where none are configured."""
        path = self._settings.get("backup").get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            return None
        with self._lock:
            if self._trees is None or self._trees.root != Path(path):
                self._trees = Trees(Path(path))
            return self._trees

    def newest(self) -> datetime | None:
        """When the newest backup was made; None where there is none, or none that can be read."""
        trees = self.trees()
        try:
            known = trees.trees() if trees is not None else ()
        except OSError:
            return None
        return known[0].at if known else None

    # A source of saves

    def list(self, address: str) -> Sequence[Save]:
        """The states that a file had, newest first; that of now apart."""
        share, inside = paths.parse(address)
        states = self._known_states(share, inside)
        present = self._present(address) if states else None
        found: list[Save] = []
        for state, newest, oldest in states:
            if state != present:
                saved = datetime.fromtimestamp(min(state[1] / 1e9, oldest.at.timestamp()), UTC)
                found.append(
                    Save(
                        id=PREFIX + newest.name,
                        kind="backup",
                        at=_stamp(saved),
                        size=state[0],
                        until=_stamp(newest.at),
                    )
                )
        return found

    def open(self, address: str, id: str) -> Path:
        """The file in a backup; of a sequence its folder there. NotFound."""
        trees = self.trees()
        share, inside = paths.parse(address)
        if trees is not None and id.startswith(PREFIX):
            tree = trees.get(id.removeprefix(PREFIX))
            path = tree.find(share, inside)
            if path is not None and _is_plain(path):
                return path
            folder = tree.folder(share, paths.folder_of(inside))
            if "@" in inside and path is None and folder is not None:
                return folder
        raise NotFound(
            "No backup has this state of {name} any more.",
            address=address,
            name=paths.name_of(address),
        )

    def check(self, address: str, user: User | None) -> None:
        """Forbidden to all but whose file it is, and supervisors."""
        entry = self._store.index.get(address)
        facts = entry.facts if entry is not None else None
        owner = (facts.owner or facts.creator) if facts is not None else ""
        if user is None or not (user.at_least("supervisor") or (owner and user.ident == owner)):
            raise Forbidden(
                "Only {owner} and supervisors bring {address} back from a backup.",
                owner=owner or "its owner",
                address=paths.name_of(address),
            )

    def _present(self, address: str) -> State | None:
        """What is there now. A sequence's frames are looked at again only once the index knows of a change: a
        page may not wait for thousands of them."""
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None:
            return None
        with self._lock:
            known = self._present_of.get(address)
        if known is not None and known[0] == entry.stat and "@" in address:
            return known[1]
        share, inside = paths.parse(address)
        state = _state(self._store.share(share).root / inside, paths.name_of(address))
        with self._lock:
            self._present_of[address] = (entry.stat, state)
            if len(self._present_of) > REMEMBERED:
                self._present_of.popitem(last=False)
        return state

    def _known_states(self, share: str, inside: str) -> Sequence[tuple[State, Tree, Tree]]:
        """The same while no backup comes or goes: a page that is looked at asks the disk once."""
        trees = self.trees()
        try:
            present = trees.trees() if trees is not None else ()
        except OSError:
            return []  # `problems` tells of it
        with self._lock:
            known = self._states_of.get((share, inside))
            if known is not None and known[0] is present:
                self._states_of.move_to_end((share, inside))
                return known[1]
        found = list(self._states(present, share, inside))
        with self._lock:
            self._states_of[share, inside] = (present, found)
            if len(self._states_of) > REMEMBERED:
                self._states_of.popitem(last=False)
        return found

    def _states(self, known: Sequence[Tree], share: str, inside: str) -> Iterator[tuple[State, Tree, Tree]]:
        """Each state of a file, with the newest and the oldest backup that holds it."""
        current: tuple[State, Tree, Tree] | None = None
        budget = FRAMES_MOST
        for tree in known:
            state = self._state_in(tree, share, inside)
            budget -= state[2] if state is not None and len(state) > 2 else 1
            if budget < 0:
                break
            if current is not None and state == current[0]:
                current = (current[0], current[1], tree)
                continue
            if current is not None:
                yield current
            current = (state, tree, tree) if state is not None else None
        if current is not None:
            yield current

    def _state_in(self, tree: Tree, share: str, inside: str) -> State | None:
        folder = tree.folder(share, paths.folder_of(inside))
        return _state(folder / paths.name_of(inside), paths.name_of(inside)) if folder is not None else None

    # Their age

    def problems(self) -> Sequence[Problem]:
        """A backup that is late, failed, or not to be found. Asked of the disk now and then only."""
        now = self._monotonic()
        with self._lock:
            at, told = self._told
        if now - at > LOOKED_S:
            told = tuple(self._look())
            with self._lock:
                self._told = (now, told)
        return told

    def _look(self) -> Iterator[Problem]:
        trees = self.trees()
        if trees is None:
            return
        place = str(trees.root)

        def problem(text: str, mend: str, severity: str = "error") -> Problem:
            return faults.problem("backup", "", text, mend, severity=severity)

        try:
            known = trees.trees()
        except OSError as error:
            yield problem(
                say("The backups in {place} can’t be read: {why}.", place=place, why=error.strerror),
                say("Mount the backup’s disk, or give Croft’s user the right to read there."),
            )
            return
        last = trees.last_run()
        code, line = last.get("code"), str(last.get("line", ""))[:500]
        said = say(" The last run said: {line}", line=line) if code and line else ""
        if not known:
            yield problem(
                say("There is no backup in {place} yet.{said}", place=place, said=said),
                say("Run misc/backup once by hand, then enable croft-backup.timer."),
            )
            return
        age_s = self._clock() - known[0].at.timestamp()
        late = self._settings.get("backup").get("late_minutes", LATE_MINUTES)
        if not isinstance(late, (int, float)) or isinstance(late, bool) or late <= 0:
            late = LATE_MINUTES
        if age_s > late * 60:
            yield problem(
                say("The newest backup is {in_words} old.{said}", in_words=_in_words(age_s), said=said),
                say("Look at it: systemctl status croft-backup.timer, journalctl -u croft-backup."),
                "error" if age_s > 86400 else "warning",
            )
        elif code:
            yield problem(
                say("The last backup isn’t as it should be.{said}", said=said),
                say("Mend what it says; docs/backup.md lists what each answer means."),
                "warning",
            )


def _state(path: Path, name: str) -> State | None:
    """Size and time; of a sequence their sum, the newest, how many, and which."""
    if "@" in name and not os.path.lexists(path):
        frames: list[tuple[str, int, int]] = []
        try:
            with os.scandir(path.parent) as entries:
                for entry in entries:
                    key = paths.sequence_key(entry.name)
                    if key is not None and key[0] == name and entry.is_file(follow_symlinks=False):
                        st = entry.stat(follow_symlinks=False)
                        frames.append((entry.name, st.st_size, st.st_mtime_ns))
        except OSError:
            return None
        if not frames:
            return None
        frames.sort()
        return (sum(f[1] for f in frames), max(f[2] for f in frames), len(frames), hash(tuple(frames)))
    try:
        st = os.lstat(path)
    except OSError:
        return None
    return (st.st_size, st.st_mtime_ns) if stat.S_ISREG(st.st_mode) else None


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _in_words(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return say("{seconds:.0f} minutes", seconds=seconds / 60)
