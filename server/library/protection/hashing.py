"""The hash of a file's present bytes, as publishing takes it too."""

from __future__ import annotations

import os

from server.disk import checkpoints, deletions
from server.disk.errors import NotFound
from server.disk.records import Entry
from server.disk.store import Store

from ..assets import Assets, tells_of


def known(assets: Assets, entry: Entry) -> str:
    """What was read of this very state already; '' where nothing was."""
    said = assets.file_record(entry.address)
    return str(said.get("hash") or "") if entry.stat is not None and tells_of(said, entry.stat) else ""


def digest(store: Store, address: str) -> str:
    """Of a file, or of all frames of a sequence. NotFound where nothing is there."""
    path = store.path(address)
    own = {name: path.parent / name for name in deletions.own_names(path)}
    own = {name: place for name, place in own.items() if os.path.isfile(place)}
    if not own:
        raise NotFound("There is no {file}.", path=str(path), file=path.name)
    return checkpoints.digest(path) if list(own) == [path.name] else checkpoints.digest_all(own)
