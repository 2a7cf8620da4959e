"""What is under way in a folder of `old/`: written down before it begins, so that a start can finish it.

`intent.json` in the folder says what is to be done and, once it is done, what was. A pointer among the
locks says where such an intent lies until then: a start finds it at once, without a walk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import BadInput, CroftError, NotFound
from server.disk.locks import Locks
from server.disk.paths import Share
from server.disk.records import utc_now

log = logging.getLogger("croft.intents")

INTENT = "intent.json"
SCHEMA = 1
LOST_S = 30 * 86400.0  # how long what was begun waits for a folder that went
_IDENT = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_LOCK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # a pointer lies where people can write


class Intent:
    """One of them. `aside` is its folder inside the share; `data` what the file says."""

    def __init__(self, share: Share, aside: str, data: dict[str, Any], disk: files.Os = files.REAL) -> None:
        self.share = share
        self.aside = aside
        self.data = data
        self.disk = disk

    @property
    def folder(self) -> Path:
        return self.share.root / self.aside

    @property
    def home(self) -> Path:
        """The folder that what lies here came from."""
        return self.folder.parent.parent

    @property
    def inside(self) -> str:
        """What it is about, where that belongs now: `old/` may have been moved with its folder."""
        return paths.join(
            paths.folder_of(paths.folder_of(self.aside)), paths.name_of(str(self.data["inside"]))
        )

    @property
    def pointer(self) -> Path:
        return self.share.root / paths.LOCKS / f"intent-{paths.name_of(self.aside)}.json"

    def begin(self, lock: str = "") -> None:
        """Say what is to be done. `lock` is held until it is; the file's own if not given."""
        said = {"folder": self.aside, "inside": self.data["inside"], **({"lock": lock} if lock else {})}
        try:
            files.write_atomic(self.pointer, sidecar.dump(said), disk=self.disk)
            files.make_folders(self.folder, self.share.root, disk=self.disk)
            self.write()
        except CroftError:
            if not os.path.lexists(self.folder / INTENT):
                with contextlib.suppress(CroftError):
                    self.withdraw()
            raise

    def begin_again(self, **changes: Any) -> None:
        """Something more is to be done with what lies in the folder."""
        self.data = {**self.data, **changes, "done": False}
        self.data["inside"] = self.inside
        self.begin()

    def write(self, **changes: Any) -> None:
        """Change what it says."""
        data = {**self.data, **changes}
        files.write_atomic(self.folder / INTENT, sidecar.dump(data), disk=self.disk)
        self.data = data

    def end(self, **changes: Any) -> None:
        """It is done: the intent is a record from now on."""
        self.write(**changes, done=True)
        self.drop_pointer()

    def drop_pointer(self) -> None:
        try:
            self.disk.unlink(self.pointer)
        except FileNotFoundError:
            pass
        except OSError as error:
            files.fail(error, self.pointer)

    def sweep(self) -> None:
        """Delete what a crash left half written in the folder. Under the lock."""
        for name in names(self.folder):
            if name.startswith(files.TEMPORARY):
                with contextlib.suppress(OSError):
                    os.unlink(self.folder / name)

    def withdraw(self) -> None:
        """As if it had never begun; a folder with something else in it stays."""
        self.sweep()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / INTENT)
        for folder in (self.folder / paths.COMPANION, self.folder, self.folder.parent):
            try:
                os.rmdir(folder)
            except OSError:
                continue
        self.drop_pointer()


def new(share: Share, inside: str, what: str, who: str, disk: files.Os = files.REAL, **more: Any) -> Intent:
    """One that isn't written yet, in a folder of its own in `old/` beside the file."""
    ident = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    aside = paths.join(paths.folder_of(inside), paths.OLD, ident)
    data = {"schema": SCHEMA, "what": what, "inside": inside, "who": who, "at": utc_now(), "done": False}
    return Intent(share, aside, {**data, **more}, disk)


def is_ident(name: str) -> bool:
    return _IDENT.fullmatch(name) is not None


def read(share: Share, aside: str, disk: files.Os = files.REAL) -> Intent:
    """The one in this folder. NotFound where there is none, Broken, BadInput for what isn't one."""
    folder, name = paths.split(aside)
    if paths.name_of(folder) != paths.OLD or not is_ident(name):
        raise BadInput("{aside} is no folder in {old}/.", aside=aside, old=paths.OLD)
    data = sidecar.read(share.path(aside) / INTENT).data
    if not isinstance(data.get("inside"), str) or not isinstance(data.get("names"), dict):
        raise BadInput("{aside} doesn't say what was put there.", aside=aside)
    paths.check_inside(data["inside"])
    back = data.get("back", [])
    for known in (*data["names"], *(back if isinstance(back, list) else [None])):
        if not is_belonging(known):
            raise BadInput(
                "{aside} names {known}, which can't lie there.", aside=aside, known=repr(str(known)[:100])
            )
    return Intent(share, aside, data, disk)


def pending(share: Share) -> Iterator[Path]:
    """Pointers to what isn't done."""
    folder = share.root / paths.LOCKS
    for name in names(folder):
        if name.startswith("intent-") and name.endswith(".json") and is_ident(name[7:-5]):
            yield folder / name


Finisher = Callable[[Intent], None]


def finish_all(
    share: Share, locks: Locks, finishers: Mapping[str, Finisher], disk: files.Os = files.REAL
) -> list[str]:
    """Finish whatever a crash interrupted. What can't be finished is logged, and tried again next time.

    Returns what was begun in folders that are nowhere on the share now: it goes on when they are back.
    """
    lost: list[str] = []
    places: dict[str, str] | None = None  # one walk, and only where it is needed
    for pointer in pending(share):
        try:
            said = sidecar.read(pointer).data
            aside = str(said["folder"])
            lock = str(said.get("lock") or paths.lock_key(str(said["inside"])))
            if not _LOCK.fullmatch(lock):
                raise BadInput("{lock} is the name of no lock.", lock=repr(lock[:100]))
            with contextlib.ExitStack() as held:
                held.enter_context(locks.hold(lock))
                if not os.path.lexists(pointer):
                    continue  # Race: the server that was at it, or another, finished it.
                try:
                    intent = read(share, aside, disk)
                    intent.sweep()
                except NotFound:
                    gone = Intent(share, aside, said, disk)
                    if not _is_within(share, aside):
                        gone.drop_pointer()
                        continue
                    places = _places(share) if places is None else places
                    there = places.get(paths.name_of(aside))
                    if there is None:
                        if gone.home.is_dir() or time.time() - pointer.stat().st_mtime > LOST_S:
                            gone.withdraw()  # it never began
                        else:
                            log.warning("what was done to %s waits for its folder", said["inside"])
                            lost.append(str(said["inside"]))
                        continue
                    intent = read(share, there, disk)  # the folder was renamed meanwhile, with all in it
                    if (now := paths.lock_key(intent.inside)) != lock:
                        held.enter_context(locks.hold(now))
                    intent.sweep()
                if intent.data.get("done"):
                    intent.drop_pointer()  # all but this was done, or nothing of what was to follow
                    continue
                log.info("finishing what was done to %s", said["inside"])
                finishers[str(intent.data["what"])](intent)
        except (CroftError, OSError, KeyError, AttributeError, TypeError, ValueError) as error:
            log.warning("what %s names can't be finished: %r", pointer, error)
    return lost


def _places(share: Share) -> dict[str, str]:
    """Every folder with an intent by its name: where it lies now."""
    found = {}
    for at, folders, _ in os.walk(share.root):
        if os.path.basename(at) == paths.OLD:
            inside = os.path.relpath(at, share.root)
            begun = [name for name in folders if is_ident(name) and os.path.lexists(f"{at}/{name}/{INTENT}")]
            found.update({name: paths.join(inside, name) for name in begun})
        folders[:] = [name for name in folders if not name.startswith(".")]
    return found


def identity(path: Path) -> list[int]:
    """What tells a file from a later one of its name."""
    st = os.lstat(path)
    return [st.st_ino, st.st_size, st.st_mtime_ns]


def is_same(path: Path, known: object) -> bool:
    """Whether this is still the file of that identity. Folders always count as the same: half of one may
    have gone, on a pool."""
    try:
        return os.path.isdir(path) or identity(path) == known
    except OSError:
        return False


def _is_within(share: Share, aside: str) -> bool:
    try:
        share.path(aside)
    except CroftError:
        return False
    return True


def names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def is_belonging(name: object) -> bool:
    """`hero.blend`, `hero.blend.json`, `.croft/hero.blend`: nothing that leads elsewhere."""
    if not isinstance(name, str):
        return False
    folder, _, last = name.rpartition("/")
    return folder in ("", paths.COMPANION) and last not in ("", ".", "..") and "\0" not in name
