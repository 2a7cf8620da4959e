"""What a file's name says it is: a scene, an image, a film, something else. Pure; reads nothing."""

from __future__ import annotations

SCENES = frozenset({".blend"})
PILLOW = frozenset({  # what the helper's Pillow decodes; EPS and PDF would start other programs
    ".png", ".jpg", ".jpeg", ".jpe", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".tga", ".psd", ".ppm", ".pgm",
    ".dds", ".jp2", ".avif",
})  # fmt: skip
NODE_ONLY = frozenset({".exr", ".hdr", ".dpx", ".cin", ".rgb", ".sgi", ".iff"})  # the node makes the preview
IMAGES = PILLOW | NODE_ONLY
FILMS = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv", ".mxf", ".mts"})
READER = 2  # what is read, by version: facts of an older one are read again
READ = frozenset({"scene", "image", "film"})  # kinds whose content tells facts


def suffix(name: str) -> str:
    """The last ending of a file name in small letters, with its dot; '' if there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 and "/" not in name[dot:] else ""


def kind(name: str) -> str:
    """`scene`, `image`, `film`, `sequence` (a key `name.@.ext`) or `file`, by the name alone."""
    ending = suffix(name)
    if ending in SCENES:
        return "scene"
    if name[: -len(ending) or None].endswith("@") and ending in IMAGES:
        return "sequence"
    if ending in IMAGES:
        return "image"
    if ending in FILMS:
        return "film"
    return "file"


def drawable(name: str) -> bool:
    """Whether a thumbnail of such a file can be made at all (by Pillow, ffmpeg, a node)."""
    ending = suffix(name)
    return ending in SCENES or ending in IMAGES or ending in FILMS
