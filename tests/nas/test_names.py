"""Files of odd names on a real pool: what Samba lets through, and what only the disk itself takes."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from server.cli.client import CallFailed
from server.disk import encoding
from tests.nas.kit import Nas, wait_for

OVER_SAMBA = [
    "Füße.blend", unicodedata.normalize("NFD", "Füße 2.blend"), "🦊🦄.blend", "100%25 a&b=c#d;e.blend",
    "it's {a}[b](c) $HOME `id`.blend", "CON.blend", "-rf --help.blend", " lead.blend", "x" * 200 + ".blend",
    "x.json.blend",
]  # fmt: skip
ON_THE_DISK = [
    b'a<b>c:d"e|f?g*h.blend', b"new\nline.blend", b"bad\xff\xfe.blend", b"a\\b.blend", b"dot..blend",
    b"y" * 249 + b".blend", b"z" * 244 + b".blend",
]  # fmt: skip


def drawn(school: Nas, place: str) -> bool:
    try:
        return len(school.api.fetch(f"/thumb/{place}?w=256")[1]) > 100
    except CallFailed:
        return False  # not yet


def told(school: Nas, address: str) -> tuple[Any, Any]:
    """What is said of a scene: its status, and its frames."""
    asset = school.asset(address) or {}
    return asset.get("status"), (asset.get("facts") or {}).get("frames")


def test_every_name_that_the_pool_takes_is_a_file_of_croft_s(
    make_nas: Callable[..., Nas], tmp_path: Path
) -> None:
    """Given names put over Samba and on the mount, then each is taken in, drawn, and listed once."""
    school = make_nas("mfs")
    scene = tmp_path / "scene.blend"
    scene.write_bytes(Path(__file__).parents[1].joinpath("library/blender-5.0.blend").read_bytes())
    picture = tmp_path / "wood.png"
    Image.new("RGB", (40, 20), (90, 60, 30)).save(picture)
    school.ana("mkdir demo/shots; mkdir demo/tex")
    school.ana.script(
        [f'put "{scene}" "demo/shots/{name}"' for name in OVER_SAMBA]
        + [f'put "{picture}" "demo/tex/{name.removesuffix(".blend")}.png"' for name in OVER_SAMBA]
    )
    for raw in ON_THE_DISK:
        shutil.copy(scene, school.data / "demo/shots" / os.fsdecode(raw))
        shutil.copy(picture, school.data / "demo/tex" / os.fsdecode(raw.removesuffix(b".blend") + b".png"))
    names = sorted(os.listdir(school.data / "demo/shots"))
    scenes = [name for name in names if name.endswith(".blend") and not name.startswith(".")]
    assert len(scenes) == len(OVER_SAMBA) + len(ON_THE_DISK), names
    for name in scenes:
        address = f"data::demo/shots/{name}"
        # smbd sets a file's time once more some time after its last byte: until it is read again, its facts
        # are not told. So all is asked for in one look.
        wait_for(
            lambda address=address: told(school, address) == ("ok", [3, 26]),
            lambda name=name, address=address: f"{name!a} isn't read: {school.asset(address)}",
        )
        if len(os.fsencode(name)) <= 250:
            beside = school.data / "demo/shots" / (name + ".json")
            wait_for(beside.exists, f"{name!a} has no record")
    for name in sorted(os.listdir(school.data / "demo/tex")):
        if name.startswith(".") or name.endswith(".json"):
            continue
        place = encoding.quote(f"data::demo/tex/{name}", safe="/:")
        wait_for(lambda place=place: drawn(school, place), f"{name!a} isn't drawn")
    # A student takes one away over Samba: it is missing, and the others are still there.
    school.ana('del "demo/shots/🦊🦄.blend"')
    school.until("data::demo/shots/🦊🦄.blend", "missing")
    listed = {asset["address"] for asset in school.assets(project="demo")}
    assert {f"data::demo/shots/{name}" for name in scenes} <= listed
    assert "no faults" in school.run("check", "--data", str(school.data))
