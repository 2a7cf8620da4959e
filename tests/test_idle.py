"""Does a Croft that nobody uses leave the disks alone? Old ones may spin down then."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.cli import demo
from server.cli.client import quote

HEARTBEAT_S = 0.3
Files = dict[str, tuple[int, int, int, int]]


def files(*roots: Path) -> Files:
    """Every file and folder, with what changes when somebody writes."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            try:
                st = path.lstat()
            except FileNotFoundError:
                continue  # a temporary file that is just being put in place
            found[str(path)] = (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
    return found


def at_rest(*roots: Path) -> Files:
    """The files once nothing has changed for ten heartbeats."""
    last = time.monotonic() + 40
    before = files(*roots)
    while True:
        time.sleep(10 * HEARTBEAT_S)
        now = files(*roots)
        if now == before:
            return now
        changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
        assert time.monotonic() < last, f"still being written to: {changed}"
        before = now


@pytest.mark.timeout(120)
def test_an_idle_croft_writes_nothing(tmp_path: Path) -> None:
    # Given a server and a node with files, a finished render, and very short heartbeats and scans…
    for folder in ("config", "data", "logs", "nodes"):
        (tmp_path / folder).mkdir()
    quick = {"heartbeat_s": HEARTBEAT_S, "lease_s": 2.0, "scan_every_s": 1.0, "settle_s": 0.2}
    (tmp_path / "config" / "server.json").write_text(json.dumps(quick))
    share, config = tmp_path / "data", tmp_path / "config"
    with ExitStack() as stack:
        show = demo.Demo(stack, tmp_path, argparse.Namespace(port=0, exit=True))
        show.start_server()
        show.start_node("here")
        show.wait_for_nodes(1)
        picture = tmp_path / "pattern.png"
        demo.draw_pattern(picture)
        address = show.copy_as_a_student_would(picture, "demo/shots/pattern.png")
        show.wait_until_noticed(address)
        show.render({"file": address, "frames": "1-5", "type": "test-pattern"})
        # …when it has come to rest, and people read a page or two…
        before = at_rest(share, config)
        assert any(path.endswith("pattern.png") for path in before)
        for _ in range(3):
            show.client.get("/api/nodes")
            show.client.get("/api/assets", project="demo")
            show.client.get(f"/api/assets/{quote(address)}")
            show.client.fetch("/p/demo/rendering")
        # …then many heartbeats, leases and scans later not one file has been touched.
        time.sleep(20 * HEARTBEAT_S)
        assert files(share, config) == before
