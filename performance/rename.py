"""How soon a folder of 1,000 assets that is renamed shows under its new name, all of it and nothing twice.

A real server; the folder is renamed to and fro, on a plain folder and on a mergerfs pool of three disks (by
the file system), and on the pool through Samba (by smbclient). Needs root, mergerfs and Samba. Prints one
line of JSON: `ratio` is the slowest median over the promised two seconds; beside it the time of a bare look
(scandir, stat, read of the sidecars) at the same folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from performance.scan import bare, sidecar  # noqa: E402
from tests.nas.crowd import blend  # noqa: E402
from tests.nas.kit import GROUP, Nas, nas  # noqa: E402

REACH_S = 2.0
NAMES = ("shots", "scenes")


def needs(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not found:
        raise SystemExit(f"This needs {program}.")
    return found


def make(place: Nas, count: int) -> Path:
    """The folder, with its sidecars, and its disks as the pool chooses them."""
    folder = place.data / "demo" / NAMES[0]
    folder.mkdir()
    shutil.chown(folder, "games", GROUP)
    folder.chmod(0o2775)
    for number in range(count):
        for name, raw in (
            (f"sh{number:04d}.blend", blend(number)),
            (f"sh{number:04d}.blend.json", sidecar(number)),
        ):
            (folder / name).write_bytes(raw)
            shutil.chown(folder / name, "games", GROUP)
            (folder / name).chmod(0o664)
    return folder


def shown(place: Nas) -> dict[str, int]:
    """How many assets that are whole lie in each folder."""
    found: dict[str, int] = {}
    for row in place.assets(project="demo"):
        if row["status"] == "ok":
            folder = row["path"].partition("/")[0]
            found[folder] = found.get(folder, 0) + 1
        else:
            found["not ok"] = found.get("not ok", 0) + 1
    return found


def until(place: Nas, folder: str, count: int) -> float:
    """Seconds until all is there and nothing elsewhere."""
    start = time.perf_counter()
    while shown(place) != {folder: count}:
        if time.perf_counter() - start > 60:
            raise SystemExit(f"It shows {shown(place)}.")
    return time.perf_counter() - start


def measure(place: Nas, count: int, rounds: int, rename: Callable[[str, str], object]) -> float:
    until(place, NAMES[0], count)
    times = []
    for number in range(rounds):
        old, new = NAMES[number % 2], NAMES[1 - number % 2]
        rename(old, new)
        times.append(until(place, new, count))
    return statistics.median(times)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=4)
    chosen = arguments.parse_args()
    times: dict[str, float] = {}
    looks = 0.0
    for policy, ways in (("", ("disk",)), ("mfs", ("pool", "samba")), ("epmfs", ("samba epmfs",))):
        with nas(needs, policy) as place:
            folder = make(place, chosen.count)
            if not policy:
                start = time.perf_counter()
                bare(str(folder))
                looks = time.perf_counter() - start
            for way in ways:

                def rename(old: str, new: str, place: Nas = place, way: str = way) -> None:
                    if way.startswith("samba"):
                        place.ana(f"rename demo/{old} demo/{new}")
                    else:
                        os.rename(place.data / "demo" / old, place.data / "demo" / new)

                times[way] = measure(place, chosen.count, chosen.rounds, rename)
    result = {
        "script": "rename",
        "ratio": round(max(times.values()) / REACH_S, 2),
        "absolute": {way: f"{seconds:.2f} s" for way, seconds in times.items()}
        | {"bare look": f"{looks:.3f} s"},
        "reach": f"at most {REACH_S:.0f} s",
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
