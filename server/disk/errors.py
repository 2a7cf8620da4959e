"""The exceptions that cross rooms.

Each carries its facts as attributes and a sentence for a person as `message`. Which HTTP status one
becomes is decided in a single table in `server/web/requests.py`; nothing here knows of HTTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server.disk.speech import Said, say


class CroftError(Exception):
    """Base of all of Croft's own errors. `message` says what is wrong and what to do: a sentence whose
    places its facts fill, `NotFound("There is no folder {address}.", address=address)`."""

    def __init__(self, message: str, /, **facts: Any) -> None:
        said = message if isinstance(message, Said) else say(message, **facts)
        super().__init__(said)
        self.message = said
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        facts: dict[str, Any] = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(name)


class BadInput(CroftError):
    """The request can't be understood, or asks for what can't be. Nothing was changed."""


class NotSignedIn(CroftError):
    """Nobody is signed in, or the token is unknown, expired or revoked."""


class Forbidden(CroftError):
    """The person or node is known but may not do this."""


class NotFound(CroftError):
    """No such project, asset, job, task, node, user or file."""


class Conflict(CroftError):
    """It exists already, or its present state doesn't allow this."""


class Stale(CroftError):
    """An edit was made on an older record. Facts: `etag`, `record` (the present one)."""


class TooLarge(CroftError):
    """More bytes, frames or tasks than the configuration allows. Facts: `limit`."""


class BadContent(CroftError):
    """The content isn't of a kind that can be used here."""


class Broken(CroftError):
    """A file of Croft's can't be read as what it should be; it is kept as it is.

    Facts: `path`, `why`.
    """


class Busy(CroftError):
    """A lock was not free in time. Facts: `path`, `holder`, `waited_s`."""


class ShareAway(CroftError):
    """The share isn't mounted: its marker is gone. Facts: `share`."""


class ReadOnly(CroftError):
    """The share or the file's schema is read-only for this server."""


class DiskFull(CroftError):
    """The disk has no room left. The old content is intact. Facts: `path`."""


class DiskError(CroftError):
    """The disk refused for another reason than lack of room. Facts: `path`, `errno`."""


class Restored(Conflict):
    """A journal isn't the one that was read before (a restore): read it again from its start.

    Facts: `path`.
    """


def broken(path: Path | str, why: str) -> Broken:
    """A `Broken` with its sentence: what is wrong with which file."""
    return Broken("{path} can't be read: {why}.", path=str(path), why=why)
