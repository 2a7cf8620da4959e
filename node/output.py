"""What a program says, kept for the log of its attempt: its head and its tail, with passwords masked.

Lines of any length, bytes that are no UTF-8 and gigabytes of noise cost no more than what is kept. Positions
are counted in bytes of the UTF-8 text as it is told to the server, whatever was dropped in between.
"""

from __future__ import annotations

import codecs
import os
import re
import threading
from typing import Any, Iterable, List, Mapping, Optional, Set, Tuple

HEAD_BYTES = 256 << 10
TAIL_BYTES = 768 << 10
SHORT_BYTES = 64 << 10  # of a result, where many results wait for a server that is away
SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|KEY|CREDENTIAL", re.IGNORECASE)
# Parts of names that often tell of passwords; where they don't, a folder is meant, or it is another word.
LIKELY_NAME = re.compile(r"(?<!BY)(?<!COM)(?:PASS|PWD|AUTH)(?=_|\d*$)", re.IGNORECASE)
FOLDERS = {"PWD", "OLDPWD"}
LEAST_SECRET = 4  # characters; what is shorter would mask half of every text
COMMON = {"true", "false", "none", "null", "auto", "default", "basic", "digest", "bearer"}
MASKED = b"****"
known_secrets: Set[str] = set()  # besides the environment's: the node's own tokens


class Capture:
    """Filled by one thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._head = bytearray()
        self._tail = bytearray()
        self._tail_at = -1  # position of the tail's first byte; -1: all is in the head
        self._return = False  # a carriage return came last
        self.end = 0  # position after the last byte
        self.told = 0  # what the server has of it: up to this position
        self.told_to = ""  # which server that is

    def add(self, data: bytes) -> None:
        """Nothing at all says that it ends here."""
        text = self._decoder.decode(data, final=not data).replace("\0", "")
        if self._return and text.startswith("\n"):
            text = text[1:]
        if text:
            self._return = text.endswith("\r")
        clean = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
        with self._lock:
            if self._tail_at < 0:
                fits = HEAD_BYTES - len(self._head)
                self._head += clean[:fits]
                rest = clean[fits:]
                if rest:
                    self._tail_at = len(self._head)
            else:
                rest = clean
            self._tail += rest
            self.end += len(clean)
            self._trim()

    def _trim(self) -> None:
        over = len(self._tail) - TAIL_BYTES
        if over > 0:
            del self._tail[:over]
            self._tail_at += over

    def piece(self, start: int, most_bytes: int) -> Tuple[int, str, int]:
        """What was said from this position on: where it really begins, the text, the position after it."""
        with self._lock:
            data = bytes(self._head[start : start + most_bytes])
            if self._tail_at == len(self._head):  # nothing was dropped between them yet
                begin = max(start, self._tail_at) - self._tail_at
                data += self._tail[begin : begin + most_bytes - len(data)]
            elif self._tail_at >= 0 and not whole_letters(data):
                start = max(start, self._tail_at)
                data = bytes(self._tail[start - self._tail_at :][:most_bytes])
            start = min(start, self.end)
            last = start + len(data) == self.end
        skip = 0
        while skip < min(3, len(data)) and data[skip] & 0xC0 == 0x80:
            skip += 1  # within a letter whose beginning was dropped
        cut = len(data) if last else whole_letters(data)
        return start + skip, data[skip:cut].decode("utf-8", "replace"), start + cut

    def rest(self, start: int) -> List[Tuple[int, str]]:
        """All that is left from this position on, as pieces with their positions."""
        pieces = []
        while start < self.end:
            at, text, following = self.piece(start, HEAD_BYTES + TAIL_BYTES)
            if following <= start:
                break
            if text:
                pieces.append((at, text))
            start = following
        return pieces


def whole_letters(data: bytes) -> int:
    """How many of these bytes make whole letters of UTF-8."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 != 0x80:
            return len(data) - back if data[-back] >= 0xC0 else len(data)
    return len(data)


def begun(data: bytes, word: bytes) -> int:
    """How many bytes at the end may be the word's first ones, all of it apart. Asked of every line that a
    program prints: most have none of its first letter, and cost one look."""
    at = data.find(word[:1], max(0, len(data) - len(word) + 1))
    while at >= 0 and not word.startswith(data[at:]):
        at = data.find(word[:1], at + 1)
    return len(data) - at if at >= 0 else 0


class Mask:
    """Takes passwords out of a stream of bytes, wherever it is cut."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = sorted(set(secrets), key=len, reverse=True)
        words = b"|".join(re.escape(secret) for secret in self._secrets)
        self._pattern = re.compile(words) if words else None
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown; an end that could be a password's beginning is held back."""
        if self._pattern is None:
            return data
        data = self._pattern.sub(MASKED, self._rest + data)
        held = max((begun(data, secret) for secret in self._secrets), default=0)
        self._rest = data[len(data) - held :]
        return data[: len(data) - held]

    def end(self) -> bytes:
        """What was held back: nothing more comes."""
        rest, self._rest = self._rest, b""
        return rest


def secrets_of(environment: Optional[Mapping[str, str]] = None) -> Set[bytes]:
    """What nobody may read in a log: values of variables whose names tell of passwords."""
    found = set(known_secrets)
    for name, value in (os.environ if environment is None else environment).items():
        if SECRET_NAME.search(name) or _likely(name, value):
            found.update([value.strip(), *(line.strip() for line in value.splitlines())])
    words = {word for word in found if len(word) >= LEAST_SECRET and word.lower() not in COMMON}
    return {word.encode("utf-8", "surrogateescape") for word in words}


def _likely(name: str, value: str) -> bool:
    return bool(LIKELY_NAME.search(name)) and name.upper() not in FOLDERS and not os.path.isabs(value)


def shortened(pieces: Any) -> List[Any]:
    """The last of what a result carries, where it has to wait for its server among many."""
    kept: List[Any] = []
    room = SHORT_BYTES
    for at, text in reversed(pieces or []):
        if room <= 0:
            break
        dropped = max(0, len(text) - room)
        kept.insert(0, [at + len(text[:dropped].encode("utf-8", "replace")), text[dropped:]])
        room -= len(text)
    return kept
