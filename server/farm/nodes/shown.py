"""A node as the API shows it."""

from __future__ import annotations

import datetime
from typing import Any

from server.farm.nodes.node import Node

CLASH_S = 120.0  # a node that was turned away asks again within half a minute


def view(node: Node, now: float, heartbeat_s: float) -> dict[str, Any]:
    """All that a node knows of itself; `now` is monotonic."""
    seen = ""
    if node.seen_at:
        stamp = datetime.datetime.fromtimestamp(node.seen_at, datetime.UTC)
        seen = stamp.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "name": node.name,
        "state": node.state(now, heartbeat_s),
        "closed": node.closed(now),
        "at": node.at or None,
        "slots": node.slots,
        "busy": min(len(node.held), node.slots),
        "provides": sorted(node.means.provides),
        "programs": node.programs,
        "version": node.version,
        "protocol": node.protocol,
        "seen": seen or None,
        "hardware": node.hardware,
        "wrong_shares": sorted(node.means.wrong_shares),
        "shares": dict(node.proofs),
        "can_shutdown": node.told.get("can_shutdown"),
        "pace": round(node.pace, 3) if node.pace else None,
        "tasks": node.tasks,
        "failed": node.failed,
        "single_use": node.single_use,
        "prenode": node.place or None,
        "update_said": node.update_said,
        "clash": now - node.clashed_at < CLASH_S,
        "power_words": node.power_words,
        "load": node.told.get("load"),
        "memory_free_mb": node.told.get("memory_free_mb"),
        "temperature_c": node.told.get("temperature_c"),
        "gpus": node.told.get("gpus") or [],
        "at_keyboard": node.told.get("at_keyboard"),
        **node.wishes.view(),
    }
