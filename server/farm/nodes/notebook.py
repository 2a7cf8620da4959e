"""The nodes' files, `nodes/<ident>.json` of the configuration: what people decided for each node, and whether
it is sick.

A file is changed by what it says at that moment, under a lock that other servers of the same configuration
heed; keys that aren't known here stay. A file that can't be read is changed by people alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from server.disk.errors import CroftError
from server.disk.locks import Locks
from server.disk.settings import IDENT, Settings
from server.farm.nodes.node import Node

log = logging.getLogger("croft.farm")

KIND = "nodes"
SICKNESS = "sickness"  # the key of a file that says of it
PATIENCE_S = 3.0  # a lock that isn't free by then is done without: people's word must not wait for it
FARM = "@farm"  # the file of the whole farm's pause
Content = dict[str, Any]


class Notebook:
    """All nodes' files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        holder = f"{socket.gethostname()} process {os.getpid()}"
        self.locks = Locks(settings.folder_path, holder, marked=False)

    def all(self) -> Mapping[str, Content]:
        """Ident -> content. The same object until something changes."""
        return self._settings.folder(KIND)

    def of(self, name: str) -> Content:
        """What one node's file says; nothing where there is none."""
        return self.all().get(ident(name), {})

    def change(self, name: str, change: Callable[[Content], Content], by_hand: bool = True) -> bool:
        """Write `change(what the file says)` where that is something else. `by_hand`: a person wishes it.
        False where the file makes no sense and only a person may replace it."""
        with self._alone():
            if not by_hand and self._settings.is_wrong(KIND, ident(name)):
                return False
            before = self.of(name)
            fresh = {**change(dict(before)), "name": name}
            if fresh != before:
                self._settings.write(KIND, ident(name), fresh)
        return True

    def remove(self, name: str) -> Content:
        """Delete a node's file; what it said."""
        with self._alone():
            kept = dict(self.of(name))
            if kept:
                self._settings.remove(KIND, ident(name))
        return kept

    def pause_farm(self, paused: bool) -> None:
        """Write down whether nobody gets anything."""
        self._settings.write(KIND, FARM, {"paused": paused})

    def keep(self, node: Node, now: float, offset: float) -> None:
        """Write down that it is sick, or well again. The wall clock is `offset` seconds ahead of `now`'s."""
        changes = node.sickness.changes
        record = node.sickness.record(now, offset)

        def noted(kept: Content) -> Content:
            others = {key: value for key, value in kept.items() if key != SICKNESS}
            return {**others, SICKNESS: record} if record else others

        try:
            if self.change(node.name, noted, by_hand=False):
                node.sick_told = record or None
            node.kept = changes
        except (CroftError, OSError) as error:
            log.warning("that %s is sick, or well again, can't be written: %s", node.name, error)

    def recall(self, node: Node, told: Content, now: float, offset: float) -> None:
        """Be as its file says, where another server or a person wrote it; what we are to write goes first."""
        sickness = told.get(SICKNESS)
        if sickness != node.sick_told and node.kept == node.sickness.changes:
            node.sick_told = sickness
            node.sickness.recall(sickness, now, offset)

    def _alone(self) -> ExitStack:
        """Between here and the end nobody else changes them, and what was read last is as they are."""
        stack = ExitStack()
        try:
            stack.enter_context(self.locks.hold(KIND, PATIENCE_S))
        except (CroftError, OSError) as error:
            log.warning("the nodes' files are changed without a lock: %s", error)
        self._settings.look_again(KIND)
        return stack


def ident(name: str) -> str:
    """The name of a node's configuration file."""
    if IDENT.match(name) and not name.startswith("@"):
        return name
    return "@" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:20]
