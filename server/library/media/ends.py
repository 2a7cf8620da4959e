"""Whether a file that arrived is there to its end, told from its first and last bytes.

A copy over Samba often has its full size from the start and is filled from the front, so quiet alone
isn't enough where a format has an end. Cheap: a few reads, each bounded, whatever the size; only a packed
scene has to be unpacked to its end, which the thorough look does. Content that is damaged rather than cut
counts as complete: waiting longer wouldn't mend that.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import zstandard

from . import kinds

TAIL_BYTES = 4096
UNFILLED_BYTES = 64  # zeros at the end of a format that never ends in so many
UNFILLED_FILM_BYTES = 64 << 10  # silence is zeros too, but not so many of them
STEPS = 1_000_000  # chunks, boxes or blocks looked at
GZIP_BYTES = 8 << 20  # compressed bytes that are unpacked to find the end, if the look isn't thorough
CHUNK_BYTES = 1 << 20
WINDOW_BYTES = 128 << 20  # of a packed frame: the most memory that unpacking may take
OGG_PAGE_BYTES = 27 + 255 + 255 * 255
EXR_TABLE = 100_000  # chunk offsets looked at
EXR_PARTS = 1000
SCAN_BYTES = 512 << 20  # of a picture with something else behind its end

BLEND_END = b"ENDB"
BLEND_END_SIZES = (20, 24, 32)  # the last block's header: 32-bit, 64-bit, Blender 5
ZSTD_FRAME = 0xFD2FB528  # RFC 8878, 3.1.1
ZSTD_SEEK_TABLE = b"\xb1\xea\x92\x8f"  # the seekable format's footer, which Blender writes last
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"
EXR_MAGIC = 20000630
EXR_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}  # by compression
EXR_TILED, EXR_DEEP, EXR_PARTED = 0x200, 0x800, 0x1000  # flags of the version field
EBML, SEGMENT = 0x1A45DFA3, 0x18538067  # Matroska's ids (RFC 9559)


def complete(path: Path | str, *, thorough: bool = False) -> bool:
    """Whether the file at `path` has its end, or has none to look for. False if it is gone."""
    return ending(path, thorough=thorough) is not False


def ending(path: Path | str, *, thorough: bool = False, name: str = "") -> bool | None:
    """Whether the end is there; None where this kind of file has none, or nobody may look.

    `name` says the kind where the path doesn't. `thorough`: a packed scene is unpacked, however long it is;
    else only where that is quick.
    """
    check = CHECKS.get(kinds.suffix(name or os.path.basename(path)))
    if check is None:
        return None
    try:
        with open(path, "rb", buffering=0) as raw:
            size = os.fstat(raw.fileno()).st_size
            file = io.BufferedReader(raw, 512)
            try:
                if size and thorough and check is _blend:
                    return _blend(file, size) and _unpacks(file, size)
                return size > 0 and check(file, size)
            except (struct.error, zlib.error, zstandard.ZstdError, ValueError, IndexError, OverflowError):
                return not _unfilled(file, size)  # damaged, unless its end is still to come
    except PermissionError:
        return None
    except OSError:
        # Race: the file was moved or is held by its writer.
        return False


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(max(0, offset))
    return file.read(size)


def _unfilled(file: BinaryIO, size: int, length: int = UNFILLED_BYTES) -> bool:
    """Whether the last bytes are zeros: the room was taken, the bytes are still to come."""
    return not _read(file, size - length, length).strip(b"\0")


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
    """A quick look: a long one is only asked whether its room is filled."""
    return not _unfilled(file, size) if size > GZIP_BYTES else _gunzips(file)


def _gunzips(file: BinaryIO) -> bool:
    """Unpacks it: only the stream itself tells where it ends (RFC 1952)."""
    file.seek(0)
    unpack = zlib.decompressobj(wbits=31)
    while packed := unpack.unconsumed_tail or file.read(CHUNK_BYTES):
        unpack.decompress(packed, CHUNK_BYTES)
        if unpack.eof:
            return True
    return False


def _unpacks(file: BinaryIO, size: int) -> bool:
    """Whether a packed scene unpacks to Blender's last block; True for one that isn't packed."""
    magic = _read(file, 0, 4)
    if magic[:2] == b"\x1f\x8b":
        return size <= GZIP_BYTES or _gunzips(file)
    if len(magic) < 4 or not _zstd_start(struct.unpack("<I", magic)[0]):
        return True
    frames: list[int] = []
    _zstd_walk(file, size, frames)
    if not frames:
        return True
    file.seek(frames[-2:][0])
    tail = b""
    unpack = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    with unpack.stream_reader(file, read_across_frames=True, closefd=False) as stream:
        while part := stream.read(CHUNK_BYTES):
            tail = (tail + part)[-max(BLEND_END_SIZES) :]
    return any(tail[-length:][:4] == BLEND_END for length in BLEND_END_SIZES)


def _zstd_start(number: int) -> bool:
    return number == ZSTD_FRAME or number & 0xFFFFFFF0 == 0x184D2A50


def _zstd(file: BinaryIO, size: int) -> bool:
    """Ends in a seek table, or its frames and their blocks end where the file does."""
    return _read(file, size - 4, 4) == ZSTD_SEEK_TABLE or _zstd_walk(file, size, [])


def _zstd_walk(file: BinaryIO, size: int, frames: list[int]) -> bool:
    """Whether frame follows frame to the end. `frames` gets where those with content begin."""
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
        frames.append(place)
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
    return False


def _jpeg(file: BinaryIO, size: int) -> bool:
    """Its end mark stands after its pixels: a camera's preview has one of its own before them."""
    pixels = _jpeg_pixels(file)
    if pixels is None:
        return False
    # Within packed pixels a 0xFF is followed by 0, so the two bytes stand only at an end.
    if JPEG_END in _read(file, max(pixels, size - TAIL_BYTES), TAIL_BYTES):
        return True
    if _unfilled(file, size):
        return False
    file.seek(pixels)  # a telephone puts a little film behind its picture
    before = b""
    for _ in range(SCAN_BYTES // CHUNK_BYTES):
        part = file.read(CHUNK_BYTES)
        if not part:
            return False
        if JPEG_END in before + part:
            return True
        before = part[-1:]
    return False


def _jpeg_pixels(file: BinaryIO) -> int | None:
    """Where the pixels begin (ITU T.81, B.1); None if the file ends before."""
    place = 2
    for _ in range(STEPS):
        header = _read(file, place, 4)
        if len(header) < 4:
            return None
        if header[0] != 0xFF:
            raise ValueError("not a JPEG marker")
        if header[1] == 0xFF:  # a fill byte
            place += 1
            continue
        if header[1] == 0xDA:
            return place
        alone = header[1] == 0x01 or 0xD0 <= header[1] <= 0xD9
        place += 2 if alone else 2 + int(struct.unpack(">H", header[2:])[0])
    return None


def _gif(file: BinaryIO, size: int) -> bool:
    return b";" in _read(file, size - 16, 16)


def _webp(file: BinaryIO, size: int) -> bool:
    return _riff(file, size) and not _unfilled(file, size)


def _avi(file: BinaryIO, size: int) -> bool:
    return _riff(file, size) and not _unfilled(file, size, UNFILLED_FILM_BYTES)


def _riff(file: BinaryIO, size: int) -> bool:
    """Every part that says how long it is fits: a long AVI has several of them."""
    place = 0
    for _ in range(STEPS):
        header = _read(file, place, 8)
        if len(header) < 8 or header[:4] != b"RIFF":
            return place > 0  # something else behind the last one
        length = int(struct.unpack_from("<I", header, 4)[0])
        place += 8 + length + (length & 1)
        if not length or place > size + 1:
            return False
    return True


def _matroska(file: BinaryIO, size: int) -> bool:
    """The segment ends within the file; one that was recorded live doesn't say where it ends."""
    place = 0
    for _ in range(100):
        head = _read(file, place, 16)
        if len(head) < 2:
            return place == size
        ident, after = _ebml(head, 0, keep=True)
        length, after = _ebml(head, after)
        if place == 0 and ident != EBML:
            return bool(head.strip(b"\0"))
        if ident == SEGMENT and length is None:
            return not _unfilled(file, size, UNFILLED_FILM_BYTES)
        place += after + (length or 0)
        if place > size:
            return False
        if ident == SEGMENT:
            return not _unfilled(file, size, UNFILLED_FILM_BYTES)
    return True


def _ebml(head: bytes, at: int, *, keep: bool = False) -> tuple[int | None, int]:
    """A number whose first bits say how long it is, and what follows it; None for 'unknown'."""
    size = 9 - head[at].bit_length()
    if size > 8:
        raise ValueError("not a Matroska number")
    value = int.from_bytes(head[at : at + size], "big")
    if keep:
        return value, at + size
    value &= (1 << 7 * size) - 1
    return (None if value == (1 << 7 * size) - 1 else value), at + size


def _boxes(file: BinaryIO, size: int) -> bool:
    """MP4 and QuickTime (ISO 14496-12): the `moov` box is there, no box goes past the end, and the last
    one isn't room that was taken and never filled."""
    place, found, name = 0, False, b""
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
    return found and not (name == b"mdat" and _unfilled(file, size, UNFILLED_FILM_BYTES))


def _still_boxes(file: BinaryIO, size: int) -> bool:
    """AVIF and JPEG 2000: the same boxes as a film's, without a film."""
    place = 0
    for _ in range(STEPS):
        if place >= size:
            break
        header = _read(file, place, 16)
        if len(header) < 8:
            return False
        length = struct.unpack_from(">I", header)[0]
        if length == 1:
            length = struct.unpack_from(">Q", header, 8)[0]
        elif length == 0:
            length = size - place
        if length < 8 or place + length > size:
            return False
        place += length
    return not _unfilled(file, size)


def _ogg(file: BinaryIO, size: int) -> bool:
    """The last page says that it is (RFC 3533), and is there."""
    tail = _read(file, size - OGG_PAGE_BYTES, OGG_PAGE_BYTES)
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27:
        return False
    lengths = tail[place + 27 : place + 27 + tail[place + 26]]
    whole = len(lengths) == tail[place + 26] and len(tail) >= place + 27 + len(lengths) + sum(lengths)
    return whole and bool(tail[place + 5] & 4)


def _dpx(file: BinaryIO, size: int) -> bool:
    """Its header says how long the file is (SMPTE 268M)."""
    start = _read(file, 0, 20)
    order = {b"SDPX": ">", b"XPDS": "<"}.get(start[:4])
    if order is None:
        return bool(start.strip(b"\0")) and not _unfilled(file, size)
    length = int(struct.unpack_from(order + "I", start, 16)[0])
    return length in (0, 0xFFFFFFFF) or length <= size


def _bmp(file: BinaryIO, size: int) -> bool:
    start = _read(file, 0, 6)
    if start[:2] != b"BM":
        return bool(start.strip(b"\0"))
    return int(struct.unpack_from("<I", start, 2)[0]) <= size


def _tiff(file: BinaryIO, size: int) -> bool:
    """Its first directory, and all strips or tiles that this one names, lie within the file."""
    start = _read(file, 0, 8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[:4])
    if order is None:
        return bool(start.strip(b"\0")) and not _unfilled(file, size)
    place = int(struct.unpack_from(order + "I", start, 4)[0])
    count = _read(file, place, 2)
    if not place or len(count) < 2:
        return False
    entries = int(struct.unpack(order + "H", count)[0])
    raw = _read(file, place + 2, 12 * entries)
    if len(raw) < 12 * entries:
        return False
    values: dict[int, list[int]] = {}
    for n in range(entries):
        tag, kind, number = struct.unpack_from(order + "HHI", raw, 12 * n)
        if tag not in (273, 279, 324, 325) or kind not in (3, 4):  # where strips and tiles lie, how long
            continue
        if number > size:
            raise ValueError("more strips than bytes")
        each = 2 if kind == 3 else 4
        there = raw[12 * n + 8 : 12 * n + 12]
        if each * number > 4:
            there = _read(file, int(struct.unpack(order + "I", there)[0]), each * number)
        if len(there) < each * number:
            return False
        values[tag] = list(struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", there))
    return all(
        offset + length <= size
        for offsets, lengths in ((273, 279), (324, 325))
        for offset, length in zip(values.get(offsets, ()), values.get(lengths, ()), strict=False)
    )


def _exr(file: BinaryIO, size: int) -> bool:
    """OpenEXR's writer fills the tables of offsets last; every chunk must start within the file."""
    start = _read(file, 0, 1 << 20)
    magic, flags = struct.unpack_from("<iI", start)
    if magic != EXR_MAGIC:
        return bool(start[:8].strip(b"\0"))
    parted = bool(flags & EXR_PARTED)
    place, chunks = 8, 0
    try:
        for _ in range(EXR_PARTS):
            attributes, place = _exr_header(start, place)
            some = _exr_chunks(attributes, tiled=bool(flags & EXR_TILED))
            if some is None:
                return not _unfilled(file, size)
            chunks += some
            if not parted or start[place] == 0:
                break
    except (IndexError, ValueError, struct.error):
        return size > len(start)  # cut within the header, unless that is longer than any sensible one
    place += 1 if parted else 0  # an empty header ends the list
    table = _read(file, place, 8 * min(chunks, EXR_TABLE))
    if len(table) < 8 * min(chunks, EXR_TABLE):
        return False
    offsets = struct.unpack(f"<{len(table) // 8}Q", table)
    if not offsets or not all(place < offset < size for offset in offsets):
        return False
    last = max(offsets)
    if flags & EXR_DEEP or parted:
        return last + 24 <= size and not _unfilled(file, size)
    skip = 16 if flags & EXR_TILED else 4
    length = _read(file, last + skip, 4)
    return len(length) == 4 and last + skip + 4 + int(struct.unpack("<I", length)[0]) <= size


def _exr_header(start: bytes, place: int) -> tuple[dict[bytes, bytes], int]:
    """A header's attributes and where it ends. ValueError if it goes past the bytes given."""
    attributes: dict[bytes, bytes] = {}
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
    ".avi": _avi,
    **dict.fromkeys((".mkv", ".webm"), _matroska),
    **dict.fromkeys((".tif", ".tiff"), _tiff),
    **dict.fromkeys((".avif", ".jp2"), _still_boxes),
    ".ogv": _ogg,
    ".dpx": _dpx,
    ".bmp": _bmp,
    ".exr": _exr,
}
