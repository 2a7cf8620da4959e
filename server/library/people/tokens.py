"""Tokens of programs and nodes: files of the configuration, of which only the hash of the secret is kept.

Promises that no secret can be read back. A revocation can be taken back as long as this process remembers it.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from server.disk.errors import BadInput, CroftError, NotFound, NotSignedIn

NODE_NAME = re.compile(r"\*|[^\x00-\x1f/\\]{1,128}")  # '*': a group of nodes that name themselves
SCOPES = ("all", "read")  # what a user's token may do; a node's token is for the farm's wire alone
TOKENS_REMEMBERED = 4096
REVOKED_KEPT = 200  # revocations that can be taken back
LOOK_AGAIN_S = 0.1  # between two looks for a token that another process has just made


class Settings(Protocol):
    """What of `server.disk.settings.Settings` is used here."""

    folder_path: Path

    def folder(self, kind: str) -> Mapping[str, Mapping[str, Any]]: ...
    def write(self, kind: str, ident: str, data: Mapping[str, Any]) -> None: ...
    def remove(self, kind: str, ident: str) -> None: ...
    def look_again(self, kind: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was checked: it stands for a `user` or else for a `node` name ('*': any)."""

    id: str
    user: str = ""
    node: str = ""
    scope: str = "all"
    expires: float | None = None  # seconds since the epoch

    def allows_node(self, name: str) -> bool:
        """Whether a node that calls itself `name` may use this token."""
        return bool(self.node) and self.node in ("*", name)


class Tokens:
    """The tokens of one configuration. Thread-safe; holds nothing that files don't."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_again = -LOOK_AGAIN_S
        self._used: set[str] = set()  # tokens that are known to have been used
        self._revoked: dict[str, dict[str, Any]] = {}  # the newest, by id
        self._checked: dict[bytes, tuple[Mapping[str, Any], Token]] = {}  # sha256 of the whole token

    def make_token(
        self,
        *,
        user: str = "",
        node: str = "",
        scope: str = "all",
        title: str = "",
        lasts_s: float | None = None,
    ) -> str:
        """A new token for a user or for a node name ('*': a group); the only time that it can be read.

        NotFound for an unknown user, BadInput for neither or both, an odd node name or scope.
        """
        if bool(user) == bool(node):
            raise BadInput("A token is for a user or for a node: name one of them.")
        if user:
            if user not in self._settings.folder("users"):
                raise NotFound("There is no user named '{user}'.", user=user)
        elif not NODE_NAME.fullmatch(node):
            raise BadInput("'{node}' can't be a node's name.", field="node", node=node)
        if scope not in SCOPES:
            raise BadInput(
                "'{scope}' isn't a scope: use {scopes}.",
                field="scope",
                scope=scope,
                scopes=" or ".join(SCOPES),
            )
        ident = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        data: dict[str, Any] = {
            "hash": _secret_hash(secret),
            "user": user,
            "node": node,
            "scope": scope,
            "title": title,
            "created": _rfc3339(now),
            "expires": None if lasts_s is None else _rfc3339(now + lasts_s),
        }
        self._settings.write("tokens", ident, data)
        return f"{ident}.{secret}"

    def check_token(self, text: str) -> Token:
        """What a token stands for. NotSignedIn if it is unknown, expired, revoked or its user is gone."""
        ident, _, secret = text.partition(".")
        data = self._settings.folder("tokens").get(ident)
        if data is None and self._may_look_again():
            data = self._settings.folder("tokens").get(ident)
        if data is None or not secret:
            raise NotSignedIn("This token is unknown or was revoked.")
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        seen = self._checked.get(digest)
        if seen is not None and seen[0] is data:
            token = seen[1]
        else:
            if not hmac.compare_digest(_secret_hash(secret), str(data.get("hash", ""))):
                raise NotSignedIn("This token is unknown or was revoked.")
            token = _token(ident, data)
            with self._lock:
                if len(self._checked) >= TOKENS_REMEMBERED:
                    self._checked.clear()
                self._checked[digest] = (data, token)
        if token.expires is not None and self._clock() >= token.expires:
            raise NotSignedIn("This token has expired. Make another: run.py token …")
        if token.user:
            owner = self._settings.folder("users").get(token.user)
            if owner is None or owner.get("disabled"):
                raise NotSignedIn("The user '{user}' of this token is gone or switched off.", user=token.user)
        return token

    def _may_look_again(self) -> bool:
        """Whether the folder is read anew for an unknown token: a script uses what it made at once."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_again < LOOK_AGAIN_S:
                return False
            self._looked_again = now
        self._settings.look_again("tokens")
        return True

    def note_use(self, ident: str) -> None:
        """That a node's token was used: written once, with its first use."""
        if ident in self._used:
            return
        self._used.add(ident)
        data = self._settings.folder("tokens").get(ident)
        if data is not None and not data.get("used"):
            try:
                self._settings.write("tokens", ident, {**data, "used": _rfc3339(self._clock())})
            except (OSError, CroftError):
                self._used.discard(ident)  # the disk is full, perhaps: with a later message

    def revoke_unused(self, title: str) -> int:
        """Revoke the tokens of groups that have this title and were never used; how many there were."""
        found = [token for token in self.tokens() if token["title"] == title and token["node"] == "*"]
        unused = [token["id"] for token in found if not token["used"]]
        for ident in unused:
            self.revoke(ident)
        return len(unused)

    def tokens(self) -> list[dict[str, Any]]:
        """Every token's id, user, node, scope, title, created, expires and first use; nothing that would open
        a door."""
        found = self._settings.folder("tokens")
        keys = ("user", "node", "scope", "title", "created", "expires", "used")
        return [{"id": ident, **{key: found[ident].get(key) for key in keys}} for ident in sorted(found)]

    def revoke(self, ident: str) -> None:
        """Forget a token by its id (the part before the dot). NotFound if there is none."""
        if ident not in self._settings.folder("tokens"):
            raise NotFound("There is no token '{token}'.", token=ident)
        kept = dict(self._settings.folder("tokens")[ident])
        self._settings.remove("tokens", ident)
        with self._lock:
            self._revoked[ident] = kept
            while len(self._revoked) > REVOKED_KEPT:
                del self._revoked[next(iter(self._revoked))]

    def unrevoke(self, ident: str) -> None:
        """Take a revocation back, as long as this process remembers it. NotFound where it doesn't."""
        with self._lock:
            kept = self._revoked.pop(ident, None)
        if kept is None:
            raise NotFound("There is no token '{token}' that was revoked lately.", token=ident)
        self._settings.write("tokens", ident, kept)

    def node_tokens(self, name: str) -> list[dict[str, Any]]:
        """The tokens that are good for a node of this name: its own, and those of groups."""
        keys = ("id", "node", "title", "created", "expires", "used")
        return [{key: token[key] for key in keys} for token in self.tokens() if token["node"] in (name, "*")]

    def revoke_node(self, name: str) -> None:
        """Revoke every token that is bound to this node's name; those of groups stay."""
        for ident, data in list(self._settings.folder("tokens").items()):
            if data.get("node") == name and name != "*":
                self.revoke(ident)

    def revoke_user(self, user: str) -> list[str]:
        """Revoke every token of a user; their ids."""
        found = [i for i, data in self._settings.folder("tokens").items() if data.get("user") == user]
        for ident in found:
            self.revoke(ident)
        return found

    def forget_revoked(self, user: str) -> None:
        """A user's revoked tokens can't be taken back any more."""
        with self._lock:
            self._revoked = {i: data for i, data in self._revoked.items() if data.get("user") != user}

    def restore_node(self, name: str) -> None:
        """Take back what `revoke_node` did."""
        for ident, data in list(self._revoked.items()):
            if data.get("node") == name:
                self.unrevoke(ident)


def _secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _token(ident: str, data: Mapping[str, Any]) -> Token:
    scope = str(data.get("scope", "all"))
    return Token(
        id=ident,
        user=str(data.get("user") or ""),
        node=str(data.get("node") or ""),
        scope=scope if scope in SCOPES else "read",
        expires=_seconds(data.get("expires")),
    )


def _rfc3339(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _seconds(text: Any) -> float | None:
    """Seconds since the epoch of a stored time; an unreadable one has passed already."""
    if text is None or text == "":
        return None
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()
