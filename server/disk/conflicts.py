"""The names that synchronising programs give to the other side's version of a file. Pure.

Syncthing writes `sh010.sync-conflict-20260101-120000-ABCDEFG.blend`, Nextcloud `sh010 (conflicted copy
2026-01-01 120000).blend`, Dropbox `sh010 (Ana's conflicted copy 2026-01-01).blend`, ownCloud
`sh010_conflict-20260101-120000.blend`.
"""

from __future__ import annotations

import re

from server.disk.speech import say

_ENDING = r"(?P<ending>(?:\.[^./]*)?)"
_PATTERNS = tuple(
    re.compile(rf"(?P<stem>.+?){middle}{_ENDING}\Z", re.DOTALL | re.IGNORECASE)
    for middle in (
        r"\.sync-conflict-\d{8}-\d{6}-[A-Z0-9]{7}",
        r" ?\((?P<whose>[^/]*?)(?:conflict|conflicted|conflicting) copy[^()/]*\)(?: ?\(\d+\))?",
        r"_conflict-\d{8}-\d{6}",
    )
)


def original(name: str) -> str:
    """The name of the file that this is a conflict copy of; '' for a name that is none.

    A copy of a copy leads to the first of all. `x.sync-conflict-….blend.json` is no copy: it is the sidecar
    of one.
    """
    if "onflict" not in name and "ONFLICT" not in name:  # nearly every name: no pattern is asked
        return ""
    found = name
    while match := next((m for pattern in _PATTERNS if (m := pattern.match(found))), None):
        found = match["stem"] + match["ending"]
    return found if found != name else ""


def is_copy(name: str) -> bool:
    return bool(original(name))


def maker(name: str) -> str:
    """Which program made it, as people know it."""
    if ".sync-conflict-" in name:
        return "Syncthing"
    if "'s conflicted copy" in name or "’s conflicted copy" in name:
        return "Dropbox"
    return "Nextcloud" if "(conflicted copy" in name else say("the synchronising program")
