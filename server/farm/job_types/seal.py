"""A seal on what a job does: who can write where `job.json` lies must not be able to have nodes run programs.

The seal is made with this installation's secret over the commands and all that goes into them. A job
without a fitting seal (changed by hand, or of another installation) is still given out where its commands
are harmless and name nothing but the job's own file and folder, since those touch nothing but its outputs.
That a job with other commands came back to life after its end is signed too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from server.disk import encoding

SEALED = (
    *("id", "type", "stages", "parameters", "file", "folder", "snapshot", "source", "base", "frames", "fps"),
    *("user", "project"),
)


def seal(secret: bytes, record: Mapping[str, Any]) -> str:
    """Of a job's request."""
    whole = encoding.dumps([[key, record.get(key)] for key in SEALED])
    return hmac.new(hashlib.sha256(b"job " + secret).digest(), whole, "sha256").hexdigest()


def fits(secret: bytes, record: Mapping[str, Any]) -> bool:
    """Is it as this installation wrote it?"""
    return same(record.get("seal"), seal(secret, record))


def revival(secret: bytes, job_id: str, place: int, at: str) -> str:
    """Of the event that brings an ended job back to life, and its number in the journal."""
    whole = encoding.dumps([job_id, place, at])
    return hmac.new(hashlib.sha256(b"revival " + secret).digest(), whole, "sha256").hexdigest()


def same(told: object, wanted: str) -> bool:
    return isinstance(told, str) and hmac.compare_digest(told.encode(), wanted.encode())
