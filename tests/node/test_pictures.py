"""Is an image file whole? Real files of every kind, cut and spoilt at many places."""

from __future__ import annotations

import ast
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from node.pictures import BadPicture, check, draw_pattern

NODE = Path(__file__).resolve().parents[2] / "node"


def noise(mode: str) -> Image.Image:
    """A picture that doesn't compress, so that every byte of its file matters."""
    size, channels = (37, 23), len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(7).randbytes(size[0] * size[1] * channels))


def exr(path: Path, lines: int = 40, filled: bool = True) -> bytes:
    """An uncompressed EXR of one channel, as its file layout describes it."""

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value

    window = struct.pack("<iiii", 0, 0, 63, lines - 1)
    data = struct.pack("<II", 20000630, 2)
    data += attribute("channels", "chlist", b"Y\0" + struct.pack("<iIii", 1, 0, 1, 1) + b"\0")
    data += attribute("compression", "compression", b"\0")
    data += attribute("dataWindow", "box2i", window) + attribute("displayWindow", "box2i", window) + b"\0"
    first, block = len(data) + 8 * lines, 8 + 128
    offsets = [first + n * block for n in range(lines)]
    if not filled:
        offsets[-3:] = [0, 0, 0]
    data += struct.pack(f"<{lines}Q", *offsets)
    for line in range(lines):
        data += struct.pack("<iI", line, 128) + bytes(128)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_a_png_is_whole_or_not_at_all(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    (noise("L") if mode in ("P", "1", "I;16") else noise(mode)).convert(mode).save(path)
    assert check(path, 37, 23) == (37, 23)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadPicture):
            check(path)
    for at in range(8, len(whole) - 12, 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(BadPicture):
            check(path)


def test_an_interlaced_png(tmp_path: Path) -> None:
    """Built by hand, since Pillow writes none: seven passes, each row with its filter byte."""
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):  # fmt: skip  # noqa: E501
        columns, lines = -(-(5 - x) // dx), -(-(6 - y) // dy)
        rows += (b"\0" + bytes(max(0, columns))) * max(0, lines) if columns > 0 else b""
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 5, 6, 8, 0, 0, 0, 1)
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with Image.open(path) as image:
        image.load()
    assert check(path) == (5, 6)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_whole_or_not_at_all(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    noise("RGB").save(path, progressive=progressive)
    assert check(path, 37, 23) == (37, 23)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 11):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadPicture):
            check(path)


def test_an_exr_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    whole = exr(path)
    assert check(path, 64, 40) == (64, 40)
    for cut in range(0, len(whole), 13):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadPicture):
            check(path)
    exr(path, filled=False)
    with pytest.raises(BadPicture, match="lacks some of its lines"):
        check(path)


def test_wrong_sizes_absent_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    draw_pattern(path, 16, 9, 3)
    with Image.open(path) as image:
        image.load()
        assert image.size == (16, 9)
    with pytest.raises(BadPicture, match="16 x 9 pixels instead of 32 x 18"):
        check(path, 32, 18)
    with pytest.raises(BadPicture, match="was not written"):
        check(tmp_path / "b.png")
    path.write_bytes(b"")
    with pytest.raises(BadPicture, match="is empty"):
        check(path)
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(BadPicture, match="doesn't begin like"):
        check(path)
    for name, kind in (("a.tif", "TIFF"), ("a.bmp", "BMP"), ("a.webp", "WEBP"), ("a.tga", "TGA")):
        noise("RGB").save(tmp_path / name, kind)
        assert check(tmp_path / name) == (0, 0)


def test_noise_raises_nothing_else(tmp_path: Path) -> None:
    path, dice = tmp_path / "a.png", random.Random(1)
    beginnings = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x76\x2f\x31\x01\x02\0\0\0")
    for _ in range(600):
        path.write_bytes(dice.choice(beginnings) + dice.randbytes(dice.randrange(400)))
        with pytest.raises(BadPicture):
            check(path)


def test_the_node_is_written_for_python_3_9_and_its_standard_library() -> None:
    allowed = {"bpy", "__future__", "fcntl"}
    import sys

    for path in NODE.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
        for item in ast.walk(tree):
            names = [alias.name for alias in item.names] if isinstance(item, ast.Import) else []
            if isinstance(item, ast.ImportFrom) and item.level == 0:
                names = [item.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names | allowed, f"{path.name} imports {name}"
