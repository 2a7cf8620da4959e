"""What was read from pictures, films and sequences, in people's words."""

from __future__ import annotations

from typing import Any

from server.disk.speech import say as say_later
from server.web.languages import say
from server.web.pages import words

MODES = {  # Pillow's
    "1": say_later("black and white"),
    "L": "grey",
    "LA": say_later("grey, with transparency"),
    "P": say_later("a palette"),
    "RGB": "RGB",
    "RGBA": say_later("RGB, with transparency"),
    "CMYK": "CMYK, for print",
    "I;16": "grey, 16 bits",
    "F": "grey, 32 bits",
}
RANGES = 12  # of missing frames, how many a page says
CODECS = {
    "h264": "H.264",
    "hevc": "H.265",
    "av1": "AV1",
    "vp8": "VP8",
    "vp9": "VP9",
    "prores": "ProRes",
    "mjpeg": "Motion JPEG",
    "mpeg4": "MPEG-4",
    "aac": "AAC",
    "mp3": "MP3",
    "opus": "Opus",
    "ac3": "AC-3",
}


def in_words(kind: str, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each fact of a picture, film or sequence; values may be empty."""
    if kind == "film":
        sound = facts.get("audio")
        return [
            (say("Length"), _length(facts.get("duration_s"))),
            (say("Frames a second"), words.figure(facts["rate"]) if facts.get("rate") else ""),
            (say("Picture"), _size(facts)),
            (say("Film"), _codec(facts.get("codec"))),
            (say("Sound"), say("none") if sound == "" else _codec(sound)),
        ]
    found = []
    if kind == "sequence" and facts.get("count"):
        found = [
            (say("Frames"), say("{first} to {last}", first=facts["first"], last=facts["last"])),
            (say("Missing frames"), missing(str(facts.get("missing") or ""))),
        ]
    if kind in ("image", "sequence"):
        mode = str(facts.get("mode") or "")
        found += [(say("Picture"), _size(facts)), (say("Colours"), MODES.get(mode, mode))]
    exif = facts.get("exif")
    return found + (_exif(exif) if isinstance(exif, dict) else [])


def missing(ranges: str) -> str:
    """'4, 9 to 12' of "4,9-12"; '1 to 99 in steps of 2' of "1-99x2"."""
    parts = ranges.split(",") if ranges else []
    found = []
    for part in parts[:RANGES]:
        span, _, step = part.partition("x")
        first, dash, last = span.partition("-")
        text = say("{first} to {last}", first=first, last=last) if dash and first else span
        found.append(say("{frames} in steps of {n}", frames=text, n=step) if step else text)
    if len(parts) > RANGES:
        found.append(say("and more"))
    return ", ".join(found)


def _size(facts: dict[str, Any]) -> str:
    size = facts.get("size")
    return "{} × {}".format(*size) if isinstance(size, list) and len(size) == 2 else ""


def _length(seconds: Any) -> str:
    """'8.3 s', '1 min 40 s'; of a long film as any duration."""
    if not isinstance(seconds, (int, float)) or not 100 <= seconds < 6000:
        return words.duration(seconds)
    minutes, rest = divmod(round(seconds), 60)
    if not rest:
        return say("{minutes} min", minutes=minutes)
    return say("{minutes} min {seconds} s", minutes=minutes, seconds=rest)


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
        (say("Taken"), f"{date} {clock[:5]}" if date else ""),
        (say("Camera"), str(exif.get("camera") or "")),
        (say("Lens"), str(exif.get("lens") or "")),
        (
            say("Focal length"),
            say("{focal_length:g} mm", focal_length=exif["focal_length"]) if exif.get("focal_length") else "",
        ),
        (say("Aperture"), f"f/{exif['aperture']:g}" if exif.get("aperture") else ""),
        (say("Exposure"), said),
        ("ISO", str(exif.get("iso") or "")),
    ]
