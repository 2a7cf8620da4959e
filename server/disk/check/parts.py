"""What every part of a check does: read, list, and say what is wrong with one file. Reads only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from server.disk import faults, files, paths, sidecar
from server.disk.errors import Broken, CroftError, NotFound
from server.disk.journal import Journal
from server.disk.paths import Share
from server.disk.records import Problem
from server.disk.speech import say

RECORD_BYTES = 64 << 20


class Parts:
    """One share, looked at at one moment."""

    def __init__(self, share: Share, now: float) -> None:
        self.share = share
        self.now = now

    def address(self, inside: str) -> str:
        return paths.address(self.share.name, inside)

    def read(self, place: str) -> Generator[Problem, None, dict[str, Any] | None]:
        """A generator that yields what is wrong and returns the record, if there is one."""
        path = self.share.root / place
        try:
            raw, _ = files.read_bounded(
                path, RECORD_BYTES if "/.croft/" in f"/{place}" else sidecar.MAX_BYTES
            )
            return sidecar.parse(raw, path)
        except FileNotFoundError:
            return None  # Race: it was moved after the listing.
        except OSError as error:
            why = "it is a link" if error.errno == errno.ELOOP else str(error.strerror)
        except Broken as error:
            why = str(error.why)
        yield faults.broken(self.address(place), why)
        return None

    def newer(self, place: str, record: dict[str, Any] | None) -> Iterator[Problem]:
        schema = sidecar.schema_of(record or {})
        if schema > sidecar.SCHEMA:
            yield faults.newer(self.address(place), schema)

    def link(self, place: str) -> Iterator[Problem]:
        try:
            self.share.path(place)
        except NotFound:
            yield self.problem(
                "link", place, say("It is a link that leads outside the share: Croft doesn't follow it."),
                say("Copy what it leads to onto the share, or delete it."),
            )  # fmt: skip

    def leftover(self, place: str, entry: os.DirEntry[str]) -> Iterator[Problem]:
        try:
            age_s = self.now - entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            return  # Race: whoever wrote it has finished.
        if age_s > faults.FRESH_S:
            yield faults.leftover(self.address(place))

    def journal(self, place: str) -> Generator[Problem, None, list[dict[str, Any]]]:
        """Yields what is wrong, returns the events."""
        mend = say("Copy it back from a backup if that has them; else nothing needs doing.")
        try:
            events, end, bad = Journal(self.share.root / place).read()
            torn = os.path.getsize(self.share.root / place) > end
        except (CroftError, OSError) as error:
            yield self.problem(
                "journal", place, f"It can't be read: {error}", say("Copy it back from a backup.")
            )
            return []
        if bad or torn:
            text = say(
                "{count} can't be read, as after a power cut; all others count.",
                count=count(bad + torn, "line"),
            )
            yield self.problem("journal", place, text, mend)
        return events

    def rights(self, place: str, *, closed: bool = False) -> Iterator[Problem]:
        """Croft's own folders must be the group's, or students can't move or delete them over Samba. But
        those with published versions are `closed`: they are Croft's alone."""
        path = self.share.root / place
        try:
            st, above = os.stat(path), os.stat(path.parent)
        except OSError:
            return
        if closed:
            if not os.access(path, os.W_OK):
                yield self.problem(
                    "rights",
                    place,
                    say("Published versions lie here, and Croft's own user can't write to the folder."),
                    f"chown -R {os.geteuid()} '{path}'",
                )
            return
        if not st.st_mode & stat.S_IWGRP and above.st_mode & stat.S_IWGRP:
            yield self.problem(
                "rights",
                place,
                say("Its group may not write to this folder: only Croft can move or delete it."),
                f"chmod -R g+rwX '{path}'",
            )

    def list(self, inside: str) -> list[os.DirEntry[str]] | Problem:
        try:
            with os.scandir(self.share.root / inside) as entries:
                return list(entries)
        except OSError as error:
            return faults.unreadable(self.address(inside), str(error.strerror), self.share.root / inside)

    def problem(self, kind: str, inside: str, text: str, mend: str) -> Problem:
        return faults.problem(kind, self.address(inside), text, mend)


def count(number: int, word: str) -> str:
    """`no faults`, `1 fault`, `3 faults`."""
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def is_plain(inside: str) -> bool:
    """Whether a path that a file names stays in the folder that it is meant for."""
    try:
        paths.check_inside(inside)
    except CroftError:
        return False
    return bool(inside)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder; nothing where it can't be listed."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
