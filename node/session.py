"""The talk with the server: what the slots need goes out, what the server says goes to the slots.

One thread. It wakes when something has changed or is due, and puts everything into one request. Results
are kept until the server has accepted or refused them, in the spool where it can't be reached; meanwhile
the slots work on with what they hold.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import VERSION, hardware
from .config import Config, Program
from .output import Capture, shortened
from .slots import Slot, remove_outputs
from .spool import Spool
from .wire import Away, Message, Rejected, Server
from .work import Attempt

log = logging.getLogger("croft.node")
HEARTBEAT_S = 15.0  # until the server says otherwise
IDLE_S = 2.0
EAGER_S, EAGER_PART = 30.0, 0.4  # after work: where one job was there is often another
HIBERNATION_S = 60.0
SHARES_S = 2.0  # how often the markers of the shares are looked at
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # after the first, second … failure to reach the server
RESULTS_A_REQUEST = 50
REQUEST_BYTES = 2 << 20  # of logs in one request
LOG_BYTES = 32 << 10  # of a log in one report
WATCH_S = 1.0  # how often a log that somebody follows is told
FAREWELL_S = 5.0  # for giving claims back at the end
STOP_S = 10.0  # for the slots to end


class Session:
    """`run` returns when `stop` was called or, for a single use, when there is nothing more to do."""

    def __init__(
        self,
        config: Config,
        program: Optional[Program],
        spool: Spool,
        *,
        server: Optional[Server] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._program = program
        self._spool = spool
        self._server = server or Server(config.server, config.token)
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        self._held: Dict[str, Attempt] = {}
        self._results: Dict[str, Message] = spool.load()
        self._sent_at: Dict[str, float] = {}
        self._released: List[str] = []
        self._noted: Dict[str, List[str]] = {}
        self._clean_up()
        self._info: Message = {}
        self._met = ""  # the server that knows us, by its id
        self._introduced = False
        self._failures = 0
        self._retry_at = 0.0
        self._beat_at = 0.0
        self._empty_at = float("-inf")  # the server had nothing for us
        self._empty_idle = 0
        self._worked_at = float("-inf")
        self._began_at = clock()
        self._shares: Dict[str, str] = {}
        self._shares_at = float("-inf")
        self._asked = 0
        self._watched: List[str] = []  # attempts whose log somebody follows
        self._watch_at = float("-inf")
        self._telling: Dict[str, Tuple[Capture, int]] = {}  # of this request: how far the logs go with it
        memory = config.memory_mb or hardware.total_memory_mb() * 2 // 3 // len(config.processes)
        self.slots = [
            Slot(config, program, threads, memory, self._deliver, self._wake) for threads in config.processes
        ]
        self._identity: Message = {
            "id": "identity",
            "name": config.name,
            "version": VERSION,
            "protocol": 2,
            "provides": config.provides,
            "slots": len(self.slots),
            "hardware": hardware.describe(),
            "mac": hardware.mac(),
            "programs": {},
            "instance": uuid.uuid4().hex,  # tells two computers with one name apart
            "does": ["test-pattern", "run"],
        }
        if program is not None:
            self._identity["programs"] = {"blender": hardware.blender_version(program)}
            self._identity["does"] = ["blender-frame", "test-pattern", "run"]

    def stop(self) -> None:
        """Asks `run` to give everything back and return; may be called from any thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _clean_up(self) -> None:
        """After a node that was killed: its claims go back, what it wrote under their names goes away."""
        for attempt, folders in self._spool.left_over().items():
            if attempt not in self._results:
                self._released.append(attempt)
                for folder in folders:
                    remove_outputs(self._config, folder, f".{attempt}.")
        self._spool.note_held({})

    def _note_held(self) -> None:
        with self._changed:
            held = {attempt.id: attempt.folders() for attempt in self._held.values()}
        if held != self._noted:
            self._noted = held
            self._spool.note_held(held)

    def run(self) -> None:
        """Raises Rejected where the server won't have this node at all."""
        for slot in self.slots:
            slot.start()
        try:
            while not self._over():
                try:
                    self._round()
                except Rejected:
                    raise
                except Exception:
                    # The talk must go on, or finished frames would never be delivered.
                    log.exception("the talk with the server stumbled")
                    self._retry_at = self._clock() + RETRY_S[1]
        finally:
            self._farewell()

    def _round(self) -> None:
        """Waits until there is something to say, says it, does what the server answers."""
        requests = self._wait()
        if not requests:
            return
        try:
            answers = self._server.talk(requests)
        except Rejected as rejected:
            if not self._met:
                raise
            self._away(str(rejected))
            return
        except Away as away:
            self._away(str(away))
            return
        if self._failures:
            log.warning("the server is back")
        elif not self._met:
            log.info("connected to %s as %s", self._server.url, self._config.name)
        for output, following in self._telling.values():
            output.told = max(output.told, following)
        self._failures, self._introduced = 0, True
        self._met = self._met or "?"
        self._beat_at = self._clock() if any(item["id"] == "info" for item in requests) else self._beat_at
        given_back = {item["uuid"] for item in requests if item["id"] == "release"}
        with self._changed:
            self._released = [attempt for attempt in self._released if attempt not in given_back]
        for answer in answers:
            try:
                self._obey(answer)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("the server said something strange: %r (%r)", answer, error)
        self._note_held()
        if self._asked:
            if not any(answer.get("id") == "task" for answer in answers):
                self._empty_at, self._empty_idle = self._clock(), self._idle()
            else:
                self._worked_at, self._empty_at = self._clock(), float("-inf")

    def _wait(self) -> List[Message]:
        """Until something is due; the requests to send, or none when it should be looked at again."""
        with self._changed:
            while not self._stopping:
                now = self._clock()
                requests, again_s = self._due(now)
                if requests and now >= self._retry_at:
                    return requests
                self._changed.wait(max(0.001, self._retry_at - now if requests else again_s))
                if self._over():
                    break
            return []

    def _due(self, now: float) -> "tuple[List[Message], float]":
        """What is to be said now; if nothing, in how many seconds there will be."""
        again_s = self._heartbeat_s() - (now - self._beat_at)
        beat = again_s <= 0 or not self._introduced
        requests: List[Message] = []
        size_bytes = 0
        self._telling.clear()
        if beat:
            requests.append({"id": "info"})
            requests += [
                self._report(attempt) for attempt in self._held.values() if attempt.id not in self._results
            ]
            again_s = self._heartbeat_s()
        elif self._watched:
            again_s = min(again_s, self._watch_at + WATCH_S - now)
            if now >= self._watch_at + WATCH_S:
                # `info` as well: it says whether somebody still looks.
                self._watch_at, again_s = now, WATCH_S
                watched = [self._held[name] for name in self._watched if name in self._held]
                requests += [self._report(item) for item in watched if item.id not in self._results]
                requests += [{"id": "info"}] if requests else []
        for attempt, message in list(self._results.items())[:RESULTS_A_REQUEST]:
            # Without an answer to it: with the next heartbeat again.
            if beat or now - self._sent_at.get(attempt, float("-inf")) >= self._heartbeat_s():
                size_bytes += sum(len(text) for _, text in message.get("output") or ())
                if size_bytes > REQUEST_BYTES and requests:
                    again_s = 0.0
                    break
                requests.append({key: value for key, value in message.items() if key != "folders"})
                self._sent_at[attempt] = now
        requests += [{"id": "release", "uuid": attempt} for attempt in self._take_back()]
        count, look_s = self._wanted(now)
        again_s = min(again_s, look_s)
        self._asked = 0
        if count:
            shares = self._mounted(now)
            task = {"id": "task", "paths": sorted(shares), "provides": self._config.provides, "count": count}
            requests.append(task)
            self._asked = count
        if requests:
            # Always: a server that was started anew knows nobody.
            requests.insert(0, {**self._identity, "paths": self._mounted(now)})
        return requests, again_s

    def _wanted(self, now: float) -> "tuple[int, float]":
        """How many tasks the slots can use now, and when to look again if none."""
        count, again_s = 0, float("inf")
        for slot in self.slots:
            wants, look_s = slot.wants()
            count += wants
            if not wants:
                again_s = min(again_s, look_s)
        if count and self._idle() <= self._empty_idle:
            left_s = self._empty_at + self._idle_s() - now
            if left_s > 0:
                return 0, min(left_s, again_s)
        return count, again_s

    def _take_back(self) -> List[str]:
        for slot in self.slots:
            attempt = slot.gives_back()
            if attempt is not None:
                self._held.pop(attempt.id, None)
                self._released.append(attempt.id)
        return self._released

    def _report(self, attempt: Attempt) -> Message:
        progress = attempt.progress_now()
        output, log = attempt.output, {}
        if output.told_to != self._met:  # a server that was started anew knows nothing of it
            output.told, output.told_to = 0, self._met
        at, text, following = output.piece(output.told, LOG_BYTES)
        if text:
            log = {"log": text, "log_at": at}
            self._telling[attempt.id] = (output, following)
        return {
            **log,
            "id": "report",
            "uuid": attempt.id,
            "frame": attempt.frame,
            "done": int(progress * 100),
            "total": 100,
            "progress": round(progress, 3),
            "begun": bool(attempt.begun_at),
            "seconds": attempt.strained_s(),
            "line": attempt.line[-200:],
        }

    def _obey(self, answer: Message) -> None:
        kind = answer["id"]
        if kind == "info":
            self._informed(answer)
        elif kind == "task":
            self._take(answer)
        elif kind == "kill":
            self._kill(str(answer["uuid"]))
        elif kind == "accepted":
            self._settled(str(answer["uuid"]))
        elif kind == "refused":
            self._refused(str(answer["uuid"]), str(answer.get("why", "")))

    def _informed(self, answer: Message) -> None:
        self._info = answer
        watched = answer.get("watched")
        self._watched = [str(name) for name in watched] if isinstance(watched, list) else []
        server = str(answer.get("server") or "?")
        if self._met not in ("", "?", server):
            self._introduced = False  # another server, or the same started again: it has to learn who we are
        self._met = server

    def _take(self, answer: Message) -> None:
        attempt = Attempt.of(answer)
        with self._changed:
            if attempt.id in self._held or attempt.id in self._results:
                return  # told twice
            slots = [slot for slot in self.slots if slot.idle() or slot.next is None]
            # The idle first, then the one that has the file open already.
            slots.sort(key=lambda slot: (not slot.idle(), slot.file() != attempt.file))
            if not slots:
                self._released.append(attempt.id)
                return
            self._held[attempt.id] = attempt
        log.info("frame %s of %s", attempt.frame, attempt.job or attempt.file)
        slots[0].give(attempt)

    def _kill(self, attempt_id: str) -> None:
        attempt = self._held.get(attempt_id)
        self._drop_result(attempt_id)
        if attempt is None:
            return
        log.info("frame %s of %s was taken back by the server", attempt.frame, attempt.job)
        attempt.cancelled.set()
        for slot in self.slots:
            if attempt in (slot.current, slot.next):
                slot.cancel(attempt)
                return

    def _settled(self, attempt_id: str) -> None:
        with self._changed:
            self._results.pop(attempt_id, None)
            self._sent_at.pop(attempt_id, None)
            self._held.pop(attempt_id, None)
        self._spool.forget(attempt_id)

    def _refused(self, attempt_id: str, why: str) -> None:
        log.warning("the server did not take a result: %s", why or "it gave no reason")
        self._drop_result(attempt_id)

    def _drop_result(self, attempt_id: str) -> None:
        """The attempt is somebody else's now: what it wrote under its own names goes."""
        message = self._results.get(attempt_id)
        if message is not None:
            for folder in message.get("folders", ()):
                remove_outputs(self._config, str(folder), f".{attempt_id}.")
            self._settled(attempt_id)

    def _deliver(self, attempt: Attempt, message: Optional[Message]) -> None:
        """From a slot: the attempt is over. Sent at once."""
        with self._changed:
            if message is None or attempt.cancelled.is_set():
                self._held.pop(attempt.id, None)
                if message is not None:
                    for folder in message.get("folders", ()):
                        remove_outputs(self._config, str(folder), attempt.prefix())
            elif message["id"] == "release":
                self._held.pop(attempt.id, None)
                self._released.append(attempt.id)
                message = None
            elif attempt.id in self._held:
                self._results[attempt.id] = message
            self._changed.notify_all()
        if self._failures and message is not None:
            message["output"] = shortened(message.get("output"))
            self._spool.keep(message)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _away(self, sentence: str) -> None:
        """The server can't be reached: keep the results, try again after a while, ever more slowly."""
        if not self._failures:
            log.warning("%s; working on, results are kept", sentence)
        self._introduced = False
        delay_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        self._retry_at = self._clock() + self._varied(delay_s)
        for message in list(self._results.values()):
            message["output"] = shortened(message.get("output"))
            self._spool.keep(message)
        if self._spool.problem:
            log.warning("%s", self._spool.problem)
            self._spool.problem = ""

    def _mounted(self, now: float) -> Dict[str, str]:
        """The shares that are here; said when it changes. A marker that isn't the server's counts as away."""
        if now - self._shares_at >= SHARES_S:
            found = self._config.mounted()
            theirs = self._info.get("shares")
            if isinstance(theirs, dict):
                wrong = {name for name in found if theirs.get(name) not in (None, found[name])}
                found = {name: ident for name, ident in found.items() if name not in wrong}
            for name in sorted(set(self._shares) - set(found)):
                log.warning("share %s isn't mounted any more: no tasks on it", name)
            for name in sorted(set(self._config.shares) - set(found)) if self._shares_at < 0 else []:
                log.warning("share %s has no marker at %s: is it mounted?", name, self._config.shares[name])
            if found != self._shares:
                self._introduced = False
            self._shares, self._shares_at = found, now
        return self._shares

    def _idle(self) -> int:
        return sum(slot.idle() for slot in self.slots)

    def _over(self) -> bool:
        """A single use ends when there was something and is no more, or when nothing came for too long."""
        if self._stopping:
            return True
        if not self._config.single_use or self._held or self._results or self._empty_at < 0:
            return False
        waited_s = self._clock() - self._began_at
        return self._worked_at > 0 or waited_s > self._number("hibernation", HIBERNATION_S)

    def _farewell(self) -> None:
        """Ends what runs, gives the claims back, keeps what could not be delivered."""
        for attempt in list(self._held.values()):
            if attempt.id not in self._results and not attempt.ended_at:
                attempt.cancelled.set()
                self._released.append(attempt.id)
                for slot in self.slots:
                    if attempt in (slot.current, slot.next):
                        slot.cancel(attempt)
        for slot in self.slots:
            slot.stop()
        for slot in self.slots:
            slot.join(STOP_S)
        requests = [
            {key: value for key, value in item.items() if key != "folders"} for item in self._results.values()
        ]
        requests += [{"id": "release", "uuid": attempt} for attempt in self._released]
        if requests and self._met:
            try:
                requests.insert(0, {**self._identity, "paths": self._shares})
                for answer in self._server.talk(requests, FAREWELL_S):
                    if answer.get("id") in ("accepted", "refused"):
                        self._obey(answer)
            except (Away, Rejected, KeyError) as error:
                log.warning("claims could not be given back: %s", error)
        for message in self._results.values():
            self._spool.keep(message)
        self._spool.note_held({})
        self._server.close()

    def _heartbeat_s(self) -> float:
        return max(0.1, self._number("heartbeat", HEARTBEAT_S))

    def _idle_s(self) -> float:
        idle_s = self._number("idle", IDLE_S)
        if self._clock() - self._worked_at < EAGER_S:
            idle_s *= EAGER_PART
        return self._varied(max(0.02, idle_s, self._config.tick))

    def _number(self, key: str, default: float) -> float:
        value: Any = self._info.get(key)
        return float(value) if isinstance(value, (int, float)) and value > 0 else default

    def _varied(self, seconds: float) -> float:
        return seconds * (1 + self._config.jitter * random.random())
