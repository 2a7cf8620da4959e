"""One slot: a thread that does one attempt after another, and one that finishes them.

The first keeps Blender busy; while it renders the next frame, the second verifies the last one's files,
brings them to the disk and hands the result over. Neither ends before the node does.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import commands, pictures
from .config import Config, Program, Seat
from .renderer import Renderer, Restart
from .room import full_disk
from .wire import Message
from .work import Attempt, Cancelled, Failed, Result, shortened

log = logging.getLogger("croft.node")
IDLE_BLENDER_S = 20.0  # how long Blender is kept when nothing comes
FINISHING = 2  # results waiting to be verified: a slow disk holds the slot up, it must not pile up claims
AHEAD_S = 5.0  # the next task is fetched when the present one is expected to take no longer than this
TOLD = ("time-out", "missing file")  # a full disk would be no reason for these
STALE_S = 30.0  # a task fetched too early is given back when it has waited this much longer than expected
Deliver = Callable[[Attempt, Optional[Message]], None]


class Slot:
    """`deliver(attempt, message)` gets the `done` or `failed`; None: it was cancelled."""

    def __init__(
        self,
        config: Config,
        program: Optional[Program],
        seat: Seat,
        memory_mb: int,
        deliver: Deliver,
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._program = program
        self.seat = seat
        self._memory_mb = memory_mb
        self._deliver = deliver
        self._wake = wake
        self._finishing: "queue.Queue[Optional[Tuple[Attempt, Result]]]" = queue.Queue(FINISHING)
        self._lock = threading.Condition()
        self.current: Optional[Attempt] = None
        self.next: Optional[Attempt] = None
        self._stopping = False
        self._renderer: Optional[Renderer] = None
        self._open = ""  # address of the file of its last task
        self._seconds: Dict[str, float] = {}  # job -> the last frame's
        self._workers = [
            threading.Thread(target=self._work, name="slot", daemon=True),
            threading.Thread(target=self._finish, name="finish", daemon=True),
        ]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def give(self, attempt: Attempt) -> None:
        """Takes the attempt as present or next one; the session gives no more than that."""
        with self._lock:
            if self.current is None:
                self.current = attempt
            else:
                self.next = attempt
            self._lock.notify_all()

    def idle(self) -> bool:
        return self.current is None

    def file(self) -> str:
        """What its Blender has open, so that tasks of the same job come here."""
        return self._open

    def wants(self) -> Tuple[bool, float]:
        """Whether it could use a task now; else in how many seconds to look again."""
        with self._lock:
            current, following = self.current, self.next
        if current is None:
            return True, 0.0
        if following is not None:
            return False, float("inf")
        if not current.begun_at:
            return False, 0.05
        left_s = self._left(current)
        return left_s <= AHEAD_S, max(0.05, left_s - AHEAD_S)

    def gives_back(self) -> Optional[Attempt]:
        """A task fetched ahead that has waited far longer than thought: another node may have it."""
        with self._lock:
            if self.current is None or self.next is None:
                return None
            expected_s = self._seconds.get(self.current.job, AHEAD_S)
            if time.monotonic() - self.next.taken_at < 2 * expected_s + STALE_S:
                return None
            attempt, self.next = self.next, None
            return attempt

    def _left(self, attempt: Attempt) -> float:
        """Seconds until the present task is over, as far as one can guess."""
        elapsed_s = time.monotonic() - attempt.begun_at
        known_s = self._seconds.get(attempt.job)
        if known_s is not None:
            return max(0.0, known_s - elapsed_s)
        if attempt.ends_at:
            return max(0.0, attempt.ends_at - time.monotonic())
        if attempt.progress > 0.2:
            return elapsed_s * (1 - attempt.progress) / attempt.progress
        return AHEAD_S + 1.0

    def cancel(self, attempt: Attempt) -> None:
        """Its process group ends; nothing is reported but that it is over, to `deliver`."""
        attempt.cancelled.set()
        with self._lock:
            waiting = self.next is attempt
            if waiting:
                self.next = None
            renderer = self._renderer if self.current is attempt else None
        if renderer is not None:
            renderer.cancel()
        if waiting:
            self._deliver(attempt, None)

    def stop(self) -> None:
        """Ends the threads after what they hold; cancel that first for a quick end."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()

    def join(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self.current is not None or self._stopping, IDLE_BLENDER_S)
                attempt = self.current
            if attempt is not None:
                try:
                    self._attempt(attempt)
                except Exception:
                    log.exception("the slot stumbled")
                    self._deliver(attempt, {"id": "release", "uuid": attempt.id})
                with self._lock:
                    self.current, self.next = self.next, None
                self._wake()
                continue
            self._end_renderer()
            if self._stopping:
                break
        self._finishing.put(None)

    def _attempt(self, attempt: Attempt) -> None:
        """Does it; whatever goes wrong becomes a result of its own."""
        if attempt.cancelled.is_set():
            self._deliver(attempt, None)
            return
        attempt.environment = self.seat.environment()
        attempt.begin()
        self._open = attempt.file
        self._wake()
        try:
            result = self._do(attempt)
            attempt.ended_at = time.monotonic()
            self._seconds = {attempt.job: attempt.seconds()}
            self._finishing.put((attempt, result))
        except Cancelled:
            self._drop_renderer()
            self._clean(attempt)
            self._deliver(attempt, None)
        except Failed as failed:
            self._drop_renderer()
            self._fail(attempt, failed)
        except Exception as error:
            log.exception("frame %s of %s", attempt.frame, attempt.job)
            self._drop_renderer()
            self._fail(attempt, Failed("renderer error", f"the node stumbled: {error!r}"))

    def _do(self, attempt: Attempt) -> Result:
        if not attempt.commands:
            raise Failed("renderer error", "the task has no commands")
        whole = Result([], {})
        for command in attempt.commands:
            part = self._command(attempt, command)
            whole.outputs += part.outputs
            whole.log = part.log
            for key, value in part.statistics.items():
                added = key.endswith("_s") and key in whole.statistics
                whole.statistics[key] = round(whole.statistics[key] + value, 3) if added else value
        return whole

    def _command(self, attempt: Attempt, command: Message) -> Result:
        kind = command.get("do")
        if kind == "blender-frame":
            return self._blender_frame(attempt, command)
        if kind == "test-pattern":
            return commands.test_pattern(attempt, command, self._folder(command))
        if kind == "run":
            return commands.run(attempt, command, self._config)
        raise Failed(
            "renderer error", f"this node doesn't know how to do {kind!r}; is it older than the server?"
        )

    def _blender_frame(self, attempt: Attempt, command: Message) -> Result:
        if self._program is None:
            raise Failed("renderer error", 'this node has no Blender; set "blender" in its configuration')
        file = self._path(str(command.get("file") or attempt.file))
        # Without a folder the job writes to the scene's own output path.
        folder = self._folder(command) if command.get("folder") else None
        if not file.is_file():
            raise Failed(
                "missing file", f"{command.get('file') or attempt.file} isn't there (looked for {file})"
            )
        for _ in range(2):
            renderer = self._ready_renderer(self._program, attempt, file, command)
            try:
                result = renderer.render(attempt, command, folder)
            except Restart:
                self._end_renderer()
                continue
            if self._memory_mb and renderer.memory_mb > self._memory_mb:
                log.info("Blender holds %d MB: starting it afresh", renderer.memory_mb)
                self._end_renderer()
            return result
        raise Failed("renderer error", "a fresh Blender didn't take the frame")

    def _ready_renderer(self, program: Program, attempt: Attempt, file: Path, command: Message) -> Renderer:
        if self._renderer is not None and not self._renderer.fits(file, command):
            self._end_renderer()
        if self._renderer is None:
            renderer = Renderer(
                program,
                file,
                threads=self.seat.threads,
                environment=self.seat.environment(),
                nice=self._config.nice,
                scripting=self._config.scripting,
                on_progress=self._progress,
                output=attempt.output,
            )
            with self._lock:
                self._renderer = renderer
            if attempt.cancelled.is_set():  # Race: cancelled before there was something to cancel.
                raise Cancelled
        return self._renderer

    def _progress(self, progress: float, left_s: float, line: str) -> None:
        attempt = self.current
        if attempt is not None:
            attempt.progress, attempt.line = progress, line
            attempt.ends_at = time.monotonic() + left_s if left_s else 0.0

    def _end_renderer(self) -> None:
        self._take_renderer(None)

    def _drop_renderer(self) -> None:
        """Ends a Blender that may be in the middle of something."""
        self._take_renderer(1.0)

    def _take_renderer(self, grace_s: Optional[float]) -> None:
        with self._lock:
            renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.stop(grace_s)

    def _path(self, address: str) -> Path:
        try:
            return self._config.local(address)
        except ValueError as error:
            raise Failed("missing file", str(error)) from None

    def _folder(self, command: Message) -> Path:
        name = str(command.get("name") or "")
        if "/" in name or "\\" in name or "\0" in name:
            raise Failed("renderer error", f"{name!r} can't be a file's name")
        folder = self._path(str(command.get("folder") or ""))
        if not folder.is_dir():  # the node never makes it: the share may be away
            raise Failed(
                "missing file", f"the folder {command.get('folder')} isn't there (looked for {folder})"
            )
        return folder

    def _finish(self) -> None:
        while True:
            item = self._finishing.get()
            if item is None:
                return
            attempt, result = item
            try:
                self._deliver(attempt, self._done(attempt, result))
            except Failed as failed:
                self._fail(attempt, failed)
            except Exception as error:
                log.exception("the outputs of frame %s of %s", attempt.frame, attempt.job)
                self._fail(attempt, Failed("bad output", f"the outputs can't be kept: {error!r}"))

    def _done(self, attempt: Attempt, result: Result) -> Message:
        outputs: List[Dict[str, Any]] = []
        try:
            for output in result.outputs:
                width, height = pictures.check(output.path, output.width, output.height)
                if output.final is not None:
                    continue
                name = output.path.name[len(attempt.prefix()) :]
                size_bytes = output.path.stat().st_size
                facts = {"name": name, "path": name, "temp": output.path.name, "size": size_bytes}
                outputs.append({**facts, "kind": output.kind, "width": width, "height": height})
            pictures.flush(tuple(output.path for output in result.outputs))
            self._move(result)
        except pictures.BadPicture as bad:
            raise Failed("bad output", f"{bad}\n{result.log}".rstrip()) from None
        except OSError as error:
            raise Failed("bad output", f"the outputs can't be brought to the disk: {error}") from None
        return {
            "id": "done",
            "uuid": attempt.id,
            "frame": attempt.frame,
            "time": attempt.seconds(),
            "outputs": outputs,
            "statistics": result.statistics,
            "folders": attempt.folders(),
            "output": attempt.output.rest(attempt.output.told),
        }

    @staticmethod
    def _move(result: Result) -> None:
        """What belongs elsewhere than into a version folder, whole, to its place."""
        moved = []
        for output in result.outputs:
            if output.final is not None:
                os.replace(output.path, output.final)
                moved.append(output.final)
        pictures.flush(tuple(moved))

    def _fail(self, attempt: Attempt, failed: Failed) -> None:
        if failed.reason in ("missing file", "bad output") and self._share_is_gone(attempt):
            log.warning("frame %s of %s goes back: its share isn't mounted", attempt.frame, attempt.job)
            self._deliver(attempt, {"id": "release", "uuid": attempt.id})
            return
        full = "" if failed.reason in TOLD else full_disk(self._config, attempt.folders())
        if full:
            failed = Failed("bad output", f"{full}\n{failed.log}")
        first = failed.log.partition("\n")[0]
        log.warning("frame %s of %s: %s: %s", attempt.frame, attempt.job, failed.reason, first)
        self._clean(attempt)
        message = {
            "id": "failed",
            "uuid": attempt.id,
            "frame": attempt.frame,
            "time": attempt.seconds(),
            "reason": failed.reason,
            "log": shortened(failed.log),
            "output": attempt.output.rest(attempt.output.told),
        }
        self._deliver(attempt, message)

    def _share_is_gone(self, attempt: Attempt) -> bool:
        """Then nothing is missing, and the frame must not count as failed."""
        addresses = [attempt.file, *attempt.folders()]
        shares = {address.partition("::")[0] for address in addresses if "::" in address}
        configured = shares & set(self._config.shares)
        return bool(configured - set(self._config.mounted()))

    def _clean(self, attempt: Attempt) -> None:
        """Removes what the attempt has written under its own names."""
        for folder in attempt.folders():
            remove_outputs(self._config, folder, attempt.prefix())


def remove_outputs(config: Config, folder: str, prefix: str) -> None:
    if not folder or len(prefix) < 3:
        return
    try:
        for path in config.local(folder).iterdir():
            if path.name.startswith(prefix):
                path.unlink()
    except (OSError, ValueError):
        pass  # gone already, or the share is away: the server sweeps too
