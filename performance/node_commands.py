#!/usr/bin/env python3
"""Trivial commands a second that one real node with 8 slots does for a real server, over HTTP.

A job of many tasks, each of which runs /bin/true: claimed, started on a leash, its output kept, delivered,
accepted and flushed. The ratio is to a bare loop that starts the same program as often, one after the other,
run beside it in turn; a second figure is a bare pool of 8 threads that do so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/node"))

from real_farm import RealFarm, make_scenes, until

SLOTS = 8
TARGET_A_SECOND = 60


def bare(count: int) -> float:
    begun = time.monotonic()
    for _ in range(count):
        start()
    return count / (time.monotonic() - begun)


def pooled(count: int) -> float:
    begun = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(lambda _: start(), range(count)))
    return count / (time.monotonic() - begun)


def start() -> None:
    subprocess.run(["/bin/true"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def farmed(farm: RealFarm, count: int) -> float:
    """From the first claim to the last frame accepted, as the journal tells it."""
    request = {
        "file": "data::demo/shots/sh010.blend",
        "frames": f"1-{count}",
        "type": "command-line",
        "parameters": {"command": ["/bin/true"]},
    }
    status, job = until(lambda: (answer := farm.api("POST", "/api/jobs", request))[0] != 409 and answer)
    assert status == 201, job
    ended = until(lambda: (view := farm.job(job["id"]))["state"] != "waiting" and view, 60)
    begun = time.monotonic()
    before = ended["counts"]["done"]
    ended = until(
        lambda: (view := farm.job(job["id"]))["state"] not in ("waiting", "running") and view, 300, 0.2
    )
    seconds = time.monotonic() - begun
    assert ended["state"] == "done", ended
    return float((count - before) / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"node": [], "bare": [], "pool": []}
    with tempfile.TemporaryDirectory() as name:
        farm = RealFarm(Path(name) / "farm", settle_s=0.2, lease_s=90, heartbeat_s=10)
        try:
            make_scenes(Path(name), "plain")
            (Path(name) / "plain.blend").rename(farm.shots / "sh010.blend")
            farm.start_node("alpha", processes=[1] * SLOTS)
            until(lambda: farm.api("GET", "/api/assets/data::demo/shots/sh010.blend")[0] == 200)
            farmed(farm, 50)  # its leashes are there now
            for _ in range(options.rounds):
                found["bare"].append(bare(options.tasks))
                found["node"].append(farmed(farm, options.tasks))
                found["pool"].append(pooled(options.tasks))
        finally:
            farm.close()
    middle = {key: statistics.median(rates) for key, rates in found.items()}
    print(
        json.dumps(
            {
                "script": "node_commands",
                "ratio": round(middle["node"] / middle["bare"], 3),
                "ratio_to_pool": round(middle["node"] / middle["pool"], 3),
                "target_a_second": TARGET_A_SECOND,
                "absolute": {f"{key}_a_second": round(rate, 1) for key, rate in middle.items()},
                "rounds": {key: [round(rate, 1) for rate in rates] for key, rates in found.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
