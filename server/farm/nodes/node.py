"""One node as it last described itself, what people decided for it, and the one gate before new work.

Lives in memory and is heard anew from the node's own requests. `closed` is asked wherever somebody wants to
know whether a node may be given work: by the wire, by the pages, by whoever explains why a job waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from server.disk.errors import Conflict
from server.disk.speech import say
from server.farm.failures.bounds import Worth
from server.farm.jobs.attempts import Claim
from server.farm.nodes.sickness import Sickness
from server.farm.nodes.wishes import NONE, Wishes
from server.farm.scheduler import Means

AWAY_HEARTBEATS = 3  # silent for so many: it is away
PACE_WEIGHT = 0.2  # of the newest task in the running mean
UPDATE_S = 600.0  # a node that was told to bring itself up to date has so long
LEAVE_S = 300.0  # one that was told to shut down has so long; then it is as if nobody had said it
RECENT = 30  # tasks and versions of one node that are remembered
NOT_OPEN = ("away", "off", "waking")  # states of a node that isn't there
MAY_WORK = ("idle", "busy")


class Node:
    """One node. Written by the thread that answers it, by the committer's where it says so."""

    __slots__ = (
        *("build", "displaced", "does", "doing", "failed", "hardware", "held", "instance", "instance_at"),
        *("leaves_until", "means", "name", "pace", "programs", "protocol", "seconds", "seen", "seen_at"),
        *("_hours", "_hours_until", "_wall", "_zone", "idle_since", "provides", "sickness", "single_use"),
        *("slots", "tasks", "told", "told_idle", "update_said", "updates_until", "version", "wishes"),
        *("clashed_at", "place", "run"),
        *("at", "kept", "sick_told"),
        *("came", "identity", "left", "power_state", "power_words", "proofs", "recent", "versions", "worth"),
    )

    def __init__(
        self,
        name: str,
        wall: Callable[[], float] = lambda: 0.0,
        zone: Callable[[], ZoneInfo] = lambda: ZoneInfo("UTC"),
    ) -> None:
        self.name = name
        self.means = Means(protocol=1)
        self.provides: frozenset[str] = frozenset()  # as it says itself; `means` has people's labels too
        self.does: frozenset[str] | None = None  # commands that it knows; None: it doesn't say
        self.protocol = 1
        self.version = ""
        self.build = ""  # tells its program's files from others'
        self.slots = 1
        self.single_use = False
        self.place = ""  # the prenode that started it elsewhere; "": it is one of the house's own
        self.run = ""  # how that prenode calls it
        self.hardware: dict[str, Any] = {}
        self.programs: dict[str, str] = {}
        self.told: dict[str, Any] = {}  # load, memory_free_mb, temperature_c, gpus, at_keyboard … as of now
        self.seen = 0.0  # monotonic
        self.seen_at = 0.0  # seconds since the epoch
        self.came = 0.0  # monotonic: since when it is here
        self.idle_since = 0.0  # monotonic: since when it holds nothing
        self.held: dict[str, tuple[str, Claim]] = {}  # attempt -> job id, claim
        self.instance = ""  # the running program that has this name: another at each start
        self.instance_at = 0.0  # monotonic; when it last spoke
        self.displaced = ""  # the one that had the name before
        self.clashed_at = float("-inf")  # monotonic: when that one spoke again, though it lives no more here
        self.proofs: dict[str, str] = {}  # share -> same, other or unproven
        self.identity: dict[str, Any] = {}  # what it said of itself last, as far as power/ keeps it
        self.left = False  # it said that it is shutting down
        self.wishes: Wishes = NONE
        self.sickness = Sickness()
        self.kept = 0  # how many of its sickness's changes are in its file
        self.sick_told: Any = None  # what its file says of its sickness
        self.worth = Worth()  # its pace beside others'
        self.at = ""  # the computer whose server it talks with, where that isn't this one
        self.leaves_until = 0.0  # monotonic: it was told to shut down
        self.updates_until = 0.0  # monotonic: it was told to bring itself up to date
        self.update_said = ""  # why that didn't work
        self.power_state = ""  # "off", "waking", "lost": what power/ knows of one that isn't there
        self.power_words = ""  # the same for people
        self.told_idle = 0.0  # how long it was told to wait when there is nothing to do
        self.recent: deque[tuple[float, str, int, str]] = deque(maxlen=RECENT)
        self.versions: deque[tuple[float, str, str]] = deque(maxlen=RECENT)  # since when, which, its build
        self.tasks = 0
        self.failed = 0
        self.seconds = 0.0
        self.pace = 0.0  # seconds a task takes here, lately
        self._wall = wall
        self._zone = zone
        self._hours: tuple[bool, float, Any] = (True, 0.0, None)
        self._hours_until = 0.0

    @property
    def paused(self) -> bool:
        """Did a person pause it?"""
        return self.wishes.paused

    def succeeded(self, seconds: float) -> None:
        """A task of its was accepted."""
        self.tasks += 1
        self.seconds += seconds
        self.pace = seconds if self.tasks == 1 else self.pace + PACE_WEIGHT * (seconds - self.pace)
        self.sickness.succeeded()

    def learn(self, worth: float, seconds: float) -> None:
        """What jobs tell of its pace, where it did nothing since the server was started."""
        if worth and not self.worth.tasks:
            self.worth.learn(worth)
        if seconds and not self.tasks:
            self.pace = seconds

    def note(self, job_id: str, task: int, reason: str = "") -> None:
        """Remember what became of a task here: done, or the reason why it failed."""
        self.recent.appendleft((self._wall(), job_id, task, reason))

    def spoken_by(self, instance: str, now: float, patience_s: float) -> None:
        """A newly started program takes the name over, as after a crash. One that was displaced and speaks
        again while its successor lives is a second computer with the same name: Conflict."""
        if instance != self.instance:
            if instance == self.displaced and now - self.instance_at < patience_s:
                self.clashed_at = now
                raise Conflict(
                    "Another node is called {name} too: give each node a name of its own.",
                    name=repr(self.name),
                )
            self.displaced, self.instance = self.instance, instance
            self.leaves_until = self.updates_until = 0.0
            self.clashed_at = float("-inf")
        self.instance_at = now

    def must_be_ours(self) -> None:
        """Conflict where it talks with another server: what its next heartbeat brings is told there."""
        if self.at:
            raise Conflict(
                "{node} talks with the server on {at}: do that on its pages.", node=self.name, at=self.at
            )

    def take_note(self, told: Mapping[str, Any]) -> None:
        """What it says of itself at each heartbeat. Nonsense in single fields is left out."""
        if told.get("shutting_down") is True:
            self.left = True
        if isinstance(told.get("update_error"), str) and told["update_error"]:
            self.update_said, self.updates_until = told["update_error"][:300], 0.0
        for key, check in _TOLD.items():
            value = told.get(key)
            if value is not None:
                kept = check(value)
                if kept is not None:
                    self.told[key] = kept

    def can_stop(self, frame: int | list[int] | None) -> bool:
        """Can it be told to stop what it renders? RFAM's node ends over a `kill` for a video: were that
        given to somebody else meanwhile, two would write one file."""
        return self.protocol >= 2 or isinstance(frame, int)

    # -- the gate -------------------------------------------------------------------------------------

    def closed(self, now: float) -> str:
        """Why it gets no work now; "" when it may be given some. `now` is monotonic."""
        return self._closed(now)[1]

    def state(self, now: float, heartbeat_s: float) -> str:
        """away, off, waking; paused, draining, leaving, updating, sick, hours, used; busy or idle."""
        if self.left:
            return "waking" if self.power_state == "waking" else "off"
        if now - self.seen > AWAY_HEARTBEATS * heartbeat_s + 1 or not self.seen_at:
            return self.power_state if self.power_state in ("off", "waking") else "away"
        return self._closed(now)[0] or ("busy" if self.held else "idle")

    def may_work(self, now: float, heartbeat_s: float) -> bool:
        """Whether it is here and open."""
        return self.state(now, heartbeat_s) in MAY_WORK

    def _closed(self, now: float) -> tuple[str, str]:
        wishes = self.wishes
        if wishes.paused:
            return "paused", say(
                "paused by {paused_by}", paused_by=wishes.paused_by
            ) if wishes.paused_by else "paused"
        if wishes.draining:
            said = (
                say("finishes what it has")
                if self.held
                else say("has nothing more to do: it may be switched off")
            )
            return "draining", f"draining: {said}"
        if now < self.leaves_until:
            return "leaving", say("shutting down")
        if now < self.updates_until:
            return "updating", say("being brought up to date")
        sick = self.sickness.why(now)
        if sick:
            return "sick", sick
        if wishes.schedule and not self.in_hours():
            return "hours", say("outside its hours ({words})", words=wishes.schedule.words())
        if (wishes.idle_only or self.told.get("idle_only")) and self.told.get("at_keyboard"):
            return "used", say("somebody is working at it")
        return "", ""

    def in_hours(self) -> bool:
        """Whether its schedule is open just now."""
        return self._look_at_hours()[0]

    def hours_left_s(self) -> float:
        """For how long its hours stay as they are: open, or closed."""
        return self._look_at_hours()[1] - self._wall()

    def _look_at_hours(self) -> tuple[bool, float]:
        wall, schedule, zone = self._wall(), self.wishes.schedule, self._zone()
        is_open, until, of = self._hours
        if of != (schedule, zone.key) or not self._hours_until <= wall < until:
            is_open, until = schedule.look(wall, zone)
            self._hours = (is_open, until, (schedule, zone.key))
            self._hours_until = wall
        return is_open, until


def _number(low: float, high: float) -> Callable[[Any], Any]:
    def check(value: Any) -> float | None:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        return value if fits else None

    return check


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _gpus(value: Any) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    found = []
    for item in value[:16]:
        if isinstance(item, Mapping):
            memory = item.get("memory_mb")
            known = {"name": str(item.get("name") or "GPU")[:80]}
            found.append({**known, **({"memory_mb": memory} if isinstance(memory, int) else {})})
        elif isinstance(item, str):
            found.append({"name": item[:80]})
    return found


_TOLD: dict[str, Callable[[Any], Any]] = {
    "load": _number(0, 1e5),
    "memory_free_mb": _number(0, 1e9),
    "temperature_c": _number(-50, 250),
    "at_keyboard": _flag,
    "idle_only": _flag,  # by its own configuration, whatever people wish
    "can_shutdown": _flag,
    "gpus": _gpus,
}
