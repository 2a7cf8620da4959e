"""Four people at work on one share, each by chance: what they do is drawn from a seed.

Each has a folder of his own, whose content is known at every moment, and all of them meet in common
folders. They put, get, rename, make, remove and delete over Samba, edit and delete on Croft's pages, and an
admin's copies go straight onto a disk of the pool.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import threading
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from server.cli.client import CallFailed, quote
from tests.nas.kit import GROUP, Nas, Student

COMMON = ("shots", "shots/one", "shots/two", "props", "textures", "sound")
NAMES = (
    "hero.blend", "villain.blend", "sh010.blend", "sh020.blend", "Brücke.blend", "wood.png", "sky 1.png",
    "fire.0001.png", "fire.0002.png", "fire.0003.png", "walk.mp4", "list.txt", "hero.blend.json",
)  # fmt: skip
STATES = ("todo", "review", "done")
BATCH = 20  # commands of one connection


def blend(number: int) -> bytes:
    """A scene's first and last block, and a number: what tells a scene from another one."""
    text = f"scene {number}".encode().ljust(32 + number % 97, b".")
    test = b"TEST" + struct.pack("<IQII", len(text), 1, 0, 1) + text
    return b"BLENDER-v304" + test + b"ENDB" + struct.pack("<IQII", 0, 0, 0, 0)


def png(number: int) -> bytes:
    """A grey pixel, its number in a text chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"tEXt", f"number\0{number}".encode())
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


def film(number: int) -> bytes:
    """The boxes that make a film whole, without a picture in it."""

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", 8 + len(data)) + kind + data

    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"mdat", b"%d" % number) + box(b"moov", b"")


def content(name: str, number: int) -> bytes:
    suffix = os.path.splitext(name)[1]
    if suffix == ".json":
        return b'{"schema": 1, "uuid": "", "name": "by hand %d"}' % number
    make: Callable[[int], bytes] | None = {".blend": blend, ".png": png, ".mp4": film}.get(suffix)
    return make(number) if make else f"{number}\n".encode()


class Person(threading.Thread):
    """One of the four; `files` is what has to lie in the own folder at the end."""

    def __init__(self, nas: Nas, student: Student, seed: int, operations: int, local: Path) -> None:
        super().__init__(name=student.name, daemon=True)
        self.nas, self.student, self.left = nas, student, operations
        self.random = random.Random(f"{seed} {student.name}")
        self.local = local / student.name
        self.local.mkdir()
        self.own = f"demo/{student.name}"
        self.files: dict[str, bytes] = {}  # path inside the share -> bytes
        self.done = 0
        self.said: list[str] = []  # what Samba answered, for whoever looks for a fault
        self.error: BaseException | None = None
        self._number = 0

    def run(self) -> None:
        try:
            self.student(f"mkdir {self.own}; mkdir {self.own}/a; mkdir {self.own}/b")
            while self.done < self.left:
                kind = self.random.random()
                if kind < 0.70:
                    count = min(BATCH, self.left - self.done)
                    lines = [self._command() for _ in range(count)]
                    self.said.append(self.student.script(lines, timeout_s=120))
                    self.done += count
                elif kind < 0.92:
                    self._on_a_page()
                    self.done += 1
                else:
                    self._on_a_disk()
                    self.done += 1
        except BaseException as error:
            self.error = error

    # -- over Samba -------------------------------------------------------------------------------

    def _command(self) -> str:
        return self._in_own() if self.random.random() < 0.4 else self._in_common()

    def _in_own(self) -> str:
        """Each of these does what it says: nobody else is here. Renames stay within their folder, since
        a pool may refuse others."""
        pick = self.random.choice
        what = self.random.random()
        names = sorted(self.files)
        if what < 0.45 or not names:
            path = f"{self.own}/{pick('ab')}/{pick(NAMES[:-1])}"
            source, raw = self._make(path)
            self.files[path] = raw
            return f'put "{source}" "{path}"'
        old = pick(names)
        if what < 0.75:
            new = f"{os.path.dirname(old)}/{self._fresh()}{os.path.splitext(old)[1]}"
            self.files[new] = self.files.pop(old)
            return f'rename "{old}" "{new}"'
        if what < 0.85:
            return f'get "{old}" "{self.local / "got"}"'
        del self.files[old]
        return f'del "{old}"'

    def _in_common(self) -> str:
        """Any of these may fail: somebody else was quicker, or it makes no sense."""
        pick = self.random.choice
        folder, other = f"demo/{pick(COMMON)}", f"demo/{pick(COMMON)}"
        name = pick(NAMES)
        if name.endswith(".json"):  # a scene under a sidecar's name would be a fault of theirs…
            new = pick(NAMES[:-1]) + ".json"
        else:  # …and a list under a scene's is one without its end: it would be arriving for an hour
            kind = os.path.splitext(name)[1]
            new = pick([other for other in NAMES[:-1] if other.endswith(kind)])
        what = self.random.random()
        if what < 0.40:
            return f'put "{self._make(name)[0]}" "{folder}/{name}"'
        if what < 0.55:
            return f'rename "{folder}/{name}" "{folder}/{new}"'
        if what < 0.62:
            return f'rename "{folder}/{name}" "{other}/{new}"'
        if what < 0.66:
            return f'rename "{folder}/{name}.json" "{folder}/{new}.json"'
        if what < 0.71:
            return f'rename "{folder}" "{other}"'
        if what < 0.81:
            return f'mkdir "{folder}"'
        if what < 0.84:
            return f'rmdir "{folder}"'
        if what < 0.86:
            return f'deltree "{folder}"'
        if what < 0.94:
            return f'del "{folder}/{name}"'
        return f'get "{folder}/{name}" "{self.local / "got"}"'

    def _make(self, path: str) -> tuple[Path, bytes]:
        """A file on the person's own machine, of no other's content."""
        raw = content(path, self._next())
        source = self.local / f"{self._number}"
        source.write_bytes(raw)
        return source, raw

    def _fresh(self) -> str:
        return f"{self.random.choice(('take', 'idea', 'Übung'))}{self._next()}"

    def _next(self) -> int:
        self._number += 1
        return self._number

    # -- on Croft's pages -------------------------------------------------------------------------

    def _on_a_page(self) -> None:
        pick = self.random.choice
        names = sorted(self.files)
        mine = bool(names) and self.random.random() < 0.4
        address = "data::" + (pick(names) if mine else f"demo/{pick(COMMON)}/{pick(NAMES[:-1])}")
        if not mine and self.random.random() < 0.25:
            self._call("DELETE", address, b"")
        else:
            state = f'{{"state": "{pick(STATES)}", "description": "{self.student.name} {self._next()}"}}'
            self._call("PATCH", address, state.encode())

    def _call(self, method: str, address: str, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self.nas.token}", "Content-Type": "application/json"}
        url = f"{self.nas.api.url}/api/assets/{quote(address)}"
        request = urllib.request.Request(url, body or None, headers, method=method)
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            error.close()
            # Not there, changed meanwhile, no record to write: a person lives with it.
            if error.code not in (400, 404, 409, 412, 503):
                raise CallFailed(f"{method} {address}: {error.code}", status=error.code) from error

    # -- on a disk of the pool --------------------------------------------------------------------

    def _on_a_disk(self) -> None:
        """An admin copies a file onto one of the disks."""
        pick = self.random.choice
        places = self.nas.pool.branches if self.nas.pool else (self.nas.data,)
        folder = pick(places) / "demo" / pick(COMMON)
        name = pick(NAMES)
        source, _ = self._make(name)
        try:
            shutil.copyfile(source, folder / name)
            shutil.chown(folder / name, "games", GROUP)
            (folder / name).chmod(0o664)
        except OSError:
            pass  # that disk has no such folder just now, or a folder of this name
