"""What is really known of a render that could go better. Pure: figures in, sentences for people out.

Each piece of advice needs enough frames to be sure, and a difference that is worth anybody's time; where
nothing stands out, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from server.disk.speech import count, say, together

LEAST_FRAMES = 8  # done, before anything is said of their times
SLOW_TIMES = 2.5  # the median, from which on a frame counts as slow
SLOW_S = 2.0  # and so many seconds more
WORTH = 0.1  # of the whole time: what stands out for less isn't told
NODE_FRAMES = 4  # of a computer's own before its pace is judged
NODE_TIMES = 2.0
FULL = 0.85  # of a computer's memory
LOADING = 0.5  # of the time
FAILS = 3  # of a computer's attempts, where others' go well
MOST = 4  # pieces of advice


@dataclass(frozen=True, slots=True)
class Frame:
    """One that is done."""

    frame: int
    seconds: float
    node: str
    memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """`kind` is slow frames, slow computer, memory, loading or failing computer."""

    kind: str
    text: str


def advise(
    frames: Sequence[Frame],
    *,
    waited_s: float = 0.0,
    memory_mb: Mapping[str, float] | None = None,
    failed: Mapping[str, int] | None = None,
) -> list[Advice]:
    """`waited_s`: of all frames' time, what went into opening the scene; `memory_mb`: what each computer
    has; `failed`: attempts that failed there."""
    found: list[Advice] = []
    if len(frames) >= LEAST_FRAMES:
        paces = _paces(frames)
        found += [*_slow_frames(frames, paces), *_slow_node(paces), *_loading(frames, waited_s)]
    found += [*_memory(frames, memory_mb or {}), *_failing(frames, failed or {})]
    return found[:MOST]


def _paces(frames: Sequence[Frame]) -> dict[str, float]:
    """Each computer's time for a frame over the others', from medians; 1 where too little is known."""
    by_node: dict[str, list[float]] = {}
    for one in frames:
        by_node.setdefault(one.node, []).append(one.seconds)
    medians = {name: median(times) for name, times in by_node.items()}
    found = {}
    for name, times in by_node.items():
        others = [medians[other] for other in by_node if other != name and len(by_node[other]) >= NODE_FRAMES]
        usual = median(others) if others else 0.0
        found[name] = medians[name] / usual if len(times) >= NODE_FRAMES and usual > 0 else 1.0
    return found


def _slow_frames(frames: Sequence[Frame], paces: Mapping[str, float]) -> list[Advice]:
    """A run of frames that take much longer, whoever renders them."""
    ordered = sorted(frames, key=lambda one: one.frame)
    # A slow computer's frames are not slow frames.
    times = [one.seconds / max(1.0, paces[one.node]) for one in ordered]
    middle = median(times)
    limit = max(SLOW_TIMES * middle, middle + SLOW_S)
    runs: list[list[int]] = []
    for at, seconds in enumerate(times):
        if seconds <= limit:
            continue
        if runs and at - runs[-1][-1] <= 2:  # one quick frame between two slow ones parts nothing
            runs[-1].append(at)
        else:
            runs.append([at])
    if not runs or middle <= 0:
        return []
    best = max(runs, key=lambda run: sum(times[at] - middle for at in run))
    if sum(times[at] - middle for at in best) < WORTH * sum(times):
        return []
    mean = sum(times[at] for at in best) / len(best)
    first, last = ordered[best[0]].frame, ordered[best[-1]].frame
    times_as = _times(mean / middle)
    if first == last:
        text = say(
            "Frame {frame} takes {times} as long as a frame in the middle.", frame=first, times=times_as
        )
    else:
        text = say(
            "Frames {first} to {last} take {times} as long as a frame in the middle.",
            first=first,
            last=last,
            times=times_as,
        )
    return [Advice("slow frames", text)]


def _slow_node(paces: Mapping[str, float]) -> list[Advice]:
    slow = {name: pace for name, pace in paces.items() if pace >= NODE_TIMES}
    if not slow:
        return []
    name = max(slow, key=lambda one: slow[one])
    text = say(
        "{computer} takes {times} as long for a frame as the others.", computer=name, times=_times(slow[name])
    )
    more = count("{n} more is slow, too.", "{n} more are slow, too.", max(0, len(slow) - 1))
    return [Advice("slow computer", together([text, more if len(slow) > 1 else ""]))]


def _loading(frames: Sequence[Frame], waited_s: float) -> list[Advice]:
    whole = sum(one.seconds for one in frames)
    part = waited_s / whole if whole > 0 else 0.0
    if not LOADING <= part <= 1:
        return []
    return [
        Advice(
            "loading",
            say(
                "{part:.0%} of the time goes into opening the scene: a smaller file, or more frames "
                "in one go, would save most of it.",
                part=part,
            ),
        )
    ]


def _memory(frames: Sequence[Frame], memory_mb: Mapping[str, float]) -> list[Advice]:
    worst: tuple[float, str, int] = (0.0, "", 0)
    for one in frames:
        has = memory_mb.get(one.node)
        if has and one.memory_mb / has > worst[0]:
            worst = (one.memory_mb / has, one.node, one.memory_mb)
    part, node, peak = worst
    if part < FULL:
        return []
    return [
        Advice(
            "memory",
            say(
                "Up to {need} of memory are needed, and {computer} has {has}: a little more, "
                "and frames fail there.",
                need=_gigabytes(peak),
                computer=node,
                has=_gigabytes(memory_mb[node]),
            ),
        )
    ]


def _failing(frames: Sequence[Frame], failed: Mapping[str, int]) -> list[Advice]:
    """One computer fails where the others do well."""
    done: dict[str, int] = {}
    for one in frames:
        done[one.node] = done.get(one.node, 0) + 1
    worst = max(failed, key=lambda name: failed[name], default="")
    others = sum(count for name, count in done.items() if name != worst)
    others_failed = sum(count for name, count in failed.items() if name != worst)
    if not worst or failed[worst] < FAILS or others < FAILS or others_failed * 3 > failed[worst]:
        return []
    return [
        Advice(
            "failing computer",
            count(
                "{n} try failed on {computer}, where others do well: have somebody look at it.",
                "{n} tries failed on {computer}, where others do well: have somebody look at it.",
                failed[worst],
                computer=worst,
            ),
        )
    ]


def _times(value: float) -> str:
    if value < 3:
        return say("{n:.1f} times", n=value) if round(value, 1) % 1 else say("{n:.0f} times", n=value)
    return say("{n:.0f} times", n=value)


def _gigabytes(megabytes: float) -> str:
    if megabytes < 10_240:
        return say("{n:.1f} GB", n=megabytes / 1024)
    return say("{n:.0f} GB", n=megabytes / 1024)
