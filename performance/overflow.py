"""Seconds from the decision that a job overflows to a cluster until the first frame is done there.

A server, one node of its own that is busy for minutes, a prenode, and a Slurm of one machine (Debian's
slurm-wlm and munge). Each round submits a job; the decision is when the job's page says that computers
elsewhere are wanted for it. Then come the prenode's next look, sbatch, Slurm's own start, Python's start over
there, the node's first words, and a picture that takes no time. The ratio is to what is bare: `sbatch` of a
script that writes a file, until that is there, and one such picture drawn by a node that is started for it
here. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CLONE), str(CLONE / "tests/node"), str(CLONE / "tests/prenode")]

from bridge_farm import BridgeFarm  # noqa: E402
from real_farm import until  # noqa: E402
from slurm_kit import Slurm  # noqa: E402


def bare(slurm: Slurm, folder: Path, number: int) -> float:
    """Seconds from sbatch until its script has written a file."""
    script, written = folder / f"bare{number}.sh", folder / f"bare{number}"
    script.write_text(f"#!/bin/sh\necho >{written}\n")
    began = time.perf_counter()
    slurm.run("sbatch", "--output=/dev/null", str(script))
    until(written.exists, look_s=0.005)
    return time.perf_counter() - began


def node_alone(farm: BridgeFarm, number: int) -> float:
    """Seconds from starting a node here until it has done a frame that waits for it."""
    job = farm.pattern(1, 0)
    began = time.perf_counter()
    node = farm.start_node(f"alone{number}", processes=[1], single_use=True, provides=["alone"])
    until(lambda: farm.events(job, "done"), look_s=0.005)
    spent = time.perf_counter() - began
    node.terminate()
    node.wait()
    return spent


def overflow(farm: BridgeFarm) -> tuple[float, float]:
    """Seconds from submission to decision, and from there to the first frame of the cluster."""
    began = time.perf_counter()
    job = farm.pattern(4, 0)
    until(lambda: (farm.job(job).get("where") or {}).get("elsewhere"), look_s=0.02)
    decided = time.perf_counter()
    until(lambda: farm.events(job, "done"), look_s=0.005)
    done = time.perf_counter()
    assert not any(node.startswith("near") for node in farm.done_by(job))
    farm.wait_for(job, "done")
    until(lambda: not farm.slurm.jobs())
    return decided - began, done - decided


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    chosen = arguments.parse_args()
    slurm = Slurm()
    try:
        with tempfile.TemporaryDirectory(prefix="croft-overflow-") as name:
            folder = Path(name)
            farm = BridgeFarm(folder, slurm, lease_s=60, heartbeat_s=2)
            try:
                alone = [node_alone(farm, number) for number in range(chosen.rounds)]
                farm.start_node("near", processes=[1])
                busy = farm.pattern(1, 3600)
                until(lambda: farm.events(busy, "claim"))
                farm.start_prenode(check_time=10, retry_time=30)
                found = [(bare(slurm, folder, n), *overflow(farm)) for n in range(chosen.rounds)]
            finally:
                farm.close()
    finally:
        slurm.close()
    plain, decided, far = (statistics.median(column) for column in zip(*found, strict=True))
    node = statistics.median(alone)
    told = (
        f"{far:.2f} s from decision to the first far frame (sbatch alone {plain:.2f} s, a node {node:.2f} s)"
    )
    print(
        json.dumps(
            {
                "script": "overflow",
                "ratio": round(far / (plain + node), 2),
                "absolute": f"{told}; decided {decided:.2f} s after the submission",
                "rounds": [round(row[2], 2) for row in found],
                "commit": commit(),
            }
        )
    )
    return 0


def commit() -> str:
    command = ["git", "-C", str(CLONE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
