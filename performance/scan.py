"""How long a cold start takes to know a share, against the bare look that it can't do without.

The share: 100,000 small files with a sidecar each, one in ten with a companion folder, in 400 folders.
Bare: one loop of scandir, stat of the files, read of the sidecars. Prints one line of JSON:
`ratio` is Croft's time over the bare time on the disk; with --pool also on a mergerfs pool of two branches
(Croft's time there over the bare time on the disk).
With --operations instead: how many file operations (system calls) each asset costs on a pool, cold (the pool
just mounted, no snapshot) and warm (a restart), in the server and in mergerfs, where the server sees the
pool's disks and where it doesn't (`hidden`). Beside it find's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from server.disk.branches import branches_of  # noqa: E402
from server.disk.entries import FRESH_S  # noqa: E402
from server.disk.index import Index  # noqa: E402
from server.disk.inotify import Inotify  # noqa: E402
from server.disk.paths import SHARE_MARKER, Share  # noqa: E402
from server.disk.scan import Scanner  # noqa: E402

PROJECTS = 4
FOLDERS = 100  # in each project
COMPANION_EACH = 10
MARKER = json.dumps({"ident": "data", "id": "benchmark"})
COUNTED = 5_000  # assets whose operations are counted: strace makes each take long
# Not of the share: those of the kernel's channel to mergerfs, and of memory and threads.
OTHERS = {
    "read",
    "readv",
    "write",
    "writev",
    "splice",
    "pread64",
    "futex",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
}
FILE_CALLS = {
    "open", "openat", "close", "stat", "lstat", "fstat", "newfstatat", "statx", "getdents64", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getxattr", "lgetxattr", "inotify_add_watch", "read",
    "pread64", "lseek", "fcntl",
}  # fmt: skip

OPEN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from server.disk import mounts
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.disk.watcher import Watcher
if sys.argv[4] == "hidden":
    mounts.branches_of = lambda root: ()
store = Store(Settings(Path(sys.argv[3])), [Share("data", Path(sys.argv[2]))])
Watcher(store)
start = time.perf_counter()
store.open()
took = time.perf_counter() - start
print(took, len(store.index))
store.close()
"""


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


def calls(command: list[str], tracked: int = 0) -> tuple[int, int]:
    """File operations of a command and its children; and, if a process is tracked meanwhile, of that."""
    with tempfile.TemporaryDirectory() as folder:
        own, other = Path(folder, "own"), Path(folder, "other")
        follower = None
        if tracked:
            follow = ["strace", "-q", "-f", "-c", "-U", "calls,name", "-o", str(other), "-p", str(tracked)]
            follower = subprocess.Popen(follow, stderr=subprocess.DEVNULL)
            time.sleep(1)  # it has no way to tell that it is attached
        counted = ["strace", "-q", "-f", "-c", "-U", "calls,name", "-o", str(own), *command]
        subprocess.run(counted, stdout=subprocess.DEVNULL, check=True)
        if follower is not None:
            follower.send_signal(signal.SIGINT)
            follower.wait()
        return summed(own, FILE_CALLS), summed(other, FILE_CALLS - OTHERS) if tracked else 0


def summed(path: Path, names: set[str]) -> int:
    rows = (line.split() for line in path.read_text().splitlines())
    return sum(int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1] in names)


def count_operations(base: Path) -> dict[str, object]:
    """For each asset, cold and warm."""
    branches = [base / f"d{number}" for number in (1, 2)]
    mount, empty = base / "pool", base / "empty"
    for folder in (*branches, empty):
        folder.mkdir()
    (empty / SHARE_MARKER).write_text(MARKER)
    generate(branches, COUNTED)
    time.sleep(FRESH_S + 2)  # files as young as that may be arriving, and are looked at again

    def command(root: Path, kind: str) -> list[str]:
        return [sys.executable, "-c", OPEN, str(CLONE), str(root), str(base / kind), kind]

    start = calls(command(empty, "nothing"))[0]  # what Python reads of itself
    found: dict[str, object] = {}
    for kind in ("pool", "hidden", "find"):
        for state in ("cold", "warm"):
            if state == "cold":
                remount(branches, mount)
            asked = (
                ["find", str(mount), "-printf", r"%p %s %T@ %C@ %i\n"]
                if kind == "find"
                else command(mount, kind)
            )
            own, its = calls(asked, process_of(mount))
            own -= 0 if kind == "find" else start
            found[f"{kind} {state}"] = {
                "server" if kind != "find" else "find": round(own / COUNTED, 1),
                "mergerfs": round(its / COUNTED, 1),
            }
    return found


def remount(branches: list[Path], mount: Path) -> None:
    """The pool anew: the kernel knows nothing of it."""
    if os.path.ismount(mount):
        subprocess.run(["fusermount", "-u", str(mount)], check=True)
        mount.rmdir()
    pool(branches, mount)


def process_of(mount: Path) -> int:
    """The mergerfs process that serves this mount."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(mount) in words and b"mergerfs" in words[0]:
            return int(folder.name)
    raise SystemExit("mergerfs doesn't run.")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--pool", action="store_true", help="on a mergerfs pool as well")
    arguments.add_argument("--operations", action="store_true", help="count them, with strace, on a pool")
    chosen = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="croft-scan-"))
    mount = base / "pool"
    result: dict[str, object] = {"script": "scan"}
    try:
        if chosen.operations:
            counted = count_operations(base)
            print(json.dumps({"script": "scan --operations", "for each asset": counted}))
            return 0
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
