"""What was switched off and on again: one JSON object a line in `power.jsonl` of the configuration.

A line is written when a node goes or comes, and when somebody first lets it be woken; an idle farm writes
nothing. From it the server knows after a restart which nodes are off, since when, what they can do (the last
`identity` of each), and for how long the farm has kept them off: the saved hours. Lines that make no sense
are passed over; a long file is summed up when the server starts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk import files
from server.disk.speech import say

log = logging.getLogger("croft.farm")

NAME = "power.jsonl"
LONG_BYTES = 1 << 20  # beyond this the file is summed up at start
MOST_BYTES = 64 << 20
OFF, ON, KNOWN, SUM = "off", "on", "known", "sum"


@dataclass(slots=True)
class Account:
    """One node's: since when it is off (seconds since the epoch; 0: it isn't), how long it was in all."""

    off_at: float = 0.0
    saved_s: float = 0.0
    times: int = 0
    first: float = 0.0  # when it was first switched off
    identity: dict[str, Any] = field(default_factory=dict)

    def saved(self, now: float) -> float:
        """Seconds off so far."""
        return self.saved_s + (max(0.0, now - self.off_at) if self.off_at else 0.0)


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> str:
    """Write lines at the end of a ledger and flush them; why that can't be, "" where it could."""
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    try:
        with open(path, "a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")  # the last line was torn
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        trouble = say("{path} can't be written: {why}.", path=path, why=error.strerror)
        log.warning("%s", trouble)
        return trouble
    return ""


def read(path: Path) -> tuple[list[dict[str, Any]], int, str]:
    """The lines of a ledger that make sense, its length in bytes, and why it can't be read."""
    try:
        raw, _ = files.read_bounded(path, MOST_BYTES)
    except FileNotFoundError:
        return [], 0, ""
    except Exception as error:
        trouble = say("{path} can't be read: {why}.", path=path, why=error)
        log.warning("%s", trouble)
        return [], 0, trouble
    found = []
    for text in raw.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            found += [line] if isinstance(line, dict) else []
    return found, len(raw), ""


class Ledger:
    """Read at start, appended to. Safe for threads; a disk that refuses costs a line, not the farm."""

    def __init__(self, folder: Path, disk: files.Os = files.REAL) -> None:
        self._path = folder / NAME
        self._disk = disk
        self._lock = threading.Lock()
        self.accounts: dict[str, Account] = {}
        self.trouble = ""
        self._read()

    def saved_s(self, now: float) -> float:
        """Of all nodes together."""
        return sum(account.saved(now) for account in list(self.accounts.values()))

    def off(self, name: str, at: float, identity: Mapping[str, Any]) -> None:
        """The farm has switched a node off."""
        self._add({"at": round(at), "node": name, "event": OFF, "identity": dict(identity)})

    def on(self, name: str, at: float) -> None:
        """It is back. Nothing where it wasn't off."""
        account = self.accounts.get(name)
        if account is not None and account.off_at:
            self._add({"at": round(at), "node": name, "event": ON})

    def know(self, name: str, at: float, identity: Mapping[str, Any]) -> None:
        """What a node is that may be woken, should the server start while it is off."""
        account = self.accounts.get(name)
        if identity and (account is None or account.identity != dict(identity)):
            self._add({"at": round(at), "node": name, "event": KNOWN, "identity": dict(identity)})

    def _add(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._apply(line)
            self.trouble = append(self._path, [line])

    def _apply(self, line: Mapping[str, Any]) -> None:
        name, at = str(line["node"]), float(line["at"])
        account = self.accounts.setdefault(name, Account())
        event = line["event"]
        identity = line.get("identity")
        if isinstance(identity, dict):
            account.identity = identity
        if event == OFF:
            if not account.off_at:
                account.off_at = at
                account.times += 1
                account.first = account.first or at
        elif event == ON:
            account.saved_s = account.saved(at)
            account.off_at = 0.0
        elif event == SUM:
            account.saved_s = float(line["saved_s"])
            account.times, account.first = int(line["times"]), float(line["first"])

    def _read(self) -> None:
        lines, size, self.trouble = read(self._path)
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._apply(line)
        if size > LONG_BYTES:
            self._sum_up()

    def _sum_up(self) -> None:
        lines: list[dict[str, Any]] = []
        for name, account in self.accounts.items():
            lines.append({
                "at": round(account.first), "node": name, "event": SUM, "saved_s": round(account.saved_s),
                "times": account.times - bool(account.off_at), "first": account.first,
                "identity": account.identity,
            })  # fmt: skip
            if account.off_at:
                lines.append({"at": account.off_at, "node": name, "event": OFF})
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        try:
            files.write_atomic(self._path, text.encode("utf-8", "replace"), disk=self._disk)
        except Exception as error:
            log.warning("%s can't be summed up: %s", self._path, error)
