"""What is published survives what ordinary users do to it: over a real Samba, on the machine, by the API."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.client import CallFailed
from tests.nas.kit import STUDENTS, Nas, as_user, nas, wait_for

SCENE = b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20
OTHER = SCENE.replace(b"v304", b"v305")
ADDRESS = "data::demo/characters/fox.blend"
URL = f"/api/assets/{ADDRESS}"
HERE = "demo/characters/.croft/fox.blend/versions/v001"


@pytest.fixture(
    scope="module", params=["", pytest.param("mfs", marks=pytest.mark.soak)], ids=["folder", "pool"]
)
def school(request: pytest.FixtureRequest, needs: Callable[[str], str]) -> Iterator[Nas]:
    with nas(needs, request.param) as made:
        if made.user == "root":
            pytest.skip("what root makes shows nothing of Croft's own user")
        yield made


def test_a_published_file_survives_samba_the_machine_and_the_api(school: Nas, tmp_path: Path) -> None:
    scene, other = tmp_path / "fox.blend", tmp_path / "other.blend"
    scene.write_bytes(SCENE)
    other.write_bytes(OTHER)
    # Given a character that Ana saved over Samba and published
    school.ana(f'mkdir demo/characters; put "{scene}" demo/characters/fox.blend')
    school.until(ADDRESS, "ok")
    wait_for(lambda: (school.asset(ADDRESS) or {}).get("uuid"), "it has no record")
    assert school.api.post(f"{URL}/publish", {"comment": "for the shots"})["id"] == "v001"
    frozen = school.data / HERE

    def whole() -> bool:
        rows = school.api.all(f"{URL}/versions")
        return (frozen / "fox.blend").read_bytes() == SCENE and [row["id"] for row in rows] == ["v001"]

    assert whole()
    # When students try over Samba what they may think of
    for words in (
        f'put "{other}" {HERE}/fox.blend',
        f'put "{other}" {HERE}/version.json',
        f'put "{other}" {HERE}/more.blend',
        f"del {HERE}/fox.blend",
        f"rename {HERE}/fox.blend {HERE}/old.blend",
        f"rename {HERE}/fox.blend demo/characters/mine.blend",
        f"rename {HERE} {os.path.dirname(HERE)}/v009",
        f"rename {os.path.dirname(HERE)} demo/characters/.croft/fox.blend/gone",
        "rename demo/characters/.croft/fox.blend demo/characters/.croft/wolf.blend",
        "rename demo/characters/.croft demo/mine",
        f"mkdir {os.path.dirname(HERE)}/v002",
        f"rmdir {HERE}",
        "deltree demo/characters/.croft",
        f'put "{other}" demo/mine.blend; rename demo/mine.blend {HERE}/fox.blend -f',
    ):
        said = school.ana.ask(words)
        assert "NT_STATUS" in said.stdout + said.stderr, f"{words}: {said.stdout}{said.stderr}"
        assert whole(), words
    # … and on the machine itself
    local = school.data / "demo/mine.blend"
    place = frozen / "fox.blend"
    for command in (
        ["mv", "-f", str(local), str(place)],
        ["cp", "-f", str(local), str(place)],
        ["cp", "--remove-destination", str(local), str(place)],
        ["ln", "-sf", str(local), str(place)],
        ["rm", "-rf", str(frozen)],
        ["chmod", "u+w", str(place)],
        ["truncate", "-s", "0", str(place)],
        ["mv", str(frozen), str(frozen.with_name("v009"))],
        ["mv", str(frozen.parent), str(frozen.parent.with_name("gone"))],
        ["mv", str(school.data / "demo/characters/.croft"), str(school.data / "demo/mine")],
        ["mv", str(school.data / "demo/characters/.croft/fox.blend"), str(school.data / "demo/wolf")],
    ):
        done = subprocess.run(
            [*as_user(STUDENTS["ana"]), *command], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode != 0, f"{command} did well"
        assert whole(), command
    # … what is left to them, to rename .croft where it lies, is taken back
    home = school.data / "demo/characters/.croft"
    subprocess.run([*as_user(STUDENTS["ana"]), "mv", str(home), str(home.with_name("x"))], check=True)
    wait_for(lambda: frozen.exists() and whole(), "the versions aren't back")
    # … and by the API, as whoever has most rights
    for method, path, body in (
        ("POST", f"{URL}/publish", {}),
        ("POST", f"{URL}/restore", {"save": "v001"}),
        ("DELETE", URL, {}),
        ("POST", f"{URL}/away", {}),
        ("DELETE", f"/api/assets/data::{HERE}/fox.blend", {}),
        ("POST", f"/api/assets/data::{HERE}/fox.blend/restore", {"save": "v001"}),
        ("PATCH", f"/api/assets/data::{HERE}/fox.blend", {"description": "mine"}),
    ):
        with pytest.raises(CallFailed) as refused:
            school.api._json(method, path, json.dumps(body).encode())
        assert refused.value.status in (400, 403, 404), path
        assert whole(), path

    # When Ana saves over the working file as Blender does, then it is asked what was meant
    school.ana(f'put "{other}" demo/characters/fox.blend@; rename demo/characters/fox.blend@ '
               "demo/characters/fox.blend -f")  # fmt: skip
    wait_for(lambda: school.problems("protected"), "nobody tells of the change")
    assert whole()
    asked: list[dict[str, Any]] = school.problems("protected")[0]["actions"]
    assert len(asked) == 3
    school.api.post(f"{URL}/put-back", {})
    assert (school.data / "demo/characters/fox.blend").read_bytes() == SCENE
    assert school.problems("protected") == []
    assert whole()
    # The folder can still be moved as a whole, and everything follows it.
    school.ben("rename demo/characters demo/people")
    moved = "data::demo/people/fox.blend"
    school.until(moved, "ok")
    assert [row["id"] for row in school.api.all(f"/api/assets/{moved}/versions")] == ["v001"]
    # Nothing of all this is a fault.
    school.run("check", "--data", str(school.data))


def test_renders_keep_their_names_and_an_approved_one_its_frames(school: Nas, tmp_path: Path) -> None:
    scene, other = tmp_path / "sh010.blend", tmp_path / "other.png"
    scene.write_bytes(SCENE)
    other.write_bytes(b"painted over")
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    shot = "data::demo/shots/sh010.blend"
    school.until(shot, "ok")
    wait_for(lambda: (school.asset(shot) or {}).get("uuid"), "it has no record")
    # Given a render with a frame in it, as a computer of Croft's user has made it
    school.api.post("/api/jobs", {"file": shot, "frames": "1", "type": "test-pattern"})
    place = school.data / "demo/shots/render/sh010"
    frame = place / "v001/sh010.0001.png"
    subprocess.run([*as_user(school.user), "sh", "-c", f"umask 002; printf picture > '{frame}'"], check=True)
    inside = "demo/shots/render/sh010"
    named = [
        f"rename {inside}/v001 {inside}/mine",
        f"rename {inside}/v001.json {inside}/mine.json",
        f"rename {inside} demo/shots/render/mine",
        f'put "{other}" {inside}/v001.json',
        f"del {inside}/v001/sh010.0001.png",
        f"deltree {inside}",
    ]
    for words in named:
        said = school.ana.ask(words)
        assert "NT_STATUS" in said.stdout + said.stderr, f"{words}: {said.stdout}{said.stderr}"
        assert frame.read_bytes() == b"picture", words
    # What a student's own Blender writes there is hers.
    school.ana(f'put "{other}" {inside}/own.0001.png; del {inside}/own.0001.png')
    # When it is approved, then its frames can't be painted over either.
    school.api._json("PATCH", f"/api/assets/{shot}/versions/render-v001", b'{"approved": true}')
    assert os.readlink(place / "current") == "v001"
    for words in (*named, f'put "{other}" {inside}/v001/sh010.0001.png', f'put "{other}" {inside}/v001/x.png',
                  f"rename {inside}/current {inside}/other", f"del {inside}/current"):  # fmt: skip
        said = school.ana.ask(words)
        assert "NT_STATUS" in said.stdout + said.stderr, f"{words}: {said.stdout}{said.stderr}"
        assert frame.read_bytes() == b"picture", words
    school.run("check", "--data", str(school.data))
