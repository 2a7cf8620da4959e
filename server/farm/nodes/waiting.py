"""Computers that ask to join the farm, until an admin admits or refuses them. In memory alone.

Who asks brings a secret of its own making; everything it gets it gets for that secret, so nobody can fetch
another's token. The code that people compare is derived from the secret: it can't be chosen to look like
another's. Bounded in number, in rate for each address, and in time: who stops asking is forgotten.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput, Busy, Conflict, Forbidden, NotFound
from server.disk.speech import say

MOST = 200  # that wait at once
MOST_OF_ONE = 40  # … from one address: a class may sit behind one router
SILENT_S = 180.0  # who hasn't asked for so long has gone
REFUSED_S = 3600.0  # a refusal is remembered for so long
TOKEN_S = 600.0  # a token may be fetched again for so long, as after a lost answer
AGAIN_S = 4.0  # the pace of asking
ASKS_A_MINUTE = 120  # of one address
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without those that look like others
SECRET = (32, 200)  # characters
WAIT, ADMITTED, REFUSED = "waiting", "admitted", "refused"


@dataclass(slots=True)
class Asking:
    """One computer that asks."""

    name: str
    code: str
    address: str
    hardware: dict[str, Any]
    programs: dict[str, str]
    version: str
    since: float  # seconds since the epoch
    heard: float  # monotonic
    state: str = WAIT
    by: str = ""
    token: str = ""
    decided: float = 0.0  # monotonic

    def view(self) -> dict[str, Any]:
        """As the API shows it; never the secret, never the token."""
        return {
            "code": self.code,
            "name": self.name,
            "state": self.state,
            "address": self.address,
            "hardware": self.hardware,
            "programs": self.programs,
            "version": self.version,
            "since": self.since,
            "by": self.by,
        }


class Waiting:
    """Those that ask. Safe for threads."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        taken: Callable[[str], str],
        changed: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`taken(name)`: why a name can't be had, "" if it can; `changed(name)`: told of what can be seen."""
        self._monotonic = monotonic
        self._wall = wall
        self._taken = taken
        self._changed = changed
        self._lock = threading.Lock()
        self._asking: dict[str, Asking] = {}  # hash of the secret -> who asks
        self._asks: dict[str, deque[float]] = {}  # address -> when it asked

    def ask(self, told: Any, address: str, make_token: Callable[[str, str], str]) -> dict[str, Any]:
        """A computer asks, or asks again: its state, its code, when to ask again, its token once it may have
        one. `make_token(name, by)`. Conflict for a name that is taken, Forbidden after a refusal, Busy where
        too many ask."""
        secret, name = _secret(told), _name(told)
        now = self._monotonic()
        with self._lock:
            self._forget(now)
            self._slow_down(address, now)
            key = hashlib.sha256(secret.encode()).hexdigest()
            one = self._asking.get(key)
            if one is None or one.name != name:
                one = self._enter(key, name, told, address, now)
            one.heard = now
            if one.state == REFUSED:
                raise Forbidden(
                    "{by} refused this computer. Ask them, then try again.", by=one.by or "An admin"
                )
            if one.state == ADMITTED:
                if not one.token:
                    one.token, one.decided = make_token(name, one.by), now
                return {"state": ADMITTED, "name": name, "code": one.code, "token": one.token}
            again_s = max(AGAIN_S, len(self._asking) / 10)
            return {"state": WAIT, "name": name, "code": one.code, "again": again_s}

    def all(self) -> list[Asking]:
        """Those that wait for a decision, the longest first."""
        with self._lock:
            self._forget(self._monotonic())
            found = [one for one in self._asking.values() if one.state == WAIT]
        return sorted(found, key=lambda one: one.since)

    def __len__(self) -> int:
        return sum(one.state == WAIT for one in list(self._asking.values()))

    def decide(self, code: str, do: str, who: str) -> Asking:
        """Admit, refuse, or let wait again. The caller takes back a token that was given meanwhile."""
        with self._lock:
            one = next((one for one in self._asking.values() if one.code == code.strip().upper()), None)
            if one is None:
                raise NotFound(
                    "No computer with the code {code} asks to join any more.", code=repr(code[:20])
                )
            if do == ADMITTED and one.state != ADMITTED:
                why = self._taken(one.name) or self._another(one)
                if why:
                    raise Conflict(why)
            one.state, one.by, one.decided = do, who, self._monotonic()
        self._changed(one.name)
        return one

    def _another(self, one: Asking) -> str:
        if any(o is not one and o.name == one.name and o.state == ADMITTED for o in self._asking.values()):
            return say("Another computer called {it} was just admitted.", it=one.name)
        return ""

    def _enter(self, key: str, name: str, told: Mapping[str, Any], address: str, now: float) -> Asking:
        why = self._taken(name)
        if why:
            raise Conflict(why)
        if any(o.name.casefold() == name.casefold() for k, o in self._asking.items() if k != key):
            text = say(
                "Another computer that is called {name} asks to join already: give this one another name.",
                name=name,
            )
            raise Conflict(text)
        of_one = sum(one.address == address for one in self._asking.values())
        if key not in self._asking and (len(self._asking) >= MOST or of_one >= MOST_OF_ONE):
            raise Busy(
                "Too many computers ask to join at the moment. Try again in some minutes.",
                path="", holder="", waited_s=0.0,
            )  # fmt: skip
        one = Asking(
            name=name,
            code=code_of(key),
            address=address,
            hardware=_facts(told.get("hardware")),
            programs={k: str(v) for k, v in _facts(told.get("programs")).items()},
            version=str(told.get("version") or "")[:60],
            since=self._wall(),
            heard=now,
        )
        self._asking[key] = one
        self._changed(name)
        return one

    def _forget(self, now: float) -> None:
        for key, one in list(self._asking.items()):
            silent_s = now - max(one.heard, one.decided)
            kept_s = {REFUSED: REFUSED_S, ADMITTED: TOKEN_S}.get(one.state, SILENT_S)
            if silent_s > kept_s:
                del self._asking[key]
                self._changed(one.name)

    def _slow_down(self, address: str, now: float) -> None:
        """Busy for an address that asks too often."""
        asks = self._asks.setdefault(address, deque(maxlen=ASKS_A_MINUTE))
        if len(asks) == ASKS_A_MINUTE and now - asks[0] < 60.0:
            text = say("This address asks too often. Try again in a minute.")
            raise Busy(text, path="", holder="", waited_s=0.0, status=429)
        asks.append(now)
        if len(self._asks) > 4 * MOST:
            for other in [a for a, times in self._asks.items() if now - times[-1] > 60.0]:
                del self._asks[other]
            while len(self._asks) > 4 * MOST:
                del self._asks[next(iter(self._asks))]


def code_of(key: str) -> str:
    """The code that people compare, of the hash of a secret: 'K7M-2QX'."""
    number = int.from_bytes(hashlib.sha256(b"croft joins " + key.encode()).digest()[:8], "big")
    letters = "".join(LETTERS[number >> 5 * at & 31] for at in range(6))
    return f"{letters[:3]}-{letters[3:]}"


def _secret(told: Any) -> str:
    secret = told.get("secret") if isinstance(told, Mapping) else None
    if not isinstance(secret, str) or not SECRET[0] <= len(secret) <= SECRET[1] or not secret.isascii():
        raise BadInput(
            "Who asks to join sends a secret of {secret} to {most} letters, made by chance.",
            secret=SECRET[0],
            most=SECRET[1],
        )
    return secret


def _name(told: Mapping[str, Any]) -> str:
    name = told.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 60 or not name.isprintable():
        raise BadInput("A computer's name is 1 to 60 printable characters.", field="name")
    if name != name.strip() or any(letter in "/\\*" for letter in name) or name == WAIT:
        raise BadInput("{name} can't be a computer's name.", field="name", name=repr(name))
    return name


def _facts(value: Any) -> dict[str, Any]:
    """A few plain facts of what an unknown computer says."""
    if not isinstance(value, Mapping):
        return {}
    kept: dict[str, Any] = {}
    for key, said in list(value.items())[:20]:
        if isinstance(said, (int, float, bool)):
            kept[str(key)[:40]] = said
        elif isinstance(said, str):
            kept[str(key)[:40]] = said[:120]
    return kept
