"""How often nodes report and idle ones ask: so that many don't drown the server, and few never wait.

Idle nodes that can do the same are of one kind. What matters for a job is how often *somebody* of a kind
asks, so each kind asks so many times a second in all: one node alone asks every quarter of a second, five
hundred every ten. All kinds together have a limit. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

KIND_A_SECOND = 16.0  # idle nodes of one kind ask so often, together
POLLS_A_SECOND = 100.0  # … and those of all kinds
BEATS_A_SECOND = 100.0  # reports that the farm likes to hear, all nodes together
LEAST_IDLE_S = 0.25
ERROR_SCALE = 2.0  # a node that can't reach us waits so many times longer after each try
HIBERNATION_S = 30.0  # … and at most so long: after a restart they all come back at once
COMING_BACK_A_SECOND = 50.0
ARRHYTHMIA = 0.2  # part of a heartbeat by which nodes spread theirs


@dataclass(frozen=True, slots=True)
class Pace:
    """What nodes are told."""

    heartbeat_s: float
    arrhythmia_s: float
    hibernation_s: float
    idle_s: Mapping[Hashable, float] = field(default_factory=dict)

    def idle_of(self, kind: Hashable) -> float:
        """How long an idle node of this kind waits before it asks again."""
        return self.idle_s.get(kind, LEAST_IDLE_S)


def pace(present: int, idle: Mapping[Hashable, int], heartbeat_s: float, lease_s: float) -> Pace:
    """The pace for so many nodes, so many of each kind idle. `heartbeat_s` is as configured: many nodes
    beat more slowly, yet at least three times in a lease."""
    beat_s = max(heartbeat_s, min(present / BEATS_A_SECOND, lease_s / 3))
    idle_s = {kind: max(LEAST_IDLE_S, count / KIND_A_SECOND) for kind, count in idle.items()}
    polls = sum(idle[kind] / seconds for kind, seconds in idle_s.items())
    slower = max(1.0, polls / POLLS_A_SECOND)
    return Pace(
        heartbeat_s=round(beat_s, 2),
        arrhythmia_s=round(min(2.0, beat_s * ARRHYTHMIA), 2),
        hibernation_s=max(HIBERNATION_S, round(present / COMING_BACK_A_SECOND, 1)),
        idle_s={
            kind: round(max(LEAST_IDLE_S, min(seconds * slower, beat_s)), 2)
            for kind, seconds in idle_s.items()
        },
    )
