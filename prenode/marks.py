"""What the nodes over there leave in the folder `runs`: that they have begun, that they live, how they ended.

The clocks of two machines differ, and so do a file's times on a share: a mark lives while it changes, by
this computer's own clock.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Tuple

MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Mark:
    """What one run has left."""

    host: str = ""
    alive_at: float = 0.0
    ended: bool = False
    code: int = 0
    told: bool = False  # it was asked to end
    why: str = ""


class Marks:
    """Used by one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: Dict[str, Tuple[float, float]] = {}  # run -> its mark's time, and when that was new

    def read(self, runs: Iterable[str], now: float) -> Dict[str, Mark]:
        """The marks of these runs that have left one."""
        found: Dict[str, Mark] = {}
        wanted = list(runs)
        # One listing, not two questions a run; and over NFS it shows what a cached "not there" would hide.
        there = set(os.listdir(self.folder)) if wanted else set()
        for run in wanted:
            begun = self.folder / f"{run}.begun"
            ended = content(self.folder / f"{run}.ended") if f"{run}.ended" in there else {}
            if begun.name not in there and not ended:
                continue
            try:
                time_s = begun.stat().st_mtime
            except OSError:
                time_s = 0.0
            if run not in self._seen or self._seen[run][0] != time_s:
                self._seen[run] = (time_s, now)
            told = ended or content(begun)
            code = told.get("code")
            found[run] = Mark(
                host=str(told.get("host") or ""),
                alive_at=self._seen[run][1],
                ended=bool(ended),
                code=code if isinstance(code, int) else 0,
                told=bool(told.get("told")),
                why=str(told.get("why") or "")[:300],
            )
        for run in set(self._seen) - set(wanted):
            del self._seen[run]
        return found

    def stop(self, run: str) -> None:
        """Ask a node to end, where its scheduler has no command for that."""
        (self.folder / f"{run}.stop").touch()

    def sweep(self, batches: Iterable[str]) -> None:
        """Nothing stays of batches that aren't known any more."""
        known = set(batches)
        for path in self.folder.iterdir():
            if path.name.lstrip(".").partition(".")[0] not in known:
                path.unlink()


def content(path: Path) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            told = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
