"""What one node has in hand: its slots, the attempts that they hold, the results that wait.

Each server of its list has a link (`link.py`) that talks with it; they take turns at asking for work. A
result goes to the server that gave its attempt, or, while that can't be reached, to another one of the same
installation. Results are kept until a server has accepted or refused them, in the spool where none can be
reached; meanwhile the slots work on with what they hold.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import uuid
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import VERSION, commands, hardware
from .config import Config, Program, find_program
from .figures import figures
from .keyboard import Keyboard
from .link import Link
from .output import shortened
from .process import Manner
from .servers import Servers
from .slots import IDLE_BLENDER_S, Slot, remove_outputs
from .spool import Spool
from .update import Updates, build
from .wire import Message, Server
from .work import Attempt

log = logging.getLogger("croft.node")
SHARES_S = 2.0  # how often the markers of the shares are looked at
FAREWELL_S = 5.0  # for giving claims back at the end
STOP_S = 10.0  # for the slots to end
PATIENCE_S = 900.0  # what is suspended for a person at the keyboard is given back after so long


class Session:
    """`run` returns when `stop` was called, when a server has had it shut down or brought up to date, or, for
    a single use, when there is nothing more to do. `ending` says which: "", "shutdown" or "update"."""

    def __init__(
        self,
        config: Config,
        program: Optional[Program],
        spool: Spool,
        *,
        keyboard: Optional[Keyboard] = None,
        updates: Optional[Updates] = None,
        servers: Optional[List[Server]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.changed = threading.Condition()
        self.random = random.Random()
        self.worked_at = float("-inf")
        self.delivered = False  # a server has accepted something
        self.ending = ""
        self._spool = spool
        self._clock = clock
        self._keyboard = keyboard
        self._updates = updates
        self._stopping = False
        self._leaving = False  # no new work: what is held is finished, then it ends
        self._held: Dict[str, Attempt] = {}
        self._results: Dict[str, Message] = spool.load()
        self._released: Dict[str, str] = {}  # attempt -> the server that gave it, by its address
        self._noted: Dict[str, Tuple[str, List[str]]] = {}
        self._clean_up()
        self._began_at = clock()
        self._shares: Dict[str, str] = {}
        self._shares_at = float("-inf")
        self._wrong: Set[str] = set()
        self._used = False  # somebody is at the keyboard
        self._used_at = 0.0
        self._gpu_turn = False
        memory = config.memory_mb or hardware.total_memory_mb() * 2 // 3 // len(config.processes)
        self.slots = [
            Slot(config, program, seat, memory, self._deliver, self.wake) for seat in config.processes
        ]
        made = servers or [Server(url, token) for url, token in config.servers]
        self.links = [Link(self, server, clock) for server in made]
        self._servers = Servers(self.links, self.changed, clock)
        self._identity: Message = {
            "id": "identity",
            "name": config.name,
            "version": VERSION,
            "build": build(),
            "protocol": 2,
            "provides": self._labels(True),
            "slots": len(self.slots),
            "hardware": hardware.describe(),
            "mac": hardware.mac(),
            "gpus": hardware.gpus(),
            "single_use": config.single_use,
            "programs": dict.fromkeys(config.programs, ""),
            "instance": uuid.uuid4().hex,  # tells two computers with one name apart
            "does": list(commands.PLAIN),
        }
        for key in ("prenode", "run"):  # who has started it, where it was a prenode
            if os.environ.get(f"CROFT_{key.upper()}"):
                self._identity[key] = os.environ[f"CROFT_{key.upper()}"]
        if program is not None:
            self._identity["programs"]["blender"] = hardware.blender_version(program)
            self._identity["does"] = [*commands.BLENDER, *commands.PLAIN]

    # -- its life -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Asks `run` to give everything back and return; may be called from any thread."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()

    def leave(self, ending: str) -> None:
        """Asks `run` to finish what is held, take nothing more, and return."""
        with self.changed:
            if not self.ending:
                self.ending, self._leaving = ending, True
                self.changed.notify_all()

    def run(self) -> None:
        """Raises Rejected where no server will have this node at all."""
        for slot in self.slots:
            slot.start()
        threads = [threading.Thread(target=link.run, name="link", daemon=True) for link in self.links]
        if self._keyboard is not None:
            self._keyboard.subscribe(self._somebody)
        try:
            for thread in threads:
                thread.start()
            # A look now and then is for what takes its time; what ends a node ends its links.
            while any(thread.is_alive() for thread in threads) and not self._stopping:
                for thread in threads:
                    thread.join(0.5)
                self._lose_patience()
        finally:
            self.stop()
            for thread in threads:
                thread.join(FAREWELL_S)
            hanging = [link for link, thread in zip(self.links, threads) if thread.is_alive()]
            self._farewell(hanging)
        refusals = [link.rejected for link in self.links if link.rejected is not None]
        if len(refusals) == len(self.links):
            raise refusals[0]

    def over(self) -> bool:
        """A single use ends when there was something and is no more, or when nothing came for too long."""
        if self._stopping:
            return True
        if self._held or self._results:
            return False
        if self._leaving:
            return True
        asked = [link for link in self.links if link.empty_at > 0]
        if not self.config.single_use or not asked:
            return False
        if any(link.empty_at < 0 and not link.failures for link in self.links):
            return False
        waited_s = self._clock() - self._began_at
        return self.worked_at > 0 or waited_s > min(link.hibernation_s() for link in asked)

    def rejected(self, link: Link) -> bool:
        """Whether it is over: no server will have this node."""
        if all(one.rejected is not None for one in self.links):
            self.stop()
        return self._stopping

    def shut_down(self, link: Link) -> None:
        """The server wants the computer off: obeyed only where its owner allows it."""
        if not self.config.allow_shutdown:
            log.warning("the server asked to shut this computer down; allow_shutdown isn't set: passed over")
            return
        if not self.ending:
            log.info("the server shuts this computer down")
            self.leave("shutdown")  # what another server gave it is finished first

    def update(self, link: Link, told: Message) -> None:
        """The server has another version of this program."""
        if self._updates is not None and self._updates.want(told, link.server):
            log.info("bringing this node up to date: %s", told.get("version") or told.get("build"))

    def look_for(self, programs: List[str]) -> None:
        """The server has work for these programs: those that are here are told with the next word."""
        found = {name: path for name in programs if (path := find_program(name))}
        if found:
            log.info("found %s", ", ".join(found.values()))
            self.config.programs.update(found)
            with self.changed:
                told = {**self._identity["programs"], **dict.fromkeys(found, "")}
                self._identity = {**self._identity, "programs": told}

    def reached(self) -> None:
        """A server has answered: this program works."""
        if self._updates is not None:
            self._updates.prove()

    def keep_renderers(self, seconds: float) -> None:
        """How long a renderer may stay for nothing, as a server says."""
        for slot in self.slots:
            slot.keep_s = min(IDLE_BLENDER_S, max(1.0, seconds))

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # -- what the links say ---------------------------------------------------------------------------

    def identity(self, now: float, theirs: Any) -> Message:
        return {**self._identity, "paths": self.mounted(now, theirs)}

    def facts(self) -> Message:
        """What changes from heartbeat to heartbeat."""
        found: Message = {**figures(), "can_shutdown": self.config.allow_shutdown}
        if self._keyboard is not None and self._keyboard.known():
            found["at_keyboard"] = self._used
            found["idle_only"] = self.config.idle_only
        if self._updates is not None and self._updates.error:
            found["update_error"] = self._updates.error
        return found

    def working(self, link: Link) -> List[Attempt]:
        """Attempts that this server is to hear of."""
        return [
            attempt
            for attempt in self._held.values()
            if attempt.id not in self._results and self._servers.concerns(link, attempt.home, attempt.site)
        ]

    def results_for(self, link: Link) -> List[Tuple[str, Message]]:
        """Results that this server may take."""
        return [
            (name, message)
            for name, message in self._results.items()
            if self._servers.concerns(
                link, str(message.get("home") or ""), str(message.get("site") or ""), name
            )
        ]

    def to_release(self, link: Link) -> List[str]:
        for slot in self.slots:
            attempt = slot.gives_back()
            if attempt is not None:
                self._held.pop(attempt.id, None)
                self._released[attempt.id] = attempt.home
        return [name for name, home in self._released.items() if self._servers.concerns(link, home, "")]

    def given_back(self, attempts: List[str]) -> None:
        for attempt in attempts:
            self._released.pop(attempt, None)

    def wanted(self) -> Tuple[int, List[str], float]:
        """How many tasks the slots can use now, with which labels, and when to look again if none."""
        if self._leaving or self._stopping or (self._used and self.config.idle_only):
            return 0, [], float("inf")
        counts, again_s = {True: 0, False: 0}, float("inf")
        for slot in self.slots:
            wants, look_s = slot.wants()
            counts[slot.seat.gpu is not None] += wants
            if not wants:
                again_s = min(again_s, look_s)
        # One kind at a time: a task that needs a GPU must not come for a slot without.
        gpu = self._gpu_turn if counts[True] and counts[False] else counts[True] > 0
        return counts[gpu], self._labels(gpu), again_s

    def _labels(self, gpu: bool) -> List[str]:
        has = gpu and any(slot.seat.gpu is not None for slot in self.slots)
        return sorted({*self.config.provides, *(["gpu"] if has else [])})

    def its_turn(self, link: Link, now: float) -> bool:
        """Whether this server is to be asked for work now, before the others."""
        return self._servers.its_turn(link, now)

    def asks(self, link: Link) -> None:
        """It is asked now."""
        self._servers.asks(link)
        self._gpu_turn = not self._gpu_turn

    def answered(self, link: Link) -> None:
        self._servers.answered(link)

    def asked(self, link: Link, count: int, given: int) -> None:
        self._servers.asked(link, count, given)

    # -- what the servers say -------------------------------------------------------------------------

    def take(self, link: Link, answer: Message) -> None:
        attempt = Attempt.of(answer)
        attempt.home, attempt.site = link.url, link.site
        needs_gpu = "gpu" in (answer.get("requires") or ())
        with self.changed:
            if attempt.id in self._held or attempt.id in self._results:
                return  # told twice
            slots = [slot for slot in self.slots if slot.idle() or slot.next is None]
            if needs_gpu and any(slot.seat.gpu is not None for slot in self.slots):
                slots = [slot for slot in slots if slot.seat.gpu is not None]
            # The idle first, then the one that has the file open already; GPUs are kept for who needs them.
            slots.sort(
                key=lambda slot: (not slot.idle(), slot.file() != attempt.file, slot.seat.gpu is not None)
            )
            if not slots or self._leaving:
                self._released[attempt.id] = attempt.home
                return
            self._held[attempt.id] = attempt
            slots[0].give(attempt)
        log.info("frame %s of %s", attempt.frame, attempt.job or attempt.file)

    def kill(self, link: Link, attempt_id: str) -> None:
        attempt = self._held.get(attempt_id)
        if attempt is not None and not self._servers.decides(link, attempt.home, attempt.site):
            return
        self._drop_result(attempt_id)
        if attempt is None:
            return
        log.info("frame %s of %s was taken back by the server", attempt.frame, attempt.job)
        self._cancel(attempt)

    def _cancel(self, attempt: Attempt) -> None:
        attempt.cancelled.set()
        for slot in self.slots:
            if attempt in (slot.current, slot.next):
                slot.cancel(attempt)
                return

    def settled(self, attempt_id: str, accepted: bool = False) -> None:
        with self.changed:
            self.delivered = self.delivered or accepted
            self._results.pop(attempt_id, None)
            self._held.pop(attempt_id, None)
            if self._leaving:
                self.changed.notify_all()
        self._spool.forget(attempt_id)

    def refused(self, link: Link, attempt_id: str, why: str) -> None:
        message = self._results.get(attempt_id, {})
        if not self._servers.decides(link, str(message.get("home") or ""), str(message.get("site") or "")):
            link.not_theirs[attempt_id] = None  # its own server will take it
            while len(link.not_theirs) > 10_000:
                del link.not_theirs[next(iter(link.not_theirs))]
            return
        log.warning("the server did not take a result: %s", why or "it gave no reason")
        self._drop_result(attempt_id)

    def _drop_result(self, attempt_id: str) -> None:
        """The attempt is somebody else's now: what it wrote under its own names goes."""
        message = self._results.get(attempt_id)
        if message is not None:
            for folder in message.get("folders", ()):
                remove_outputs(self.config, str(folder), f".{attempt_id}.")
            self.settled(attempt_id)

    # -- what the slots say ---------------------------------------------------------------------------

    def _deliver(self, attempt: Attempt, message: Optional[Message]) -> None:
        """From a slot: the attempt is over. Sent at once."""
        with self.changed:
            if message is None or attempt.cancelled.is_set():
                self._held.pop(attempt.id, None)
                if message is not None:
                    for folder in message.get("folders", ()):
                        remove_outputs(self.config, str(folder), attempt.prefix())
            elif message["id"] == "release":
                self._held.pop(attempt.id, None)
                self._released[attempt.id] = attempt.home
                message = None
            elif attempt.id in self._held:
                message.update(home=attempt.home, site=attempt.site)
                self._results[attempt.id] = message
            self.changed.notify_all()
        if message is not None and all(link.failures for link in self.links):
            self._keep(message)

    def _keep(self, message: Message) -> None:
        message["output"] = shortened(message.get("output"))
        self._spool.keep(message)
        if self._spool.problem:
            log.warning("%s", self._spool.problem)
            self._spool.problem = ""

    def keep_results(self) -> None:
        """A server can't be reached: what waits for it must outlive this program."""
        for message in list(self._results.values()):
            self._keep(message)

    def _clean_up(self) -> None:
        """After a node that was killed: its claims go back, what it wrote under their names goes away."""
        for attempt, (home, folders) in self._spool.left_over().items():
            if attempt not in self._results:
                self._released[attempt] = home
                for folder in folders:
                    remove_outputs(self.config, folder, f".{attempt}.")
        self._spool.note_held({})

    def note_held(self) -> None:
        with self.changed:
            held = {item.id: (item.home, item.folders()) for item in self._held.values()}
        if held != self._noted:
            self._noted = held
            self._spool.note_held(held)

    # -- a person at the keyboard ---------------------------------------------------------------------

    def _somebody(self, used: bool) -> None:
        """Somebody has sat down at this computer, or has gone."""
        with self.changed:
            self._used, self._used_at = used, self._clock()
            held = list(self._held.values())
        if self.config.when_used in ("suspend", "lower"):
            Manner.set(self.config.when_used if used else "go on")
        if self.config.when_used == "suspend":
            for attempt in held:
                attempt.suspend() if used else attempt.resume()
        elif self.config.when_used == "give back" and used:
            self._give_back(held)
        log.info("%s", "somebody is at this computer" if used else "this computer is free again")
        for link in self.links:
            link.beat_now()

    def _lose_patience(self) -> None:
        """What was suspended is another computer's after a while."""
        waits = self._used and self.config.when_used == "suspend" and self._held
        if waits and self._clock() - self._used_at > PATIENCE_S:
            self._give_back(list(self._held.values()))

    def _give_back(self, attempts: List[Attempt]) -> None:
        for attempt in attempts:
            if attempt.id not in self._results and not attempt.ended_at:
                with self.changed:
                    self._released[attempt.id] = attempt.home
                self._cancel(attempt)

    # -- shares and times -----------------------------------------------------------------------------

    def mounted(self, now: float, theirs: Any) -> Dict[str, str]:
        """The shares that are here; said when it changes. A marker that isn't the server's counts as away."""
        if now - self._shares_at >= SHARES_S:
            found = self.config.mounted()
            for name in sorted(set(self._shares) - set(found)):
                log.warning("share %s isn't mounted any more: no tasks on it", name)
            for name in sorted(set(self.config.shares) - set(found)) if self._shares_at < 0 else []:
                log.warning("share %s has no marker at %s: is it mounted?", name, self.config.shares[name])
            self._shares, self._shares_at = found, now
        if not isinstance(theirs, dict):
            return self._shares
        return {name: ident for name, ident in self._shares.items() if theirs.get(name) in (None, ident)}

    def idle(self) -> int:
        return sum(slot.idle() for slot in self.slots)

    def varied(self, seconds: float) -> float:
        return seconds * (1 + self.config.jitter * self.random.random())

    def _farewell(self, hanging: List[Link]) -> None:
        """Ends what runs, gives the claims back, keeps what could not be delivered."""
        for attempt in list(self._held.values()):
            if attempt.id not in self._results and not attempt.ended_at:
                self._released[attempt.id] = attempt.home
                self._cancel(attempt)
        for slot in self.slots:
            slot.stop()
        for slot in self.slots:
            slot.join(STOP_S)
        for link in self.links:
            requests = [
                {key: value for key, value in message.items() if key not in ("folders", "home", "site")}
                for _, message in self.results_for(link)
            ]
            requests += [{"id": "release", "uuid": attempt} for attempt in self.to_release(link)]
            if self.ending == "shutdown":
                requests.append({"id": "info", "shutting_down": True})
            if requests and link.met and not link.failures and link not in hanging:
                link.farewell([self.identity(self._clock(), None), *requests], FAREWELL_S)
        for message in self._results.values():
            self._spool.keep(message)
        self._spool.note_held({})
