"""What may be uploaded, and under which names: the server's word, which pages say beforehand, too.

Pure but for the configuration. A name that some system can't take gets one that every system takes; the
pretty one stays as the asset's title.
"""

from __future__ import annotations

import math
from typing import Any

from server.disk import paths
from server.disk.errors import BadContent, BadInput, TooLarge
from server.disk.settings import Settings
from server.disk.speech import say

from ..media import kinds

WAITING_MOST = 2000  # uploads that one person may have waiting
CLOSED = (paths.RENDER, paths.OLD)  # folders that only Croft fills
NO_FILES = ("project.json",)
EVERYTHING = "*"
FEW = 4  # names that a sentence lists

# What may be uploaded if nobody says otherwise: what studios make. No sidecars (Croft's own), no programs, no
# web pages.
STUDIO_KINDS = [
    ".blend", ".fbx", ".obj", ".mtl", ".glb", ".gltf", ".bin", ".abc", ".usd", ".usda", ".usdc", ".usdz",
    ".dae", ".stl", ".ply", ".vdb", ".bvh", ".kra", ".psd", ".xcf", ".ora", ".clip", ".svg", ".png", ".jpg",
    ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".exr", ".hdr", ".tga", ".bmp", ".dpx", ".mp4", ".mov", ".mkv",
    ".webm", ".avi", ".ogv", ".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".txt", ".md", ".pdf", ".csv",
    ".srt", ".odt", ".ods", ".zip", ".ttf", ".otf", ".cube",
]  # fmt: skip


def told(settings: Settings) -> dict[str, Any]:
    """The limits as a page tells and checks them before anything is sent."""
    return {
        "max_bytes": int(settings.get("max_upload_bytes")),
        "chunk_bytes": int(settings.get("upload_chunk_bytes")),
    }


def sort_out(settings: Settings, files: list[dict[str, Any]], most: str) -> tuple[list[int], list[str]]:
    """Which of the files of a drop can be taken, by their place, and sentences of what is left out and why.

    A file is its path inside what was dropped and its size, None for one that can't be read.
    """
    taken: list[int] = []
    left: dict[str, list[str]] = {}
    for n, one in enumerate(files):
        why = refusal(settings, str(one["path"]), one.get("size"))
        if why is None:
            taken.append(n)
        else:
            name = str(one["path"]).rpartition("/")[2]
            large = f" ({math.ceil(one['size'] / 1e6):,} MB)" if why == "size" else ""
            left.setdefault(why, []).append(name + large)
    said = {
        "own": say(
            "Left out, because programs keep them for themselves: {files}.", files=few(left.get("own", []))
        ),
        "closed": say(
            "Left out, because these folders are for renders and for what was deleted: {files}.",
            files=few(left.get("closed", [])),
        ),
        "kind": say("Not taken here, because of their kind: {files}.", files=few(left.get("kind", []))),
        "size": say(
            "Too large, at most {most} can be sent; copy them to the folder instead: {files}.",
            most=most, files=few(left.get("size", [])),
        ),
        "gone": say("Can’t be read any more: {files}.", files=few(left.get("gone", []))),
    }  # fmt: skip
    return taken, [sentence for why, sentence in said.items() if why in left]


def refusal(settings: Settings, path: str, size: int | None) -> str | None:
    """Why a file can't be taken: own, closed, kind, size or gone."""
    *folders, name = path.split("/")
    if size is None:
        return "gone"
    ignored = settings.get("ignore")
    if any(paths.is_ignored(part, ignored) for part in (*folders, name)):
        return "own"
    if set(folders) & set(CLOSED):
        return "closed"
    allowed = endings(settings)
    suffix = kinds.suffix(paths.safe_name(name))
    if suffix == ".json" or (allowed and suffix not in allowed):
        return "kind"
    return "size" if size > int(settings.get("max_upload_bytes")) else None


def few(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    if len(names) <= FEW:
        return ", ".join(names)
    return say("{files} and {n} more", files=", ".join(names[:FEW]), n=len(names) - FEW)


def endings(settings: Settings) -> list[str]:
    """The endings that are allowed, in small letters with their dot; none: all are."""
    given = [str(one).strip().lower() for one in settings.get("upload_kinds")] or STUDIO_KINDS
    if EVERYTHING in given:
        return []
    return [one if one.startswith(".") else f".{one}" for one in given if one]


def check_size(settings: Settings, name: str, size: int) -> None:
    """TooLarge beyond the configured limit."""
    limit = int(settings.get("max_upload_bytes"))
    if size > limit:
        raise TooLarge(
            "{name} has {size:,} bytes; {limit:,} at most can be uploaded. Copy it to the share.",
            limit=limit,
            name=name[:80],
            size=size,
        )


def check_name(settings: Settings, name: str) -> str:
    """The name that the file will have. BadInput or BadContent for one that can't be uploaded."""
    if not isinstance(name, str) or not name or "/" in name or "\0" in name:
        raise BadInput("{name} can't be the name of a file.", field="name", name=repr(str(name)[:80]))
    if paths.is_own(name):
        raise BadInput(
            "{name} can't be the name of a file: names with a dot in front are Croft's.", name=name[:80]
        )
    if paths.is_ignored(name, settings.get("ignore")):
        raise BadContent(
            "{name} is a file that programs keep for themselves: it is left out.", name=name[:80]
        )
    safe = paths.safe_name(name)
    allowed = endings(settings)
    if name.lower() in NO_FILES or safe.lower().endswith(".json"):
        raise BadContent("{name} can't be uploaded: what ends in .json is Croft's own.", name=name[:80])
    if allowed and kinds.suffix(safe) not in allowed:
        raise BadContent(
            "Files like {name} can't be uploaded here. Copy it to the share instead.", name=name[:80]
        )
    return safe


def check_folder(settings: Settings, folder: str) -> str:
    """A folder inside a project, each part safe on every system. BadInput for Croft's own."""
    if not isinstance(folder, str):
        raise BadInput("path must be a folder inside the project.", field="path")
    parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
    for part in parts:
        if part == ".." or paths.is_own(part) or part in CLOSED or "\0" in part:
            raise BadInput(
                "Nothing can be added to a folder named {part}.", field="path", part=repr(part[:80])
            )
        if paths.is_ignored(part, settings.get("ignore")):
            raise BadContent(
                "The folder {part} is one that programs keep for themselves: it is left out.", part=part[:80]
            )
    inside = "/".join(paths.safe_name(part) for part in parts)
    paths.check_inside(inside)
    return inside
