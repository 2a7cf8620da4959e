"""Uploads as the API and the pages show them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.index import Index
from server.disk.speech import say

from ..assets import rfc3339
from ..projects import AssetSet, Project
from .record import Upload
from .targets import There, address_of

ALWAYS = ("scene", "film", "sequence")  # kinds that become assets, whether or not somebody says so


def view(upload: Upload, project: Project | None, words: AssetSet, offset: int) -> dict[str, Any]:
    """An upload without what lies at its place."""
    data = upload.data
    facts = data.get("facts") if isinstance(data.get("facts"), dict) else {}
    return {
        "id": upload.id,
        "state": state(upload, offset),
        "why": why(upload),
        "project": upload.project,
        "path": upload.folder,
        "name": upload.name,
        "dropped": upload.dropped,
        "address": address_of(project, upload) if project else "",
        "kind": upload.kind,
        "size": upload.size,
        "modified": data.get("modified"),
        "offset": offset,
        "hash": upload.digest,
        "type": type_of(upload, words),
        "title": str(data.get("title") or ""),
        "render": bool(data.get("render")),
        "frames": frames_of(facts or {}),
        "choice": str(data.get("choice") or ""),
        "facts": facts,
        "unread": str(data.get("unread") or ""),
        "cut": bool(data.get("cut")),
        "picture": f"/api/uploads/{quote(upload.id)}/picture" if data.get("picture") else None,
        "named": dict(words.named(upload.name)),
        "there": None,
        "copy_of": None,
        "created": data.get("created"),
    }


def why(upload: Upload) -> str:
    """What keeps it from being added, or was the matter with it; '' for nothing."""
    if upload.data.get("cut"):
        return say(
            "{upload} is cut off: its end is missing. Save or copy it once more, and drop that one.",
            upload=upload.name,
        )
    return str(upload.data.get("failed") or upload.data.get("why") or "")


def state(upload: Upload, offset: int) -> str:
    """`receiving`, `checking`, `ready`, `added`, `removed` or `expired`."""
    if upload.added is not None:
        return "added"
    if upload.data.get("removed"):
        return "removed"
    if upload.data.get("expired"):
        return "expired"
    if offset < upload.size:
        return "receiving"
    return "ready" if upload.read else "checking"


def type_of(upload: Upload, words: AssetSet) -> str:
    """What it is to be: what its person said, else by its folder and kind; '' for a file of no type."""
    said = upload.data.get("type")
    if isinstance(said, str) and (said in words.types or (said == "" and upload.kind not in ALWAYS)):
        return said
    if upload.kind not in ALWAYS:
        return ""
    return words.type_for("/".join(filter(None, (upload.folder, upload.name))), upload.kind)


def frames_of(facts: Mapping[str, Any]) -> str:
    """The scene's own range; '' where it isn't known."""
    frames = facts.get("frames")
    if not isinstance(frames, list) or len(frames) != 2:
        return ""
    return str(frames[0]) if frames[0] == frames[1] else f"{frames[0]}-{frames[1]}"


def there(found: There, same: bool | None, free: str, index: Index) -> dict[str, Any]:
    """What has the name already."""
    entry = index.get(found.address)
    owner = entry.facts.owner if entry is not None and entry.facts is not None else ""
    return {
        "name": paths.name_of(found.address),
        "address": found.address,
        "size": found.size,
        "modified": rfc3339(found.mtime_ns),
        "owner": owner,
        "folder": found.folder,
        "same": same,
        "free": free,
    }
