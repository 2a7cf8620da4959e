"""What a change of a record is made on, whether it may be made, and what it comes to. No locks here.

The store asks while it holds the record's lock. What may not be changed (somebody else was quicker, a newer
Croft wrote it, it isn't JSON) is refused with a sentence, and stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import BadInput, Broken, Conflict, NotFound, ReadOnly, Stale, TooLarge
from server.disk.sidecar import Sidecar

JSON_BYTES = 64 << 20  # of a file of Croft's own: facts of a huge scene, a result

Changes = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]


# -- sidecars -----------------------------------------------------------------------------------------


def place_of(path: Path) -> Path:
    """Where the sidecar of a file lies. Conflict where no name fits."""
    beside = paths.sidecar_of(path)
    size = len(os.fsencode(beside.name))
    if size > paths.NAME_BYTES:
        raise Conflict(
            "The name of {file}… is too long: no record fits beside it. Make it {size} bytes shorter.",
            path=str(path),
            file=path.name[:40],
            size=size - paths.NAME_BYTES,
        )
    return beside


def present(path: Path, known: bool, lost: Callable[[], Sequence[str]]) -> Sidecar:
    """What the sidecar of a file says now. NotFound where there is no such asset, nor was one.

    `known`: the index has it; `lost`: of one with a record, the disks of its pool that aren't mounted.
    """
    there = os.path.lexists(path)
    beside = paths.sidecar_of(path)
    # `x.json` without `x` is a sidecar only where `x` was known, else a file of its own.
    if there or "@" in path.name or known or paths.companion_of(path).is_dir():
        try:
            return sidecar.read(beside)
        except NotFound:
            if away := lost():
                raise ReadOnly(
                    "What is known of {file} lies on {lost}, which isn't mounted: it can be changed "
                    "when that disk is back.",
                    path=str(beside),
                    file=path.name,
                    lost=", ".join(away),
                ) from None
            if there or "@" in path.name:
                return sidecar.EMPTY
    raise NotFound("There is no {file}.", path=str(path), file=path.name)


def decide(address: str, beside: Path, old: Sidecar, changes: Changes, etag: str | None) -> dict[str, Any]:
    """The record that a change asks for. Stale where it wasn't made on what is there."""
    if etag is not None and etag != old.etag:
        raise Stale(
            "{address} was changed by somebody else meanwhile. Look at it and try again.",
            etag=old.etag,
            record=old.data,
            address=address,
        )
    if old.newer:
        raise ReadOnly(
            "{address} was written by a newer Croft (schema {schema}): this one knows {known} "
            "and leaves it alone.",
            path=str(beside),
            address=address,
            schema=old.data["schema"],
            known=sidecar.SCHEMA,
        )
    return dict(changes(dict(old.data)) if callable(changes) else {**old.data, **changes})


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What an edit did, as its history has it: field -> before, after."""
    return {
        key: [old.get(key), new.get(key)]
        for key in dict.fromkeys([*old, *new])
        if key not in old or key not in new or old[key] != new[key]
    }


# -- any JSON file of Croft's -------------------------------------------------------------------------


def read_json(path: Path, address: str) -> dict[str, Any]:
    """NotFound or Broken as for a sidecar."""
    try:
        raw, _ = files.read_bounded(path, JSON_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("There is no {address}.", path=str(path), address=address) from error
    except OSError as error:
        raise Broken(
            "{path} can't be read: {reason}.",
            path=str(path),
            why=str(error),
            reason=error.strerror,
        ) from error
    return sidecar.parse(raw, path)


def bytes_to_replace(path: Path, address: str) -> bytes:
    """What a file says that is to be written anew; b"" where there is none. One of a newer schema stays; so
    does a broken one, except in a companion folder, where Croft alone writes."""
    old = b""
    try:
        old, _ = files.read_bounded(path, JSON_BYTES)
        if sidecar.schema_of(sidecar.parse(old, path)) > sidecar.SCHEMA:
            raise ReadOnly(
                "{address} was written by a newer Croft; it stays as it is.",
                path=str(path),
                address=address,
            )
    except FileNotFoundError:
        pass
    except OSError as error:
        files.fail(error, path)
    except Broken:
        if not paths.file_of_companion(address):
            raise
    return old


def dumped(data: Mapping[str, Any], like: bytes, limit: int = sidecar.MAX_BYTES) -> bytes:
    """A record's bytes: BadInput where it can't be JSON, TooLarge where it is."""
    try:
        raw = sidecar.dump(data, like)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput("This can't be written as JSON: {why}.", why=error) from error
    if len(raw) > limit:
        raise TooLarge("A record of {raw} bytes is too long; {limit} are allowed.", limit=limit, raw=len(raw))
    return raw
