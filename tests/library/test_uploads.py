"""Uploads: what came counts once it is on the disk, and lands whole, once, never over another's."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.disk import files
from server.disk.errors import BadContent, BadInput, Conflict, DiskFull, NotFound, TooLarge
from server.disk.settings import Settings
from server.disk.store import Store, configured_shares
from server.disk.watcher import Watcher
from server.library.assets import Assets
from server.library.media import Media, complete
from server.library.people import People, User
from server.library.projects import Projects
from server.library.uploads import Misfit, Upload, Uploads
from server.web.pages.problems import GROUPS

ANA, BEN = User("ana", "Ana", "student"), User("ben", "Ben", "student")
SCENE = b"BLENDER-v304" + os.urandom(300) + b"ENDB" + bytes(20)


class Faulty(files.Os):
    """A disk that can be full."""

    def __init__(self) -> None:
        self.full = False

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(fd, data)


class Croft:
    """The rooms up to uploads, over one folder."""

    def __init__(self, folder: Path, config: str = "config", **server: Any) -> None:
        self.config, self.data = folder / config, folder / "data"
        self.disk = Faulty()
        self.now = time.time()
        self.settings = Settings(self.config)
        self.store = Store(self.settings, configured_shares(self.settings, self.data), disk=self.disk)
        Watcher(self.store, complete=complete)
        people = People(self.settings)
        self.projects = Projects(self.settings, self.store)
        self.media = Media(self.store, self.settings)
        assets = Assets(self.store, self.projects, people)
        self.store.open()
        self.projects.prepare()
        self.store.rescan()
        self.uploads = Uploads(self.store, self.settings, self.projects, assets, self.media, lambda: self.now)
        self.jobs: list[tuple[str, Any]] = []

    def start(self) -> Croft:
        self.uploads.start(self._submit, self._rendering)
        return self

    def _rendering(self, address: str) -> str:
        return next((f"job-{n + 1}" for n, job in enumerate(self.jobs) if job[1]["file"] == address), "")

    def _submit(self, who: str, request: Any) -> str:
        self.jobs.append((who, dict(request)))
        return f"job-{len(self.jobs)}"

    def begin(self, name: str = "fox.blend", size: int = len(SCENE), user: User = ANA, **more: Any) -> Upload:
        given = {"project": "demo", "name": name, "path": "shots", "size": size, **more}
        return self.uploads.begin(user, given)

    def send(self, name: str = "fox.blend", content: bytes = SCENE, user: User = ANA, **more: Any) -> Upload:
        """A whole file, sent and read."""
        upload = self.begin(name, len(content), user, **more)
        if content:
            self.uploads.receive(upload, 0, content, zlib.crc32(content))
        self.uploads.reader.wait()
        return self.uploads.one(user, upload.id)

    def add(self, *uploads: Upload, user: User = ANA) -> list[dict[str, Any]]:
        return self.uploads.add(user, [upload.id for upload in uploads])

    def view(self, upload: Upload, user: User = ANA) -> dict[str, Any]:
        self.uploads.reader.wait()
        view = self.uploads.view(self.uploads.one(user, upload.id))
        if view["there"] and view["there"]["same"] is None:
            self.uploads.reader.wait()
            view = self.uploads.view(self.uploads.one(user, upload.id))
        return view

    def close(self) -> None:
        self.uploads.close()
        self.media.close()
        self.store.close()


@pytest.fixture
def croft(tmp_path: Path) -> Iterator[Croft]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "server.json").write_text('{"site": "t", "settle_s": 0}')
    made = Croft(tmp_path).start()
    (made.data / "demo" / "shots").mkdir(parents=True, exist_ok=True)
    made.store.rescan()
    yield made
    made.close()


def tree(folder: Path) -> list[str]:
    """What people see there."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if not any(part.startswith(".") for part in name.split("/")))


def test_a_file_comes_in_chunks_and_is_added(croft: Croft) -> None:
    upload = croft.begin(modified=5)
    for at in range(0, len(SCENE), 100):
        part = SCENE[at : at + 100]
        croft.uploads.receive(upload, at, part, zlib.crc32(part))
    view = croft.view(upload)
    assert (view["state"], view["offset"], view["there"]) == ("ready", len(SCENE), None)
    assert tree(croft.data / "demo") == ["project.json"], "nothing is there before it is added"
    result = croft.add(upload)[0]
    assert (result["ok"], result["address"]) == (True, "data::demo/shots/fox.blend"), result
    assert (croft.data / "demo/shots/fox.blend").read_bytes() == SCENE
    record = croft.store.read("data::demo/shots/fox.blend").data
    assert (record["owner"], record["creator"], record["type"]) == ("ana", "ana", "shot")
    assert croft.uploads.waiting(ANA) == []
    assert croft.store.index.get("data::demo/shots/fox.blend").status == "ok"  # type: ignore[union-attr]
    assert croft.add(upload)[0] == result, "adding it again does no harm"
    assert croft.jobs == []


def test_a_chunk_that_does_not_fit_is_refused(croft: Croft) -> None:
    upload = croft.begin(size=300)
    with pytest.raises(Misfit) as damaged:
        croft.uploads.receive(upload, 0, b"x" * 100, 1234)
    assert damaged.value.offset == 0
    croft.uploads.receive(upload, 0, b"x" * 100, None)
    croft.uploads.receive(upload, 0, b"x" * 100, None)  # its answer was lost: sent again
    with pytest.raises(Misfit) as other:
        croft.uploads.receive(upload, 0, b"y" * 100, None)
    assert other.value.offset == 100
    with pytest.raises(Misfit):
        croft.uploads.receive(upload, 150, b"x" * 100, None)
    with pytest.raises(BadInput):
        croft.uploads.receive(upload, 100, b"x" * 201, None)
    assert croft.view(upload)["offset"] == 100


def test_what_never_counted_is_not_gone_on_from(croft: Croft) -> None:
    """After a power cut bytes may be there that no note tells of, and a note may be torn."""
    upload = croft.begin(size=300)
    croft.uploads.receive(upload, 0, b"x" * 100, None)
    folder = croft.store.path(upload.place)
    with (folder / "content").open("ab") as content, (folder / "chunks.jsonl").open("ab") as notes:
        content.write(b"?" * 50)
        notes.write(b'{"at": 100, "si')
    assert croft.view(upload)["offset"] == 100
    croft.uploads.receive(upload, 100, b"z" * 200, None)
    croft.uploads.reader.wait()
    assert (folder / "content").read_bytes() == b"x" * 100 + b"z" * 200
    with (folder / "content").open("r+b") as content:
        content.truncate(250)  # or less is there than was noted
    croft.uploads._shelf.keep(upload.place, {"sha256": ""})
    assert croft.view(upload)["offset"] == 100


def test_a_whole_that_is_not_what_was_sent_begins_again(croft: Croft) -> None:
    upload = croft.begin(size=100)
    croft.uploads.receive(upload, 0, b"x" * 100, None, digest="0" * 64)
    view = croft.view(upload)
    assert (view["offset"], view["state"]) == (0, "receiving")
    assert "isn't what was sent" in view["why"]
    croft.uploads.receive(upload, 0, b"x" * 100, None)
    assert croft.view(upload)["state"] == "ready"


def test_bytes_that_the_disk_spoilt_are_noticed(croft: Croft) -> None:
    upload = croft.begin(size=200)
    croft.uploads.receive(upload, 0, b"x" * 100, None)
    with (croft.store.path(upload.place) / "content").open("r+b") as content:
        content.write(b"!")
    croft.uploads.receive(upload, 100, b"x" * 100, None)
    view = croft.view(upload)
    assert (view["offset"], view["why"]) == (0, "The disk didn't keep what came. It is sent again.")


def test_a_full_disk_keeps_what_came_and_goes_on(croft: Croft) -> None:
    upload = croft.begin(size=200)
    croft.uploads.receive(upload, 0, b"x" * 100, None)
    croft.disk.full = True
    with pytest.raises(DiskFull):
        croft.uploads.receive(upload, 100, b"y" * 100, None)
    croft.disk.full = False
    assert croft.view(upload)["offset"] == 100
    croft.uploads.receive(upload, 100, b"y" * 100, None)
    assert croft.view(upload)["state"] == "ready"


def test_nobody_sees_or_changes_another_ones(croft: Croft) -> None:
    upload = croft.send()
    assert croft.uploads.waiting(BEN) == []
    with pytest.raises(NotFound):
        croft.uploads.one(BEN, upload.id)
    assert not croft.add(upload, user=BEN)[0]["ok"]
    assert tree(croft.data / "demo") == ["project.json"]
    for ident in ("../ana/" + upload.id, "..", ".", "", upload.id + "/../" + upload.id):
        with pytest.raises(NotFound):
            croft.uploads.one(BEN, ident)


def test_one_that_is_there_is_never_replaced(croft: Croft) -> None:
    (croft.data / "demo/shots/fox.blend").write_bytes(b"a student's work")
    upload = croft.send()
    there = croft.view(upload)["there"]
    assert (there["name"], there["same"], there["free"]) == ("fox.blend", False, "fox-2.blend")
    result = croft.add(upload)[0]
    assert not result["ok"]
    assert "there already" in result["message"]
    assert (croft.data / "demo/shots/fox.blend").read_bytes() == b"a student's work"
    croft.uploads.change(upload, {"name": there["free"]})
    assert croft.add(upload)[0]["address"] == "data::demo/shots/fox-2.blend"
    assert (croft.data / "demo/shots/fox-2.blend").read_bytes() == SCENE


def test_names_that_windows_takes_for_one_are_one(croft: Croft) -> None:
    (croft.data / "demo/shots/FOX.blend").write_bytes(b"other")
    assert croft.view(croft.send())["there"]["name"] == "FOX.blend"


def test_the_same_that_is_there_is_told_at_once_and_left_out(croft: Croft) -> None:
    (croft.data / "demo/shots/fox.blend").write_bytes(SCENE)
    upload = croft.begin(hash=hashlib.sha256(SCENE).hexdigest())  # not a byte was sent
    assert croft.view(upload)["there"]["same"] is True
    upload = croft.send()
    result = croft.add(upload)[0]
    assert result["ok"]
    assert "same is there already" in result["message"]
    assert tree(croft.data / "demo") == ["project.json", "shots/fox.blend"]
    assert croft.uploads.waiting(ANA) == []


def test_a_file_that_appears_in_the_last_moment_stays(croft: Croft, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = croft.send()
    target = croft.data / "demo/shots/fox.blend"
    real = croft.disk.link

    def link(source: Any, to: Any) -> None:
        if Path(to) == target and not target.exists():
            target.write_bytes(b"theirs")
        real(source, to)

    monkeypatch.setattr(croft.disk, "link", link)
    assert not croft.add(upload)[0]["ok"]
    assert target.read_bytes() == b"theirs"
    view = croft.view(upload)
    assert (view["state"], view["there"]["same"]) == ("ready", False)
    croft.uploads.change(upload, {"name": "mine.blend"})
    assert croft.add(upload)[0]["ok"]
    assert (croft.data / "demo/shots/mine.blend").read_bytes() == SCENE


def test_a_disk_that_fails_while_adding_leaves_it_waiting(
    croft: Croft, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = croft.send()

    def fail(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(croft.disk, "link", fail)
        assert not croft.add(upload)[0]["ok"]
    view = croft.view(upload)
    assert view["state"] == "ready"
    assert "full" in view["why"]
    assert tree(croft.data / "demo") == ["project.json"]
    croft.uploads.change(upload, {"name": "other.blend"})
    assert croft.add(upload)[0]["address"] == "data::demo/shots/other.blend"
    assert (croft.data / "demo/shots/other.blend").read_bytes() == SCENE


def test_what_lies_on_a_disk_that_is_away_waits_on(croft: Croft) -> None:
    # Given a pool, whose disk with the bytes is away, while that with the record is there
    upload = croft.send()
    content = croft.store.path(upload.at("content"))
    content.rename(content.with_name("away"))
    # Then nobody is told that it was added, or its bytes would go a day later
    [result] = croft.add(upload)
    assert not result["ok"]
    assert "disk" in result["message"]
    assert croft.uploads.one(ANA, upload.id).open
    content.with_name("away").rename(content)
    [result] = croft.add(upload)
    assert result["ok"], result["message"]
    assert (croft.data / "demo/shots/fox.blend").read_bytes() == SCENE


def test_a_name_of_a_mac_is_no_other_name(croft: Croft) -> None:
    decomposed = "cafe\u0301.blend"
    view = croft.view(croft.send(decomposed))
    assert (view["name"], view["title"]) == ("caf\u00e9.blend", "")


class Crash(BaseException):
    """The process dies here: no handler of ours runs."""


@pytest.mark.parametrize("n", range(1, 14))
def test_a_crash_while_adding_is_finished_at_the_next_start(croft: Croft, tmp_path: Path, n: int) -> None:
    """Each step onto the disk in turn is the last one before the power goes."""
    upload = croft.send(path="shots/new")
    croft.uploads.change(upload, {"render": True, "title": "The fox", "type": "prop"})
    count = 0

    def dying(real: Any) -> Any:
        def step(*given: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count > n:
                raise Crash
            return real(*given, **more)

        return step

    for name in ("rename", "link", "unlink", "replace", "mkdir"):
        setattr(croft.disk, name, dying(getattr(croft.disk, name)))
    crashed = False
    try:
        croft.add(upload)
    except Crash:
        crashed = True
    croft.close()
    again = Croft(tmp_path)
    again.jobs = croft.jobs  # the farm's, which a crash between asking and noting leaves there
    again.start()
    try:
        target = again.data / "demo/shots/new/fox.blend"
        if not target.exists():  # it died before it had decided: all is as it was
            assert crashed
            assert again.add(upload)[0]["ok"]
        assert target.read_bytes() == SCENE
        record = again.store.read("data::demo/shots/new/fox.blend").data
        assert (record["owner"], record["name"], record["type"]) == ("ana", "The fox", "prop")
        assert tree(again.data / "demo") == [
            "project.json",
            "shots/new/fox.blend",
            "shots/new/fox.blend.json",
        ]
        assert not list((again.data / "demo/shots").rglob(".croft-tmp-*"))
        result = again.add(upload)[0]
        assert result["ok"]
        assert len(again.jobs) == 1
    finally:
        again.close()


def test_a_scene_is_rendered_with_its_own_range(croft: Croft, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = croft.send()
    croft.uploads._shelf.keep(upload.place, {"facts": {"frames": [3, 26]}})
    croft.uploads.change(upload, {"render": True})
    result = croft.add(upload)[0]
    assert croft.jobs == [("ana", {"file": "data::demo/shots/fox.blend", "frames": "3-26"})]
    assert result["job"] == "job-1"
    assert croft.add(upload)[0]["job"] == "job-1"
    assert len(croft.jobs) == 1


def test_a_render_that_is_refused_is_told_and_the_file_is_there(croft: Croft) -> None:
    upload = croft.send()
    croft.uploads.change(upload, {"render": True})

    def refuse(who: str, request: Any) -> str:
        raise BadInput("Say which frames to render.")

    croft.uploads.adder.submit = refuse
    result = croft.add(upload)[0]
    assert result["ok"]
    assert "It isn’t rendered: Say which frames" in result["message"]
    assert (croft.data / "demo/shots/fox.blend").exists()


def test_many_are_added_and_each_says_what_came_of_it(croft: Croft) -> None:
    (croft.data / "demo/shots/b.blend").write_bytes(b"taken")
    names = ("a.blend", "b.blend", "c.blend")
    all_three = [croft.send(name, SCENE[:12] + name.encode() + SCENE[12:]) for name in names]
    half = croft.begin("d.blend", 10)
    assert [one["ok"] for one in croft.add(*all_three, half)] == [True, False, True, False]
    other = [SCENE[:12] + bytes([n]) + SCENE[12:] for n in range(2)]
    twice = [croft.send("e.blend", content, dropped=f"{n}/e.blend") for n, content in enumerate(other)]
    assert [one["ok"] for one in croft.add(*twice)] == [True, False], "two of one name"


def test_folders_types_and_titles(croft: Croft) -> None:
    upload = croft.send("what?.blend", path="characters/fox")
    view = croft.view(upload)
    assert (view["name"], view["title"], view["type"]) == ("what_.blend", "what?", "char")
    croft.uploads.change(upload, {"name": "how"})
    assert croft.view(upload)["name"] == "how.blend"
    croft.uploads.change(upload, {"path": "props", "name": "what_.blend"})
    assert croft.view(upload)["type"] == "prop"
    croft.uploads.change(upload, {"type": "set", "title": "Why?"})
    croft.add(upload)
    record = croft.store.read("data::demo/props/what_.blend").data
    assert (record["type"], record["name"]) == ("set", "Why?")
    picture = croft.send("wood.tga", b"no picture", path="textures")
    assert croft.view(picture)["type"] == ""
    croft.add(picture)
    assert not (croft.data / "demo/textures/wood.tga.json").exists(), "a texture is a file, no asset"
    for wrong in ({"type": "nonsense"}, {"name": "a/b"}, {"path": "../x"}, {"path": "render/a"}):
        with pytest.raises(BadInput):
            croft.uploads.change(croft.begin(), wrong)


def test_numbered_pictures_become_one_asset_of_their_person(croft: Croft) -> None:
    frame = io.BytesIO()
    Image.new("RGB", (8, 8)).save(frame, "PNG")
    names = [f"plate.{n:04d}.png" for n in range(1, 4)]
    uploads = [croft.send(name, frame.getvalue(), path="plates") for name in names]
    assert all(one["ok"] for one in croft.add(*uploads))
    assert croft.store.read("data::demo/plates/plate.@.png").data["owner"] == "ana"
    tiles = [croft.send(f"wood.{n}.png", frame.getvalue(), path="textures") for n in (1001, 1002)]
    croft.add(*tiles)
    assert not (croft.data / "demo/textures/wood.@.png.json").exists(), "tiles of a texture stay files"


def test_a_copy_by_its_name_is_known(croft: Croft) -> None:
    (croft.data / "demo/shots/hero.blend").write_bytes(b"x")
    assert croft.view(croft.send("hero (1).blend"))["copy_of"] == "hero.blend"
    assert croft.view(croft.send("fox (1).blend"))["copy_of"] is None
    named = croft.view(croft.send("green_sq01_sh010_anim_v003.blend"))["named"]
    assert (named["shot"], named["version"]) == ("sh010", 3)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": "virus.exe"}, BadContent),
        ({"name": "page.html"}, BadContent),
        ({"name": "fox.blend.json"}, BadContent),
        ({"name": "fox.blend1"}, BadContent),
        ({"name": "Thumbs.db"}, BadContent),
        ({"name": ".hidden.blend"}, BadInput),
        ({"name": "a/b.blend"}, BadInput),
        ({"path": "a/../b"}, BadInput),
        ({"path": "old"}, BadInput),
        ({"path": ".croft/x"}, BadInput),
        ({"project": "none"}, NotFound),
        ({"size": 2 << 40}, TooLarge),
        ({"size": 60 << 30}, DiskFull),
    ],
)
def test_what_can_not_be_uploaded(croft: Croft, given: dict[str, Any], error: type, monkeypatch: Any) -> None:
    usage = type("Usage", (), {"free": 1 << 30})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(error):
        croft.begin(**given)
    assert croft.uploads.waiting(ANA) == []


def test_the_same_file_dropped_again_goes_on(croft: Croft) -> None:
    first = croft.begin(size=200, dropped="shots/fox.blend", modified=7)
    croft.uploads.receive(first, 0, b"x" * 100, None)
    assert croft.begin(size=200, dropped="shots/fox.blend", modified=7).id == first.id
    assert croft.begin(size=200, dropped="shots/fox.blend", modified=8).id != first.id
    assert croft.begin(size=200, dropped="shots/fox.blend", modified=7, user=BEN).id != first.id


def test_what_was_removed_comes_back(croft: Croft) -> None:
    upload = croft.send()
    croft.uploads.change(upload, {"removed": True})
    assert croft.uploads.waiting(ANA) == []
    assert not croft.add(upload)[0]["ok"]
    croft.uploads.change(upload, {"removed": False})
    assert croft.add(upload)[0]["ok"]
    with pytest.raises(Conflict):
        croft.uploads.change(croft.uploads.one(ANA, upload.id), {"removed": True})


def test_what_nobody_comes_back_for_goes_and_is_told(croft: Croft) -> None:
    old = croft.send("old.blend")
    done = croft.send("done.blend")
    croft.add(done)
    day = 24 * 3600
    croft.now = os.stat(croft.store.path(old.place) / "upload.json").st_mtime + 8 * day
    croft.uploads.tidy.sweep()
    told = [(problem.severity, problem.kind) for problem in croft.uploads.problems()]
    assert told == [("note", "upload")], "it is no copy that was cut off"
    assert GROUPS["upload"][0] == "Dropped and never added"
    assert "old.blend" in croft.uploads.problems()[0].text
    assert not croft.store.path(done.place).exists(), "the note of an added one goes after a day"
    croft.now += 7 * day
    croft.uploads.tidy.sweep()
    assert croft.view(old)["state"] == "expired"
    assert not (croft.store.path(old.place) / "content").exists()
    assert croft.uploads.problems() == []
    assert not croft.add(old)[0]["ok"]
    croft.now += 30 * day
    croft.uploads.tidy.sweep()
    assert croft.uploads.waiting(ANA) == []


def test_a_project_that_was_renamed_keeps_what_waits_for_it(croft: Croft) -> None:
    upload = croft.send()
    (croft.data / "demo").rename(croft.data / "film")
    (croft.config / "projects/demo.json").unlink()
    croft.settings.look_again("projects")
    croft.store.rescan()
    found = croft.uploads.waiting(ANA, "film")
    assert [one.id for one in found] == [upload.id]
    assert croft.add(upload)[0]["ok"]
    assert (croft.data / "film/shots/fox.blend").read_bytes() == SCENE


def test_a_whole_one_is_dropped_into_another_folder_too(croft: Croft) -> None:
    first = croft.send(dropped="fox.blend", modified=7)
    assert croft.begin(dropped="fox.blend", modified=7).id == first.id
    assert croft.begin(dropped="fox.blend", modified=7, path="props").id != first.id


def test_two_servers_on_one_share(croft: Croft, tmp_path: Path) -> None:
    other = Croft(tmp_path).start()
    try:
        upload = croft.begin(size=len(SCENE))
        croft.uploads.receive(upload, 0, SCENE[:100], None)
        theirs = other.uploads.one(ANA, upload.id)
        with pytest.raises(Misfit):
            other.uploads.receive(theirs, 0, SCENE[:50], None)
        other.uploads.receive(theirs, 100, SCENE[100:], None)
        croft.uploads.reader.wait()
        other.uploads.reader.wait()
        assert croft.add(upload)[0] == other.add(upload)[0]
        assert (croft.data / "demo/shots/fox.blend").read_bytes() == SCENE
    finally:
        other.close()
