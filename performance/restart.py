"""How long a restart takes to know a share that hasn't changed, against `find -printf` over the same tree.

The share: as in scan.py, 100,000 small files with a sidecar each, one in ten with a companion folder. A
server opens it once and closes it; then each round measures `find -printf '%p %s %T@ %C@ %i\\n'` and, in
a new process, the opening of the share, watches included. Prints one line of JSON: `ratio` is the opening's
time over find's on a plain folder; with --pool also on a mergerfs pool of three disks (find on the mount),
where the server sees the disks and where it doesn't.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from performance.scan import OPEN, generate, pool  # noqa: E402
from server.disk.entries import FRESH_S  # noqa: E402


def find(root: Path) -> float:
    """Seconds that find takes to print name, size, times and inode of everything."""
    start = time.perf_counter()
    command = ["find", str(root), "-printf", r"%p %s %T@ %C@ %i\n"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def opened(root: Path, config: Path, kind: str) -> tuple[float, int]:
    """Seconds that a new process takes to open the share, and the entries it knows then."""
    command = [sys.executable, "-c", OPEN, str(CLONE), str(root), str(config), kind]
    seconds, entries = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), int(entries)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--pool", action="store_true", help="on a mergerfs pool as well")
    chosen = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="croft-restart-"))
    mount = base / "pool"
    try:
        roots = {"disk": base / "disk"}
        roots["disk"].mkdir()
        generate([roots["disk"]], chosen.count)
        if chosen.pool and shutil.which("mergerfs"):
            branches = [base / f"d{number}" for number in (1, 2, 3)]
            for branch in branches:
                branch.mkdir()
            generate(branches, chosen.count)
            pool(branches, mount)
            roots |= {"pool": mount, "hidden": mount}
        time.sleep(FRESH_S + 2)  # files as young as that may be arriving, and are looked at again
        first = {kind: opened(root, base / kind, kind)[0] for kind, root in roots.items()}
        times: dict[str, list[float]] = {kind: [] for kind in roots}
        found: dict[str, list[float]] = {kind: [] for kind in roots}
        for _ in range(chosen.rounds):  # interleaved, so that a busy moment hits all of them
            for kind, root in roots.items():
                found[kind].append(find(root))
                seconds, entries = opened(root, base / kind, kind)
                assert entries >= chosen.count, f"{kind}: only {entries} entries"
                times[kind].append(seconds)
        median = {kind: statistics.median(values) for kind, values in times.items()}
        beside = {kind: statistics.median(values) for kind, values in found.items()}
        result: dict[str, object] = {"script": "restart", "ratio": round(median["disk"] / beside["disk"], 2)}
        for kind in list(roots)[1:]:
            result[f"ratio_{kind}"] = round(median[kind] / beside[kind], 2)
        result["absolute"] = {
            kind: f"{median[kind]:.2f} s, find {beside[kind]:.2f} s, first start {first[kind]:.2f} s"
            for kind in roots
        }
        result["reach"] = "at most 1.6"
        print(json.dumps(result))
        return 0
    finally:
        if os.path.ismount(mount):
            subprocess.run(["fusermount", "-u", str(mount)], check=False)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
