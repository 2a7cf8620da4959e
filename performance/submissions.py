#!/usr/bin/env python3
"""Submissions a second: `POST /api/jobs/` as tools of other farms send it, to the real server over HTTP.

Each makes a job of 100 frames that survives a power cut when its id is answered: the scene's snapshot, the
version's folder, the request and the journal's first line. One client after the other; eight at once; eight
at once, each for a scene of its own; the same asked again with its key. The ratio is to the least that it
takes: a copy of the scene, and two files written aside, flushed, renamed, their folders flushed, by as many.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

SCENE_BYTES = 1_000_000
MANY = 8
START_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="of each kind and round")
    parser.add_argument("--rounds", type=int, default=3, help="medians count")
    parser.add_argument("--folder", type=Path, help="where the share is made (default: the temporary folder)")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="croft-submissions-", dir=given.folder))
    try:
        found = measure(folder, given.jobs, given.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rates = {name: round(statistics.median(each)) for name, each in found.items()}
    result = {
        "script": "submissions",
        "ratio": round(rates["bare"] / rates["at_once"], 2),
        "absolute": {"a_second": rates, "jobs": given.jobs, "clients": MANY},
    }
    print(json.dumps(result))
    return 0


def measure(folder: Path, jobs: int, rounds: int) -> dict[str, list[float]]:
    from server.disk.settings import Settings
    from server.library.people import People

    shots = folder / "data/demo/shots"
    shots.mkdir(parents=True)
    (folder / "data/demo/project.json").write_text("{}")
    for n in range(MANY):
        (shots / f"sh{n:03}.blend").write_bytes(
            b"BLENDER-v304" + os.urandom(SCENE_BYTES) + b"ENDB" + b"\0" * 20
        )
    token = People(Settings(folder / "config")).make_token(user="admin")
    command = [sys.executable, str(CLONE / "run.py"), "serve", "--port", "0"]
    command += ["--config", str(folder / "config"), "--data", str(folder / "data")]
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    with (
        open(folder / "server.log", "wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as server,
    ):
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
            wait_for_scenes(port, token)
            found: dict[str, list[float]] = {}
            for turn in range(rounds):
                kinds: dict[str, Callable[[int, int], None]] = {
                    "one_by_one": lambda who, n: submit(port, token, 0),
                    "at_once": lambda who, n: submit(port, token, 0),
                    "own_scenes": lambda who, n: submit(port, token, who),
                    "again": lambda who, n, turn=turn: submit(port, token, who, f"{turn} {who} {n % 5}"),
                    "bare": lambda who, n, turn=turn: bare(
                        folder / "bare", shots / "sh000.blend", turn, who, n
                    ),
                }
                for name, what in kinds.items():
                    found.setdefault(name, []).append(rate(what, jobs, 1 if name == "one_by_one" else MANY))
            return found
        finally:
            server.terminate()


def rate(what: Callable[[int, int], None], jobs: int, at_once: int) -> float:
    """So many a second, by so many at once."""
    faults: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for n in range(jobs // at_once):
                what(who, n)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(at_once)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return jobs // at_once * at_once / (time.perf_counter() - began)


local = threading.local()


def submit(port: int, token: str, scene: int, key: str = "") -> str:
    """One job; its id. Each client keeps its connection."""
    if getattr(local, "port", 0) != port:
        local.port, local.link = port, http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    params = {"scene_file": f"data::demo/shots/sh{scene:03}.blend", "frange": "1-100"}
    body = json.dumps({"name": "from a tool", "params": params, "timestamp": time.time()}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    local.link.request("POST", "/api/jobs/", body, {**headers, **({"Idempotency-Key": key} if key else {})})
    answer = local.link.getresponse()
    told = json.loads(answer.read())
    assert answer.status == 201, told
    return str(told["data"])


def bare(folder: Path, scene: Path, turn: int, who: int, n: int) -> None:
    """The least that a job takes on a disk."""
    place = folder / f"{turn}-{who}-{n}"
    (place / "version").mkdir(parents=True)
    shutil.copyfile(scene, place / "snapshot.blend")
    flushed(place / "snapshot.blend")
    for name in ("job.json", "journal.jsonl"):
        aside = place / f".{name}"
        aside.write_bytes(b"{}" * 500)
        flushed(aside)
        os.replace(aside, place / name)
        flushed(place)


def flushed(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def wait_for_scenes(port: int, token: str) -> None:
    """Until every scene has arrived."""
    last = time.monotonic() + START_S
    while True:
        try:
            for n in range(MANY):
                submit(port, token, n)
            return
        except AssertionError:
            if time.monotonic() > last:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
