"""Is a file that arrives there to its end?"""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from server.library.media import ends
from server.library.media.ends import CHECKS, complete

from .conftest import Scenes


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def exr(width: int = 20, height: int = 40, compression: int = 3) -> bytes:
    """A little OpenEXR file: a header, the table of offsets, chunks of made-up bytes."""

    def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value

    header = struct.pack("<iI", 20000630, 2)
    header += attribute(b"compression", b"compression", bytes([compression]))
    header += attribute(b"dataWindow", b"box2i", struct.pack("<4i", 0, 0, width - 1, height - 1)) + b"\0"
    chunks = -(-height // 16)
    place = len(header) + 8 * chunks
    table, body = b"", b""
    for number in range(chunks):
        table += struct.pack("<Q", place + len(body))
        body += struct.pack("<iI", number * 16, 50) + bytes(50)
    return header + table + body


def pictures(folder: Path) -> list[Path]:
    image = Image.effect_noise((90, 60), 80).convert("RGB")
    made = []
    for name in ("a.png", "a.jpg", "a.webp", "a.gif"):
        image.save(folder / name)
        made.append(folder / name)
    film = box(b"ftyp", b"isom" * 3) + box(b"mdat", bytes(500)) + box(b"moov", bytes(90))
    (folder / "a.mp4").write_bytes(film)
    (folder / "a.exr").write_bytes(exr())
    return [*made, folder / "a.mp4", folder / "a.exr"]


def test_whole_scenes_are_complete_and_cut_ones_are_not(scenes: Scenes, tmp_path: Path) -> None:
    for whole in scenes.all:
        assert complete(whole), whole
        data = whole.read_bytes()
        for part in (0, 1, 7, 100, len(data) // 2, len(data) - 100, len(data) - 1):
            cut = tmp_path / whole.name
            cut.write_bytes(data[:part])
            assert not complete(cut), (whole.name, part)


def test_whole_pictures_are_complete_and_cut_ones_are_not(tmp_path: Path) -> None:
    for whole in pictures(tmp_path):
        assert complete(whole), whole
        data = whole.read_bytes()
        for part in (0, 20, len(data) // 2, len(data) - 20):
            cut = tmp_path / f"cut{whole.suffix}"
            cut.write_bytes(data[:part])
            assert not complete(cut), (whole.name, part)


def test_a_copy_that_took_its_room_first_is_not_complete(scenes: Scenes, tmp_path: Path) -> None:
    for whole in (*scenes.all, *pictures(tmp_path)):
        data = whole.read_bytes()
        for part in (0, 4000 if len(data) > 9000 else 40):
            filling = tmp_path / f"filling{whole.suffix}"
            filling.write_bytes(data[:part] + bytes(len(data) - part))
            assert not complete(filling), (whole.name, part)


def test_other_kinds_need_only_be_quiet(tmp_path: Path) -> None:
    for name in ("notes.txt", "sound.wav", "noending"):
        (tmp_path / name).write_bytes(b"")
        assert complete(tmp_path / name)


def test_a_file_that_is_gone_is_looked_at_again(tmp_path: Path) -> None:
    assert not complete(tmp_path / "gone.png")


def test_a_fragmented_film_and_one_with_a_cut_box(tmp_path: Path) -> None:
    film = tmp_path / "a.mov"
    parts = {b"ftyp": b"qt  ", b"moov": bytes(20), b"moof": b"", b"mdat": b"x" * 99}
    film.write_bytes(b"".join(box(name, content) for name, content in parts.items()))
    assert complete(film)
    film.write_bytes(film.read_bytes()[:-1])
    assert not complete(film)


@pytest.mark.parametrize("ending", sorted(CHECKS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), magic=st.sampled_from([
    b"", b"BLENDER-v304", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x89PNG\r\n\x1a\n",
    b"RIFF", b"\0\0\0\x08ftyp", struct.pack("<iI", 20000630, 2), struct.pack("<iI", 20000630, 0x202),
]))  # fmt: skip
def test_any_bytes_get_an_answer(tmp_path: Path, ending: str, data: bytes, magic: bytes) -> None:
    path = tmp_path / f"any{ending}"
    path.write_bytes(magic + data)
    assert complete(path) in (True, False)


def test_a_long_packed_scene_is_unpacked_to_its_end_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gzip stream of many megabytes, cut: only unpacking it tells."""
    monkeypatch.setattr(ends, "GZIP_BYTES", 1000)
    whole = gzip.compress(b"BLENDER-v280" + random.Random(1).randbytes(5000) + b"ENDB" + bytes(20))
    path = tmp_path / "a.blend"
    path.write_bytes(whole)
    assert complete(path, thorough=True)
    path.write_bytes(whole[:-9])
    assert complete(path)
    assert not complete(path, thorough=True)


def test_a_zstd_scene_cut_between_two_frames_lacks_blenders_last_block(tmp_path: Path) -> None:
    frames = [b"BLENDER-v300" + bytes(range(200)), b"more of it" * 30, b"last" + b"ENDB" + bytes(20)]
    packed = [zstandard.compress(frame) for frame in frames]
    path = tmp_path / "a.blend"
    path.write_bytes(b"".join(packed))
    assert complete(path, thorough=True)
    path.write_bytes(b"".join(packed[:2]))
    assert complete(path)
    assert not complete(path, thorough=True)


def test_a_cameras_preview_is_no_end_and_a_film_behind_the_picture_no_harm(tmp_path: Path) -> None:
    """The preview within a JPEG has an end mark of its own, in front of the pixels."""
    noise = Image.effect_noise((300, 200), 90).convert("RGB")
    noise.resize((60, 40)).save(tmp_path / "preview.jpg")
    preview = (tmp_path / "preview.jpg").read_bytes()
    path = tmp_path / "a.jpg"
    noise.save(path, exif=b"Exif\0\0" + preview)
    whole = path.read_bytes()
    place = whole.index(preview) + len(preview)
    for part in (place, place + 100, len(whole) - 2):
        path.write_bytes(whole[:part])
        assert not complete(path), part
    path.write_bytes(whole + box(b"ftyp", b"isom" * 3) + box(b"mdat", b"film" * 3000))
    assert complete(path)


def test_films_end_where_they_say(tmp_path: Path, needs: Callable[[str], str]) -> None:
    ffmpeg = needs("ffmpeg")
    for name in ("a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ogv"):
        path = tmp_path / name
        codec = {"a.webm": ["-c:v", "libvpx", "-b:v", "200k"], "a.ogv": ["-c:v", "libtheora"]}.get(
            name, ["-c:v", "mpeg4"]
        )
        subprocess.run(
            [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=160x90:r=10", *codec, str(path)],
            check=True, timeout=50,
        )  # fmt: skip
        whole = path.read_bytes()
        assert complete(path), name
        for part in (len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:part])
            assert not complete(path), (name, part)
        path.write_bytes(whole[: len(whole) // 3] + bytes(200_000 + len(whole)))
        if name != "a.avi":  # whose length would be that of the whole
            assert not complete(path), name


def test_pictures_of_other_kinds(tmp_path: Path) -> None:
    noise = Image.effect_noise((200, 150), 90)
    for name in ("a.bmp", "a.avif", "a.jp2"):
        noise.save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        assert complete(tmp_path / name), name
        for part in (20, len(whole) // 2, len(whole) - 3):
            (tmp_path / name).write_bytes(whole[:part])
            assert not complete(tmp_path / name), (name, part)
    dpx = tmp_path / "a.dpx"
    dpx.write_bytes(b"SDPX" + bytes(12) + struct.pack(">I", 3000) + bytes(2980))
    assert complete(dpx)
    dpx.write_bytes(dpx.read_bytes()[:2999])
    assert not complete(dpx)
    for compression in ("raw", "tiff_lzw"):
        path = tmp_path / "a.tif"
        noise.save(path, compression=compression)
        whole = path.read_bytes()
        assert complete(path), compression
        for part in (8, len(whole) // 2):
            path.write_bytes(whole[:part])
            assert not complete(path), (compression, part)


def test_a_multi_part_exr_has_all_its_tables(tmp_path: Path) -> None:
    def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value

    header = attribute(b"chunkCount", b"int", struct.pack("<i", 2)) + b"\0"
    start = struct.pack("<iI", 20000630, 2 | 0x1000) + header + header + b"\0"
    chunks = b"".join(struct.pack("<iiI", part, 0, 50) + b"x" * 50 for part in (0, 0, 1, 1))
    table = struct.pack("<4Q", *(len(start) + 32 + 62 * n for n in range(4)))
    path = tmp_path / "a.exr"
    path.write_bytes(start + table + chunks)
    assert complete(path)
    for cut in (start + bytes(32) + chunks, start + table[:16], start + table + chunks[:150]):
        path.write_bytes(cut)
        assert not complete(path)


def test_a_file_that_nobody_may_read_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert ends.ending(tmp_path / "a.png") is None
