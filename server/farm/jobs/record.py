"""What lies written of a job: its request (`job.json`) and its sum (`result.json`), read with suspicion.

Students can write where these files lie, and a backup may put back any of them: a request that names what
isn't its own is refused, a sum that isn't its journal's is ignored.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import NotFound, broken
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
        raise NotFound(f"There is no job in {folder}.", path=str(folder)) from error
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
    **dict.fromkeys(("inputs", "caches"), dict),
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
    return ""


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


def read_result(folder: Path) -> dict[str, Any] | None:
    """The sum of an ended job, if it is that of the journal that lies there; None otherwise."""
    try:
        raw, _ = files.read_bounded(folder / RESULT, MAX_RECORD_BYTES)
        result = encoding.loads(raw)
        length = os.stat(folder / JOURNAL).st_size
        told = result["journal"]["length"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if told != length or result.get("state") not in states.ENDED or not isinstance(told, int):
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
