"""What a server that starts knows of its nodes from the jobs alone: how fast each is.

Who is sick stands in the nodes' files; who is kept from which job follows from its journal.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.farm.committer.board import Board
from server.farm.statistics import estimate

JOBS = 2000  # the newest, that are looked at

Part = dict[str, tuple[float, float]]  # node -> tasks done, seconds in all


def paces(board: Board) -> Mapping[str, tuple[float, float]]:
    """Of each node that did something: how many times as long as others it takes (0: nobody knows), and the
    seconds of a task in its newest job."""
    parts = [part for _, part in sorted(_parts(board), key=lambda found: found[0])[-JOBS:]]
    beside = estimate.paces(part for part in parts if len(part) > 1)
    lately = {name: seconds / done for part in parts for name, (done, seconds) in part.items() if done > 0}
    return {name: (beside.get(name, 0.0), seconds) for name, seconds in lately.items()}


def _parts(board: Board) -> list[tuple[str, Part]]:
    """When each job was made, and what each node did of it."""
    found: list[tuple[str, Part]] = []
    for live in list(board.live.values()):
        sums = {name: (float(one[0]), one[1] / 1000) for name, one in live.job.usage.by_node.copy().items()}
        found.append((str(live.record.get("created") or ""), sums))
    for ended in list(board.ended.values()):
        told = ended.result.get("nodes") or {}
        part = {name: (_number(one.get("done")), _number(one.get("seconds"))) for name, one in told.items()}
        found.append((str(ended.record.get("created") or ""), part))
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0
