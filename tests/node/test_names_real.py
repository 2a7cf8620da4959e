"""Files and folders of every name that a disk takes: seen, shown, fetched, drawn, edited, rendered, deleted.

The real server over HTTP, a real node and real Blender on one share; every name is tried each way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from real_farm import RealFarm, make_scenes, until

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine

NAMES = {
    "composed": "Füße.blend".encode(),
    "decomposed": unicodedata.normalize("NFD", "Füße.blend").encode(),
    "capital": b"Hero.blend",
    "small": b"hero.blend",
    "hostile": b'a<b>c:d"e|f?g*h.blend',
    "backslash": b"a\\b.blend",
    "device": b"CON.blend",
    "space at the end": b"trail .blend",
    "space before": b" lead.blend",
    "dot at the end": b"trail..blend",
    "emoji": "🦊🦄.blend".encode(),
    "newline": b"new\nline.blend",
    "newline at the end": b"end\n.blend",
    "tabs": b"tab\t\r.blend",
    "not UTF-8": b"bad\xff\xfe.blend",
    "percent": b"100%25 a&b=c#d;e.blend",
    "quotes": b'it\'s "q" `id` $HOME.blend',
    "option": b"-rf --help.blend",
    "colons": b"a::b.blend",
    "turned round": "a\u202egpj.blend".encode(),
    "frame numbers": b"frame_####.blend",
    "a record's": b"x.json.blend",
    "braces": b"{a}[b](c).blend",
    "ignored": b"old.blend",
    "250 bytes": b"x" * 244 + b".blend",
    "255 bytes": b"y" * 249 + b".blend",
}
IN_FOLDER = b"in.blend"
SAFE = re.compile(r'[^\x00-\x1f\x7f/\\<>:"|?*\ud800-\udfff]+\Z')


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, needs: Any) -> Iterator[RealFarm]:
    """Every name as a scene's and as its folder's, all taken in."""
    needs("blender")
    folder = tmp_path_factory.mktemp("names")
    scene = make_scenes(folder, "plain") / "plain.blend"
    made = RealFarm(folder / "farm")
    try:
        made.start_node("first")
        shots = os.fsencode(made.shots)
        for name in NAMES.values():
            shutil.copy(scene, shots + b"/" + name)
            os.mkdir(shots + b"/" + folder_name(name))
            shutil.copy(scene, shots + b"/" + folder_name(name) + b"/" + IN_FOLDER)
        yield made
    finally:
        made.close()


def folder_name(name: bytes) -> bytes:
    return (b"in " + name)[:255]


def fetch(farm: RealFarm, path: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {farm.token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{farm.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture(params=[*((name, False) for name in NAMES), *((name, True) for name in NAMES)],
                ids=lambda given: f"{'folder ' if given[1] else ''}{given[0]}")  # fmt: skip
def place(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    """What is special of the name, and the path inside the share."""
    what, in_folder = request.param
    name = NAMES[what]
    inside = folder_name(name) + b"/" + IN_FOLDER if in_folder else name
    return what + (" (folder)" if in_folder else ""), b"demo/shots/" + inside


def test_a_file_of_any_name_is_shown_fetched_edited_and_rendered(
    farm: RealFarm, place: tuple[str, bytes]
) -> None:
    what, inside = place
    url = quote(b"data::" + inside, safe="/:")
    address = "data::" + os.fsdecode(inside)
    path = farm.data / os.fsdecode(inside)

    def settled() -> Any:
        status, body = fetch(farm, f"/api/assets/{url}")
        view = json.loads(body)["data"]
        return view if status == 200 and view["status"] == "ok" and view["facts"] else None

    view = until(settled)
    assert view["address"] == address
    assert view["facts"]["frames"] == [1, 12]
    assert view["name"].encode()  # a name that people can see, whatever the file is called
    # The page, the picture, the file itself.
    status, page = fetch(farm, view["url"])
    assert status == 200
    assert view["name"].split()[0].encode() in page or "&" in page.decode()
    until(lambda: fetch(farm, view["thumbnail"])[0] == 200)
    assert fetch(farm, f"/files/{url}") == (200, path.read_bytes())
    # An edit, beside the file: where a record fits there.
    status, answer = farm.api("PATCH", f"/api/assets/{url}", {"description": "é"})
    if what == "255 bytes":
        assert status == 409
        assert "too long" in answer["message"]
        assert str(farm.data) not in answer["message"]
    else:
        assert status == 200, answer
        beside = json.loads((path.parent / (path.name + ".json")).read_text())
        assert beside["description"] == "é"
    # A render, into folders and files whose names every system takes.
    status, job = farm.api("POST", "/api/jobs", {"file": address, "frames": "2"})
    if what == "backslash (folder)":
        assert status == 415
        assert "rename the folder" in answer_text(job)
        return
    assert status == 201, job
    done = until(lambda: (j := farm.job(job["id"]))["state"] in ("done", "failed", "paused") and j, 90)
    assert done["state"] == "done", done
    version = farm.data / done["folder"].partition("::")[2]
    own = version.relative_to(path.parent)
    (frame,) = [name for name in os.listdir(version) if name.endswith(".png")]
    with Image.open(version / frame) as image:
        assert image.size == (64, 36)
    for part in (*own.parts, frame):
        assert SAFE.match(part), part
        assert part == unicodedata.normalize("NFC", part)
        assert part.strip(" .") == part
        assert len(part.encode()) <= 200
        assert part.partition(".")[0].casefold() != "con"
    tasks = json.loads(fetch(farm, f"/api/jobs/{job['id']}/tasks")[1])["data"]
    assert tasks[0]["state"] == "done"
    image_url = quote(os.fsencode(f"{done['folder']}/{frame}"), safe="/:")
    assert fetch(farm, "/files/" + image_url)[0] == 200


def test_two_names_never_share_a_folder_of_renders(farm: RealFarm) -> None:
    """Given renders of names that look alike once they are safe, then each has a folder of its own."""
    jobs = farm.api("GET", "/api/jobs?limit=200")[1]
    folders = [job["folder"] for job in jobs if not job["file"].endswith("/in.blend")]
    assert len(set(folders)) == len(folders)


def test_the_lists_and_the_problems_page_show_them_all(farm: RealFarm) -> None:
    """Given such names, then no list fails, and what people should rename is told, with a button."""

    def known() -> Any:
        rows = farm.api("GET", "/api/assets?project=demo&limit=500")[1]
        return rows if len(rows) >= 2 * len(NAMES) - 1 else None

    until(known)
    for path in ("/p/demo/assets", "/p/demo/home", "/rendering", "/problems", "/p/demo/problems"):
        assert fetch(farm, path)[0] == 200, path

    def told() -> Any:
        problems = farm.api("GET", "/api/problems?limit=500")[1]
        found = {problem["address"]: problem for problem in problems if problem["kind"] == "name"}
        return found if len(found) >= 3 else None

    found = until(told)
    names = {address.rpartition("/")[2] for address in found}
    assert {os.fsdecode(NAMES["not UTF-8"]), os.fsdecode(NAMES["255 bytes"])} <= names
    assert all(problem["actions"] for problem in found.values())
    clashes = [p for p in farm.api("GET", "/api/problems?limit=500")[1] if p["kind"] == "case-clash"]
    assert clashes


@pytest.mark.parametrize("what", ["not UTF-8", "255 bytes"])
def test_the_button_gives_a_readable_name_and_undo_takes_it_back(farm: RealFarm, what: str) -> None:
    name = os.fsdecode(NAMES[what])
    address = f"data::demo/shots/{name}"

    def action() -> Any:
        problems = farm.api("GET", "/api/problems?limit=500")[1]
        of_it = (p for p in problems if p["address"] == address and p["kind"] == "name")
        return next((problem["actions"][0] for problem in of_it), None)

    mend = until(action)
    before = sorted(os.listdir(farm.shots))
    status, answer = farm.api(mend["method"], mend["path"], mend["body"])
    assert status == 200, answer
    (new,) = {n for n in os.listdir(farm.shots) if n.endswith(".blend") and n not in before}
    assert SAFE.match(new)
    assert len(new.encode()) <= 200
    assert not (farm.shots / name).exists()
    undo = answer["undo"]
    status, answer = farm.api(undo["method"], undo["path"], undo["body"])
    assert status == 200, answer
    assert sorted(os.listdir(farm.shots)) == before


@pytest.mark.parametrize("what", ["not UTF-8", "newline", "hostile", "255 bytes", "emoji", "250 bytes"])
def test_what_is_deleted_comes_back_under_its_name(farm: RealFarm, what: str) -> None:
    name = os.fsdecode(folder_name(NAMES[what])) + "/in.blend"
    url = quote(os.fsencode(f"data::demo/shots/{name}"), safe="/:")
    path = farm.shots / name
    content = path.read_bytes()
    status, answer = farm.api("DELETE", f"/api/assets/{url}")
    assert status == 200, answer
    assert not path.exists()
    status, answer = farm.api("POST", "/api/restore", {"folder": answer["folder"]})
    assert status in (200, 201), answer
    assert path.read_bytes() == content


def answer_text(answer: Any) -> str:
    return str(answer["message"])
