"""Several servers of one node: whose turn it is to be asked for work, and who is told of what.

A server keeps its turn while it has work, for a while, so that files that are open stay so. What one server
gave is that one's affair; while it is away, another of the same installation may take it in its stead, and a
server of another farm may be asked, but its no means nothing.
"""

from __future__ import annotations

import threading
from typing import Callable, List, Optional

from .link import HANGING_S, Link

TURN_S = 60.0  # a server that has work is asked for so long before the next one is


class Servers:
    """Guarded by the session's `changed`."""

    def __init__(self, links: List[Link], changed: threading.Condition, clock: Callable[[], float]) -> None:
        self._links = links
        self._changed = changed
        self._clock = clock
        self._turn = 0  # the link that is asked first
        self._turn_at = float("-inf")
        self._asking: Optional[Link] = None
        self._asking_since = 0.0

    def its_turn(self, link: Link, now: float) -> bool:
        """Whether this server is to be asked for work now, before the others."""
        if len(self._links) == 1:
            return True
        busy = self._asking not in (None, link) and now - self._asking_since < HANGING_S
        if busy:
            return False
        order = self._links[self._turn :] + self._links[: self._turn]
        first = next((one for one in order if one is link or one.ready(now)), link)
        return first is link

    def asks(self, link: Link) -> None:
        """It is asked now."""
        self._asking, self._asking_since = link, self._clock()

    def answered(self, link: Link) -> None:
        """Or has failed to: another may be asked."""
        with self._changed:
            if self._asking is link:
                self._asking = None
                self._changed.notify_all()

    def asked(self, link: Link, count: int, given: int) -> None:
        """A server keeps its turn while it has work, for a while: files that are open stay so."""
        now = self._clock()
        if self._links[self._turn] is not link:
            self._turn, self._turn_at = self._links.index(link), now
        if given < count or now - self._turn_at > TURN_S:
            self._turn, self._turn_at = (self._turn + 1) % len(self._links), now
        self._changed.notify_all()

    def concerns(self, link: Link, home: str, site: str, result: str = "") -> bool:
        """Is this the server that gave it, or, while that is away, one that may take it in its stead?"""
        if link.url == home or len(self._links) == 1:
            return True
        giver = next((one for one in self._links if one.url == home), None)
        if giver is not None and not giver.failures:
            return False
        if result in link.not_theirs:
            return False
        return giver is None or (bool(site) and site == link.site) or (bool(result) and not site)

    def decides(self, link: Link, home: str, site: str) -> bool:
        """Whether this server's word on an attempt counts: another farm knows nothing of it."""
        return link.url == home or not home or len(self._links) == 1 or (bool(site) and site == link.site)
