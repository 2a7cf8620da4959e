"""What an RFAM folder says, in Croft's own words: `defaults` as sets, the keys of projects. Never writes.

    defaults/<name>/priority.json       low, high, names, boosting, visible
    defaults/<name>/states/*.json       ident, name, render, boost …
    defaults/<name>/asset_types/*.json  ident, name, directory, file (a .blend beside it), states, sort …

Any of it may be missing or spoilt: what can't be read is left out and told.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding, files
from server.disk.records import Problem
from server.disk.speech import say

from .sets import LEVELS, OUTPUT, number

FOLDER = "defaults"
LOOK_S = 1.0  # how often, at most, the folder is looked through
MAX_BYTES = 1 << 20
FILES_MOST = 5000
ROLES = {"ns": ("quiet", "○"), "po": ("done", "●"), "ac": ("done", "●")}
IN_WORK = ("running", "◐")


class Defaults:
    """The sets of `<config>/defaults`. Safe for threads."""

    def __init__(self, config: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = config / FOLDER
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -LOOK_S
        self._stamp: tuple[Any, ...] = ()
        self._found: dict[str, dict[str, Any]] = {}
        self._problems: list[Problem] = []
        self._good: dict[str, dict[str, Any]] = {}  # path -> what it said when it could be read last

    def sets(self) -> Mapping[str, dict[str, Any]]:
        """Name of the folder -> the set in Croft's own form. The same object until something changes."""
        with self._lock:
            now = self._clock()
            if now - self._looked >= LOOK_S:
                self._looked = now
                seen = self._list()
                if seen != self._stamp:
                    self._read(seen)
                    self._stamp = seen
            return self._found

    def place(self, name: str) -> Path:
        """Where the templates of a set lie."""
        return self._folder / name / "asset_types"

    def problems(self) -> list[Problem]:
        """The files that can't be read."""
        self.sets()
        return self._problems

    def _list(self) -> tuple[Any, ...]:
        """Every JSON file below, with what tells whether it changed."""
        found: list[tuple[str, int, int, int]] = []
        for folder, folders, names in os.walk(self._folder):
            folders.sort()
            for name in sorted(names):
                if name.endswith(".json") and len(found) < FILES_MOST:
                    path = os.path.join(folder, name)
                    try:
                        st = os.stat(path)
                    except OSError:
                        continue  # Race: it went after the listing
                    found.append((path, st.st_size, st.st_mtime_ns, st.st_ino))
        return tuple(found)

    def _read(self, seen: tuple[Any, ...]) -> None:
        parts: dict[str, dict[str, Any]] = {}
        problems = []
        good: dict[str, dict[str, Any]] = {}
        for path, *_ in seen:
            inside = Path(path).relative_to(self._folder).parts
            if len(inside) != 3 and inside[1:] != ("priority.json",):
                continue
            try:
                data = encoding.loads(files.read_bounded(path, MAX_BYTES)[0].removeprefix(b"\xef\xbb\xbf"))
                why = "" if isinstance(data, dict) else say("it holds no object in braces")
            except (OSError, ValueError, RecursionError) as error:
                why = str(error)
            if why:
                text = say("The configuration file {path} isn't valid: {why}.", path=path, why=why)
                mend = say("Correct it; what it said before is used until then.")
                problems.append(Problem(f"config:{path}", "config", path, text, mend))
                data = self._good.get(path)
            if not isinstance(data, dict):
                continue
            good[path] = data
            one = parts.setdefault(inside[0], {"states": [], "asset_types": [], "priority": {}})
            if len(inside) == 2:
                one["priority"] = data
            elif inside[1] in ("states", "asset_types"):
                one[inside[1]].append(data)
        self._found = {name: as_set(name, one) for name, one in parts.items() if one["asset_types"]}
        self._problems, self._good = problems, good


def as_set(name: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """One folder of `defaults` as a set's file."""
    types = {str(one["ident"]): _type(one) for one in parts["asset_types"] if one.get("ident")}
    order = _orders(types.values())
    states = {str(one["ident"]): one for one in parts["states"] if one.get("ident")}
    last = order[-1] if order else ""
    priority = parts["priority"]
    low, high = number(priority.get("low"), 0), number(priority.get("high"), 100)
    names = priority.get("names")
    data: dict[str, Any] = {
        "title": name,
        "types": types,
        "states": {
            ident: _state(one, order.index(ident) if ident in order else 99, ident == last)
            for ident, one in states.items()
        },
        "priorities": _priorities(names if isinstance(names, list) else []),
        "boosting": priority.get("boosting") is not False,
        "visible": priority.get("visible") is not False,
        "default_type": "other",
        "default_state": order[0] if order else "",
    }
    for one in types.values():  # RFAM's priorities are of its own scale
        part = (min(max(one["priority"], low), high) - low) / max(high - low, 1)
        one["priority"] = 1 + int(part * (LEVELS - 1) + 0.5)
    return {key: value for key, value in data.items() if value != {}}


def of_project(data: Mapping[str, Any]) -> dict[str, Any]:
    """RFAM's keys of a project's files under Croft's names; what Croft's own say counts before them."""
    found = dict(data)
    for theirs, ours in (
        ("name", "title"), ("license", "licence"), ("default", "set"), ("directory", "address"),
        ("ext_assets", "external"),
    ):  # fmt: skip
        if theirs in found and ours not in found:
            found[ours] = found[theirs]
    weight = found.get("render.priority")
    if isinstance(weight, (int, float)) and "render_priority" not in found:
        found["render_priority"] = 3 + (weight > 1) + (weight > 2) - (weight < 1) - (weight < 0.5)
    return found


def _type(one: Mapping[str, Any]) -> dict[str, Any]:
    folder = str(one.get("directory") or "")
    budget = one.get("time_budget")
    minutes = [value for value in budget.values() if isinstance(value, (int, float))] if isinstance(
        budget, dict
    ) else []  # fmt: skip
    final = bool(one.get("final"))
    return {
        "title": str(one.get("name") or one["ident"]),
        "folder": folder,
        "folders": [folder] if folder else [],
        "kinds": ["scene", "film"] if final else [],
        "render": bool(one.get("render")),
        "final": final,
        "template": str(one.get("file") or ""),
        "output": str(one.get("output") or OUTPUT).replace("%(name)s", "{name}"),
        "state": str(one.get("state") or ""),
        "states": one.get("states") if isinstance(one.get("states"), list) else [],
        "priority": number(one.get("priority"), 50),
        "time_budget": round(sum(minutes) / 60, 2),
        "order": number(one.get("sort"), 99),
    }


def _state(one: Mapping[str, Any], order: int, last: bool) -> dict[str, Any]:
    role, glyph = ROLES.get(str(one["ident"]), IN_WORK)
    return {
        "title": str(one.get("name") or one["ident"]),
        "role": "done" if last else role,
        "glyph": "●" if last else glyph,
        "order": order,
        "final": last,
        "boost": one.get("boost") is not False,
        "render": bool(one.get("render")),
        "render_priority": one.get("render.priority", 1),
    }


def _orders(types: Any) -> list[str]:
    """The states of all types in one order that keeps each type's own, as far as they agree."""
    after: dict[str, set[str]] = {}
    seen: dict[str, None] = {}
    for one in sorted(types, key=lambda one: -len(one["states"])):
        chain = [str(ident) for ident in one["states"]]
        for place, ident in enumerate(chain):
            seen.setdefault(ident)
            after.setdefault(ident, set()).update(chain[:place])
    order: list[str] = []
    while len(order) < len(seen):
        open_ = [ident for ident in seen if ident not in order]
        ready = [ident for ident in open_ if not (after[ident] - {ident}) & set(open_)]
        order.append((ready or open_)[0])
    return order


def _priorities(names: list[Any]) -> dict[str, Any]:
    if not 1 < len(names) <= LEVELS:
        return {str(level): {"title": title} for level, title in enumerate(
            ("Meh", "Low", "Normal", "High", "Urgent"), 1)}  # fmt: skip
    step = (LEVELS - 1) / (len(names) - 1)
    return {str(1 + int(place * step + 0.5)): {"title": str(name)} for place, name in enumerate(names)}
