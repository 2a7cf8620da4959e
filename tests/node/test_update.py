"""A node brings itself up to date: fetched, checked, tried, taken, and taken back where it is no good."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from node_farm import NODE, Farm, until

from node.update import BadUpdate, build_of, unpack
from server.web import join


def another(folder: Path, name: str, change: dict[str, str]) -> tuple[bytes, str]:
    """A version of the node with changed files, packed as the server packs it, and its build."""
    made = folder / name
    for path in NODE.rglob("*.py"):
        target = made / path.relative_to(NODE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for file, text in change.items():
        (made / file).write_text(text)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(made.rglob("*.py")):
            archive.write(path, path.relative_to(made).as_posix())
    return packed.getvalue(), build_of(made)


def offer(farm: Farm, data: bytes, build: str, sha256: str = "") -> None:
    farm.server.files["/node.zip"] = data
    told = {"version": "9.9", "build": build, "url": "/node.zip"}
    farm.server.info["update"] = {**told, "sha256": sha256 or hashlib.sha256(data).hexdigest()}


def builds(farm: Farm) -> list[str]:
    """As the server has heard of them, one after the other."""
    found: list[str] = []
    for identity in farm.server.of("identity"):
        if not found or found[-1] != identity["build"]:
            found.append(identity["build"])
    return found


def test_the_server_and_the_node_know_a_version_by_the_same_name() -> None:
    assert build_of(NODE) == join.build()


def test_takes_the_servers_version_when_its_frame_is_done(farm: Farm) -> None:
    data, build = another(farm.folder, "newer", {"__init__.py": 'VERSION = "9.9"\n'})
    old = build_of(farm.program)
    farm.give(farm.task("a1", seconds=2))
    node = farm.node()
    farm.server.wait(lambda: farm.server.of("report"))
    offer(farm, data, build)
    farm.server.wait(lambda: builds(farm) == [old, build])
    assert farm.server.of("identity")[-1]["version"] == "9.9"
    heard = farm.server.heard
    first = next(n for n, item in enumerate(heard) if item["id"] == "identity" and item["build"] == build)
    assert "a1" in {item["uuid"] for item in heard[:first] if item["id"] == "done"}
    assert not farm.server.of("release")
    # It is the same process, and takes work; another start finds the new version too.
    farm.give(farm.task("a2", 2))
    farm.server.wait(lambda: "a2" in {done["uuid"] for done in farm.server.of("done")})
    assert node.poll() is None
    del farm.server.info["update"]
    until(lambda: json.loads((farm.program / ".version").read_text())["good"])
    node.terminate()
    assert node.wait(20) == 0
    begun = len(farm.server.of("identity"))
    again = farm.node()
    farm.server.wait(lambda: len(farm.server.of("identity")) > begun)
    assert farm.server.of("identity")[-1]["build"] == build
    again.terminate()
    again.wait(20)
    # A version that a person copies over it counts at once.
    (farm.program / "__init__.py").write_text('VERSION = "10"\n')
    begun = len(farm.server.of("identity"))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("identity")) > begun)
    assert farm.server.of("identity")[-1]["version"] == "10"


def test_a_version_that_cannot_talk_is_taken_back(farm: Farm) -> None:
    """It says its number, so it passes the first trial; then it ends before it has spoken with the server."""
    broken = (NODE / "session.py").read_text() + "\n\nraise RuntimeError('no such luck')\n"
    main = (NODE / "main.py").read_text().replace("from .session import Session", "Session = None")
    main = main.replace("    configs = [load", "    from .session import Session\n\n    configs = [load")
    data, build = another(farm.folder, "broken", {"session.py": broken, "main.py": main})
    old = build_of(farm.program)
    offer(farm, data, build)
    node = farm.node()
    said = farm.server.wait(
        lambda: next((item["update_error"] for item in farm.server.of("info") if "update_error" in item), "")
    )
    assert f"version {build} was taken back" in said
    assert builds(farm) == [old]
    farm.give(farm.task("a1"))
    farm.server.wait(lambda: farm.server.of("done"))
    assert node.poll() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"main.py": "import nothing_of_this_name\n"}, "doesn't run here"),
        ({"sha256": "0" * 64}, "isn't what the server told of"),
        ({"build": "0" * 12}, "aren't those that the server told of"),
        ({"missing": "1"}, "answers 404"),
    ],
)
def test_a_bad_version_is_never_started(farm: Farm, change: dict[str, str], words: str) -> None:
    files = {"__init__.py": 'VERSION = "9.9"\n'}
    files.update((name, text) for name, text in change.items() if name.endswith(".py"))
    data, build = another(farm.folder, "bad", files)
    offer(farm, data, change.get("build", build), change.get("sha256", ""))
    if "missing" in change:
        farm.server.files.clear()
    node = farm.node()
    said = farm.server.wait(
        lambda: next((item["update_error"] for item in farm.server.of("info") if "update_error" in item), "")
    )
    assert words in said
    assert node.poll() is None
    assert len(set(builds(farm))) == 1
    assert not (farm.program / ".version").exists()


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "evil.sh", "a\\..\\evil.py"])
def test_an_archive_stays_in_its_place(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, "print('evil')")
    with pytest.raises(BadUpdate):
        unpack(packed.getvalue(), tmp_path / "aside")
    assert not list(tmp_path.glob("**/evil*"))


def test_a_node_that_may_not_update_stays_as_it_is(farm: Farm) -> None:
    data, build = another(farm.folder, "newer", {"__init__.py": 'VERSION = "9.9"\n'})
    offer(farm, data, build)
    farm.node(update=False)
    farm.server.wait(lambda: len(farm.server.of("info")) > 4)
    assert not (farm.program / ".versions").exists()


def test_the_servers_own_archive_runs(tmp_path: Path) -> None:
    unpack(join.archive(), tmp_path / "node")
    done: Any = subprocess.run(
        ["python3", str(tmp_path / "node"), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == join.program()["version"]
