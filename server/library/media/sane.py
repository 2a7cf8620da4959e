"""Facts as they are read back from a `file.json`, which people, disks and other programs can write to, too.

What isn't of the kind that a fact has is left out, so that nobody who shows facts has to doubt them. Keys
that aren't known here are kept. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

TEXT_MOST = 5000
LIST_MOST = 5000
WHOLE_MOST = 1 << 62


def facts(value: Any) -> dict[str, Any]:
    """The facts that make sense; {} of what is none."""
    if not isinstance(value, dict):
        return {}
    return {key: one for key, one in value.items() if key not in KINDS or KINDS[key](one)}


def text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_MOST


def number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < WHOLE_MOST if isinstance(value, int) else math.isfinite(value)


def whole(value: Any) -> bool:
    return number(value) and isinstance(value, int)


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(whole(one) for one in value)


def texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LIST_MOST and all(text(one) for one in value)


def _scenes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and text(one.get("name")) and facts(one) == one for one in value[:LIST_MOST]
    )


def _uses(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and text(one.get("path")) and text(one.get("kind")) for one in value[:LIST_MOST]
    )


def _exif(value: Any) -> bool:
    texts_of = ("camera", "lens", "date")
    return isinstance(value, dict) and all(
        text(one) if key in texts_of else number(one) and one > 0 for key, one in value.items()
    )


KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("blender", "compression", "scene", "name", "engine", "output", "format", "why"), text),
    **dict.fromkeys(("mode", "codec", "audio", "missing", "reads_from"), text),
    **dict.fromkeys(("fps", "rate", "duration_s"), number),
    **dict.fromkeys(("step", "percentage", "count", "first", "last", "padding", "layers"), whole),
    **dict.fromkeys(("frames", "resolution", "size"), pair),
    **dict.fromkeys(("camera", "whole", "partial"), truth),
    **dict.fromkeys(("libraries", "textures"), texts),
    "scenes": _scenes,
    "uses": _uses,
    "exif": _exif,
}
