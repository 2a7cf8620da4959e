#!/usr/bin/env python3
"""The list of 1,000 jobs: how long `GET /api/jobs?limit=1000` takes, and how long its rows are.

A whole Croft in this process, asked over WSGI: 1,000 jobs that have ended; 1,000 that wait; the same with
100,000 frames each. A part of those that wait is rendered at, so that its rows are new at each asking. The
ratio is to a bare dump of the same rows by the JSON library, which is the least that it can cost.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

KINDS = {  # name: frames of each job, whether it has ended
    "ended": (100, True),
    "waiting": (100, False),
    "long": (100_000, False),
}
STIRRED = 20  # jobs of which a frame is done between two askings
AT = "2026-11-21T20:00:00.000Z"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", choices=list(KINDS), nargs="+")
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for name, (frames, ended) in KINDS.items():
        if given.only is None or name in given.only:
            folder = Path(tempfile.mkdtemp(prefix="croft-list-"))
            try:
                found[name] = measure(folder, given.jobs, given.rounds, frames, ended)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    worst = max(found.values(), key=lambda one: one["ratio"])
    sizes = [one["bytes_a_job"] for one in found.values()]
    result = {
        "script": "job_list",
        "ratio": worst["ratio"],
        "absolute": {
            "jobs": given.jobs,
            **found,
            "longest_row_over_shortest": round(max(sizes) / min(sizes), 2),
        },
    }
    print(json.dumps(result))
    return 0


def measure(folder: Path, jobs: int, rounds: int, frames: int, ended: bool) -> dict[str, float]:
    """One kind of jobs: median milliseconds of an answer, and of the bare dump."""
    from server.disk import encoding
    from server.web.app import build

    lay(folder / "data", jobs, frames, ended)
    (folder / "config").mkdir()
    (folder / "config/server.json").write_text('{"site": "test", "settle_s": 0}')
    croft = build(folder / "config", folder / "data")
    try:
        token = croft.services.people.make_token(user="admin")
        target = f"limit={min(jobs, 1000)}"
        rows = ask(croft.wsgi, token, target)["data"]
        assert len(rows) == min(jobs, 1000), len(rows)
        times, dumps = [], []
        for turn in range(rounds):
            if not ended:
                stir(croft, turn)
            began = time.perf_counter()
            body = raw(croft.wsgi, token, target)
            times.append(time.perf_counter() - began)
            value = {"data": rows, "message": "1000 jobs.", "next": None}
            began = time.perf_counter()
            encoding.dumps(value)
            dumps.append(time.perf_counter() - began)
        answer, bare = statistics.median(times), statistics.median(dumps)
    finally:
        croft.close()
    return {
        "ratio": round(answer / bare, 2),
        "ms": round(answer * 1000, 2),
        "worst_ms": round(max(times) * 1000, 2),
        "bare_ms": round(bare * 1000, 2),
        "bytes_a_job": round(len(body) / len(rows)),
    }


def stir(croft: Any, turn: int) -> None:
    """Something happens to a few jobs: their rows are others than a moment ago."""
    from server.farm.jobs.fold import apply

    lives = list(croft.services.farm.board.live.values())
    for live in lives[:STIRRED]:
        apply(live.job, {"at": AT, "event": "priority", "value": 1 + turn % 5})


def lay(data: Path, jobs: int, frames: int, ended: bool) -> None:
    """The jobs as they lie on a share, ten to a scene."""
    shots = data / "demo/shots"
    shots.mkdir(parents=True)
    (data / "demo/project.json").write_text("{}")
    for number in range(jobs):
        scene = shots / f"sh{number // 10:03}.blend"
        if not scene.exists():
            scene.write_bytes(b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20)
        ident = f"20261121-{number:06}-abcdef"
        folder = shots / ".croft" / scene.name / "jobs" / ident
        folder.mkdir(parents=True)
        record = {
            "schema": 1, "id": ident, "type": "blender-frames", "file": f"data::demo/shots/{scene.name}",
            "project": "demo", "user": f"student{number % 20}", "frames": f"1-{frames}", "total": frames,
            "order": "spread", "output": "version", "version": "v001", "name": scene.stem,
            "folder": f"render/{scene.stem}/v001", "base": f"{scene.stem}.####", "priority": 3, "retries": 3,
            "requires": [], "parameters": {}, "created": AT, "site": "test", "snapshot": "",
            "source": {"sha256": "0" * 64}, "inputs": {}, "warnings": [],
        }  # fmt: skip
        (folder / "job.json").write_text(json.dumps(record))
        events: list[dict[str, Any]] = [{"at": AT, "event": "state", "to": "waiting", "by": "student"}]
        for task in range(min(frames, 10)):
            attempt = {"task": task, "attempt": "1.0001", "node": f"n{task % 7}"}
            events.append({"at": AT, "event": "claim", "server": "s", **attempt})
            output = {"path": f"{scene.stem}.{task + 1:04}.png", "size": 1000}
            events.append({"at": AT, "event": "done", "seconds": 1.5, "outputs": [output], **attempt})
        if ended:
            events.append({"at": AT, "event": "state", "to": "cancelled", "by": "student"})
        (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def raw(wsgi: Any, token: str, query: str) -> bytes:
    """One request to the application in this process."""
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/api/jobs", "QUERY_STRING": query, "SERVER_NAME": "test",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
        "HTTP_AUTHORIZATION": f"Bearer {token}",
    }  # fmt: skip
    parts = wsgi(environ, lambda status, headers, exc_info=None: None)
    try:
        return b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()


def ask(wsgi: Any, token: str, query: str) -> Any:
    """Asked until every job is known."""
    return json.loads(raw(wsgi, token, query))


if __name__ == "__main__":
    sys.exit(main())
