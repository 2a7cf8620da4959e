"""Whether a file that arrived is there to its end, told from its first and last bytes.

A copy over Samba often has its full size from the start and is filled from the front, so quiet alone
isn't enough where a format has an end. Cheap: a few reads, each bounded, whatever the size. Answers
'complete' for kinds without a known end, and for content that is damaged rather than cut: waiting longer
wouldn't mend that.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from . import kinds

TAIL_BYTES = 4096
UNFILLED_BYTES = 64  # zeros at the end of a format that never ends in so many
STEPS = 20_000  # chunks, boxes or blocks looked at before 'quiet' must do
GZIP_BYTES = 8 << 20  # compressed bytes of a gzip file that are unpacked to find its end
GZIP_UNPACKED_BYTES = 96 << 20
EXR_TABLE = 100_000  # chunk offsets looked at

BLEND_END = b"ENDB"
BLEND_END_SIZES = (20, 24, 32)  # the last block's header: 32-bit, 64-bit, Blender 5
ZSTD_FRAME = 0xFD2FB528  # RFC 8878, 3.1.1
ZSTD_SEEK_TABLE = b"\xb1\xea\x92\x8f"  # the seekable format's footer, which Blender writes last
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"
EXR_MAGIC = 20000630
EXR_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}  # by compression


def complete(path: Path | str) -> bool:
    """Whether the file at `path` has its end. False if it can't be opened: look again later."""
    check = CHECKS.get(kinds.suffix(os.path.basename(path)))
    if check is None:
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                return size > 0 and check(file, size)
            except (struct.error, zlib.error, ValueError, IndexError, OverflowError):
                return not _unfilled(file, size)  # damaged, unless its end is still to come
    except OSError:
        # Race: the file was moved or is held by its writer.
        return False


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(max(0, offset))
    return file.read(size)


def _unfilled(file: BinaryIO, size: int) -> bool:
    """Whether the last bytes are zeros: the room was taken, the bytes are still to come."""
    return not _read(file, size - UNFILLED_BYTES, UNFILLED_BYTES).strip(b"\0")


def _blend(file: BinaryIO, size: int) -> bool:
    magic = _read(file, 0, 7)
    if magic == b"BLENDER":
        tail = _read(file, size - max(BLEND_END_SIZES), max(BLEND_END_SIZES))
        return any(tail[-length:][:4] == BLEND_END for length in BLEND_END_SIZES)
    if magic[:2] == b"\x1f\x8b":
        return _gzip(file, size)
    if len(magic) >= 4 and _zstd_start(struct.unpack("<I", magic[:4])[0]):
        return _zstd(file, size)
    return size >= 12 and bool(magic.strip(b"\0"))


def _gzip(file: BinaryIO, size: int) -> bool:
    """Unpacks up to a bound: only the stream itself tells where it ends (RFC 1952)."""
    if size > GZIP_BYTES:
        return not _unfilled(file, size)
    file.seek(0)
    unpack = zlib.decompressobj(wbits=31)
    unpacked = 0
    while unpacked < GZIP_UNPACKED_BYTES:
        packed = unpack.unconsumed_tail or file.read(1 << 18)
        if not packed:
            return False
        unpacked += len(unpack.decompress(packed, 1 << 20))
        if unpack.eof:
            return True
    return True


def _zstd_start(number: int) -> bool:
    return number == ZSTD_FRAME or number & 0xFFFFFFF0 == 0x184D2A50


def _zstd(file: BinaryIO, size: int) -> bool:
    """Ends in a seek table, or its frames and their blocks end where the file does."""
    if _read(file, size - 4, 4) == ZSTD_SEEK_TABLE:
        return True
    place = 0
    for _ in range(STEPS):
        if place == size:
            return True
        start = _read(file, place, 18)
        if len(start) < 8:
            return False
        number = struct.unpack_from("<I", start)[0]
        if number != ZSTD_FRAME:
            if not _zstd_start(number):
                return bool(start.strip(b"\0"))
            place += 8 + int(struct.unpack_from("<I", start, 4)[0])
            continue
        described = start[4]
        single = described >> 5 & 1
        place += 5 + (0 if single else 1) + (0, 1, 2, 4)[described & 3]
        place += (1 if single else 0, 2, 4, 8)[described >> 6]
        for _ in range(STEPS):
            header = _read(file, place, 3)
            if len(header) < 3:
                return False
            value = int.from_bytes(header, "little")
            kind, length = value >> 1 & 3, value >> 3
            place += 3 + (1 if kind == 1 else length)
            if value & 1:
                break
        place += 4 if described & 4 else 0  # the checksum
    return place <= size


def _png(file: BinaryIO, size: int) -> bool:
    if PNG_END in _read(file, size - 64, 64):
        return True
    if _read(file, 0, 8) != b"\x89PNG\r\n\x1a\n":
        return bool(_read(file, 0, 8).strip(b"\0"))
    place = 8
    for _ in range(STEPS):
        header = _read(file, place, 8)
        if len(header) < 8:
            return False
        length, name = struct.unpack(">I4s", header)
        if name == b"IEND":
            return True
        if not name.isalpha():
            return False
        place += 12 + length
    return True


def _jpeg(file: BinaryIO, size: int) -> bool:
    # Within packed pixels a 0xFF is followed by 0, so the two bytes stand only at an end.
    return JPEG_END in _read(file, size - TAIL_BYTES, TAIL_BYTES)


def _gif(file: BinaryIO, size: int) -> bool:
    return b";" in _read(file, size - 16, 16)


def _webp(file: BinaryIO, size: int) -> bool:
    header = _read(file, 0, 8)
    whole = header[:4] == b"RIFF" and 8 + int(struct.unpack_from("<I", header, 4)[0]) <= size
    return whole and not _unfilled(file, size)


def _boxes(file: BinaryIO, size: int) -> bool:
    """MP4 and QuickTime (ISO 14496-12): the `moov` box is there and no box goes past the end."""
    place, found = 0, False
    for _ in range(STEPS):
        if place >= size:
            break
        header = _read(file, place, 16)
        if len(header) < 8:
            return False
        length, name = struct.unpack_from(">I4s", header)
        if length == 1:
            length = struct.unpack_from(">Q", header, 8)[0]
        elif length == 0:
            length = size - place
        if length < 8 or place + length > size:
            return False
        found = found or name == b"moov"
        place += length
    return found


def _exr(file: BinaryIO, size: int) -> bool:
    """OpenEXR's writer fills the table of offsets last; every chunk must start within the file."""
    start = _read(file, 0, 65536)
    magic, flags = struct.unpack_from("<iI", start)
    if magic != EXR_MAGIC:
        return bool(start[:8].strip(b"\0"))
    if flags & 0x1800:  # deep or multi-part
        return True
    try:
        attributes, place = _exr_header(start)
    except (IndexError, ValueError, struct.error):
        return size > len(start)  # cut within the header, unless that is longer than any sensible one
    chunks = _exr_chunks(attributes, tiled=bool(flags & 0x200))
    if chunks is None:
        return True
    table = _read(file, place, 8 * min(chunks, EXR_TABLE))
    if len(table) < 8 * min(chunks, EXR_TABLE):
        return False
    offsets = struct.unpack(f"<{len(table) // 8}Q", table)
    if not all(place < offset < size for offset in offsets):
        return False
    last = max(offsets)
    skip = 16 if flags & 0x200 else 4
    length = _read(file, last + skip, 4)
    return len(length) == 4 and last + skip + 4 + int(struct.unpack("<I", length)[0]) <= size


def _exr_header(start: bytes) -> tuple[dict[bytes, bytes], int]:
    """The header's attributes and where it ends. ValueError if it goes past the bytes given."""
    attributes: dict[bytes, bytes] = {}
    place = 8
    while start[place]:
        end = start.index(0, place)
        name = start[place:end]
        end = start.index(0, end + 1)
        length = struct.unpack_from("<I", start, end + 1)[0]
        attributes[name] = start[end + 5 : end + 5 + length]
        place = end + 5 + length
    return attributes, place + 1


def _exr_chunks(attributes: dict[bytes, bytes], tiled: bool) -> int | None:
    """How many offsets the table has; None where that takes more than the simple cases."""
    if b"chunkCount" in attributes:
        return int(struct.unpack("<i", attributes[b"chunkCount"])[0])
    left, top, right, bottom = struct.unpack("<4i", attributes.get(b"dataWindow", b""))
    width, height = right - left + 1, bottom - top + 1
    if tiled:
        across, down, mode = struct.unpack("<IIB", attributes.get(b"tiles", b""))
        return None if mode & 15 else -(-width // across) * -(-height // down)
    lines = EXR_LINES.get(attributes.get(b"compression", b"\xff")[0])
    return None if lines is None else -(-height // lines)


CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    ".blend": _blend,
    ".png": _png,
    **dict.fromkeys((".jpg", ".jpeg", ".jpe"), _jpeg),
    ".gif": _gif,
    ".webp": _webp,
    **dict.fromkeys((".mp4", ".m4v", ".mov"), _boxes),
    ".exr": _exr,
}
