"""The talk with one server: what the session has for it goes out, what it says goes to the session.

Each server has a link with a thread of its own, so that one that hangs holds up no other. A link that fails
waits, longer each time; meanwhile the session works on, and the other servers get what they take.
"""

from __future__ import annotations

import logging
import threading
from random import Random
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple

from .config import Config
from .output import Capture
from .wire import Away, Message, Rejected, Server
from .work import Attempt

log = logging.getLogger("croft.node")
HEARTBEAT_S = 15.0  # until the server says otherwise
IDLE_S = 2.0
EAGER_S, EAGER_PART = 30.0, 0.16  # after work: where one job was there is often another
RETRY_S = 0.5  # after the first failure to reach the server
ERROR_SCALE = 2.0  # so many times longer after each further one
HIBERNATION_S = 30.0  # and at most so long
REJECTED_S = 60.0  # a server that won't have us, while another will
HANGING_S = 5.0  # a server that takes so long to answer isn't waited for by the others
RESULTS_A_REQUEST = 50
REQUEST_BYTES = 2 << 20  # of logs in one request
LOG_BYTES = 32 << 10  # of a log in one report
MOST_NAMES = 200  # of programs that a server asks for
WATCH_S = 1.0  # how often a log that somebody follows is told
PRIVATE = ("folders", "home", "site")  # of a result: not for the server


class Holder(Protocol):
    """What a link needs of the session, which holds the attempts and knows all links."""

    changed: threading.Condition  # guards what session and links share; told of each change
    config: Config
    random: Random
    worked_at: float  # when there was work last

    def over(self) -> bool: ...
    def idle(self) -> int: ...
    def varied(self, seconds: float) -> float: ...

    # What goes out
    def identity(self, now: float, theirs: Any) -> Message: ...
    def facts(self) -> Message: ...
    def mounted(self, now: float, theirs: Any) -> Dict[str, str]: ...
    def working(self, link: Link) -> List[Attempt]: ...
    def results_for(self, link: Link) -> List[Tuple[str, Message]]: ...
    def to_release(self, link: Link) -> List[str]: ...
    def wanted(self) -> Tuple[int, List[str], float]: ...
    def its_turn(self, link: Link, now: float) -> bool: ...
    def asks(self, link: Link) -> None: ...

    # What became of it
    def reached(self) -> None: ...
    def answered(self, link: Link) -> None: ...
    def asked(self, link: Link, count: int, given: int) -> None: ...
    def given_back(self, attempts: List[str]) -> None: ...
    def rejected(self, link: Link) -> bool: ...
    def keep_results(self) -> None: ...
    def note_held(self) -> None: ...

    # What the server says
    def take(self, link: Link, answer: Message) -> None: ...
    def kill(self, link: Link, attempt_id: str) -> None: ...
    def settled(self, attempt_id: str, accepted: bool = False) -> None: ...
    def refused(self, link: Link, attempt_id: str, why: str) -> None: ...
    def keep_renderers(self, seconds: float) -> None: ...
    def shut_down(self, link: Link) -> None: ...
    def update(self, link: Link, told: Message) -> None: ...
    def look_for(self, programs: List[str]) -> None: ...


class Link:
    """`run` returns when the session is over. Its state is guarded by the session's `changed`."""

    def __init__(self, session: Holder, server: Server, clock: Callable[[], float]) -> None:
        self.session = session
        self.server = server
        self.url = server.url
        self.site = ""  # the installation that this server belongs to
        self.rejected: Optional[Rejected] = None
        self.failures = 0
        self.met = ""  # the server that knows us, by its id
        self.empty_at = float("-inf")  # it had nothing for us
        self.not_theirs: Dict[str, None] = {}  # attempts of other servers that this one doesn't take
        self._clock = clock
        self._info: Message = {}
        self._introduced = False
        self._closed = ""
        self._retry_at = 0.0
        self._beat_at = 0.0
        self._early = 0.0  # by which part of what they may spread the next heartbeat comes early
        self._empty_idle = 0
        self._asked = 0
        self._talking_since = 0.0
        self._sent_at: Dict[str, float] = {}
        self._watched: List[str] = []  # attempts whose log somebody follows
        self._watch_at = float("-inf")
        self._telling: Dict[str, Tuple[Capture, int]] = {}  # of this request: how far the logs go with it

    def run(self) -> None:
        while not self.session.over():
            try:
                self._round()
            except Rejected as rejected:
                self.rejected = rejected
                if self.session.rejected(self):
                    return
                self._away(str(rejected), REJECTED_S)
            except Exception:
                # The talk must go on, or finished frames would never be delivered.
                log.exception("the talk with %s stumbled", self.url)
                self._retry_at = self._clock() + RETRY_S

    def beat_now(self) -> None:
        """Something is to be said that can't wait for the next heartbeat."""
        with self.session.changed:
            self._beat_at = float("-inf")
            self.session.changed.notify_all()

    def ready(self, now: float) -> bool:
        """Whether it could be asked for work just now."""
        hangs = self._talking_since and now - self._talking_since > HANGING_S
        return not self.failures and not hangs and self._empty_left_s(now) <= 0

    # -- one round ------------------------------------------------------------------------------------

    def _round(self) -> None:
        """Waits until there is something to say, says it, does what the server answers."""
        requests = self._wait()
        if not requests:
            return
        self._talking_since = self._clock()
        try:
            answers = self.server.talk(requests)
        except Rejected as rejected:
            if not self.met:
                raise
            self._away(str(rejected))
            return
        except Away as away:
            self._away(str(away))
            return
        finally:
            self._talking_since = 0.0
            self.session.answered(self)
        self._reached(requests)
        for answer in answers:
            try:
                self._obey(answer)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("the server said something strange: %r (%r)", answer, error)
        self.session.note_held()
        if self._asked:
            given = sum(answer.get("id") == "task" for answer in answers)
            with self.session.changed:
                if given:
                    self.session.worked_at, self.empty_at = self._clock(), float("-inf")
                else:
                    self.empty_at, self._empty_idle = self._clock(), self.session.idle()
                self.session.asked(self, self._asked, given)

    def _reached(self, requests: List[Message]) -> None:
        if self.failures:
            log.warning("the server %s is back", self.url)
        elif not self.met:
            log.info("connected to %s as %s", self.url, self.session.config.name)
        self.session.reached()
        with self.session.changed:
            for output, following in self._telling.values():
                output.told = max(output.told, following)
            self.rejected = None
            self.failures, self._introduced = 0, True
            self.met = self.met or "?"
            if any(item["id"] == "info" for item in requests):
                self._beat_at, self._early = self._clock(), self.session.random.random()
            self.session.given_back([item["uuid"] for item in requests if item["id"] == "release"])

    def _wait(self) -> List[Message]:
        """Until something is due; the requests to send, or none when it should be looked at again."""
        changed = self.session.changed
        with changed:
            while not self.session.over():
                now = self._clock()
                if now < self._retry_at:
                    changed.wait(max(0.001, self._retry_at - now))
                    continue
                requests, again_s = self._due(now)
                if requests:
                    return requests
                changed.wait(max(0.001, min(again_s, 3600.0)))
            return []

    def _due(self, now: float) -> Tuple[List[Message], float]:
        """What is to be said now; if nothing, in how many seconds there will be."""
        session = self.session
        again_s = self._beat_s() - (now - self._beat_at)
        beat = again_s <= 0 or not self._introduced
        requests: List[Message] = []
        self._telling.clear()
        if beat:
            requests.append({"id": "info", **session.facts()})
            requests += [self._report(attempt) for attempt in session.working(self)]
            again_s = self._heartbeat_s()
        elif self._watched:
            again_s = min(again_s, self._watch_at + WATCH_S - now)
            if again_s <= 0:
                # `info` as well: the answer says whether somebody still looks.
                self._watch_at, again_s = now, WATCH_S
                watched = [item for item in session.working(self) if item.id in self._watched]
                requests += [self._report(item) for item in watched]
                requests += [{"id": "info"}] if requests else []
        requests += self._results(now, beat)
        requests += [{"id": "release", "uuid": attempt} for attempt in session.to_release(self)]
        count, provides, look_s = self._wanted(now)
        again_s = min(again_s, look_s)
        self._asked = 0
        if count:
            shares = session.mounted(now, self._info.get("shares"))
            requests.append({"id": "task", "paths": sorted(shares), "provides": provides, "count": count})
            self._asked = count
            session.asks(self)
        if requests:
            # Always: a server that was started anew knows nobody.
            requests.insert(0, session.identity(now, self._info.get("shares")))
        return requests, again_s

    def _results(self, now: float, beat: bool) -> List[Message]:
        found: List[Message] = []
        size_bytes = 0
        for attempt, message in self.session.results_for(self):
            # Without an answer to it: with the next heartbeat again.
            if not beat and now - self._sent_at.get(attempt, float("-inf")) < self._heartbeat_s():
                continue
            size_bytes += sum(len(text) for _, text in message.get("output") or ())
            if len(found) >= RESULTS_A_REQUEST or (found and size_bytes > REQUEST_BYTES):
                break
            found.append({key: value for key, value in message.items() if key not in PRIVATE})
            self._sent_at[attempt] = now
        return found

    def _wanted(self, now: float) -> Tuple[int, List[str], float]:
        """How many tasks the slots can use now, with which labels, and when to look again if none."""
        count, provides, again_s = self.session.wanted()
        if not count:
            return 0, [], again_s
        left_s = self._empty_left_s(now)
        if left_s > 0:
            return 0, [], min(left_s, again_s)
        if not self.session.its_turn(self, now):
            return 0, [], min(1.0, again_s)
        return count, provides, again_s

    def _empty_left_s(self, now: float) -> float:
        """How long it isn't asked again, since it had nothing."""
        if self.session.idle() > self._empty_idle:
            return 0.0
        return self.empty_at + self._idle_s() - now

    def _report(self, attempt: Attempt) -> Message:
        progress = attempt.progress_now()
        output, told = attempt.output, {}
        if output.told_to != self.met:  # a server that was started anew knows nothing of it
            output.told, output.told_to = 0, self.met
        at, text, following = output.piece(output.told, LOG_BYTES)
        if text:
            told = {"log": text, "log_at": at}
            self._telling[attempt.id] = (output, following)
        parts: Message = {}
        if len(attempt.kept) > attempt.parts_told:  # lost ones don't matter: the end tells all of them again
            parts = {"outputs": attempt.kept[attempt.parts_told :]}
            attempt.parts_told += len(parts["outputs"])
        return {
            **told,
            **parts,
            "id": "report",
            "uuid": attempt.id,
            "frame": attempt.frame,
            "done": int(progress * 100),
            "total": 100,
            "progress": round(progress, 3),
            "begun": bool(attempt.begun_at),
            "seconds": attempt.strained_s(),
            "line": attempt.line_now()[-200:],
        }

    # -- what it says ---------------------------------------------------------------------------------

    def _obey(self, answer: Message) -> None:
        kind = answer["id"]
        if kind == "info":
            self._informed(answer)
        elif kind == "task":
            self.session.take(self, answer)
        elif kind == "kill":
            self.session.kill(self, str(answer["uuid"]))
        elif kind == "accepted":
            self._sent_at.pop(str(answer["uuid"]), None)
            self.session.settled(str(answer["uuid"]), accepted=True)
        elif kind == "refused":
            self._sent_at.pop(str(answer["uuid"]), None)
            self.session.refused(self, str(answer["uuid"]), str(answer.get("why", "")))

    def _informed(self, answer: Message) -> None:
        with self.session.changed:
            # What is said once is over with the next word; what isn't said again stays.
            keep = {key: value for key, value in self._info.items() if key not in ("watched", "closed")}
            self._info = {**keep, **answer}
            server = str(answer.get("server") or self.met or "?")
            if self.met not in ("", "?", server):
                self._introduced = False  # another, or the same started again: it has to learn who we are
            self.met = server
            self.site = server.rpartition("-")[0]
            watched = answer.get("watched")
            self._watched = [str(name) for name in watched] if isinstance(watched, list) else []
        self.session.keep_renderers(self._number("memory", 3600.0))
        closed = str(answer.get("closed") or "")
        if closed != self._closed:
            log.info(
                "%s", f"no work for this computer now: {closed}" if closed else "there may be work again"
            )
            self._closed = closed
        if answer.get("shutdown") is True:
            self.session.shut_down(self)
        if isinstance(answer.get("update"), dict):
            self.session.update(self, answer["update"])
        if isinstance(answer.get("look_for"), list):
            self.session.look_for([name for name in answer["look_for"][:MOST_NAMES] if isinstance(name, str)])

    def _away(self, sentence: str, least_s: float = 0.0) -> None:
        """It can't be reached: keep the results, try again after a while, ever more slowly."""
        with self.session.changed:
            if not self.failures:
                log.warning("%s; working on, results are kept", sentence)
            self._introduced = False
            scale = max(1.0, self._number("error_scale", ERROR_SCALE))
            most_s = self._number("hibernation", HIBERNATION_S)
            delay_s = max(least_s, min(RETRY_S * scale ** min(self.failures, 50), most_s))
            self.failures += 1
            self._retry_at = self._clock() + self.session.varied(delay_s)
        self.session.keep_results()

    # -- times ----------------------------------------------------------------------------------------

    def _heartbeat_s(self) -> float:
        return max(0.1, self._number("heartbeat", HEARTBEAT_S))

    def _beat_s(self) -> float:
        """Until the next heartbeat: early by chance, so that many nodes don't beat at once; never late."""
        beat_s = self._heartbeat_s()
        return beat_s - self._early * min(self._number("arrhythmia", 0.0), beat_s / 4)

    def _idle_s(self) -> float:
        idle_s = self._number("idle", IDLE_S)
        if self._clock() - self.session.worked_at < EAGER_S:
            idle_s *= EAGER_PART
        return self.session.varied(max(0.02, idle_s, self.session.config.tick))

    def _number(self, key: str, default: float) -> float:
        value: Any = self._info.get(key)
        return float(value) if isinstance(value, (int, float)) and value > 0 else default

    def hibernation_s(self) -> float:
        """How long a node without work waits at most before it ends (single use)."""
        return self._number("hibernation", 60.0)

    def farewell(self, requests: List[Message], timeout_s: float) -> None:
        """The last words: what is done, what is given back."""
        try:
            for answer in self.server.talk(requests, timeout_s):
                if answer.get("id") in ("accepted", "refused"):
                    self._obey(answer)
        except (Away, Rejected, KeyError) as error:
            log.warning("claims could not be given back: %s", error)
        finally:
            self.server.close()
