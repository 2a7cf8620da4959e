"""How an asset is shown: what the index knows of it, in the API's words. Pure: no look at the disk."""

from __future__ import annotations

import datetime
from typing import Any

from server.disk import encoding, paths
from server.disk.encoding import quote
from server.disk.records import Entry

from ..media import kinds
from ..projects import Project


def shown(
    entry: Entry, project: Project | None, standing: tuple[int, float], thumbnail: str | None
) -> dict[str, Any]:
    """`standing`: how many wait for it, and its true priority; `thumbnail`: where its picture is."""
    facts, stat = entry.facts, entry.stat
    waiting, true = standing
    name = paths.name_of(entry.address)
    inside = project.inside(entry.address) if project else paths.parse(entry.address)[1]
    return {
        "address": entry.address,
        "project": project.ident if project else "",
        "path": inside,
        "name": (facts.name if facts else "") or pretty(name),
        "description": facts.description if facts else "",
        "type": facts.type if facts else "",
        "state": facts.state if facts else "",
        "priority": facts.priority if facts else 0,
        "true_priority": true,
        "waited_for_by": waiting,
        "owner": facts.owner if facts else "",
        "due": facts.due if facts else "",
        "creator": facts.creator if facts else "",
        "support": list(facts.support) if facts else [],
        "tags": list(facts.tags) if facts else [],
        "render": facts.render if facts else False,
        "final": facts.final if facts else False,
        "start": facts.start if facts else None,
        "end": facts.end if facts else None,
        "rating": facts.rating if facts else 0,
        "pipeline": dict(facts.pipeline) if facts else {},
        "time_budget": facts.time_budget if facts else 0,
        "time_spent": facts.time_spent if facts else 0,
        "protect": facts.protect if facts else False,
        "status": entry.status,
        "incomplete": entry.incomplete,
        "broken": entry.broken,
        "kind": kinds.kind(name),
        "size": stat.size if stat else None,
        "modified": rfc3339(stat.mtime_ns) if stat else None,
        "etag": entry.etag,
        "uuid": facts.uuid if facts else "",
        "thumbnail": thumbnail,
        "facts": {},
        "jobs": sorted(entry.jobs, reverse=True),  # ids begin with their time
        "url": f"/p/{quote(project.ident)}/asset/{quote(inside)}" if project else "",
    }


def pretty(name: str) -> str:
    """A file name as people would write it: `hero_walk-v2.blend` gives `Hero walk v2`."""
    stem = encoding.shown(paths.stem_of(name)).replace("_", " ").replace("-", " ")
    stem = stem.removesuffix("@").rstrip(" .")
    words = " ".join(stem.split()) or ("Frames" if "@" in name else encoding.shown(name))
    return words[0].upper() + words[1:]


def rfc3339(time_ns: int) -> str:
    """A stored time. A file's may lie anywhere: what no calendar holds is shown as the epoch."""
    try:
        moment = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
