"""Results that wait for the server, one small file each, so that they outlive the node.

Results are written only when the server couldn't be reached. Beside them lie the list of attempts at work,
so that a node that was killed gives them back when it starts again, and the lock that keeps two nodes from
running with one configuration.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .wire import Message

if sys.platform != "win32":
    import fcntl


class Taken(Exception):
    """Another node runs with this configuration."""


class Spool:
    """`problem` says why nothing can be kept, where that is so: the node works on without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = ""
        self._lock_fd = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take_lock(folder / "lock")
        except OSError as error:
            self.problem = f"results can't be kept in {folder}: {error.strerror}"

    def _take_lock(self, path: Path) -> None:
        if sys.platform == "win32":
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 100).decode("utf-8", "replace").strip()
            os.close(fd)
            text = f"a node with this configuration runs already (process {holder or 'unknown'})"
            raise Taken(text) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def load(self) -> Dict[str, Message]:
        """Attempt -> the `done` or `failed` that the server hasn't taken yet. Torn files are set aside."""
        found: Dict[str, Message] = {}
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
            try:
                message = json.loads(path.read_text("utf-8"))
                found[str(message["uuid"])] = message
            except (OSError, ValueError, KeyError, TypeError):
                self._rename(path, path.with_suffix(".torn"))
        return found

    def keep(self, message: Message) -> None:
        path = self._path(str(message["uuid"]))
        if path is None or path.exists():
            return
        temporary = path.with_suffix(".tmp")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(message, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            self.problem = f"results can't be kept in {self.folder}: {error.strerror}"

    def forget(self, attempt: str) -> None:
        path = self._path(attempt)
        if path is not None:
            try:
                path.unlink()
            except OSError:
                pass

    def note_held(self, attempts: Dict[str, Tuple[str, List[str]]]) -> None:
        """Attempt -> the server that gave it, and the folders it writes into. Not flushed: after a power cut
        the server's deadline does."""
        path = self.folder / "held"
        try:
            if attempts:
                path.with_suffix(".tmp").write_text(json.dumps(attempts), "utf-8")
                os.replace(path.with_suffix(".tmp"), path)
            else:
                path.unlink()
        except OSError:
            pass  # then the deadlines do it

    def left_over(self) -> Dict[str, Tuple[str, List[str]]]:
        """What the node before this one held when it was killed."""
        try:
            found = json.loads((self.folder / "held").read_text("utf-8"))
            return {
                str(attempt): (str(home), [str(folder) for folder in folders])
                for attempt, (home, folders) in found.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def close(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _path(self, attempt: str) -> Optional[Path]:
        # The id comes from the network: it may only be a file's name.
        safe = attempt[:1].isalnum() and all(letter.isalnum() or letter in "-_." for letter in attempt)
        return self.folder / f"{attempt}.json" if safe else None

    @staticmethod
    def _rename(path: Path, to: Path) -> None:
        try:
            os.replace(path, to)
        except OSError:
            pass
