"""What a picture tells of how it was taken: size, mode, and the EXIF that people ask for.

Runs only inside the bounded helper. EXIF comes from cameras, programs and jokers: each value is checked by
itself, and one that makes no sense is left out. Nothing is told that isn't certain.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from PIL import Image

MADE, MODEL, DATE, EXIF_PART = 0x010F, 0x0110, 0x0132, 0x8769  # EXIF 2.32, 4.6
EXPOSURE, APERTURE, ISO, TAKEN, FOCAL, LENS_MADE, LENS = (
    0x829A, 0x829D, 0x8827, 0x9003, 0x920A, 0xA433, 0xA434,
)  # fmt: skip
WORDS = 120  # characters of a name
_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
HEADER_BYTES = 65_536
_EDGE = 1 << 20  # pixels: what says more is wrong


def of_image(image: Image.Image) -> dict[str, Any]:
    """Facts of an image that Pillow has opened: `size` upright, `mode`, `exif` where there is any.

    `exif`: camera, lens, date (as the camera's clock had it), iso, exposure (s), aperture (f-number),
    focal_length (mm), each only where it makes sense.
    """
    found: dict[str, Any] = {"size": list(image.size), "mode": image.mode}
    try:
        tags = image.getexif()
        part = tags.get_ifd(EXIF_PART) if tags else {}
        if tags.get(0x0112) in (5, 6, 7, 8):
            found["size"] = [image.size[1], image.size[0]]
    except MemoryError:
        raise
    except Exception:  # Pillow raises SyntaxError, struct.error, ValueError and more on hostile EXIF
        return found
    values = {
        "camera": _camera(_words(tags.get(MADE)), _words(tags.get(MODEL))),
        "lens": _camera(_words(part.get(LENS_MADE)), _words(part.get(LENS))) if part.get(LENS) else "",
        "date": _date(part.get(TAKEN)) or _date(tags.get(DATE)),
        "iso": _whole(part.get(ISO)),
        "exposure": _number(part.get(EXPOSURE), 86_400),
        "aperture": _number(part.get(APERTURE), 1000),
        "focal_length": _number(part.get(FOCAL), 100_000),
    }
    exif = {name: value for name, value in values.items() if value}
    if exif:
        found["exif"] = exif
    return found


def _words(value: Any) -> str:
    """A name in one line; '' for what is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in value.split("\0")[0])
    return " ".join(plain.split())[:WORDS]


def _camera(maker: str, model: str) -> str:
    """'Canon' and 'Canon EOS R6' make 'Canon EOS R6'."""
    if not model or not maker:
        return model or maker
    first = maker.split()[0].casefold()
    return model if model.casefold().startswith(first) else f"{maker} {model}"[:WORDS]


def _date(value: Any) -> str:
    """`2024-05-06T07:08:09`, without a zone: cameras have none. '' where it is no day."""
    match = _DATE.match(_words(value))
    if match is None:
        return ""
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    days = (31, 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28,
            31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # fmt: skip
    if not (year >= 1826 and 1 <= month <= 12 and 1 <= day <= days[month - 1]):
        return ""  # the oldest photograph is of 1826
    if hour > 23 or minute > 59 or second > 59:
        return ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def _number(value: Any, most: float) -> float | None:
    """A rational above nothing; None for what is none, or divides by zero."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return float(f"{number:.6g}") if math.isfinite(number) and 0 < number <= most else None


def _whole(value: Any) -> int | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    return value if isinstance(value, int) and 0 < value < 10_000_000 else None


# Formats that Pillow doesn't read: the size alone, from the header.


def of_header(file: BinaryIO) -> dict[str, Any]:
    """Facts of an OpenEXR, HDR, DPX or SGI file; {} of anything else, which is left as it was opened.

    ValueError, struct.error or IndexError where its header is malformed.
    """
    start = file.read(HEADER_BYTES)
    file.seek(0)
    reader = next((one for magic, one in HEADERS.items() if start.startswith(magic)), None)
    found = reader(start) if reader is not None else {}
    edges = found.get("size")
    if edges is not None and not all(0 < edge <= _EDGE for edge in edges):
        raise ValueError(f"it says to be {edges[0]} x {edges[1]} pixels")
    return found


def _exr(start: bytes) -> dict[str, Any]:
    window: tuple[int, ...] = ()
    channels: list[str] = []
    place = 8
    while place < len(start) and start[place]:
        name_end = start.index(0, place)
        kind_end = start.index(0, name_end + 1)
        (length,) = struct.unpack_from("<I", start, kind_end + 1)
        value = start[kind_end + 5 : kind_end + 5 + length]
        if start[place:name_end] == b"displayWindow":
            window = struct.unpack("<4i", value)
        elif start[place:name_end] == b"channels":
            channels = _channels(value)
        place = kind_end + 5 + length
    if not window:
        raise ValueError("its header has no size")
    found: dict[str, Any] = {"size": [window[2] - window[0] + 1, window[3] - window[1] + 1]}
    layers = {name.rpartition(".")[0] for name in channels}
    short = "".join(c for c in "RGBA" if any(name.rpartition(".")[2] == c for name in channels))
    if channels:
        found["mode"] = short or channels[0][:WORDS]
        if len(layers) > 1:
            found["layers"] = len(layers)
    return found


def _channels(value: bytes) -> list[str]:
    names: list[str] = []
    place = 0
    while place < len(value) and value[place] and len(names) < 1000:
        end = value.index(0, place)
        names.append(value[place:end].decode("utf-8", "replace"))
        place = end + 17  # type, linearity, sampling
    return names


def _hdr(start: bytes) -> dict[str, Any]:
    match = re.search(rb"\n\n?([-+][XY]) (\d{1,7}) ([-+][XY]) (\d{1,7})\n", start)
    if match is None or match[1][1] == match[3][1]:
        raise ValueError("its header has no size")
    edges = [int(match[2]), int(match[4])]
    return {"size": edges if match[1][1:] == b"X" else edges[::-1], "mode": "RGB"}


def _dpx(start: bytes) -> dict[str, Any]:
    return {"size": list(struct.unpack_from(">II" if start[:4] == b"SDPX" else "<II", start, 772))}


def _sgi(start: bytes) -> dict[str, Any]:
    return {"size": list(struct.unpack_from(">HH", start, 6))}


HEADERS: dict[bytes, Callable[[bytes], dict[str, Any]]] = {
    b"\x76\x2f\x31\x01": _exr,
    b"#?": _hdr,
    b"SDPX": _dpx,
    b"XPDS": _dpx,
    b"\x01\xda": _sgi,
}
