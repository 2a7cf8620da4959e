#!/usr/bin/env python3
"""How long a student waits for the assets page while 200 nodes keep the farm as busy as it can be.

The page is asked for over HTTP, one request after the other, first with an idle farm, then beside the swarm
of `farm_swarm.py`. The ratio is the busy median to the idle one; the absolutes are milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import farm_swarm  # noqa: E402 - it lies beside this

PAGE = "/p/swarm0/assets"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--nodes", type=int, default=farm_swarm.NODES)
    parser.add_argument("--ask", nargs=3, metavar=("PORT", "TOKEN", "SECONDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(ask(int(given.ask[0]), given.ask[1], float(given.ask[2]))))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="croft-busy-"))
    try:
        token = farm_swarm.prepare(folder, farm_swarm.KINDS["plain"])
        from server.disk.settings import Settings
        from server.library.people import People

        person = People(Settings(folder / "config")).make_token(user="student")
        command = [
            sys.executable,
            farm_swarm.__file__,
            "--serve",
            str(folder / "config"),
            str(folder / "data"),
            "0",
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
                idle = asked(port, person, given.seconds / 2).communicate()[0]
                swarm = farm_swarm.Swarm(port, token, folder / "data", given.nodes)
                swarm.run(farm_swarm.WARM_S)
                reader = asked(port, person, given.seconds)
                rate = swarm.run(given.seconds)
                busy = reader.communicate()[0]
                swarm.close()
            finally:
                server.terminate()
                server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    idle_ms, busy_ms = json.loads(idle), json.loads(busy)
    absolute = {"idle_ms": idle_ms, "busy_ms": busy_ms, "round_trips_per_s": round(rate)}
    ratio = round(busy_ms["median"] / idle_ms["median"], 1)
    print(json.dumps({"script": "pages_while_busy", "ratio": ratio, "absolute": absolute}))
    return 0


def asked(port: int, token: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--ask", str(port), token, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ask(port: int, token: str, seconds: float) -> dict[str, float]:
    """Ask for the page again and again, with a breath between; milliseconds of median and 95 of 100."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        connection.request("GET", PAGE, headers={"Authorization": f"Bearer {token}"})
        reply = connection.getresponse()
        reply.read()
        times.append((time.perf_counter() - began) * 1000)
        assert reply.status == 200, reply.status
        time.sleep(0.02)
    times.sort()
    return {
        "median": round(statistics.median(times), 2),
        "of_100_95": round(times[int(len(times) * 0.95)], 2),
        "most": round(times[-1], 2),
    }


if __name__ == "__main__":
    raise SystemExit(main())
