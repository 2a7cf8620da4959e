"""Thumbnails and facts, and what hostile files cost: nothing but their thumbnail."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from server.library.media import blend, helper, pipe, workers
from server.library.media import scenes as scene_facts
from server.library.media.workers import Answer, Workers

from .conftest import Scenes


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.close()


def ask(pool: Workers, path: Path, op: str = "thumbnail", **more: Any) -> Answer:
    request = {"op": op, "path": str(path), "width": 256, "seconds": 20, "memory_mb": 512, **more}
    work = pool.ask((op, str(path), time.monotonic_ns()), request, lambda answer: None)
    assert work.done.wait(50)
    assert work.answer is not None
    return work.answer


def opened(answer: Answer) -> Image.Image:
    assert not answer.error, answer.data
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    return image


# Scenes


def test_a_scene_shows_its_preview_however_it_was_packed(pool: Workers, scenes: Scenes) -> None:
    for path in scenes.all:
        image = opened(ask(pool, path))
        assert max(image.size) == 128, path
        assert image.getextrema() != ((0, 0), (0, 0), (0, 0), (0, 0)), path


def test_a_scene_tells_its_facts_however_it_was_packed(pool: Workers, scenes: Scenes) -> None:
    for path, compression in zip(scenes.all, ("none", "gzip", "zstd"), strict=True):
        answer = ask(pool, path, "facts")
        assert not answer.error, answer.data
        facts = answer.data["facts"]
        assert facts["blender"][0] in "345"
        assert facts["compression"] == compression
        assert facts["scene"] == "Walk"
        assert [scene["name"] for scene in facts["scenes"]] == ["Second", "Walk"]
        assert facts["frames"] == [3, 26]
        assert facts["step"] == 2
        assert facts["fps"] == 29.97
        assert facts["resolution"] == [320, 180]
        assert facts["engine"] == "CYCLES"
        assert facts["output"] == "//render/walk_"
        assert facts["format"] == "OPEN_EXR"
        assert facts["camera"] is True
        assert [os.path.basename(library) for library in facts["libraries"]] == ["lib.blend"]
        assert facts["textures"] == ["//tex/wood.png"]  # the packed one needs no file
        assert facts["simulated"] is False
        assert answer.data["size"] == path.stat().st_size


def test_a_scene_with_cloth_is_known_as_simulated(pool: Workers, scenes: Scenes) -> None:
    assert ask(pool, scenes.plain.with_name("cloth.blend"), "facts").data["facts"]["simulated"] is True


def test_a_cut_scene_says_so_and_keeps_its_preview(pool: Workers, scenes: Scenes, tmp_path: Path) -> None:
    for path in (scenes.plain, scenes.zstd):
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
        answer = ask(pool, cut, "facts")
        assert not answer.error
        facts = answer.data["facts"]
        assert (facts["whole"], facts["scene"], facts["frames"]) == (False, "Walk", [3, 26])
        assert facts["why"]
        assert max(opened(answer).size) == 128


def test_a_scene_too_large_to_read_in_time_tells_its_frames(scenes: Scenes) -> None:
    """Given a packed scene whose time runs out among the meshes, then its preview and frames are known."""
    with scenes.zstd.open("rb") as file:
        found = blend.read(file, until=time.monotonic() - 1)
    facts = scene_facts.facts(found)
    assert found.preview is not None
    assert facts["frames"] == [3, 26]
    assert facts["why"] == "it takes too long to read"


def test_a_preview_of_impossible_size_is_no_preview(pool: Workers, scenes: Scenes, tmp_path: Path) -> None:
    data = bytearray(scenes.plain.read_bytes())
    place = data.index(b"TEST")
    most = 2**31 - 1
    for width, height, length in ((most, most, None), (128, 128, most), (-1, 5, None), (5, 5, -7)):
        spoilt = bytearray(data)
        struct.pack_into("<ii", spoilt, place + 24, width, height)
        if length is not None:
            struct.pack_into("<i", spoilt, place + 4, length)
        path = tmp_path / "spoilt.blend"
        path.write_bytes(spoilt)
        assert ask(pool, path).error in ("none", "damaged")


# Images


def test_transparency_gives_png_and_everything_else_jpeg(pool: Workers, tmp_path: Path) -> None:
    noise = Image.effect_noise((600, 300), 90)
    cases = {
        "rgba.png": (Image.merge("RGBA", [noise] * 4), "PNG"),
        "opaque.png": (Image.merge("RGBA", [*[noise] * 3, Image.new("L", noise.size, 255)]), "JPEG"),
        "grey.png": (noise, "JPEG"),
        "grey16.png": (noise.convert("I;16"), "JPEG"),
        "palette.gif": (noise.convert("P"), "JPEG"),
        "print.jpg": (Image.merge("CMYK", [noise] * 4), "JPEG"),
        "float.tif": (noise.convert("F"), "JPEG"),
        "one.png": (noise.convert("1"), "JPEG"),
        "plain.webp": (noise.convert("RGB"), "JPEG"),
        "plain.tga": (noise.convert("RGB"), "JPEG"),
        "plain.bmp": (noise.convert("RGB"), "JPEG"),
    }
    for name, (image, form) in cases.items():
        image.save(tmp_path / name)
        thumb = opened(ask(pool, tmp_path / name))
        assert (thumb.format, thumb.size) == (form, (256, 128)), name


def test_a_picture_taken_sideways_stands_upright(pool: Workers, tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert opened(ask(pool, tmp_path / "turned.jpg")).size == (128, 256)


def test_a_small_picture_is_not_blown_up(pool: Workers, tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "small.png")
    assert opened(ask(pool, tmp_path / "small.png")).size == (20, 10)


# What hostile files cost


def bomb_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    pixels = zlib.compressobj(9)
    packed = b"".join(pixels.compress(bytes(1 << 20)) for _ in range(64)) + pixels.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_bombs_cost_only_their_thumbnail(pool: Workers, scenes: Scenes, tmp_path: Path) -> None:
    """Given files that unpack to gigabytes, when they are asked for, then the next one is still served."""
    (tmp_path / "wide.png").write_bytes(bomb_png(60_000, 60_000))
    (tmp_path / "wider.png").write_bytes(bomb_png(2**31 - 1, 2**31 - 1))
    header = scenes.plain.read_bytes()[:12]
    block = struct.pack("<4siQii", b"DATA", 1 << 30, 1, 0, 1) + bytes(1 << 30)
    pack = zstandard.ZstdCompressor().compressobj()
    with open(tmp_path / "bomb.blend", "wb") as file:
        file.write(pack.compress(header))
        for _ in range(2):
            file.write(pack.compress(block))
        file.write(pack.flush())
    del block
    (tmp_path / "kept.blend").write_bytes(
        gzip.compress(header + struct.pack("<4siQii", b"SC", 1 << 30, 1, 0, 1) + bytes(1 << 26), 1)
    )
    for name in ("wide.png", "wider.png", "kept.blend"):
        for op in ("thumbnail", "facts") if name.endswith("blend") else ("thumbnail",):
            answer = ask(pool, tmp_path / name, op)
            assert answer.error or answer.data["facts"]["whole"] is False, name
    answer = ask(pool, tmp_path / "bomb.blend", "facts")
    assert answer.error or answer.data["facts"]["whole"] is False
    assert not ask(pool, scenes.plain).error
    assert pool.restarts == 0


def test_dna_that_names_a_billion_things_ends(pool: Workers, scenes: Scenes, tmp_path: Path) -> None:
    data = bytearray(scenes.plain.read_bytes())
    place = data.index(b"SDNANAME") + 8
    struct.pack_into("<I", data, place, 0xFFFFFFF0)
    (tmp_path / "dna.blend").write_bytes(data)
    answer = ask(pool, tmp_path / "dna.blend", "facts", seconds=3)
    assert answer.error in ("memory", "time") or answer.data["facts"]["frames"] == [3, 26]


def test_pipes_and_links_and_folders_are_not_read(pool: Workers, tmp_path: Path, scenes: Scenes) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(scenes.plain, tmp_path / "link.blend")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "link.blend", "folder.png"):
        assert ask(pool, tmp_path / name).error == "damaged", name
    assert pool.restarts == 0


def test_a_fork_may_write_nothing_and_take_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given work that does what it must not, when bounded, then each is one word of error."""

    def loop(request: dict[str, Any], memory: int) -> bytes:
        while True:
            pass

    def eat(request: dict[str, Any], memory: int) -> bytes:
        return bytes(4 << 30)

    def crash(request: dict[str, Any], memory: int) -> bytes:
        os.kill(os.getpid(), 9)
        return b""

    def babble(request: dict[str, Any], memory: int) -> bytes:
        return bytes(pipe.ANSWER_BYTES + 1)

    def deep(request: dict[str, Any], memory: int) -> bytes:
        return deep(request, memory)

    def vanish(request: dict[str, Any], memory: int) -> bytes:
        os._exit(0)

    request = {"seconds": 1, "memory_mb": 2048}
    for work, expected in (
        (loop, "time"), (eat, "memory"), (crash, "crash"), (babble, "time"), (deep, "damaged"),
        (vanish, "memory"),
    ):  # fmt: skip
        monkeypatch.setattr(helper, "work", work)
        answer = helper.bounded(request)
        lengths = pipe.LENGTH.unpack_from(answer)
        told = answer[pipe.LENGTH.size : pipe.LENGTH.size + lengths[0]]
        assert f'"error": "{expected}"'.encode() in told, work.__name__


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), which=st.integers(0, 4), spots=st.integers(1, 30), cut=st.floats(0.01, 1))
def test_spoilt_files_never_harm_the_helper(
    pool: Workers, scenes: Scenes, tmp_path: Path, seed: int, which: int, spots: int, cut: float
) -> None:
    chance = random.Random(seed)
    if which < 3:
        source = scenes.all[which].read_bytes()
        path = tmp_path / "spoilt.blend"
    else:
        form = ("png", "jpg")[which - 3]
        out = io.BytesIO()
        Image.effect_noise((64, 64), 50).convert("RGB").save(out, {"png": "PNG", "jpg": "JPEG"}[form])
        source, path = out.getvalue(), tmp_path / f"spoilt.{form}"
    data = bytearray(source[: max(1, int(len(source) * cut))])
    for _ in range(spots):
        data[chance.randrange(len(data))] = chance.randrange(256)
    for _ in range(spots // 3):  # where it hurts: the first kilobyte, as a whole number
        if len(data) > 1100:
            struct.pack_into("<i", data, chance.randrange(1000), chance.choice([-1, 2**31 - 1, 0, -(2**31)]))
    path.write_bytes(data)
    answer = ask(pool, path, "facts" if path.suffix == ".blend" else "thumbnail", seconds=5)
    assert answer.error in ("", "none", "damaged", "memory", "time", "crash")
    assert pool.restarts == 0


# The queue


def test_the_newest_asked_is_made_first_and_the_oldest_forgotten(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    pool = Workers(1, limit=3)
    order: list[str] = []
    held, go = threading.Event(), threading.Event()
    request = {"op": "thumbnail", "path": str(tmp_path / "a.png"), "width": 8, "seconds": 9, "memory_mb": 512}

    def hold(answer: Answer) -> None:
        held.set()
        assert go.wait(30)

    try:
        pool.ask("first", request, hold)
        assert held.wait(30)
        # `hold` runs in the only worker's thread: the rest waits.
        asked = [
            pool.ask(name, request, lambda answer, name=name: order.append(f"{name}{answer.error}"))  # type: ignore[misc]
            for name in "abcd"
        ]
        pool.ask("b", request, lambda answer: None)  # asked again: now the newest
        facts = pool.ask("f", request, lambda answer: order.append("f"), first=True)
        go.set()
        for work in (*asked, facts):
            assert work.done.wait(30)
        assert order == ["adropped", "f", "b", "d", "c"]
    finally:
        go.set()
        pool.close()


def test_a_killed_helper_is_replaced(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    pool = Workers(1)
    try:
        assert not ask(pool, tmp_path / "a.png").error
        (one,) = pool._helpers
        os.kill(one.pid, 19)  # stopped: it won't answer, and isn't dead either
        path = str(tmp_path / "a.png")
        request = {"op": "thumbnail", "path": path, "width": 8, "seconds": -24.0, "memory_mb": 512}
        work = pool.ask("stuck", request, lambda answer: None)
        assert work.done.wait(50)
        assert work.answer is not None
        assert work.answer.error == "crash"
        assert pool.restarts == 1
        assert not ask(pool, tmp_path / "a.png").error
        (other,) = pool._helpers
        assert other.pid != one.pid
        os.kill(other.pid, 9)
        ask(pool, tmp_path / "a.png")  # may be lost with it
        assert not ask(pool, tmp_path / "a.png").error
    finally:
        pool.close()
    assert not pool._helpers


def test_an_idle_helper_is_let_go_and_comes_back(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    pool = Workers(1, idle_s=0.05)
    try:
        assert not ask(pool, tmp_path / "a.png").error
        deadline = time.monotonic() + 20
        while pool._helpers and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not pool._helpers
        assert not ask(pool, tmp_path / "a.png").error
    finally:
        pool.close()


def test_after_closing_nothing_is_done(tmp_path: Path) -> None:
    pool = Workers(2)
    pool.close()
    work = pool.ask("late", {"path": "x"}, lambda answer: None)
    assert work.answer is not None
    assert work.answer.error == "dropped"


def test_the_helper_is_a_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.sys, "executable", "/usr/bin/uwsgi")
    assert workers._python().endswith("/bin/python3")


def test_a_scene_of_blender_5_tells_its_facts_too(pool: Workers) -> None:
    """A header of 17 bytes, blocks with one of 32; saved by the module bpy 5.0.1, which draws no preview."""
    path = Path(__file__).with_name("blender-5.0.blend")
    answer = ask(pool, path, "facts")
    facts = answer.data["facts"]
    assert (facts["blender"], facts["compression"], facts["whole"]) == ("5.0", "zstd", True)
    assert (facts["frames"], facts["fps"], facts["resolution"]) == ([3, 26], 25.0, [320, 180])
    assert (facts["libraries"], facts["textures"]) == (["//lib5.blend"], ["//tex/wood.png"])
    assert ask(pool, path).error == "none"


def test_processor_time_is_bounded_apart_from_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may wait long on a busy machine, but not compute long."""

    def loop(request: dict[str, Any], memory: int) -> bytes:
        while True:
            pass

    monkeypatch.setattr(helper, "work", loop)
    answer = helper.bounded({"seconds": 30, "cpu_seconds": 0.5, "memory_mb": 2048})
    assert b'"error": "time"' in answer
