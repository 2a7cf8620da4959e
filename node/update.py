"""Brings this node up to date from its server: another version beside, tried out, then taken; or taken back.

The program's folder itself is never changed. A new version lies in `.versions/<build>/` in it, and the file
`.version` says which one to run: replacing that is the whole change. `__main__.py` reads it at each start,
and goes back to the one before where the new one doesn't come as far as an answer of its server. What a
person copies over the folder counts at once: `.version` names the build that it was written beside.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

from .wire import Away, Message, Rejected, Server

log = logging.getLogger("croft.node")
STATE, VERSIONS = ".version", ".versions"
MAX_ZIP_BYTES, MAX_FILES, MAX_FILE_BYTES = 16 << 20, 500, 4 << 20
TRY_S = 30.0  # for the new version to say its number
TRIAL_S = 300.0  # for the new version to have an answer of its server
AGAIN_S = 6 * 3600.0  # a build that failed isn't tried again sooner
RETRY_S = 600.0  # one that couldn't be fetched


class BadUpdate(Exception):
    """Why the new version isn't taken: a sentence."""


def home() -> Path:
    """The folder that was copied to this computer: where `__main__.py` began."""
    told = getattr(sys.modules.get(__package__ or ""), "HOME", None)
    return Path(told) if told else Path(__file__).resolve().parent


@functools.lru_cache(maxsize=None)
def build() -> str:
    """Tells the program that runs from any other version. Read once: files may change under it."""
    return build_of(Path(__file__).resolve().parent)


def build_of(folder: Path) -> str:
    """A hash over the program's files and their names."""
    files = {}
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            files[inside.as_posix()] = path
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return whole.hexdigest()[:12]


class Updates:
    """One for the whole program. `ready` is set when it should finish its work and be started anew."""

    def __init__(self, folder: Optional[Path] = None, wall: Any = time.time) -> None:
        self.folder = folder or home()
        self.ready = threading.Event()
        self.error = ""
        self._wall = wall
        self._lock = threading.Lock()
        self._busy = False
        self._failed: Dict[str, float] = {}  # build -> not before
        self._proven = False
        state = read_state(self.folder)
        for bad, when in state.get("bad", {}).items():
            self._failed[str(bad)] = float(when) + AGAIN_S
            self.error = f"version {bad} was taken back: it did not come to talk with its server"
        self._trial = state.get("build") == build() and not state.get("good")
        if self._trial:
            timer = threading.Timer(TRIAL_S, self._over)
            timer.daemon = True
            timer.start()

    def want(self, told: Message, server: Server) -> bool:
        """The server offers a version: fetch it, aside. False where there is nothing to do about it now."""
        wanted = str(told.get("build") or "")
        with self._lock:
            if self._busy or self.ready.is_set() or not wanted or wanted == build():
                return False
            if self._wall() < self._failed.get(wanted, 0.0):
                return False
            self._busy = True
        threading.Thread(target=self._fetch, args=(dict(told), server, wanted), daemon=True).start()
        return True

    def prove(self) -> None:
        """A server has answered: the version that runs is a good one."""
        if self._proven:
            return
        self._proven = True
        state = read_state(self.folder)
        if self._trial and state.get("build") == build():
            self._trial = False
            self._write({**state, "good": True, "tries": 0})
            sweep(self.folder, {str(state["build"]), str(state.get("previous") or "")})

    def _fetch(self, told: Message, server: Server, wanted: str) -> None:
        try:
            if build_of(self.folder) == wanted:
                log.info("this folder holds version %s already: starting it", wanted)
                self._write({})
            else:
                self._take(told, server, wanted)
            self.ready.set()
        except (BadUpdate, OSError, zipfile.BadZipFile, Away, Rejected) as error:
            self.error = f"version {wanted} can't be taken: {error}"
            log.warning("%s", self.error)
            self._failed[wanted] = self._wall() + RETRY_S
        except Exception as error:
            self.error = f"version {wanted} can't be taken: {error!r}"
            log.exception("an update failed")
            self._failed[wanted] = self._wall() + RETRY_S
        finally:
            self._busy = False

    def _take(self, told: Message, server: Server, wanted: str) -> None:
        if (self.folder.parent / "run.py").exists() and (self.folder.parent / "server").is_dir():
            raise BadUpdate("this node runs from a clone of Croft: bring that up to date")
        data = server.fetch(str(told.get("url") or "/node.zip"), MAX_ZIP_BYTES)
        if hashlib.sha256(data).hexdigest() != told.get("sha256"):
            raise BadUpdate("what was fetched isn't what the server told of")
        aside = self.folder / VERSIONS / wanted
        unpack(data, aside)
        try:
            if build_of(aside) != wanted:
                raise BadUpdate("its files aren't those that the server told of")
            try_out(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        state = read_state(self.folder)
        previous = build() if state.get("build") == build() else ""
        fresh = {"build": wanted, "base": build_of(self.folder), "previous": previous}
        self._write({**fresh, "good": False, "tries": 0, "bad": state.get("bad", {})})

    def _write(self, state: Dict[str, Any]) -> None:
        write_state(self.folder, state)

    def _over(self) -> None:
        """The new version runs and gets no answer: back to the one before."""
        if not self._proven:
            log.warning("no answer of a server within %d s: back to the version before", TRIAL_S)
            take_back(self.folder)
            restart(self.folder)


def unpack(data: bytes, aside: Path) -> None:
    """Only a program's own files, none of them anywhere else."""
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        members = packed.infolist()
        if len(members) > MAX_FILES:
            raise BadUpdate("it has too many files")
        for member in members:
            parts = member.filename.split("/")
            if member.is_dir():
                continue
            if not member.filename.endswith(".py") or any(
                part in ("", ".", "..") or "\\" in part for part in parts
            ):
                raise BadUpdate(f"it has a file {member.filename[:80]!r}")
            if member.file_size > MAX_FILE_BYTES:
                raise BadUpdate(f"{member.filename} is too large")
            target = aside.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                file.write(packed.read(member))
                file.flush()
                os.fsync(file.fileno())


def try_out(folder: Path) -> None:
    """Does it run here, with this Python?"""
    try:
        done = subprocess.run(
            [sys.executable, "-B", str(folder), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRY_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BadUpdate(f"it can't be started: {error}") from None
    if done.returncode:
        lines: List[str] = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BadUpdate(f"it doesn't run here: {lines[-1] if lines else f'exit code {done.returncode}'}")


def sweep(folder: Path, keep: "set[str]") -> None:
    """Versions that nobody runs any more."""
    try:
        for entry in (folder / VERSIONS).iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry, ignore_errors=True)
    except OSError:
        pass


def take_back(folder: Path) -> None:
    """The version that was tried is a bad one: the one before counts again."""
    state = read_state(folder)
    bad = {**state.get("bad", {}), str(state.get("build")): time.time()}
    previous = state.get("previous") or ""
    write_state(folder, {"build": previous, "base": state.get("base"), "good": True, "bad": bad})


def read_state(folder: Path) -> Dict[str, Any]:
    try:
        state = json.loads((folder / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and isinstance(state.get("bad", {}), dict) else {}


def write_state(folder: Path, state: Dict[str, Any]) -> None:
    fresh = folder / f"{STATE}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, folder / STATE)


def restart(folder: Path) -> None:
    """This program, from its beginning."""
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, str(folder), *sys.argv[1:]])
