"""What attempts have said so far, while they run: in memory alone, bounded for each and in all.

A text is known by positions in the whole of what was said: its head, and its tail that follows what is
said last. What lies between is dropped, and marked where somebody reads it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

HEAD_BYTES = 256 << 10  # of each attempt
TAIL_BYTES = 768 << 10
SMALL_BYTES = 16 << 10  # of the head and of the tail of one that had to make room
MOST_BYTES = 64 << 20  # of all attempts together
WATCHED_S = 10.0  # after somebody looked at it
PART_BYTES = 256 << 10  # that one look gives
_LEFT_OUT = "\n[… {:,} bytes are left out …]\n"
_MARK = re.compile("\n\\[… ([0-9,]{1,20}) bytes are left out …\\]\n".encode())


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a log. `start` and `next` are positions in the whole, in bytes: who follows asks again with
    `next`, at once while it is less than `end`."""

    text: str
    start: int
    next: int
    end: int
    running: bool
    attempt: int
    attempts: tuple[int, ...] = ()  # of this task, those that have a log


class Text:
    """What one attempt has said so far."""

    __slots__ = ("_head", "_room", "_tail", "_tail_at", "end", "touched")

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._tail_at = -1  # position of the tail's first byte; -1: all is in the head
        self._room = (HEAD_BYTES, TAIL_BYTES)
        self.end = 0  # position after the last byte
        self.touched = 0.0

    def __len__(self) -> int:
        return len(self._head) + len(self._tail)

    @staticmethod
    def of(data: bytes) -> Text:
        """From what was kept in a file."""
        text = Text()
        mark = _MARK.search(data)
        if mark is None:
            text._head, text.end = bytearray(data), len(data)
            return text
        text._head, text._tail = bytearray(data[: mark.start()]), bytearray(data[mark.end() :])
        text._tail_at = mark.start() + int(mark[1].replace(b",", b""))
        text.end = text._tail_at + len(text._tail)
        return text

    def add(self, at: int, data: bytes) -> None:
        """What was said from this position on. What is known already is passed over."""
        if at < self.end:
            data, at = data[self.end - at :], self.end
        if not data:
            return
        head_room, tail_room = self._room
        if self._tail_at < 0:
            fits = max(0, head_room - len(self._head)) if at == len(self._head) else 0
            self._head += data[:fits]
            data, at = data[fits:], at + min(fits, len(data))
            if data:
                self._tail_at = at
        elif at > self.end:  # another hole: there is one mark only
            self._tail, self._tail_at = bytearray(), at
        self._tail += data
        self.end = at + len(data)
        self._trim(tail_room)

    def shrink(self) -> None:
        """Make room for others."""
        self._room = (SMALL_BYTES, SMALL_BYTES)
        if len(self._head) > SMALL_BYTES:
            if self._tail_at < 0:
                self._tail, self._tail_at = self._head[SMALL_BYTES:], SMALL_BYTES
            del self._head[SMALL_BYTES:]
        self._trim(SMALL_BYTES)

    def _trim(self, room: int) -> None:
        over = len(self._tail) - room
        if over > 0:
            del self._tail[:over]
            self._tail_at += over

    def whole(self) -> bytes:
        """All of it that is left, as it is kept in a file."""
        return bytes(self._head + self._hole() + self._tail)

    def _hole(self) -> bytes:
        lost = self._tail_at - len(self._head)
        return _LEFT_OUT.format(lost).encode() if self._tail_at >= 0 and lost > 0 else b""

    def part(self, offset: int, limit: int = PART_BYTES) -> tuple[str, int, int]:
        """The text from this position on, where it really begins, and the position after it. A negative
        offset counts from the end."""
        offset = max(0, self.end + offset) if offset < 0 else min(offset, self.end)
        head, tail = self._head, self._tail
        if offset < len(head) or self._tail_at < 0:
            data = bytes(head[offset : offset + limit])
            following = offset + len(data)
            if following < len(head) or self._tail_at < 0:
                return _whole_letters(data, offset, last=following == self.end)
            rest = bytes(tail[: max(0, limit - len(data))])
            text, _, following = _whole_letters(rest, self._tail_at, last=len(rest) == len(tail))
            return (data + self._hole()).decode("utf-8", "replace") + text, offset, following
        begin = max(offset, self._tail_at)
        data = bytes(tail[begin - self._tail_at :][:limit])
        text, start, following = _whole_letters(data, begin, last=begin + len(data) == self.end)
        hole = _LEFT_OUT.format(begin - offset) if begin > offset else ""
        return hole + text, start, following


def _whole_letters(data: bytes, start: int, last: bool) -> tuple[str, int, int]:
    """Text from a piece of UTF-8 whose ends may lie within a letter."""
    begin = 0
    while begin < min(3, len(data)) and data[begin] & 0xC0 == 0x80:
        begin += 1
    end = len(data)
    if not last:
        back = 1
        while back < min(4, end) and data[end - back] & 0xC0 == 0x80:
            back += 1
        if end and data[end - back] >= 0xC0:
            end -= back
    return data[begin:end].decode("utf-8", "replace"), start + begin, start + end


class Texts:
    """The texts of all attempts that run, and which of them somebody looks at."""

    def __init__(self, monotonic: Callable[[], float], most_bytes: int = MOST_BYTES) -> None:
        self._monotonic = monotonic
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._texts: dict[str, Text] = {}
        self._bytes = 0
        self._watched: dict[str, float] = {}  # attempt -> until when

    def add(self, attempt: str, at: object, data: object) -> bool:
        """Take in what an attempt said. Nonsense is passed over; true where it brought something."""
        if not isinstance(at, int) or not isinstance(data, str) or at < 0 or not data:
            return False
        with self._lock:
            text = self._texts.get(attempt)
            if text is None:
                text = self._texts[attempt] = Text()
            before, end = len(text), text.end
            text.add(at, data.encode("utf-8", "replace"))
            text.touched = self._monotonic()
            self._bytes += len(text) - before
            if self._bytes > self._most_bytes:
                self._make_room()
            return text.end > end

    def _make_room(self) -> None:
        for attempt, text in sorted(self._texts.items(), key=lambda item: (-len(item[1]), item[1].touched)):
            before = len(text)
            text.shrink()
            self._bytes -= before - len(text)
            if self._bytes <= self._most_bytes * 3 // 4:
                return
            if before <= 2 * SMALL_BYTES:  # all are small, and there are too many
                self._bytes -= len(text)
                del self._texts[attempt]

    def take(self, attempt: str) -> Text | None:
        """The text of an attempt that is over: it is the caller's now."""
        with self._lock:
            text = self._texts.pop(attempt, None)
            if text is not None:
                self._bytes -= len(text)
            self._watched.pop(attempt, None)
            return text

    def __contains__(self, attempt: str) -> bool:
        return attempt in self._texts

    def part(self, attempt: str, offset: int) -> tuple[str, int, int, int]:
        """The text from this position on, where it begins and ends, and the end of all."""
        with self._lock:
            text = self._texts.get(attempt) or Text()
            return *text.part(offset), text.end

    def watch(self, attempt: str) -> None:
        """Somebody looks at it: its node is asked to report often."""
        self._watched[attempt] = self._monotonic() + WATCHED_S

    def watched(self, attempts: Iterable[str]) -> list[str]:
        """Those of these attempts that somebody looks at."""
        if not self._watched:
            return []
        now = self._monotonic()
        for attempt, until in list(self._watched.items()):
            if until < now:
                self._watched.pop(attempt, None)
        return [attempt for attempt in attempts if attempt in self._watched]

    def forget_unless(self, held: Callable[[str], bool], silent_s: float) -> None:
        """Drop what attempts said that nobody holds any more: they were taken back."""
        now = self._monotonic()
        for attempt, text in list(self._texts.items()):
            if now - text.touched > silent_s and not held(attempt):
                self.take(attempt)
