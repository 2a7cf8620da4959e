"""Is a file that arrives there to its end?"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

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
