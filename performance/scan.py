"""How long a cold start takes to know a share, against the bare look that it can't do without.

The share: 100,000 small files with a sidecar each, one in ten with a companion folder, in 400 folders.
Bare: one loop of scandir, stat of the files, read of the sidecars. Prints one line of JSON:
`ratio` is Croft's time over the bare time on the disk; with --pool also on a mergerfs pool of two branches
(Croft's time there over the bare time on the disk).
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.disk.branches import branches_of
from server.disk.index import Index
from server.disk.inotify import Inotify
from server.disk.paths import SHARE_MARKER, Share
from server.disk.scan import Scanner

PROJECTS = 4
FOLDERS = 100  # in each project
COMPANION_EACH = 10
MARKER = json.dumps({"ident": "data", "id": "benchmark"})


def sidecar(number: int) -> bytes:
    """One as people's work makes them."""
    return json.dumps(
        {
            "schema": 1,
            "uuid": f"{number:08x}-0000-4000-8000-{number:012x}",
            "name": f"Shot {number}",
            "description": "A wide view of the valley at dawn, fog in the foreground.",
            "type": ("shot", "character", "prop", "set")[number % 4],
            "creator": f"student{number % 40}",
            "owner": f"student{number % 30}",
            "support": [f"student{number % 20}"],
            "state": ("todo", "doing", "review", "done")[number % 4],
            "priority": number % 5 + 1,
            "render": False,
            "final": number % 4 == 3,
            "time_budget": number % 16,
            "tags": [],
        },
        indent=2,
    ).encode()


def generate(roots: list[Path], count: int) -> None:
    """The share, its files taking turns on the branches; the marker lies on the first."""
    (roots[0] / SHARE_MARKER).write_text(MARKER)
    each = max(1, count // (PROJECTS * FOLDERS))
    number = 0
    while number < count:
        block = number // each
        inside = f"project{block % PROJECTS}/folder{block // PROJECTS:03d}"
        for root in roots:
            os.makedirs(root / inside, exist_ok=True)
        for _ in range(min(each, count - number)):
            folder = roots[number % len(roots)] / inside
            name = f"sh{number:06d}.blend"
            (folder / name).write_bytes(b"BLENDER-v304" + b"." * 100)
            (folder / f"{name}.json").write_bytes(sidecar(number))
            if number % COMPANION_EACH == 0:
                companion = folder / ".croft" / name
                os.makedirs(companion)
                (companion / "file.json").write_bytes(b'{"size": 112, "mtime_ns": 0}')
            number += 1
    for project in range(PROJECTS):
        for root in roots[:1]:
            (root / f"project{project}" / "project.json").write_text("{}")


def bare(root: str) -> int:
    """scandir, stat and read, nothing kept."""
    count = 0
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                    continue
                item.stat(follow_symlinks=False)
                if item.name.endswith(".json"):
                    with open(item.path, "rb") as file:
                        count += len(file.read())
    return count


def cold(share: Share) -> tuple[float, int, int]:
    """A scan into an empty index with its watches: seconds, entries, watches."""
    inotify = Inotify(lambda *_: None, lambda: None)
    index = Index()
    try:
        start = time.perf_counter()
        Scanner(share, index, watch=inotify.watch).scan()
        return time.perf_counter() - start, len(index), len(inotify)
    finally:
        inotify.close()


def pool(branches: list[Path], mount: Path) -> None:
    """A mergerfs pool of these branches, or an error that says what is missing."""
    mount.mkdir()
    command = ["mergerfs", "-o", "use_ino,category.create=mfs", ":".join(map(str, branches)), str(mount)]
    subprocess.run(command, check=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--pool", action="store_true", help="on a mergerfs pool as well")
    chosen = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="croft-scan-"))
    mount = base / "pool"
    result: dict[str, object] = {"script": "scan"}
    try:
        disk = base / "disk"
        disk.mkdir()
        generate([disk], chosen.count)
        shares = {"disk": Share("data", disk)}
        if chosen.pool and shutil.which("mergerfs"):
            branches = [base / "d1", base / "d2"]
            for branch in branches:
                branch.mkdir()
            generate(branches, chosen.count)
            pool(branches, mount)
            shares["pool"] = Share("data", mount, branches=branches_of(mount))
            assert shares["pool"].branches, "the branches of the pool aren't visible"
        times: dict[str, list[float]] = {name: [] for name in ("bare", *shares)}
        seen = {}
        for _ in range(chosen.rounds):  # interleaved, so that a busy moment hits all of them
            start = time.perf_counter()
            bare(str(disk))
            times["bare"].append(time.perf_counter() - start)
            for name, share in shares.items():
                seconds, entries, watches = cold(share)
                times[name].append(seconds)
                seen[name] = {"entries": entries, "watches": watches}
        median = {name: statistics.median(values) for name, values in times.items()}
        result["ratio"] = round(median["disk"] / median["bare"], 2)
        if "pool" in median:
            result["ratio_pool"] = round(median["pool"] / median["bare"], 2)
        result["absolute"] = {name: f"{value:.2f} s" for name, value in median.items()}
        result["seen"] = seen
        result["reach"] = "at most 3"
        print(json.dumps(result))
        return 0
    finally:
        if os.path.ismount(mount):
            subprocess.run(["fusermount", "-u", str(mount)], check=False)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
