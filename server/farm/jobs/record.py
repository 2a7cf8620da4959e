"""What lies written of a job: its request (`job.json`) and its sum (`result.json`), read with suspicion.

Students can write where these files lie, and a backup may put back any of them: a request that names what
isn't its own is refused, a sum that isn't its journal's is ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import CroftError, NotFound, broken
from server.farm import frames as frame_ranges
from server.farm import stages
from server.farm.jobs import states

SCHEMA = 1
RECORD, JOURNAL, RESULT, LOGS, SNAPSHOT = "job.json", "journal.jsonl", "result.json", "logs", "snapshot"
MAX_RECORD_BYTES = 4 << 20
TOTAL_MOST = 1 << 31


def read_record(folder: Path) -> dict[str, Any]:
    """A job's request. Broken when it isn't one; a newer schema than ours is left to newer servers."""
    path = folder / RECORD
    try:
        raw, _ = files.read_bounded(path, MAX_RECORD_BYTES)
        record = encoding.loads(raw)
    except FileNotFoundError as error:
        raise NotFound("There is no job in {folder}.", path=str(folder), folder=folder) from error
    except (OSError, ValueError) as error:
        raise broken(path, str(error)) from error
    if not isinstance(record, dict) or not isinstance(record.get("id"), str) or "frames" not in record:
        raise broken(path, "it is not a job's request")
    if not isinstance(record.get("schema", 1), int) or record.get("schema", 1) > SCHEMA:
        raise broken(path, "a newer Croft wrote it")
    why = _what_is_wrong(record)
    if why:
        raise broken(path, why)
    record.setdefault("total", 0)  # no request of ours lacks it
    return record


def pictures_of(home: str, record: Mapping[str, Any]) -> str:
    """The address of the folder that a job's frames lie in: its version's, or the one that the scene itself
    writes to; "" where that is on no share."""
    folder = record.get("folder")
    return paths.join(home, str(folder)) if folder else str(record.get("writes") or "")


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("file", "name", "user", "project", "type", "base", "output", "order", "created"), str),
    **dict.fromkeys(("description", "site", "version", "folder", "snapshot", "seal", "writes"), str),
    **dict.fromkeys(("total", "retries", "priority"), int),
    **dict.fromkeys(("requires", "after", "licences", "groups"), list),
    **dict.fromkeys(("start_after",), str),
    "nodes_most": int,
    "stages": list,
    "warnings": list,
    "parameters": dict,
    "source": dict,
    **dict.fromkeys(("inputs", "caches", "asked"), dict),
    **dict.fromkeys(("timeout_s", "silence_s", "fps"), (int, float, type(None))),
}


def _what_is_wrong(record: dict[str, Any]) -> str:
    """Why a request can't be trusted; "" when it can. Students can write where it lies: what it names must
    be a snapshot beside its scene and a version folder, never a file of somebody else's."""
    for key, kind in _KINDS.items():
        if key in record and not isinstance(record[key], kind):
            return f"its {key} makes no sense"
    total = record.get("total", 0)
    if isinstance(total, bool) or not isinstance(total, int) or not 0 <= total < TOTAL_MOST:
        return "its total makes no sense"
    snapshot = record.get("snapshot", "")
    if snapshot and not (_is_name(snapshot) and snapshot.startswith(".") and f".{record['id']}" in snapshot):
        return "its snapshot is none of its own"
    parts = record.get("folder", "").split("/")
    if parts != [""] and not (len(parts) == 3 and parts[0] == paths.RENDER and all(map(_is_name, parts))):
        return "its folder is no version of a render"
    if record.get("version", "") not in ("", parts[-1]):
        return "its version is not that of its folder"
    return _what_is_wrong_within(record)


def _what_is_wrong_within(record: dict[str, Any]) -> str:
    """The same of its lists and stages, whoever reads them later."""
    for key in ("requires", "licences", "groups", "warnings"):
        if not _are(record.get(key, []), str):
            return f"its {key} makes no sense"
    for state in record.get("inputs", {}).values():
        if type(state) is not list or not 2 <= len(state) <= 3 or type(state[0]) is not int:
            return "its inputs makes no sense"
        if type(state[1]) is not int or type(state[-1]) not in (int, str):
            return "its inputs makes no sense"
    try:
        found = stages.read(record, len(frame_ranges.parse(record["frames"], max_frames=10**7)))
    except CroftError as error:
        return error.message
    for stage in found:
        own = stage.record
        if not all(_are(own.get(key) or [], str) for key in ("programs", "requires", "does")):
            return f"its stage {stage.name} makes no sense"
        if not isinstance(own.get("memory_mb") or 0, int):
            return f"the memory of its stage {stage.name} makes no sense"
    return "all of its stages are optional" if found[0].optional else ""


def _are(things: object, kind: type) -> bool:
    return isinstance(things, list) and all(isinstance(thing, kind) for thing in things)


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


_NUMBER = (int, float, type(None))
_SUMS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("state", "why", "site"), (str, type(None))),
    **dict.fromkeys(("started", "ended", "video", "first_failure"), (str, type(None))),
    **dict.fromkeys(("changed", "changes"), (list, type(None))),
    **dict.fromkeys(("priority", "attempts", "failed_attempts", "lost_attempts", "frames_done"), _NUMBER),
    **dict.fromkeys(("seconds", "seconds_per_task", "seconds_shortest", "seconds_longest"), _NUMBER),
    **dict.fromkeys(("peak_memory_mb", "output_bytes"), _NUMBER),
    "nodes": (dict, type(None)),
}


def read_result(folder: Path) -> dict[str, Any] | None:
    """The sum of an ended job, if it is that of the journal that lies there; None otherwise."""
    try:
        raw, _ = files.read_bounded(folder / RESULT, MAX_RECORD_BYTES)
        result = encoding.loads(raw)
        length = os.stat(folder / JOURNAL).st_size
        told = result["journal"]["length"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if told != length or not isinstance(told, int):
        return None
    if not all(isinstance(result[key], kind) for key, kind in _SUMS.items() if key in result):
        return None
    if result.get("state") not in states.ENDED or not _are(result.get("changed") or [], str):
        return None
    if not all(isinstance(node, dict) for node in (result.get("nodes") or {}).values()):
        return None
    if not _are(result.get("changes") or [], dict):
        return None
    counts = result.get("counts")
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        return None  # not ours: the journal says it all
    if not isinstance(result.get("total"), int) or not isinstance(result.get("cells"), str):
        return None
    return dict(result)


def result_matches(folder: Path) -> bool:
    """The slow, certain check of `run.py check`: length and hash."""
    result = read_result(folder)
    if result is None:
        return False
    digest = hashlib.sha256()
    try:
        with open(folder / JOURNAL, "rb") as file:
            while chunk := file.read(files.COPY_BYTES):
                digest.update(chunk)
    except OSError:
        return False
    return bool(result["journal"].get("sha256") == digest.hexdigest())
