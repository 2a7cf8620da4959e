"""What a .blend file tells of itself: its embedded preview and the facts of its scenes.

Runs only inside the bounded helper. One pass over the blocks, plain, gzip or zstd, keeps the few that
matter; blender-asset-tracer then reads those from a small file in memory, so neither a packed file nor a
million meshes costs more than the pass. Every length is checked. Raises Damaged, and whatever a malformed
file makes the libraries raise: the helper expects anything.
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
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

PREVIEW_EDGE = 1024  # pixels; Blender's own are 128 and 256
KEPT_BYTES = 32 << 20  # of all blocks that are kept for the facts
DNA_BYTES = 16 << 20
RANGE_BYTES = 1024  # of a REND block: 72 until Blender 4, 264 since 5
BLOCKS = 20_000_000
SCENES, FILES = 200, 2000  # how many of each are told
KEEP = {b"SC", b"LI", b"IM", b"MC", b"SO", b"VF", b"CF", b"VO", b"GLOB", b"DNA1"}
FILE_BLOCKS = {  # block: the field that holds its file's name, by age of the format
    b"LI": ("library", (b"name", b"filepath")),
    b"IM": ("texture", (b"name", b"filepath")),
    b"MC": ("film", (b"name", b"filepath")),
    b"SO": ("sound", (b"name", b"filepath")),
    b"VF": ("font", (b"name", b"filepath")),
    b"CF": ("cache", (b"filepath",)),
    b"VO": ("volume", (b"filepath",)),
}
IMAGE_FORMATS = {  # R_IMF_IMTYPE_* of Blender's DNA_scene_types.h
    0: "TARGA", 1: "IRIS", 4: "JPEG", 14: "TARGA_RAW", 15: "AVI_RAW", 16: "AVI_JPEG", 17: "PNG", 20: "BMP",
    21: "HDR", 22: "TIFF", 23: "OPEN_EXR", 24: "FFMPEG", 26: "CINEON", 27: "DPX", 28: "OPEN_EXR_MULTILAYER",
    30: "JPEG2000", 34: "WEBP",
}  # fmt: skip
NO_NAMES = {b"<builtin>", b"", b"Render Result"}


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


@dataclass(frozen=True, slots=True)
class Header:
    """The first 12 bytes (17 since Blender 5): how to read the rest."""

    raw: bytes
    version: str
    block: struct.Struct
    order: tuple[int, int, int]  # where code, length, old address stand in a block's header
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
            found.why = "it ends in the middle"
    except Damaged as error:
        found.why = str(error)
    except (EOFError, OSError, zlib.error, zstandard.ZstdError, struct.error) as error:
        found.why = f"it can't be unpacked to its end: {error}"[:200]
    return found


def _pass(stream: BinaryIO, header: Header, found: Blend, preview_only: bool, until: float) -> None:
    kept = io.BytesIO()
    kept.write(header.raw)
    for code, head, length in _blocks(stream, header):
        if code == b"ENDB":
            kept.write(head)
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
        if code in KEEP:
            kept.write(head)
            kept.write(_exactly(stream, length, DNA_BYTES if code == b"DNA1" else KEPT_BYTES))
            if kept.tell() > KEPT_BYTES:
                raise Damaged("more scene data than any scene has")
        else:
            _skip(stream, length, until)


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
    raise Damaged("it doesn't begin as a .blend file does")


def read_header(stream: BinaryIO) -> Header:
    """How this file's blocks are laid out. Damaged if it isn't a .blend's header."""
    start = stream.read(12)
    if len(start) < 12 or start[:7] != b"BLENDER":
        raise Damaged("it doesn't begin as a .blend file does")
    if start[7:8] in b"_-":
        if start[8:9] not in b"vV" or not start[9:12].isdigit():
            raise Damaged("an odd .blend header")
        number = int(start[9:12])
        endian = "<" if start[8:9] == b"v" else ">"
        pointer = "I" if start[7:8] == b"_" else "Q"
        block = struct.Struct(f"{endian}4si{pointer}ii")
        return Header(start, f"{number // 100}.{number % 100}", block, (0, 1, 2), endian)
    start += stream.read(5)
    if start[7:13] != b"17-01v" or not start[13:17].isdigit():
        raise Damaged("a .blend header of a kind not known yet")
    number = int(start[13:17])
    return Header(start, f"{number // 100}.{number % 100}", struct.Struct("<4siQqq"), (0, 3, 2), "<")


def _blocks(stream: BinaryIO, header: Header) -> Iterator[tuple[bytes, bytes, int]]:
    """Each block's code, raw header and length in bytes; its reader must take exactly that length."""
    size = header.block.size
    code_at, length_at, _ = header.order
    for _ in range(BLOCKS):
        head = stream.read(size)
        if len(head) < size:
            return  # cut short: what was found stands
        fields = header.block.unpack(head)
        code = fields[code_at].rstrip(b"\0")
        length = fields[length_at]
        if length < 0:
            raise Damaged("a block of negative length")
        yield code, head, length
    raise Damaged("more blocks than any file has")


def _exactly(stream: BinaryIO, length: int, limit: int) -> bytes:
    if length > limit:
        raise Damaged(f"a block of {length} bytes where {limit} are the most")
    data = stream.read(length)
    if len(data) < length:
        raise Damaged("it ends in the middle")
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
            raise Damaged("it takes too long to read")
        data = stream.read(min(length, 1 << 20))
        if not data:
            raise Damaged("it ends in the middle")
        length -= len(data)


def _range(data: bytes, header: Header) -> tuple[str, int, int]:
    """A REND block: first and last frame, and the scene's name."""
    first, last = struct.unpack_from(header.endian + "ii", data)
    return _text(data[8:].split(b"\0", 1)[0]), first, last


def _preview(data: bytes, header: Header) -> tuple[int, int, bytes] | None:
    if len(data) < 8:
        return None
    width, height = struct.unpack_from(header.endian + "ii", data)
    if not (0 < width <= PREVIEW_EDGE and 0 < height <= PREVIEW_EDGE and len(data) >= 8 + 4 * width * height):
        return None
    return width, height, data[8 : 8 + 4 * width * height]


def facts(found: Blend) -> dict[str, Any]:
    """The facts for `file.json`, of what `read` found: see DESIGN's words; paths as the file has them.

    `blender` version, `compression`, `scenes` (each: name, frames [first, last], step, fps, resolution
    [w, h] in pixels as rendered, percentage, engine, output, format), the present scene's own as
    `scene frames fps resolution engine output format`, `libraries`, `textures`, `files` ({kind, path,
    packed} of the rest). Of a file that isn't `whole`: `why`, and names and frames of the scenes alone.
    """
    told: dict[str, Any] = {"blender": found.version, "compression": found.compression, "whole": found.whole}
    if not found.whole:
        told["why"] = found.why
        told["scenes"] = [
            {"name": name, "frames": [first, last]} for name, first, last in found.ranges[:SCENES]
        ]
        if found.ranges:
            told["scene"], told["frames"] = found.ranges[0][0], list(found.ranges[0][1:])
        return told
    current = 0
    used: dict[str, list[dict[str, Any]]] = {"library": [], "texture": [], "file": []}
    with _opened(found.kept) as blendfile:
        glob = blendfile.find_blocks_from_code(b"GLOB")
        if glob:
            current = glob[0].get(b"curscene", default=0)
            minor = glob[0].get(b"minversion", default=0)
            told["reads_from"] = f"{minor // 100}.{minor % 100}" if minor else ""
        blocks = blendfile.find_blocks_from_code(b"SC")[:SCENES]
        scenes = [{**_scene(block), "_old": block.addr_old} for block in blocks]
        for code, (kind, names) in FILE_BLOCKS.items():
            for block in blendfile.find_blocks_from_code(code)[:FILES]:
                one = _used(block, names)
                if one is not None:
                    used[kind if kind in used else "file"].append({"kind": kind, **one})
    present = next((scene for scene in scenes if scene["_old"] == current), scenes[0] if scenes else None)
    for scene in scenes:
        del scene["_old"]
    told["scenes"] = scenes
    if present is not None:
        told["scene"] = present["name"]
        told.update({key: value for key, value in present.items() if key != "name"})
    told["libraries"] = _paths(used["library"])
    told["textures"] = _paths(used["texture"])
    told["files"] = used["file"]
    return told


def _opened(kept: bytes) -> Any:
    """blender-asset-tracer's view of the kept blocks, through a file that is only in memory."""
    from blender_asset_tracer import blendfile

    memory = os.memfd_create("blend")
    with os.fdopen(memory, "wb") as file:
        file.write(kept)
        file.flush()
        return blendfile.BlendFile(Path(f"/proc/self/fd/{memory}"))


def _scene(block: Any) -> dict[str, Any]:
    def render(name: bytes, default: Any = 0) -> Any:
        return block.get((b"r", name), default=default)

    percentage = int(render(b"size", 100)) or 100
    rate, base = int(render(b"frs_sec", 24)), float(render(b"frs_sec_base", 1.0)) or 1.0
    return {
        "name": _text(block.id_name[2:]),
        "frames": [int(render(b"sfra", 1)), int(render(b"efra", 1))],
        "step": int(render(b"frame_step", 1)) or 1,
        "fps": round(rate / base, 3),
        "resolution": [
            int(render(b"xsch")) * percentage // 100,
            int(render(b"ysch")) * percentage // 100,
        ],
        "percentage": percentage,
        "engine": _text(render(b"engine", b"")),
        "output": _text(render(b"pic", b"")),
        "format": IMAGE_FORMATS.get(int(block.get((b"r", b"im_format", b"imtype"), default=-1)), ""),
        "camera": bool(block.get(b"camera", default=0)),
    }


def _used(block: Any, names: tuple[bytes, ...]) -> dict[str, Any] | None:
    for name in names:
        value = block.get(name, default=None)
        if isinstance(value, bytes):
            if value in NO_NAMES:
                return None
            packed = block.get(b"packedfile", default=0) or block.get((b"packedfiles", b"first"), default=0)
            return {"path": _text(value), "packed": bool(packed)}
    return None


def _paths(used: list[dict[str, Any]]) -> list[str]:
    """Without repeats, in their order; packed ones need no file."""
    return list(dict.fromkeys(one["path"] for one in used if not one["packed"]))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
