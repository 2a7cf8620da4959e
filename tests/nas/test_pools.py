"""A real pool, with students at it: many files at once, a long folder renamed, disks that come and go."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli.client import CallFailed
from tests.nas.crowd import content
from tests.nas.kit import GROUP, Nas, for_the_group, tmpfs, wait_for

POLICIES = pytest.mark.parametrize("policy", ["mfs", pytest.param("epmfs", marks=pytest.mark.soak)])
MANY = 500
LONG = 1_000


def statuses(nas: Nas) -> dict[str, str]:
    rows = nas.assets(files="true", sort="path")
    found = {row["address"]: row["status"] for row in rows}
    assert len(found) == len(rows), "a file is shown twice"
    return found


def fill(places: list[Path], folder: str, names: list[str], uuids: bool = False) -> None:
    """Files, taking turns on these places, as an admin copies them there; with sidecars beside them on
    the next place."""
    for place in places:
        made = place
        for part in folder.split("/"):
            made = made / part
            if not made.exists():
                made.mkdir()
                for_the_group(made)
    for number, name in enumerate(names):
        path = places[number % len(places)] / folder / name
        path.write_bytes(content(name, number))
        written = [path]
        if uuids:
            side = places[(number + 1) % len(places)] / folder / f"{name}.json"
            side.write_text(f'{{"schema": 1, "uuid": "u-{name}", "owner": "ana"}}')
            written.append(side)
        for one in written:
            shutil.chown(one, "games", GROUP)
            one.chmod(0o664)


def uuids(nas: Nas) -> Counter[str]:
    """How many assets that are there hold each uuid."""
    rows = [row for row in nas.assets() if row["status"] == "ok"]
    return Counter(str((nas.asset(row["address"]) or {}).get("uuid")) for row in rows)


@POLICIES
def test_500_files_dropped_at_once(make_nas: Callable[..., Nas], tmp_path: Path, policy: str) -> None:
    nas = make_nas(policy)
    tmp_path.chmod(0o755)
    kinds = (".blend", ".png", ".mp4", ".txt", ".blend")
    names = [f"file {number:03d}{kinds[number % len(kinds)]}" for number in range(MANY)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(content(name, number))
    nas.ana("; ".join(["mkdir demo/shots", *(f"mkdir demo/shots/{name}" for name in nas.samba.students)]))
    # Given four students who drop 125 files each, all at the same time…
    seen: dict[str, set[str]] = {}
    running = []
    for at, (student, client) in enumerate(nas.samba.students.items()):
        mine = names[at::4]
        puts = "; ".join(f'put "{tmp_path / name}" "demo/shots/{student}/{name}"' for name in mine)
        running.append(client.begin(puts))
    began = time.monotonic()
    copied = 0.0
    # …then each is seen as arriving, and soon as usable: none twice, none lost.
    while len(seen) < MANY or any("ok" not in states for states in seen.values()):
        assert time.monotonic() - began < 50, f"{len(seen)} of {MANY} came"
        if not copied and all(process.poll() is not None for process in running):
            assert not any(process.returncode for process in running)
            copied = time.monotonic()
        for address, status in statuses(nas).items():
            seen.setdefault(address, set()).add(status)
    print(f"copied in {copied - began:.2f} s, usable {time.monotonic() - copied:.2f} s after that")
    assert len(seen) == MANY
    scenes = {address: states for address, states in seen.items() if address.endswith(".blend")}
    assert all("arriving" in states for states in scenes.values())
    # Scenes and films are assets, with a sidecar each; the others are files.
    wanted = sum(name.endswith((".blend", ".mp4")) for name in names)
    found = (nas.data / "demo/shots").glob
    wait_for(lambda: len(list(found("*/*.json"))) >= wanted, "not every scene and film became an asset")
    assert len(list(found("*/*.json"))) == wanted
    for number, name in enumerate(names):
        student = list(nas.samba.students)[number % 4]
        assert (nas.data / "demo/shots" / student / name).read_bytes() == content(name, number)


@POLICIES
def test_a_folder_of_1000_is_renamed(make_nas: Callable[..., Nas], policy: str) -> None:
    nas = make_nas(policy)
    names = [f"sh{number:04d}.blend" for number in range(LONG)]
    # Given a thousand assets on all three disks, each sidecar on another disk than its file.
    assert nas.pool is not None
    fill(list(nas.pool.branches), "demo/shots", names, uuids=True)
    old, new = "data::demo/shots/", "data::demo/scenes/"
    wait_for(lambda: set(statuses(nas)) == {old + name for name in names}, "not all were found")
    # When a student renames the folder…
    nas.ana("rename demo/shots demo/scenes")
    began = time.monotonic()
    # …then all are there under the new name, with their records, and none is left behind.
    wait_for(lambda: statuses(nas) == {new + name: "ok" for name in names}, "not all came along")
    print(f"visible {time.monotonic() - began:.2f} s after the rename")
    row = nas.asset(f"{new}{names[7]}")
    assert row is not None
    assert (row["uuid"], row["owner"]) == (f"u-{names[7]}", "ana")
    assert not nas.problems("identity")
    assert nas.api.post("/api/rescan", {})["changed"] == []


def test_a_rename_that_moves_one_disks_part(make_nas: Callable[..., Nas]) -> None:
    """epmfs moves only what lies on the disk that has the target's parent, and reports success."""
    nas = make_nas("epmfs")
    assert nas.pool is not None
    names = [f"sh{number:02d}.blend" for number in range(12)]
    first, second, _ = nas.pool.branches
    fill([first, second], "demo/shots", names, uuids=True)
    fill([first], "demo/archive", ["readme.txt"])
    everything = {f"u-{name}" for name in names}
    wait_for(lambda: set(uuids(nas)) == everything, "not all were found")
    # When the folder is moved to where only one disk has the parent…
    nas.ana.ask("rename demo/shots demo/archive/shots")
    # …whatever came of it, every asset is there once, with its record, at one of the two places.

    def halves() -> Counter[str]:
        return Counter(address.rpartition("/")[0] for address in statuses(nas) if ".blend" in address)

    half = {"data::demo/shots": 6, "data::demo/archive/shots": 6}
    wait_for(lambda: halves() == half, "not all are seen, or some twice")
    wait_for(lambda: set(uuids(nas)) == everything and set(uuids(nas).values()) == {1}, "a record is lost")
    assert set(statuses(nas).values()) == {"ok"}
    # When the student moves the rest as Explorer merges folders, by copying and then deleting, where the
    # pool refuses to rename it (Croft may have made the parent there with a record), then all are together.
    left = [a for a in statuses(nas) if a.startswith("data::demo/shots/") and a.endswith(".blend")]
    name = left[0].rpartition("/")[2]
    said = nas.ana.ask(f"rename demo/shots/{name} demo/archive/shots/{name}").stdout
    assert "NT_STATUS" not in said or "NOT_SAME_DEVICE" in said
    for address in left if said else left[1:]:
        name = address.rpartition("/")[2]
        shutil.copy2(nas.data / "demo/shots" / name, nas.data / "demo/archive/shots" / name)
        shutil.chown(nas.data / "demo/archive/shots" / name, "games", GROUP)
        nas.ana(f"del demo/shots/{name}")
    together = {f"data::demo/archive/shots/{name}" for name in names}
    wait_for(lambda: together <= set(statuses(nas)), "they don't come together")
    wait_for(lambda: set(uuids(nas)) == everything, f"a record is lost: {uuids(nas)}", within_s=40)


@POLICIES
def test_a_disk_goes_and_comes_back(make_nas: Callable[..., Nas], policy: str) -> None:
    nas = make_nas(policy)
    assert nas.pool is not None
    names = [f"sh{number:02d}.blend" for number in range(9)]
    fill(list(nas.pool.branches), "demo/shots", names, uuids=True)
    wait_for(lambda: set(statuses(nas).values()) == {"ok"} and len(statuses(nas)) == 9, "not all were found")
    before = nas.assets()
    last = nas.pool.branches[2]
    aside = last.with_name("aside")
    aside.mkdir()
    # When a disk of the pool drops out: an empty folder is left in its place…
    subprocess.run(["mount", "--bind", str(last), str(aside)], check=True)
    try:
        subprocess.run(["umount", "--lazy", str(last)], check=True)
        wait_for(lambda: nas.problems("share"), "nothing is told of it", within_s=40)
        # …then what lay there is shown as it was, and told.
        nas.api.post("/api/rescan", {})
        assert unchanging(nas.assets()) == unchanging(before)
        assert str(last) in nas.problems("share")[0]["text"]
    finally:
        # When it is back, then all is as before.
        subprocess.run(["mount", "--bind", str(aside), str(last)], check=True)
        subprocess.run(["umount", "--lazy", str(aside)], check=True)
    wait_for(lambda: not nas.problems("share"), "it is told still", within_s=40)
    assert unchanging(nas.assets()) == unchanging(before)
    assert nas.api.post("/api/rescan", {})["changed"] == []


@POLICIES
def test_a_disk_is_taken_out_of_the_running_pool_and_added_again(
    make_nas: Callable[..., Nas], policy: str
) -> None:
    nas = make_nas(policy)
    assert nas.pool is not None
    names = [f"sh{number:02d}.blend" for number in range(9)]
    fill(list(nas.pool.branches), "demo/shots", names, uuids=True)
    wait_for(lambda: len(there_now(nas)) == 9, "not all were found")
    before = nas.assets()
    last = nas.pool.branches[2]
    # When an admin takes a disk out of the pool, what lay there is shown as it was, and told…
    nas.pool.set_branches(f"-{last}")
    wait_for(lambda: nas.problems("share"), "nothing is told of it", within_s=40)
    assert str(last) in nas.problems("share")[0]["text"]
    nas.api.post("/api/rescan", {})
    assert unchanging(nas.assets()) == unchanging(before)
    # …and no new record is made where the old one is out of reach: neither by Croft, nor by a person.
    (lonely,) = [name for name in names[:3] if not (nas.data / f"demo/shots/{name}.json").exists()]
    assert (nas.data / "demo/shots" / lonely).exists()
    with pytest.raises(CallFailed, match="isn't mounted"):
        nas.api._json("PATCH", f"/api/assets/data::demo/shots/{lonely}", b'{"state": "review"}')
    # When it is added again, with a file more, then all are back with their records.
    fill([last], "demo/shots", ["new.blend"])
    nas.pool.set_branches(f"+>{last}")
    wait_for(lambda: len(there_now(nas)) == 10, "what was added isn't shown", within_s=40)
    wait_for(lambda: not nas.problems("share"), "it is told still", within_s=40)
    assert unchanging(before).items() <= unchanging(nas.assets()).items()
    # And a copy straight onto it is noticed from then on.
    fill([last], "demo/shots", ["later.blend"])
    nas.until("data::demo/shots/later.blend", "ok")


def unchanging(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """What of each asset must stay as it was."""
    keys = ("uuid", "owner", "etag", "state", "status", "size")
    return {row["address"]: tuple(row[key] for key in keys) for row in rows}


def there_now(nas: Nas) -> set[str]:
    return {address for address, status in statuses(nas).items() if status == "ok"}


@POLICIES
def test_a_new_disk_is_added_to_the_running_pool(make_nas: Callable[..., Nas], policy: str) -> None:
    nas = make_nas(policy)
    assert nas.pool is not None
    nas.ana("mkdir demo/shots")
    with tmpfs(nas.home / "disk4", 64 << 20) as disk:
        for_the_group(disk)
        # Given a disk that holds a backup's folder already…
        fill([disk], "demo/props", ["chair.blend"], uuids=True)
        # …when it is added while everything runs…
        nas.pool.set_branches(f"+>{disk}")
        try:
            # …then what lies on it is there, and what comes to it later as well.
            nas.until("data::demo/props/chair.blend", "ok", within_s=40)
            fill([disk], "demo/props", ["table.blend"])
            nas.until("data::demo/props/table.blend", "ok")
        finally:
            nas.pool.set_branches(f"-{disk}")


@POLICIES
def test_a_restore_straight_onto_a_disk(make_nas: Callable[..., Nas], policy: str, tmp_path: Path) -> None:
    nas = make_nas(policy)
    assert nas.pool is not None
    names = [f"sh{number:02d}.blend" for number in range(9)]
    fill(list(nas.pool.branches), "demo/shots", names, uuids=True)
    wait_for(lambda: len(there_now(nas)) == 9, "not all were found")
    row: dict[str, Any] = nas.asset("data::demo/shots/sh03.blend") or {}
    nas.api._json("PATCH", f"/api/assets/{row['address']}", b'{"state": "review"}')
    backup = tmp_path / "backup"
    shutil.copytree(nas.data / "demo/shots", backup, symlinks=True)
    before = {row["address"]: row["etag"] for row in nas.assets()}
    # When the folder is lost, and an admin copies it back onto one of the disks…
    shutil.rmtree(nas.data / "demo/shots")
    wait_for(lambda: not there_now(nas), "they are shown still")
    target = nas.pool.branches[1] / "demo/shots"
    subprocess.run(["cp", "-a", str(backup), str(target)], check=True)
    # …then all is as it was: records, states, histories.
    wait_for(lambda: len(there_now(nas)) == 9, "they didn't come back")
    assert {row["address"]: row["etag"] for row in nas.assets()} == before
    assert (nas.asset("data::demo/shots/sh03.blend") or {})["state"] == "review"
    assert nas.api.get("/api/history", address="data::demo/shots/sh03.blend")
