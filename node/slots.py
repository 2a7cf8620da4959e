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
from typing import Callable, Dict, FrozenSet, Optional, Tuple

from . import commands, pictures
from .config import Config, Program, Seat
from .renderer import Renderer, Restart
from .room import full_disk
from .tools import Tools, frames_of
from .wire import Message
from .work import Attempt, Cancelled, Failed, Result, facts_of, shortened

log = logging.getLogger("croft.node")
IDLE_BLENDER_S = 20.0  # how long Blender is kept when nothing comes
FINISHING = 2  # results waiting to be verified: a slow disk holds the slot up, it must not pile up claims
AHEAD_S = 5.0  # the next task is fetched when the present one is expected to take no longer than this
TOLD = ("time-out", "missing file")  # a full disk would be no reason for these
TOGETHER_S = 0.03  # a result that is nearly verified and the question for more go together
TOLD_S = 6.0  # until a node knows that it is to end, when its renderer was told so
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
        self.keep_s = IDLE_BLENDER_S
        self._finishing_at = float("-inf")  # since when a result is verified
        self._renderer: Optional[Renderer] = None
        self._share = (0, 1)  # which of how many frames of a chunk is rendered
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
        together_s = self._finishing_at + TOGETHER_S - time.monotonic()
        if together_s > 0:
            return False, together_s
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
                self._lock.wait_for(lambda: self.current is not None or self._stopping, self.keep_s)
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
            self._finishing_at = time.monotonic()
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
        whole, tools = Result([], {}), Tools(self._config, attempt)
        try:
            self._do_all(attempt, tools, whole)
        finally:
            tools.close()
        return whole

    def _do_all(self, attempt: Attempt, tools: Tools, whole: Result) -> None:
        for command in attempt.commands:
            part = self._command(attempt, command, tools)
            tools.made += part.outputs
            whole.add(part)

    def _command(self, attempt: Attempt, command: Message, tools: Tools) -> Result:
        kind = str(command.get("do"))
        if kind in commands.PLAIN:
            return commands.PLAIN[kind](attempt, command, tools)
        if kind in commands.BLENDER:
            return self._blender(attempt, command, tools)
        raise Failed(
            "renderer error", f"this node doesn't know how to do {kind!r}; is it older than the server?"
        )

    def _blender(self, attempt: Attempt, command: Message, tools: Tools) -> Result:
        """One frame, or those of a chunk in one Blender; each is told as soon as it is whole."""
        chunk = frames_of(command["chunk"]) if command.get("chunk") else []
        if command["do"] == "blender-video" or len(chunk) < 2:
            if chunk and command["do"] != "blender-video":
                command = {**command, "frame": chunk[0]}
            return self._blender_frame(attempt, command, tools)
        whole = Result([], {})
        for n, frame in enumerate(chunk):
            self._share = (n, len(chunk))
            began = time.monotonic()
            attempt.mark()
            part = self._blender_frame(attempt, {**command, "frame": frame}, tools)
            for output in part.outputs:
                output.frame = frame
                if output.kind == "frame":
                    output.seconds = round(time.monotonic() - began, 3)
            try:
                if command.get("folder"):
                    attempt.keep(part.outputs)
            except pictures.BadPicture as bad:
                raise Failed("bad output", f"{bad}\n{part.log}".rstrip()) from None
            except OSError as error:
                raise Failed("bad output", f"frame {frame} can't be brought to the disk: {error}") from None
            whole.add(part)
        self._share = (0, 1)
        return whole

    def _blender_frame(self, attempt: Attempt, command: Message, tools: Tools) -> Result:
        if self._program is None:
            raise Failed("renderer error", 'this node has no Blender; set "blender" in its configuration')
        file = tools.path(str(command.get("file") or attempt.file))
        # Without a folder the job writes to the scene's own output path.
        folder = tools.folder(command) if command.get("folder") else None
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
            n, of = self._share
            attempt.progress, attempt.line = (n + progress) / of, line
            attempt.ends_at = time.monotonic() + left_s if left_s and of == 1 else 0.0

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

    def _finish(self) -> None:
        while True:
            item = self._finishing.get()
            if item is None:
                return
            attempt, result = item
            try:
                message = self._done(attempt, result)
                self._finishing_at = float("-inf")
                self._deliver(attempt, message)
            except Failed as failed:
                self._fail(attempt, failed)
            except Exception as error:
                log.exception("the outputs of frame %s of %s", attempt.frame, attempt.job)
                self._fail(attempt, Failed("bad output", f"the outputs can't be kept: {error!r}"))

    def _done(self, attempt: Attempt, result: Result) -> Message:
        try:
            outputs = [facts_of(attempt, output) for output in result.outputs]
            told = {part["temp"] for part in attempt.kept}  # the server may have renamed those already
            pictures.flush(tuple(one.path for one in result.outputs if one.path.name not in told))
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
        # Slurm, systemd and others tell all that runs to end, renderers before or after the node.
        if failed.told and attempt.cancelled.wait(TOLD_S):
            self._clean(attempt)
            self._deliver(attempt, None)
            return
        if failed.reason in ("missing file", "bad output") and self._share_is_gone(attempt):
            log.warning("frame %s of %s goes back: its share isn't mounted", attempt.frame, attempt.job)
            self._deliver(attempt, {"id": "release", "uuid": attempt.id})
            return
        if attempt.prefix() in failed.log:  # people know the file by its own name
            failed = Failed(failed.reason, failed.log.replace(attempt.prefix(), ""))
        full = "" if failed.reason in TOLD else full_disk(self._config, attempt.folders())
        if full:
            failed = Failed("bad output", f"{full}\n{failed.log}")
        first = failed.log.partition("\n")[0]
        log.warning("frame %s of %s: %s: %s", attempt.frame, attempt.job, failed.reason, first)
        self._clean(attempt, frozenset(part["temp"] for part in attempt.kept))
        message: Message = {
            "id": "failed",
            "uuid": attempt.id,
            "frame": attempt.frame,
            "time": attempt.seconds(),
            "reason": failed.reason,
            "log": shortened(failed.log),
            "output": attempt.output.rest(attempt.output.told),
        }
        if attempt.kept:  # frames of its chunk that are whole: nobody needs to render them again
            message["outputs"] = attempt.kept
            message["folders"] = attempt.folders()
        self._deliver(attempt, message)

    def _share_is_gone(self, attempt: Attempt) -> bool:
        """Then nothing is missing, and the frame must not count as failed."""
        addresses = [attempt.file, *attempt.folders()]
        shares = {address.partition("::")[0] for address in addresses if "::" in address}
        configured = shares & set(self._config.shares)
        return bool(configured - set(self._config.mounted()))

    def _clean(self, attempt: Attempt, kept: FrozenSet[str] = frozenset()) -> None:
        """Removes what the attempt has written under its own names."""
        for folder in attempt.folders():
            remove_outputs(self._config, folder, attempt.prefix(), kept)


def remove_outputs(config: Config, folder: str, prefix: str, kept: FrozenSet[str] = frozenset()) -> None:
    if not folder or len(prefix) < 3:
        return
    try:
        for path in config.local(folder).iterdir():
            if path.name.startswith(prefix) and path.name not in kept:
                path.unlink()
    except (OSError, ValueError):
        pass  # gone already, or the share is away: the server sweeps too
