#!/usr/bin/env python3
"""Publishing a sequence of 10,000 sparse frames of 100 GB where it lies, against a bare scandir + stat.

In turns: a bare loop that lists the folder and stats each frame; what `GET /api/sequences` does (listed,
its gaps, compared with the version before); what `POST /api/sequences` does (listed, compared, manifest and
record written and flushed, told in the history). Before each turn one frame is touched, so that there is
something to publish, and the server has seen it. Medians. Prints one line of JSON; `ratio` is publishing over
the bare loop. `--cli` measures `run.py publish DIR --yes` with a running server besides, its start included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from server.web.app import Croft, build  # noqa: E402

FOLDER, KEY = "data::demo/plates", "plate.@.exr"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=100_000_000_000, help="of all frames, sparse")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in", dest="home", metavar="DIR", help="on this disk (default: a temporary folder)")
    parser.add_argument("--cli", action="store_true", help="run.py publish besides")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.home) as folder:
        result = measure(Path(folder), given.frames, given.bytes, given.rounds, given.cli)
    print(json.dumps(result))
    return 0


def measure(home: Path, count: int, size: int, rounds: int, cli: bool) -> dict[str, object]:
    config, plates = home / "config", home / "data/demo/plates"
    config.mkdir()
    (config / "server.json").write_text('{"settle_s": 0}')
    plant(plates, count, size)
    (home / "data/demo/project.json").write_text("{}")
    croft = build(config, home / "data")
    try:
        room, user = croft.services.in_place, croft.services.people.user("supervisor")
        bare, listed, published, ratios = [], [], [], []
        for number in range(rounds):
            touched = plates / f"plate.{number + 1:05}.exr"
            os.utime(touched)
            while not has_settled(croft, touched.stat().st_mtime_ns):
                time.sleep(0.05)
            bare.append(timed(lambda: look(plates)))
            listed.append(timed(lambda: room.look(FOLDER)))
            published.append(timed(lambda: room.publish(f"{FOLDER}/{KEY}", user)))
            ratios.append(published[-1] / bare[-1])
        versions = len(croft.services.saves.versions(f"{FOLDER}/{KEY}"))
        if versions != rounds:
            raise SystemExit(f"{versions} versions of {rounds}")
    finally:
        croft.close()
    result: dict[str, object] = {
        "script": "publish_in_place",
        "ratio": round(statistics.median(ratios), 2),
        "listed_ratio": round(statistics.median(a / b for a, b in zip(listed, bare, strict=True)), 2),
        "absolute": {
            "frames": count,
            "gigabytes": size / 1e9,
            "bare_ms": milliseconds(bare),
            "listed_ms": milliseconds(listed),
            "published_ms": milliseconds(published),
        },
    }
    if cli:
        result["command_s"] = round(command(home, plates), 2)
    return result


def plant(folder: Path, count: int, size: int) -> None:
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        path = folder / f"plate.{number:05}.exr"
        with path.open("wb") as file:
            file.truncate(size // count)
        os.utime(path, (1_700_000_000, 1_700_000_000))


def has_settled(croft: Croft, touched_ns: int) -> bool:
    """Whether the server has seen the touch, and that nobody writes any more."""
    entry = croft.services.store.index.get(f"{FOLDER}/{KEY}")
    stat = entry.stat if entry is not None and not entry.arriving else None
    return stat is not None and stat.mtime_ns == touched_ns


def look(folder: Path) -> int:
    """What nobody can do without: each frame's size and time."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            st = entry.stat(follow_symlinks=False)
            total += st.st_size + (st.st_mtime_ns & 1)
    return total


def command(home: Path, plates: Path) -> float:
    """`run.py publish DIR --yes` beside a running server."""
    places = ["--config", str(home / "config"), "--data", str(home / "data")]
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    run = [sys.executable, str(CLONE / "run.py")]
    serve = [*run, "serve", "--port", "0", *places]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=environment) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
            os.utime(plates / "plate.00001.exr")
            publish = [*run, "publish", str(plates), "--yes", "--server", url, *places]
            return timed(lambda: subprocess.run(publish, check=True, capture_output=True, env=environment))
        finally:
            server.terminate()
            server.wait(20)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def milliseconds(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)


if __name__ == "__main__":
    sys.exit(main())
