"""Protected files: what was published and locked with it, who may unlock that, and changes made around it.

`published` is for whoever publishes; `assets.guard` keeps a protected file as it is. Over Samba protection
can only advise: so every change of a protected file is looked at, by its hash, in a thread of low priority;
one whose bytes aren't those any more is told under Problems until somebody has said what was meant. Keeps in
memory what it compared; the rest lies in `protect.json` (see `mark`), so that a start takes up what a stop
left.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from server.disk import faults, paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, Conflict, CroftError, Forbidden
from server.disk.follower import Follower
from server.disk.records import Action, Change, Entry, Problem, Stat, utc_now
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..assets.guard import is_protected, may_unlock
from ..people import People, User, require
from ..projects import Projects
from . import folders, hashing
from .mark import Mark, lift, read, write

__all__ = ["Mark", "Protection"]

log = logging.getLogger(__name__)

KIND = "protected"  # of its problems
REASON_CHARACTERS = 2000
NICE = 10
SAME, CHANGED, GONE = "same", "changed", "gone"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a protected file was when it was looked at."""

    mark: Mark
    stat: Stat | None
    is_now: str  # SAME, CHANGED or GONE
    who: str = ""  # whose the changed file is, where that is known


class Protection(Follower):
    """`start` to `close`; thread-safe. `holds` says which published version has these bytes ('': none)."""

    def __init__(self, store: Store, projects: Projects, people: People, assets: Assets) -> None:
        super().__init__(store, "protection", NICE)
        self._projects = projects
        self._people = people
        self._assets = assets
        self.holds: Callable[[str, str], str] = lambda address, hashed: ""
        self._writing = threading.Lock()  # of one who changes a part of a mark
        self._book: dict[str, Seen] = {}
        self._touched: dict[str, None] = {}
        self._homes: dict[str, None] = {}  # folders whose `.croft` came or went, or `render`
        self._everything = False
        self._busy = False
        assets.protection = self.view

    # For whoever changes a file

    def published(self, address: str, version: str, hashed: str, user: User) -> bool:
        """A version is whole on the disk: its folders are closed to everybody but Croft, and a file whose
        type is locked by publishing is protected from now on; whether it is."""
        folders.close(self._store, address)
        entry = self._store.index.get(address)
        if entry is None or entry.facts is None:
            return False
        words = self._projects.set_of(self._projects.of(address))
        if not words.type(entry.facts.type).protect_on_publish:
            return False
        # Race: it may have been saved while it was copied. Only a state whose hash is known needs no look.
        stat = entry.stat if hashing.known(self._assets, entry) == hashed else None
        try:
            self._protect(address, Mark(hashed, version, utc_now(), user.ident, stat), user.ident)
        except CroftError as error:  # the version stands: to say that it doesn't would be untrue
            log.warning("%s is published, and can't be protected: %s", address, error.message)
            return False
        return True

    # For people

    def lock(self, address: str, user: User, *, again: bool = False) -> Mark:
        """Protect the present content, or `again` what it was protected as when it was unlocked. Forbidden
        but to its owner and supervisors."""
        entry = self._file(address, user)
        if is_protected(entry):
            raise Conflict("{name} is protected already.", address=address, name=paths.name_of(address))
        before = read(self._store, address, unlocked=True) if again else None
        if before is not None:
            self._protect(address, replace(before, kept=""), user.ident)
            return before
        stat = entry.stat
        if stat is None or entry.arriving:
            raise Conflict("{name} isn’t here whole.", address=address, name=paths.name_of(address))
        hashed = hashing.known(self._assets, entry) or hashing.digest(self._store, address)
        mark = Mark(hashed, self.holds(address, hashed), utc_now(), user.ident, stat)
        self._protect(address, mark, user.ident)
        return mark

    def unlock(self, address: str, user: User, reason: str) -> str:
        """Lift it; the reason stays in the file's history. The version that it was protected as."""
        entry = self._file(address, user)
        reason = reason.strip()
        if not reason:
            raise BadInput("Say why it is unlocked: 'reason'.", field="reason")
        if len(reason) > REASON_CHARACTERS:
            raise BadInput("The reason is longer than {n} characters.", field="reason", n=REASON_CHARACTERS)
        if not is_protected(entry):
            raise Conflict("{name} isn’t protected.", address=address, name=paths.name_of(address))
        known = read(self._store, address)
        self._store.edit(address, {"protect": False}, who=user.ident, why=reason)
        lift(self._store, address, user.ident, reason)
        self._let_go(address)
        return known.version if known is not None else ""

    def mark(self, address: str) -> Mark:
        """What a protected file is protected as. Conflict where it isn't, or nothing is noted of it yet."""
        known = read(self._store, address) if is_protected(self._assets.get(address)) else None
        if known is None:
            raise Conflict("{name} isn’t protected.", address=address, name=paths.name_of(address))
        return known

    def note_kept(self, address: str, kept: str) -> None:
        """Which save what was changed became when the published bytes were put back; '': that was undone."""
        self._note(address, kept=kept)

    def is_changed(self, address: str) -> bool:
        """Whether a protected file isn't what it was protected as, by what was seen of it last."""
        seen = self._book.get(address)
        return seen is not None and seen.is_now != SAME

    def look(self, address: str) -> None:
        """Compare at once, for who just changed it and is about to answer."""
        self._safely(self._look, address)

    def view(self, address: str) -> dict[str, Any] | None:
        """As the API shows it; None for a file that isn't protected."""
        if not is_protected(self._store.index.get(address)):
            return None
        seen = self._book.get(address)
        mark = seen.mark if seen is not None else read(self._store, address) or Mark("")
        return {
            "version": mark.version,
            "hash": mark.hash,
            "at": mark.at,
            "who": mark.who,
            "changed": seen is not None and seen.is_now != SAME,
        }

    def may_unlock(self, address: str, user: User | None) -> bool:
        return may_unlock(self._assets.get(address), user)

    # Problems

    def problems(self) -> list[Problem]:
        """Every protected file that isn't what it was protected as."""
        return [
            self._problem(address, seen)
            for address, seen in sorted(self._book.copy().items())
            if seen.is_now != SAME
        ]

    def actions(self, address: str, seen: Seen) -> tuple[Action, ...]:
        """What may have been meant."""
        path = "/api/assets/" + quote(address, safe="/:@")
        back = Action(say("Put the published one back"), "POST", path + "/put-back")
        if seen.is_now == GONE:
            return (back,) if seen.mark.version else ()
        why = say("It is meant to be as it is now.")
        keep = Action(say("Keep it as it is, and unlock it"), "POST", path + "/unlock", {"reason": why})
        if not seen.mark.version:
            return (keep,)
        new = Action(say("Carry on as a new file"), "POST", path + "/carry-on")
        return (
            (back, new, keep) if seen.stat is not None and "@" not in paths.name_of(address) else (back, keep)
        )

    def _problem(self, address: str, seen: Seen) -> Problem:
        name, version = paths.name_of(address), seen.mark.version
        person = self._people.user(seen.who).title if self._people.known(seen.who) else ""
        if seen.is_now == GONE:
            text = say("{name} is protected, and is gone.", name=name)
        elif person:
            text = say("{name} is protected, and {person} changed it all the same.", name=name, person=person)
        else:
            text = say("{name} is protected, and was changed all the same.", name=name)
        mend = (
            say(
                "What was meant? Version {version} is kept as it was published.",
                version=paths.version_said(version),
            )
            if version
            else say("What was meant? Its earlier saves stand on its page.")
        )
        return faults.problem(KIND, address, text, mend, *self.actions(address, seen))

    # Within

    def _file(self, address: str, user: User) -> Entry:
        require(user, "student")
        entry = self._assets.get(address)
        if entry.facts is None:
            name = paths.name_of(address)
            raise Conflict("{name} isn't an asset. Make it one first.", address=address, name=name)
        if not may_unlock(entry, user):
            raise Forbidden(
                "Only the owner of {name} or a supervisor may do that.",
                address=address,
                name=paths.name_of(address),
            )
        return entry

    def _protect(self, address: str, mark: Mark, who: str) -> None:
        # The mark first: a record that says 'protect' without one would be compared with nothing.
        write(self._store, address, mark)
        self._store.edit(address, {"protect": True}, who=who)

    def _note(self, address: str, **changes: Any) -> Mark | None:
        with self._writing:
            known = read(self._store, address)
            if known is not None:
                known = replace(known, **changes)
                write(self._store, address, known)
            return known

    def _let_go(self, address: str) -> None:
        seen = self._book.pop(address, None)
        if seen is not None and seen.is_now != SAME:
            self._store.notify([Change("asset", address)])

    # Following what changes

    def _begin(self) -> None:
        self._everything = True

    def _has_work(self) -> bool:
        return bool(self._everything or self._touched or self._homes or self._busy)

    def _on_changes(self, changes: list[Change]) -> None:
        touched = [change.id for change in changes if change.kind == "asset"]
        everything = any(change.kind in ("share", "project") for change in changes)
        index = self._store.index
        homes = [one.id for one in changes if one.kind == "companion" and index.has_folder(one.id)]
        if touched or homes or everything:
            with self._condition:
                self._homes.update(dict.fromkeys(homes))
                self._touched.update(dict.fromkeys(touched))
                self._everything = self._everything or everything
                self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(
                    lambda: self._everything or self._touched or self._homes or self._closed
                )
                if self._closed:
                    return
                self._busy = True
                everything, self._everything = self._everything, False
                touched, homes = list(self._touched), list(self._homes)
                self._touched.clear()
                self._homes.clear()
            for folder in homes:
                self._safely(self._bring_back, folder)
            if everything:
                entries = [entry for entry in self._store.index.entries() if entry.facts is not None]
                for folder in {paths.folder_of(entry.address) for entry in entries}:
                    self._safely(self._find_again, folder)
                touched += [*self._book, *(entry.address for entry in entries if is_protected(entry))]
            for address in dict.fromkeys(touched):
                self._safely(self._look, address)
                self._safely(self._tend, address)

    def _tend(self, address: str) -> None:
        entry = self._store.index.get(address)
        if entry is not None and entry.facts is not None and not self._store.away(address):
            folders.tend(self._store, address)

    def _find_again(self, folder: str) -> None:
        self._bring_back(folder, went=False)

    def _bring_back(self, folder: str, went: bool = True) -> None:
        if self._store.away(folder) or self._projects.of(paths.join(folder, "x")) is None:
            return
        if folders.bring_back(self._store, folder, went=went):
            for address in [one for one in self._book.copy() if paths.folder_of(one) == folder]:
                self._book.pop(address, None)  # what was read of it meanwhile doesn't count
                self._safely(self._look, address)
        folders.bring_back_renders(self._store, folder)

    def _safely(self, do: Callable[[str], None], address: str) -> None:
        if self._closed:
            return
        try:
            do(address)
        except (CroftError, OSError) as error:  # it went meanwhile, or its share
            log.debug("%s can't be compared: %s", address, error)
        except Exception:
            self.faults += 1
            log.exception("%s can't be compared", address)

    def _look(self, address: str) -> None:
        """One file: whether it is still what it was protected as."""
        entry = self._store.index.get(address)
        if entry is None or not is_protected(entry):
            # Somebody may have taken the word out of the record by hand.
            if address in self._book and entry is not None and read(self._store, address) is not None:
                lift(self._store, address, "", "")
            self._let_go(address)
            return
        if entry.arriving or self._store.away(address) or self._projects.of(address) is None:
            return  # told again once it is whole, or here
        before = self._book.get(address)
        mark = read(self._store, address)
        stat, several = entry.stat, bool(self._store.sites.others(self._store.share(address)))
        if mark is None:  # protected by a word alone: what it is now counts
            if stat is None:
                return
            hashed = hashing.known(self._assets, entry) or hashing.digest(self._store, address)
            mark = Mark(hashed, self.holds(address, hashed), utc_now(), "", stat)
            write(self._store, address, mark)
            seen = Seen(mark, stat, SAME)
        elif before is not None and before.stat == stat and before.mark.hash == mark.hash:
            seen = replace(before, mark=mark)
        elif stat is None:
            seen = Seen(mark, None, GONE)
        elif stat == mark.stat or (several and hashing.known(self._assets, entry) == mark.hash):
            seen = Seen(mark, stat, SAME)
        elif hashing.digest(self._store, address) == mark.hash:
            # The same bytes, under another time or in another place. On another site's disk they always are.
            noted = None if several else self._note(address, stat=stat)
            seen = Seen(noted or mark, stat, SAME)
        else:
            seen = Seen(mark, stat, CHANGED, self._assets.owner_of(address))
        self._book[address] = seen
        if (before.is_now if before is not None else SAME) != seen.is_now:
            if seen.is_now != SAME:
                log.info("%s is protected and %s", address, seen.is_now)
            self._store.notify([Change("asset", address)])
