"""One pass over the blocks of a .blend file, plain, gzip or zstd, that keeps the few that matter.

Runs only inside the bounded helper. What is kept is a small .blend again, for `scenes` to read its facts
from, so neither a packed file nor a million meshes costs more than the pass. Every length is checked.
Raises Damaged, and whatever a malformed file makes the libraries raise: the helper expects anything.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import zstandard

from server.disk.speech import say

PREVIEW_EDGE = 1024  # pixels; Blender's own are 128 and 256
KEPT_BYTES = 32 << 20  # of all blocks that are kept for the facts
DNA_BYTES = 16 << 20
RANGE_BYTES = 1024  # of a REND block: 72 until Blender 4, 264 since 5
BLOCKS = 20_000_000
KEEP = {b"SC", b"LI", b"IM", b"MC", b"SO", b"VF", b"CF", b"VO", b"TX", b"GLOB", b"DNA1"}
DATA_WHOLE, DATA_HEAD = 8192, 1024  # bytes: blocks up to the first are kept, of longer ones the second
DATA_BYTES = 24 << 20  # of all of them
STRUCTS = {  # whose DATA blocks name files, or say that a video editor holds strips
    b"Strip", b"StripElem", b"MeshCacheModifierData", b"OceanModifierData", b"FluidDomainSettings",
    b"PointCache", b"CustomDataExternal", b"NodeShaderTexIES", b"NodeShaderScript",
    b"NodeGeometrySimulationOutput", b"Editing",
}  # fmt: skip
STRUCT_COUNT = 10_000


class Damaged(Exception):
    """The bytes aren't a whole .blend file. The message says what was found."""


@dataclass(slots=True)
class Blend:
    """What one pass found."""

    version: str = ""
    compression: str = ""
    preview: tuple[int, int, bytes] | None = None  # width, height, RGBA rows from the bottom up
    kept: bytes = b""  # a small .blend of the blocks in KEEP
    whole: bool = False  # ENDB was reached
    why: str = ""  # it wasn't
    ranges: list[tuple[str, int, int]] = field(default_factory=list)  # scene, first, last; the present first
    partial: bool = False  # so much is in it that not every file it uses was looked for


@dataclass(frozen=True, slots=True)
class Header:
    """The first 12 bytes (17 since Blender 5): how to read the rest."""

    raw: bytes
    version: str
    block: struct.Struct
    order: tuple[int, int, int, int]  # where code, length, structure, count stand in a block's header
    endian: str


def read(raw: BinaryIO, *, preview_only: bool = False, until: float = math.inf) -> Blend:
    """One pass over an open file's blocks. Damaged if it isn't a .blend file.

    One that is cut or spoilt further on, or takes until the monotonic time `until`, gives what was found
    before that; `whole` is False and `why` says it then.
    """
    stream, compression = unpacked(raw)
    header = read_header(stream)
    found = Blend(version=header.version, compression=compression)
    try:
        _pass(stream, header, found, preview_only, until)
        if not found.whole:
            found.why = say("it ends in the middle")
    except Damaged as error:
        found.why = str(error)
    except (EOFError, OSError, zlib.error, zstandard.ZstdError, struct.error) as error:
        found.why = f"it can't be unpacked to its end: {error}"[:200]
    return found


def _pass(stream: BinaryIO, header: Header, found: Blend, preview_only: bool, until: float) -> None:
    kept = io.BytesIO()
    kept.write(header.raw)
    data = _Data(header)
    dna = b""
    for code, head, length in _blocks(stream, header):
        if code == b"ENDB":
            data.put(kept, dna)
            kept.write(head)
            found.partial = data.partial
            found.kept = kept.getvalue()
            found.whole = True
            return
        if code == b"REND" and length <= RANGE_BYTES:
            found.ranges.append(_range(_exactly(stream, length, RANGE_BYTES), header))
            continue
        if code == b"TEST" and found.preview is None:
            found.preview = _preview(_exactly(stream, length, 8 + 4 * PREVIEW_EDGE**2), header)
            if preview_only:
                break
            continue
        if preview_only and code not in (b"REND", b"TEST"):
            break  # Blender writes the preview right after REND, before all else
        if code == b"DATA":
            length -= data.keep(stream, head, length)
        if code in KEEP:
            block = _exactly(stream, length, DNA_BYTES if code == b"DNA1" else KEPT_BYTES)
            kept.write(head)
            kept.write(block)
            dna = block if code == b"DNA1" else dna
            data.after_text = code == b"TX"
            if kept.tell() > KEPT_BYTES:
                raise Damaged(say("more scene data than any scene has"))
        else:
            _skip(stream, length, until)


class _Data:
    """The small DATA blocks, until the file's last block tells which structures they hold."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._blocks: dict[int, list[tuple[bytes, bytes]]] = {}  # by structure
        self._texts: list[tuple[bytes, bytes]] = []
        self._room = DATA_BYTES
        self.after_text = False  # the next block is the path of the text before it
        self.partial = False

    def keep(self, stream: BinaryIO, head: bytes, length: int) -> int:
        """Reads what may matter of a block; how many bytes that was."""
        _, _, struct_at, count_at = self._header.order
        fields = list(self._header.block.unpack(head))
        structure, text = fields[struct_at], self.after_text
        self.after_text = False
        if not structure and not text:  # bare numbers and characters
            return 0
        size = length if length <= DATA_WHOLE else DATA_HEAD
        if self._room < size:
            self.partial = True
            return 0
        block = _exactly(stream, size, DATA_WHOLE)
        if size < length:
            fields[self._header.order[1]], fields[count_at] = size, 1
            head = self._header.block.pack(*fields)
        if text:
            self._texts.append((head, block))
        else:
            self._blocks.setdefault(structure, []).append((head, block))
        self._room -= size + len(head)
        return size

    def put(self, kept: BinaryIO, dna: bytes) -> None:
        """Those that name files to the others that are kept."""
        names = struct_names(dna, self._header.endian)
        wanted = [self._blocks.get(number, []) for number, name in enumerate(names) if name in STRUCTS]
        for head, block in (*self._texts, *(one for blocks in wanted for one in blocks)):
            kept.write(head)
            kept.write(block)


def struct_names(dna: bytes, endian: str) -> list[bytes]:
    """The names of the structures in a DNA1 block, in their order; [] if it is malformed."""
    try:
        number = struct.Struct(endian + "I")
        place = 8

        def skip_names() -> list[bytes]:
            nonlocal place
            (count,) = number.unpack_from(dna, place)
            place += 4
            parts = dna[place:].split(b"\0", min(count, len(dna)))[:count]
            if len(parts) < count:
                raise ValueError("names go past the end")
            place += sum(len(part) + 1 for part in parts)
            place = (place + 3 & ~3) + 4  # and the next part's own name
            return parts

        skip_names()
        types = skip_names()
        place = (place + 2 * len(types) + 3 & ~3) + 4
        (count,) = number.unpack_from(dna, place)
        place += 4
        names = []
        pair = struct.Struct(endian + "HH")
        for _ in range(min(count, STRUCT_COUNT)):
            kind, fields = pair.unpack_from(dna, place)
            names.append(types[kind])
            place += 4 + 4 * fields
        return names
    except (struct.error, IndexError, ValueError):
        return []


def unpacked(raw: BinaryIO) -> tuple[BinaryIO, str]:
    """The file's bytes unpacked, and `none`, `gzip` or `zstd`."""
    magic = raw.read(4)
    raw.seek(0)
    if magic == b"BLEN":
        return raw, "none"
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb")), "gzip"
    if magic == b"\x28\xb5\x2f\xfd" or magic[1:] == b"\x2a\x4d\x18":
        unpack = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        return cast(BinaryIO, io.BufferedReader(
            cast(io.RawIOBase, unpack.stream_reader(raw, read_across_frames=True)), 1 << 18
        )), "zstd"  # fmt: skip
    raise Damaged(say("it doesn't begin as a .blend file does"))


def read_header(stream: BinaryIO) -> Header:
    """How this file's blocks are laid out. Damaged if it isn't a .blend's header."""
    start = stream.read(12)
    if len(start) < 12 or start[:7] != b"BLENDER":
        raise Damaged(say("it doesn't begin as a .blend file does"))
    if start[7:8] in b"_-":
        if start[8:9] not in b"vV" or not start[9:12].isdigit():
            raise Damaged(say("an odd .blend header"))
        number = int(start[9:12])
        endian = "<" if start[8:9] == b"v" else ">"
        pointer = "I" if start[7:8] == b"_" else "Q"
        block = struct.Struct(f"{endian}4si{pointer}ii")
        return Header(start, f"{number // 100}.{number % 100}", block, (0, 1, 3, 4), endian)
    start += stream.read(5)
    if start[7:13] != b"17-01v" or not start[13:17].isdigit():
        raise Damaged(say("a .blend header of a kind not known yet"))
    number = int(start[13:17])
    return Header(start, f"{number // 100}.{number % 100}", struct.Struct("<4siQqq"), (0, 3, 1, 4), "<")


def _blocks(stream: BinaryIO, header: Header) -> Iterator[tuple[bytes, bytes, int]]:
    """Each block's code, raw header and length in bytes; its reader must take exactly that length."""
    size = header.block.size
    code_at, length_at, _, _ = header.order
    for _ in range(BLOCKS):
        head = stream.read(size)
        if len(head) < size:
            return  # cut short: what was found stands
        fields = header.block.unpack(head)
        code = fields[code_at].rstrip(b"\0")
        length = fields[length_at]
        if length < 0:
            raise Damaged(say("a block of negative length"))
        yield code, head, length
    raise Damaged(say("more blocks than any file has"))


def _exactly(stream: BinaryIO, length: int, limit: int) -> bytes:
    if length > limit:
        raise Damaged(say("a block of {length} bytes where {limit} are the most", length=length, limit=limit))
    data = stream.read(length)
    if len(data) < length:
        raise Damaged(say("it ends in the middle"))
    return data


def _skip(stream: BinaryIO, length: int, until: float) -> None:
    if isinstance(stream, io.BufferedReader) and not isinstance(stream.raw, io.FileIO):
        seekable = False
    else:
        seekable = not isinstance(stream, gzip.GzipFile)
    if seekable:
        stream.seek(length, os.SEEK_CUR)
        return
    while length > 0:
        if time.monotonic() > until:
            raise Damaged(say("it takes too long to read"))
        data = stream.read(min(length, 1 << 20))
        if not data:
            raise Damaged(say("it ends in the middle"))
        length -= len(data)


def _range(data: bytes, header: Header) -> tuple[str, int, int]:
    """A REND block: first and last frame, and the scene's name."""
    first, last = struct.unpack_from(header.endian + "ii", data)
    return data[8:].split(b"\0", 1)[0].decode("utf-8", "replace"), first, last


def _preview(data: bytes, header: Header) -> tuple[int, int, bytes] | None:
    if len(data) < 8:
        return None
    width, height = struct.unpack_from(header.endian + "ii", data)
    if not (0 < width <= PREVIEW_EDGE and 0 < height <= PREVIEW_EDGE and len(data) >= 8 + 4 * width * height):
        return None
    return width, height, data[8 : 8 + 4 * width * height]
