"""Which nodes to shut down and which to wake, now: pure, of what is there and what waits.

A node is shut down when it had nothing to do for its minutes, nothing waits that it could do, and it has been
up for its least time. It is woken when work waits that it could do, nobody who is awake is free for that, and
it has been down for its least time; so nothing flaps. One that doesn't come is given up for the moment, said
so, and called again later, ever more rarely; meanwhile others are called in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.disk.speech import say

COME_S = 240.0  # a computer that was called has so long to report
CALL_AGAIN_S = 30.0  # the packet is sent again while it is awaited: one may be lost
LATER_S = 300.0  # after a call in vain; doubled each time
LATEST_S = 4 * 3600.0
BRIEFLY_S = 20.0  # work that waits for less isn't worth starting a computer, if others are at work on it
AT_ONCE = 20  # computers that are called in one round: fuses


@dataclass(frozen=True, slots=True)
class Machine:
    """A node as far as its power goes. Times are seconds on one clock; `since`: when it came, or went."""

    name: str
    on: bool
    since: float
    busy: bool = False
    idle_since: float = 0.0
    may_sleep: bool = False
    may_wake: bool = False
    open: bool = True  # may be given work, were it on
    open_for_s: float = float("inf")  # so long, if it is
    hands_off: bool = False  # paused, used by a person, updating: nobody's to switch off
    slots: int = 1
    idle_s: float = 1800.0
    least_up_s: float = 1200.0
    least_down_s: float = 600.0
    leaving: bool = False  # was told to shut down, and hasn't gone yet
    called: float = 0.0  # when it was first called and hasn't come; 0: it wasn't
    sent: float = 0.0  # when the last packet went
    tries: int = 0  # calls in vain, since it was here last
    not_before: float = 0.0  # of the next call


@dataclass(frozen=True, slots=True)
class Demand:
    """Tasks of one kind that wait, since when, and the names of the machines that could do them."""

    tasks: int
    since: float
    fits: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with one machine: `off`, `wake` (a first call), `again` (one more packet), `lost`."""

    do: str
    name: str
    why: str = ""


def decide(machines: Sequence[Machine], demands: Sequence[Demand], now: float) -> list[Step]:
    """The steps to take now. Asking again before anything changed gives the same."""
    steps: list[Step] = []
    coming = {m.name for m in machines if not m.on and m.called and now - m.called < COME_S}
    for machine in machines:
        if machine.on or not machine.called:
            continue
        if machine.name not in coming:
            steps.append(Step("lost", machine.name, say("it was called, and did not come")))
        elif now - machine.sent >= CALL_AGAIN_S:
            steps.append(Step("again", machine.name))
    needed = _needed(machines, demands, coming, now)
    steps += [Step("wake", name, why) for name, why in needed[: max(0, AT_ONCE - len(coming))]]
    wanted = frozenset[str]().union(*(demand.fits for demand in demands if demand.tasks > 0))
    for machine in machines:
        why = _why_off(machine, machine.name in wanted and machine.open, now)
        if why:
            steps.append(Step("off", machine.name, why))
    return steps


def later_s(tries: int) -> float:
    """How long to let one be that didn't come so many times in a row."""
    return min(LATER_S * 2.0 ** max(0, tries - 1), LATEST_S)


def _why_off(machine: Machine, wanted: bool, now: float) -> str:
    if not machine.on or not machine.may_sleep or machine.leaving or machine.busy:
        return ""
    if machine.hands_off or wanted:
        return ""
    idle_s, up_s = now - machine.idle_since, now - machine.since
    if idle_s < machine.idle_s or up_s < machine.least_up_s:
        return ""
    return say("nothing to do for {idle_s:.0f} minutes", idle_s=idle_s / 60)


def _needed(
    machines: Sequence[Machine], demands: Sequence[Demand], coming: set[str], now: float
) -> list[tuple[str, str]]:
    """Who is to be called, and why: for each demand as many slots as wait beyond those that are free."""
    free = {m.name: m.slots for m in machines if m.on and m.open and not m.busy and not m.leaving}
    free |= {m.name: m.slots for m in machines if m.name in coming}
    awake = {m.name for m in machines if m.on and m.open and not m.leaving} | coming
    ready = [m for m in machines if _may_be_called(m, now)]
    # Those that come at once and have much to give, first; the name keeps the order the same.
    ready.sort(key=lambda m: (m.tries, -m.slots, m.name))
    called: list[tuple[str, str]] = []
    # What few can do is served first, or the others would take those few away.
    for demand in sorted(demands, key=lambda d: (len(d.fits), d.since)):
        left = demand.tasks
        for name in sorted(demand.fits & free.keys()):
            taken = min(left, free[name])
            free[name] -= taken
            left -= taken
        helped = bool(demand.fits & awake)
        if left <= 0 or (helped and now - demand.since < BRIEFLY_S):
            continue
        for machine in ready:
            if left <= 0:
                break
            if machine.name in demand.fits and machine.name not in free:
                waits = (
                    say("work waits") if demand.tasks == 1 else say("{tasks} frames wait", tasks=demand.tasks)
                )
                called.append((machine.name, say("{waits} that it can do", waits=waits)))
                taken = min(left, machine.slots)
                free[machine.name] = machine.slots - taken
                left -= taken
    return called


def _may_be_called(machine: Machine, now: float) -> bool:
    return (
        not machine.on
        and machine.may_wake
        and not machine.called
        and machine.open
        and not machine.hands_off
        and machine.open_for_s >= machine.least_up_s
        and now - machine.since >= machine.least_down_s
        and now >= machine.not_before
    )
