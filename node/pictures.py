"""Checks that an image file is whole, and draws the test pattern. Standard library only.

`check` reads what the format lets one verify without decoding pixels by hand: every chunk's checksum and
the length of the unpacked data of a PNG, the markers of a JPEG, header and offset table of an EXR, the
beginning of the others. Every length read from a file is compared with what is there.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, Tuple

PNG = b"\x89PNG\r\n\x1a\n"
EXR = b"\x76\x2f\x31\x01"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> samples a pixel (PNG specification, 11.2.2)
# Lines a block, by compression.
EXR_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
MAX_HEADER = 1 << 20
# Beginnings of formats that are only looked at; Targa has none.
BEGINNINGS: Dict[str, Tuple[bytes, ...]] = {
    ".bmp": (b"BM",),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".webp": (b"RIFF",),
    ".hdr": (b"#?",),
    ".dpx": (b"SDPX", b"XPDS"),
    ".cin": (b"\x80\x2a\x5f\xd7", b"\xd7\x5f\x2a\x80"),
    ".jp2": (b"\0\0\0\x0cjP",),
    ".j2c": (b"\xff\x4f\xff\x51",),
    ".rgb": (b"\x01\xda",),
}


class BadPicture(Exception):
    """The file isn't there, isn't whole or isn't what was asked for; the message says which."""


def check(path: Path, width: int = 0, height: int = 0) -> Tuple[int, int]:
    """Its size in pixels, (0, 0) where the format doesn't tell us. Raises BadPicture, nothing else."""
    try:
        with open(path, "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes == 0:
                raise BadPicture(f"{path.name} is empty")
            beginning = file.read(8)
            file.seek(0)
            if beginning == PNG:
                found = check_png(file, size_bytes)
            elif beginning[:3] == b"\xff\xd8\xff":
                found = check_jpeg(file, size_bytes)
            elif beginning[:4] == EXR:
                found = check_exr(file, size_bytes)
            else:
                found = check_beginning(path, beginning)
    except FileNotFoundError:
        raise BadPicture(f"{path.name} was not written") from None
    except OSError as error:
        raise BadPicture(f"{path.name} can't be read: {error.strerror}") from None
    except BadPicture as bad:
        raise BadPicture(f"{path.name}: {bad}" if path.name not in str(bad) else str(bad)) from None
    except (struct.error, zlib.error, IndexError, ValueError) as error:
        raise BadPicture(f"{path.name} is torn: {error}") from None
    if width and height and found != (0, 0) and found != (width, height):
        raise BadPicture(f"{path.name} has {found[0]} x {found[1]} pixels instead of {width} x {height}")
    return found


def check_beginning(path: Path, beginning: bytes) -> Tuple[int, int]:
    ending = path.suffix.lower()
    known = ending in {".png", ".jpg", ".jpeg", ".exr"} or ending in BEGINNINGS
    if known and not beginning.startswith(BEGINNINGS.get(ending, ())):
        raise BadPicture(f"doesn't begin like a {ending} file")
    return 0, 0


def check_png(file: BinaryIO, size_bytes: int) -> Tuple[int, int]:
    width = height = expected = unpacked = 0
    packer = zlib.decompressobj()
    for kind, data in png_chunks(file, size_bytes):
        if width == 0:
            if kind != b"IHDR":
                raise BadPicture("has no header")
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data)
            if not width or not height or colour not in CHANNELS:
                raise BadPicture("has an impossible header")
            expected = png_bytes(width, height, depth * CHANNELS[colour], bool(interlaced))
        elif kind == b"IDAT":
            while data:
                unpacked += len(packer.decompress(data, 1 << 20))
                data = packer.unconsumed_tail
                if unpacked > expected:
                    raise BadPicture("holds more pixels than its header says")
    unpacked += len(packer.flush())
    if unpacked != expected or not packer.eof:
        raise BadPicture("holds fewer pixels than its header says")
    return width, height


def png_chunks(file: BinaryIO, size_bytes: int) -> Iterator[Tuple[bytes, bytes]]:
    file.seek(len(PNG))
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise BadPicture("ends too early")
        length, kind = struct.unpack(">I4s", head)
        if length > size_bytes - file.tell() - 4:
            raise BadPicture("ends too early")
        data = file.read(length)
        (checksum,) = struct.unpack(">I", file.read(4))
        if zlib.crc32(data, zlib.crc32(kind)) != checksum:
            raise BadPicture("has a wrong checksum")
        yield kind, data
        if kind == b"IEND":
            return


def png_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """How many bytes the rows unpack to, each with its filter byte."""
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    total = 0
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    for x, y, dx, dy in passes:
        columns, rows = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def check_jpeg(file: BinaryIO, size_bytes: int) -> Tuple[int, int]:
    file.seek(2)
    width = height = 0
    while True:
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            raise BadPicture("ends too early")
        if marker[1] == 0xFF:  # a filling byte
            file.seek(-1, os.SEEK_CUR)
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if length < 2 or length > size_bytes - file.tell() + 2:
            raise BadPicture("ends too early")
        data = file.read(length - 2)
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[1:5])
        if marker[1] == 0xDA:  # pixels follow
            break
    file.seek(-2, os.SEEK_END)
    if file.read(2) != b"\xff\xd9":
        raise BadPicture("ends too early")
    if not width or not height:
        raise BadPicture("has no size")
    return width, height


def check_exr(file: BinaryIO, size_bytes: int) -> Tuple[int, int]:
    """OpenEXR's file layout: magic, version, attributes, a table of offsets, one for each block of lines."""
    data = file.read(min(size_bytes, MAX_HEADER))
    (version,) = struct.unpack_from("<I", data, 4)
    tiled, multipart = version & 0x200, version & 0x1000
    at, window, compression, chunks = 8, (0, 0, -1, -1), -1, 0
    while data[at : at + 1] != b"\0":
        name, at = exr_text(data, at)
        _, at = exr_text(data, at)
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length > len(data) - at:
            raise BadPicture("ends too early")
        if name == b"dataWindow":
            window = struct.unpack_from("<iiii", data, at)
        elif name == b"compression":
            compression = data[at]
        elif name == b"chunkCount":
            (chunks,) = struct.unpack_from("<i", data, at)
        at += length
    at += 1
    width, height = window[2] - window[0] + 1, window[3] - window[1] + 1
    if width < 1 or height < 1 or compression not in EXR_LINES:
        raise BadPicture("has an impossible header")
    if tiled or multipart:
        return width, height
    lines = EXR_LINES[compression]
    count = chunks or (height + lines - 1) // lines
    file.seek(at)
    table = file.read(8 * count) if 8 * count <= size_bytes - at else b""
    if len(table) != 8 * count:
        raise BadPicture("ends too early")
    offsets = struct.unpack(f"<{count}Q", table)
    # A writer fills the table last: an empty place is a block that was never written.
    if min(offsets) < at + 8 * count or len(set(offsets)) != count:
        raise BadPicture("lacks some of its lines")
    file.seek(max(offsets))
    _, length = struct.unpack("<iI", file.read(8))
    if max(offsets) + 8 + length > size_bytes:
        raise BadPicture("ends too early")
    return width, height


def exr_text(data: bytes, at: int) -> Tuple[bytes, int]:
    end = data.index(b"\0", at, at + 256)
    return data[at:end], end + 1


def draw_pattern(path: Path, width: int, height: int, frame: int) -> None:
    """A small PNG whose colours tell its frame."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(((x * 255 // width + frame * 8) % 256, y * 255 // height, (frame * 37) % 256))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(PNG)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 1)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data)
            file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def flush(paths: Tuple[Path, ...]) -> None:
    """Brings files and their folders to the disk."""
    for path in (*paths, *{path.parent for path in paths}):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
