"""Thousands of random operations by four people at once: afterwards nothing is at fault, the index is what
a rebuild gives, and what lay in each one's own folder is there to the byte."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.disk.branches import branches_of
from server.disk.index import Index
from server.disk.paths import Share
from server.disk.scan import Scanner
from tests.nas.crowd import COMMON, Person
from tests.nas.kit import Nas

SHORT = 240
LONG = 10_000


@pytest.mark.timeout(120)
@pytest.mark.parametrize("policy", ["mfs", pytest.param("epmfs", marks=pytest.mark.soak)])
def test_a_crowd(make_nas: Callable[..., Nas], tmp_path: Path, policy: str) -> None:
    crowd(make_nas(policy), tmp_path, SHORT, quiet_s=3.0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["mfs", "epmfs"])
def test_a_large_crowd(make_nas: Callable[..., Nas], tmp_path: Path, policy: str) -> None:
    crowd(make_nas(policy), tmp_path, LONG, quiet_s=14.0)


def crowd(nas: Nas, local: Path, operations: int, quiet_s: float) -> None:
    seed = int(os.environ.get("CROFT_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"CROFT_SEED={seed}")
    local.chmod(0o755)
    nas.ana("; ".join(f"mkdir demo/{folder}" for folder in COMMON))
    people = [Person(nas, student, seed, operations // 4, local) for student in nas.samba.students.values()]
    began = time.monotonic()
    for person in people:
        person.start()
    for person in people:
        person.join()
    for person in people:
        if person.error is not None:
            raise person.error
    took = time.monotonic() - began
    at_rest(nas, quiet_s)

    # What each has in the own folder is there, to the byte, and nothing else.
    for person in people:
        there = files_below(nas.data, person.own)
        told = f"CROFT_SEED={seed} {person.name}: " + "".join(person.said)[-2000:]
        assert sorted(there) == sorted(person.files), told
        for path, raw in person.files.items():
            assert (nas.data / path).read_bytes() == raw, path
    # The live index is what a rebuild gives: a full look finds nothing that wasn't known.
    rows = shown(nas)
    assert nas.api.post("/api/rescan", {})["changed"] == [], f"CROFT_SEED={seed}"
    assert shown(nas) == rows
    assert rows == rebuilt(nas), f"CROFT_SEED={seed}"
    # And after a restart.
    nas.stop()
    checked = nas.run("check", "--data", str(nas.data))
    nas.start()
    at_rest(nas, 1.0)
    after = shown(nas)
    assert after == rebuilt(nas), f"CROFT_SEED={seed}"
    # Who is whose record may be decided better with all in view; what is there is there.
    assert {a for a, row in after.items() if row[1] == "ok"} == {a for a, r in rows.items() if r[1] == "ok"}
    log = (nas.home / "server.log").read_text("utf-8", "replace")
    assert "Traceback" not in log, f"CROFT_SEED={seed}: {log[log.index('Traceback') - 300 :][:3000]}"
    refused = sum(said.count("NT_STATUS") for person in people for said in person.said)
    verdict = checked.strip().splitlines()[-1]
    print(f"{operations} operations in {took:.1f} s, {refused} refused; {len(rows)} files; {verdict}")


def at_rest(nas: Nas, quiet_s: float, within_s: float = 90.0) -> None:
    """Until nothing on the disks has changed for so long and nothing is arriving."""
    last, since = stamp(nas), time.monotonic()
    end = since + within_s
    while time.monotonic() - since < quiet_s or any(row[1] == "arriving" for row in shown(nas).values()):
        assert time.monotonic() < end, "it doesn't come to rest"
        time.sleep(0.2)
        now = stamp(nas)
        if now != last:
            last, since = now, time.monotonic()


def stamp(nas: Nas) -> list[tuple[Any, ...]]:
    found = []
    for root in nas.pool.branches if nas.pool else (nas.data,):
        for folder, folders, names in os.walk(root / "demo"):
            folders[:] = [name for name in folders if name != "thumbs"]
            for name in (*folders, *names):
                path = os.path.join(folder, name)
                try:
                    st = os.lstat(path)
                except OSError:
                    continue
                found.append((path, st.st_size, st.st_mtime_ns, st.st_ino))
    return sorted(found)


def files_below(data: Path, inside: str) -> list[str]:
    """People's files there: neither sidecars nor what is Croft's."""
    found = []
    for folder, folders, names in os.walk(data / inside):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "old"]
        paths = (os.path.join(folder, name) for name in names if not name.endswith(".json"))
        found += [os.path.relpath(path, data) for path in paths]
    return found


def shown(nas: Nas) -> dict[str, tuple[Any, ...]]:
    """What the API tells of each file."""
    rows = nas.assets(files="true", sort="path")
    assert len({row["address"] for row in rows}) == len(rows), "a file is shown twice"
    return {row["address"]: (row["etag"], row["status"], row["size"]) for row in rows}


def rebuilt(nas: Nas) -> dict[str, tuple[Any, ...]]:
    """The same, as a first look at the disks finds it."""
    index = Index()
    Scanner(Share("data", nas.data, branches=branches_of(nas.data)), index).scan()
    return {
        entry.address: (entry.etag, entry.status, entry.stat.size if entry.stat else None)
        for entry in index.under("data::demo")
        if not entry.address.endswith("/project.json")
    }
