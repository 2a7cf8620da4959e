"""What Croft notes of a protected file: `protect.json` in its companion, beside `protect` in its sidecar.

Which bytes are protected (their hash, and the state of the file that had them), and the published version
that holds them. After an unlocking it says who did that, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.errors import Broken, NotFound
from server.disk.records import Stat, utc_now
from server.disk.store import Store

SCHEMA = 1
FILE = "protect.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """What is protected. `stat`: of the file when it had these bytes; `kept`: the save that a putting back
    made of what it had become."""

    hash: str
    version: str = ""  # that holds these bytes; '': none does
    at: str = ""
    who: str = ""
    stat: Stat | None = None
    kept: str = ""


def read(store: Store, address: str, *, unlocked: bool = False) -> Mark | None:
    """None where nothing is noted, or that it was unlocked; with `unlocked` what it was until then."""
    try:
        said = store.read_json(_place(address))
    except (NotFound, Broken):
        return None
    if not said.get("hash") or ("unlocked" in said) is not unlocked:
        return None
    text = {key: str(said.get(key) or "") for key in ("hash", "version", "at", "who", "kept")}
    return Mark(stat=_stat(said.get("stat")), **text)


def write(store: Store, address: str, mark: Mark) -> None:
    """The caller is the only one to write it, or writes what another would."""
    stat = mark.stat
    said = {"schema": SCHEMA, "version": mark.version, "hash": mark.hash, "at": mark.at, "who": mark.who}
    if stat is not None:
        said["stat"] = [stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode]
    if mark.kept:
        said["kept"] = mark.kept
    store.write_json(_place(address), said)


def lift(store: Store, address: str, who: str, reason: str) -> None:
    """It isn't protected any more; what it was protected as stays for whoever undoes that."""
    try:
        said = store.read_json(_place(address))
    except (NotFound, Broken):
        said = {"schema": SCHEMA}
    unlocked: Mapping[str, Any] = {"at": utc_now(), "who": who, "reason": reason}
    store.write_json(_place(address), {**said, "unlocked": unlocked})


def _place(address: str) -> str:
    return paths.join(paths.companion_of(address), FILE)


def _stat(said: Any) -> Stat | None:
    if isinstance(said, list) and len(said) == 4 and all(type(one) is int for one in said):
        return Stat(*said)
    return None
