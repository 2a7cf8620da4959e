"""For how long nobody has touched the keyboards and mice of this computer's X servers, asked of them.

Spoken over their sockets, without libX11: that would end the whole node when its X server goes, as when
somebody logs out. Any X server of this computer counts whose cookie can be read or that lets this user in.
One inside Wayland sees only what is typed into its own windows, and is passed over.

The numbers are those of the X11 protocol (X.Org, "X Window System Protocol", appendix B) and of its extension
MIT-SCREEN-SAVER.
"""

from __future__ import annotations

import glob
import logging
import os
import socket
import struct
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

log = logging.getLogger("croft.node")

SOCKETS = "/tmp/.X11-unix/X*"
COOKIE = b"MIT-MAGIC-COOKIE-1"
SAVER = b"MIT-SCREEN-SAVER"
WITHIN_WAYLAND = b"XWAYLAND"  # an extension by which such servers are known, from 23.1 on
QUERY_EXTENSION, QUERY_INFO = 98, 1
REPLY, ERROR = 1, 0
ANSWER_S = 2.0
AGAIN_S = 10.0  # one that didn't let us in is asked again
MOST_BYTES = 1 << 20  # of one answer, and of a file with cookies
MOST_COOKIES = 16


class Refused(Exception):
    """This X server doesn't let us in, or can't tell."""


class Display:
    """A connection to one X server. OSError or Refused where it goes wrong; closed by whoever made it."""

    def __init__(self, path: str, cookie: bytes = b"") -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.connect(path)
            self._root = self._set_up(cookie)
            self._opcode = self._find(SAVER)
            if not self._opcode or self._find(WITHIN_WAYLAND):
                raise Refused("it can't tell")
            self.idle_s()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def idle_s(self) -> float:
        """Seconds since somebody touched anything there."""
        self._socket.sendall(struct.pack("<BBHI", self._opcode, QUERY_INFO, 2, self._root))
        return float(struct.unpack_from("<I", self._reply(), 16)[0]) / 1000

    def _set_up(self, cookie: bytes) -> int:
        """Its root window."""
        name = COOKIE if cookie else b""
        head = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
        self._socket.sendall(head + _padded(name) + _padded(cookie))
        success, length = struct.unpack("<B5xH", self._read(8))
        body = self._read(length * 4)
        if success != 1:
            raise Refused(body[:100].decode("ascii", "replace").strip("\0 "))
        vendor, formats = struct.unpack_from("<H3xB", body, 16)
        return int(struct.unpack_from("<I", body, 32 + vendor + -vendor % 4 + 8 * formats)[0])

    def _find(self, extension: bytes) -> int:
        """The number of its requests; 0 where it doesn't have it."""
        name = _padded(extension)
        head = struct.pack("<BxHHxx", QUERY_EXTENSION, 2 + len(name) // 4, len(extension))
        self._socket.sendall(head + name)
        present, opcode = struct.unpack_from("<BB", self._reply(), 8)
        return int(opcode) if present else 0

    def _reply(self) -> bytes:
        """The next answer; events, which everybody is sent now and then, are passed over."""
        while True:
            found = self._read(32)
            if found[0] == ERROR:
                raise Refused(f"error {found[1]}")
            if found[0] == REPLY:
                self._read(int(struct.unpack_from("<I", found, 4)[0]) * 4)
                return found

    def _read(self, count: int) -> bytes:
        if count > MOST_BYTES:
            raise Refused("it sends too much")
        found = b""
        while len(found) < count:
            part = self._socket.recv(count - len(found))
            if not part:
                raise OSError("the X server has gone")
            found += part
        return found


class Displays:
    """All X servers of this computer, as they come and go: the least of what they say, None without any."""

    def __init__(self, sockets: str = SOCKETS, clock: Callable[[], float] = time.monotonic) -> None:
        self._sockets = sockets
        self._clock = clock
        self._open: Dict[str, Display] = {}
        self._again: Dict[str, float] = {}

    def __call__(self) -> Optional[float]:
        found: List[float] = []
        for path in glob.glob(self._sockets):
            try:
                display = self._open.get(path) or self._connect(path)
                if display is not None:
                    self._open[path] = display
                    found.append(display.idle_s())
            except (OSError, Refused, struct.error) as error:
                log.debug("%s can't tell whether somebody is there: %s", path, error)
                self._again[path] = self._clock() + AGAIN_S
                gone = self._open.pop(path, None)
                if gone is not None:
                    gone.close()
        return min(found) if found else None

    def close(self) -> None:
        for display in self._open.values():
            display.close()
        self._open.clear()

    def _connect(self, path: str) -> Optional[Display]:
        if self._clock() < self._again.get(path, 0.0):
            return None
        program, authority = _server_of(path)
        if program and (not program.startswith("X") or program == "Xwayland"):
            raise Refused(f"it is {program}'s")  # Wayland's compositors listen for theirs themselves
        number = path.rpartition("/X")[2].encode()
        refused: Optional[Exception] = None
        for cookie in (*_cookies(number, authority), b""):
            try:
                return Display(path, cookie)
            except (OSError, Refused) as error:  # an X server may cut a wrong one off without a word
                refused = error
        raise refused or Refused("no cookie")


def _server_of(path: str) -> Tuple[str, str]:
    """The program that listens there, and the file of cookies that it was started with; "" where that can't
    be seen."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_S)
        asking.connect(path)
        pid = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    try:
        program = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "", ""
    at = words.index(b"-auth") + 1 if b"-auth" in words else len(words)
    return program, os.fsdecode(words[at]) if at < len(words) else ""


def _cookies(number: bytes, authority: str) -> List[bytes]:
    """Those that may fit this display."""
    user = f"/run/user/{os.getuid()}"
    files = [os.environ.get("XAUTHORITY", ""), os.path.expanduser("~/.Xauthority"), authority]
    files += [f"{user}/gdm/Xauthority", *sorted(glob.glob(f"{user}/xauth_*"))]
    found: List[bytes] = []
    for file in files:
        try:
            with open(file, "rb") as opened:
                raw = opened.read(MOST_BYTES)
        except OSError:
            continue
        found += [cookie for cookie in read_cookies(raw, number) if cookie not in found]
    return found[:MOST_COOKIES]


def read_cookies(raw: bytes, number: bytes) -> Iterator[bytes]:
    """The cookies for one display of a file as `xauth` writes it; what is torn ends it."""
    at = 0
    while at + 2 <= len(raw):
        at += 2  # the family of the address
        fields: List[bytes] = []
        for _ in range(4):
            length = int.from_bytes(raw[at : at + 2], "big")
            fields.append(raw[at + 2 : at + 2 + length])
            at += 2 + length
        if at > len(raw):
            return
        _, display, name, cookie = fields
        if name == COOKIE and cookie and display in (number, b""):
            yield cookie


def _padded(text: bytes) -> bytes:
    return text + b"\0" * (-len(text) % 4)
