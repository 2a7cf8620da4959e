"""Students move, rename, swap and delete over Samba: every asset stays what it was, on folders and on pools.

Samba's own way to rename a folder, to save, to copy within the server; and what an admin does straight on
the disks of the pool, with a folder whose files lie on several of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli.client import quote
from tests.nas.kit import Nas, wait_for

SCENE = b"BLENDER-v304" + bytes(52) + b"ENDB" + bytes(20)


@pytest.fixture(params=["", "epmfs"], ids=["folder", "epmfs"])  # `mfs` has its own below
def school(request: pytest.FixtureRequest, make_nas: Callable[..., Nas]) -> Nas:
    return make_nas(request.param)


class Class:
    """Scenes on the share, each with something said of it, by which it is known again."""

    def __init__(self, school: Nas, home: Path) -> None:
        self.school = school
        self.home = home
        self.known: dict[str, tuple[str, str]] = {}

    def make(self, *places: str) -> None:
        folders = {os.path.dirname(place) for place in places}
        self.school.ana("; ".join(f"mkdir demo/{folder}" for folder in sorted(folders)))
        for n, place in enumerate(places):
            source = self.home / f"{n}.blend"
            source.write_bytes(SCENE.replace(b"v304", b"v304" + place.encode()))
            self.school.ana(f'put "{source}" "demo/{place}"')
        for place in places:
            address = f"data::demo/{place}"
            self.school.until(address, "ok")
            wait_for(lambda at=address: (self.school.asset(at) or {}).get("uuid"), f"{place} has no record")
            change = f"/api/assets/{quote(address)}"
            self.school.api._json("PATCH", change, b'{"description": "%s"}' % place.encode())
            self.known[place] = self.seen(place)

    def seen(self, place: str) -> tuple[str, str]:
        asset = self.school.asset(f"data::demo/{place}")
        if asset is None or asset["status"] != "ok":
            return "", ""
        return asset["uuid"], asset["description"]

    def expect(self, places: dict[str, str]) -> None:
        """These places hold the assets that began at those."""

        def right() -> bool:
            return all(self.seen(now) == self.known[was] for now, was in places.items())

        def told() -> dict[str, Any]:
            return {now: (self.seen(now), self.known[was]) for now, was in places.items()}

        try:
            wait_for(right, "")
        except AssertionError:
            raise AssertionError(f"not as it was: {told()}") from None


def test_renames_moves_swaps_and_saves(school: Nas, tmp_path: Path) -> None:
    group = Class(school, tmp_path)
    group.make(
        "shots/renamed.blend", "shots/moved.blend", "shots/Case.blend", "shots/one.blend", "shots/two.blend",
        "shots/gone.blend", "shots/saved.blend", "shots/copied.blend",
    )  # fmt: skip
    ana, ben = school.ana, school.ben
    ana('mkdir demo/done; rename "demo/shots/renamed.blend" "demo/shots/better name.blend"')
    ben("rename demo/shots/moved.blend demo/done/moved.blend")
    ana("rename demo/shots/Case.blend demo/shots/CASE.blend")
    ana(
        "rename demo/shots/one.blend demo/shots/x.blend; rename demo/shots/two.blend demo/shots/one.blend; "
        "rename demo/shots/x.blend demo/shots/two.blend"
    )
    ben("del demo/shots/gone.blend")
    # Blender's own save: aside, the old one to .blend1, the new one in its place.
    history = f"/api/history?address={quote('data::demo/shots/saved.blend')}"
    before = school.api.get(history)
    saved = tmp_path / "saved"
    saved.write_bytes(SCENE.replace(b"v304", b"v304 anew"))
    ana(
        f'put "{saved}" demo/shots/saved.blend@; rename demo/shots/saved.blend demo/shots/saved.blend1; '
        "rename demo/shots/saved.blend@ demo/shots/saved.blend"
    )
    ben("scopy demo/shots/copied.blend demo/done/copied.blend")
    school.until("data::demo/done/copied.blend", "ok")
    group.expect({
        "shots/better name.blend": "shots/renamed.blend",
        "done/moved.blend": "shots/moved.blend",
        "shots/CASE.blend": "shots/Case.blend",
        "shots/one.blend": "shots/two.blend",
        "shots/two.blend": "shots/one.blend",
        "shots/saved.blend": "shots/saved.blend",
        "shots/copied.blend": "shots/copied.blend",
    })  # fmt: skip
    assert group.seen("done/copied.blend") != group.known["shots/copied.blend"]
    gone = school.asset("data::demo/shots/gone.blend")
    assert gone is not None
    assert (gone["status"], gone["uuid"]) == ("missing", group.known["shots/gone.blend"][0])
    # Nothing happened to what is known of it; that somebody saved stands there too.
    assert [entry for entry in school.api.get(history) if entry["kind"] != "saved"] == before
    about = {problem["address"] for problem in school.problems() if problem["kind"] != "orphan"}
    assert not {address for address in about if "/shots/" in address or "/done/" in address}, about


def test_a_folder_with_all_in_it(school: Nas, tmp_path: Path) -> None:
    group = Class(school, tmp_path)
    places = [f"set/s{n}.blend" for n in range(12)]
    group.make(*places)
    school.ana("rename demo/set demo/stage")
    group.expect({place.replace("set/", "stage/"): place for place in places})
    # Moved below another folder: on a path-preserving pool not every disk has that.
    school.ben("mkdir demo/old set")
    school.ana('mkdir "demo/act one"; rename demo/stage "demo/act one/stage"')
    group.expect({place.replace("set/", "act one/stage/"): place for place in places})
    assert not school.problems("identity")


@pytest.mark.parametrize("policy", ["mfs", "epmfs"])
def test_straight_on_the_disks_of_a_pool(make_nas: Callable[..., Nas], tmp_path: Path, policy: str) -> None:
    """An admin tidies up one disk: its half of a folder goes elsewhere, the other halves stay."""
    school = make_nas(policy)
    assert school.pool is not None
    group = Class(school, tmp_path)
    places = [f"set/s{n}.blend" for n in range(6)]
    group.make(*places)
    moved = {}
    for branch in school.pool.branches:
        for file in sorted((branch / "demo/set").glob("*.blend")):
            target = branch / "demo/box" / file.name
            target.parent.mkdir(exist_ok=True)
            os.chown(target.parent, -1, (branch / "demo").stat().st_gid)
            target.parent.chmod(0o2775)
            file.rename(target)
            moved[f"box/{file.name}"] = f"set/{file.name}"
    assert len(moved) == 6
    group.expect(moved)
    left = school.data / "demo/set/.croft"
    wait_for(lambda: not left.is_dir() or not os.listdir(left), "companions stayed behind")
