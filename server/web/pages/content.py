"""What was read from pictures, films and sequences, in people's words."""

from __future__ import annotations

from typing import Any

from server.web.pages import words

MODES = {  # Pillow's
    "1": "black and white", "L": "grey", "LA": "grey, with transparency", "P": "a palette", "RGB": "RGB",
    "RGBA": "RGB, with transparency", "CMYK": "CMYK, for print", "I;16": "grey, 16 bits",
    "F": "grey, 32 bits",
}  # fmt: skip
RANGES = 12  # of missing frames, how many a page says
CODECS = {
    "h264": "H.264", "hevc": "H.265", "av1": "AV1", "vp8": "VP8", "vp9": "VP9", "prores": "ProRes",
    "mjpeg": "Motion JPEG", "mpeg4": "MPEG-4", "aac": "AAC", "mp3": "MP3", "opus": "Opus", "ac3": "AC-3",
}  # fmt: skip


def in_words(kind: str, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each fact of a picture, film or sequence; values may be empty."""
    if kind == "film":
        sound = facts.get("audio")
        return [
            ("Length", _length(facts.get("duration_s"))),
            ("Frames a second", f"{facts['rate']:g}" if facts.get("rate") else ""),
            ("Picture", _size(facts)),
            ("Film", _codec(facts.get("codec"))),
            ("Sound", "none" if sound == "" else _codec(sound)),
        ]
    found = []
    if kind == "sequence" and facts.get("count"):
        found = [
            ("Frames", f"{facts['first']} to {facts['last']}"),
            ("Missing frames", missing(str(facts.get("missing") or ""))),
        ]
    if kind in ("image", "sequence"):
        mode = str(facts.get("mode") or "")
        found += [("Picture", _size(facts)), ("Colours", MODES.get(mode, mode))]
    exif = facts.get("exif")
    return found + (_exif(exif) if isinstance(exif, dict) else [])


def missing(ranges: str) -> str:
    """'4, 9 to 12' of "4,9-12"; '1 to 99, each 2nd' of "1-99x2"."""
    parts = ranges.split(",") if ranges else []
    found = []
    for part in parts[:RANGES]:
        span, _, step = part.partition("x")
        first, dash, last = span.partition("-")
        text = f"{first} to {last}" if dash and first else span
        found.append(f"{text} (each {_ordinal(step)})" if step else text)
    if len(parts) > RANGES:
        found.append("and more")
    return ", ".join(found)


def _ordinal(number: str) -> str:
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(number[-1:], "th")
    return number + ("th" if number[-2:] in ("11", "12", "13") else ending)


def _size(facts: dict[str, Any]) -> str:
    size = facts.get("size")
    return "{} × {}".format(*size) if isinstance(size, list) and len(size) == 2 else ""


def _length(seconds: Any) -> str:
    """'8.3 s', '1 min 40 s'; of a long film as any duration."""
    if not isinstance(seconds, (int, float)) or not 100 <= seconds < 6000:
        return words.duration(seconds)
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _codec(name: Any) -> str:
    return CODECS.get(str(name), str(name).upper()) if name else ""


def _exif(exif: dict[str, Any]) -> list[tuple[str, str]]:
    """How a photograph was taken."""
    exposure = exif.get("exposure")
    said = ""
    if exposure:
        said = f"1/{round(1 / exposure)} s" if exposure < 0.3 else f"{exposure:g} s"
    date, _, clock = str(exif.get("date") or "").partition("T")
    return [
        ("Taken", f"{date} {clock[:5]}" if date else ""),
        ("Camera", str(exif.get("camera") or "")),
        ("Lens", str(exif.get("lens") or "")),
        ("Focal length", f"{exif['focal_length']:g} mm" if exif.get("focal_length") else ""),
        ("Aperture", f"f/{exif['aperture']:g}" if exif.get("aperture") else ""),
        ("Exposure", said),
        ("ISO", str(exif.get("iso") or "")),
    ]
