"""What is being published is written down first, so that a start takes away what a crash left of it.

A pointer among the share's locks names the file; it goes when the version is whole, or was taken back. What
is under way on another server is left alone: it holds the file's lock.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from server.disk import encoding, faults, files, paths
from server.disk.errors import CroftError
from server.disk.paths import Share
from server.disk.store import Store

log = logging.getLogger(__name__)

POINTER = "publish-"  # among the locks; '.json'
POINTER_BYTES = 64 << 10
ASIDE = "-in-place"  # the end of the name of what a version of what isn't copied is made in


@contextlib.contextmanager
def noted(store: Store, share: Share, address: str) -> Iterator[None]:
    """While a version of this file is being made."""
    pointer = share.root / paths.LOCKS / f"{POINTER}{secrets.token_hex(8)}.json"
    files.write_atomic(pointer, encoding.dumps({"address": address}) + b"\n", disk=store.disk)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            pointer.unlink()


def of_crashes(store: Store) -> Iterator[tuple[Share, str, Path]]:
    """What was being published when a server ended: share, address, and its pointer."""
    for share in store.shares:
        if share.read_only or store.away(share.name):
            continue
        _sweep_locks(share)
        for pointer in sorted((share.root / paths.LOCKS).glob(f"{POINTER}*.json")):
            try:
                raw, _ = files.read_bounded(pointer, POINTER_BYTES)
                address = str(encoding.loads(raw)["address"])
                if paths.parse(address)[0] != share.name:
                    raise ValueError(address)
            except FileNotFoundError:
                continue  # Race: whoever published is done
            except (OSError, CroftError, ValueError, KeyError, TypeError) as error:
                log.warning("%s names nothing that was published: %r", pointer, error)
                with contextlib.suppress(OSError):
                    pointer.unlink()
                continue
            yield share, address, pointer


def _sweep_locks(share: Share) -> None:
    """Temporary files among the locks that a crash left: nobody looks there."""
    for left in (share.root / paths.LOCKS).glob(f"{files.TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > faults.FRESH_S:
                left.unlink()


def aside(folder: Path) -> Path:
    """A new name in `versions` to make a version in that isn't copied."""
    return folder / f"{files.temporary(folder).name}{ASIDE}"


def sweep_asides(folder: Path) -> None:
    """Take away what a crash left of those. Under the file's lock."""
    with contextlib.suppress(OSError):
        for place in list(folder.iterdir()):
            if place.name.startswith(files.TEMPORARY) and place.name.endswith(ASIDE):
                shutil.rmtree(place, ignore_errors=True)
