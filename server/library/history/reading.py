"""Reading the histories that lie in a file's companion, one of each site."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.journal import Journal
from server.disk.sites import site_of
from server.disk.store import Store

from .lines import Entry, entries

ALL_BYTES = 4 << 20  # of each site's, for who asks for one file's


Lines = dict[str, list[dict[str, Any]]]  # by site


def read(store: Store, address: str, size_bytes: int, most: int) -> list[Entry]:
    """What a file's histories say, oldest first: the newest `most`."""
    return said(address, lines(store, address, size_bytes), most)


def lines(store: Store, address: str, size_bytes: int) -> Lines:
    """The newest lines of each of a file's histories."""
    return dict(histories(paths.companion_of(store.path(address)), size_bytes))


def said(address: str, found: Lines, most: int) -> list[Entry]:
    """What these lines say, oldest first: the newest `most`."""
    told = [entry for site in found for entry in entries(address, site, found[site])]
    return sorted(told, key=lambda entry: entry.key)[-most:]


def histories(companion: Path, size_bytes: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The lines of all histories in a companion, with their sites."""
    try:
        names = sorted(os.listdir(companion))
    except OSError:
        return
    for name in names:
        if site := site_of(name):
            try:
                yield site, Journal(companion / name).last(size_bytes)
            except CroftError:
                continue  # `check` tells of it
