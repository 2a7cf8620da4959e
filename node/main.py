"""The node's command line: `--config FILE`, log lines on standard error, a clean end on SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import List, Optional

from . import VERSION
from .config import KEYS, Config, ConfigError, find_blender, known_to_fail, load
from .keyboard import Keyboard, probes
from .register import admitted
from .session import Session
from .spool import Spool, Taken
from .update import Updates, home, restart
from .wire import Rejected

log = logging.getLogger("croft.node")
IDLE = 75  # for a prenode: it has delivered nothing


def main(arguments: Optional[List[str]] = None) -> int:
    """The exit code: 0 after a clean end, 1 after one sentence about what to mend; see also IDLE."""
    parser = argparse.ArgumentParser(
        prog="node",
        description="Renders for a Croft server.",
        epilog="Keys of the configuration:\n"
        + "\n".join(f"  {key:16} {text}" for key, (_, text) in KEYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    beside = home() / "config.json"
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        help="default: config.json beside the program; once more for each further node",
    )
    parser.add_argument("--quiet", action="store_true", help="only warnings")
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING if options.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    try:
        return run(options.config or [beside])
    except (ConfigError, Taken, Rejected) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1


def run(config_files: List[Path]) -> int:
    """One node for each file, until a signal comes or all have ended by themselves."""
    configs = [load(file) for file in config_files]
    for config in configs:
        for warning in config.warnings:
            log.warning("%s", warning)
    updates = Updates()
    keyboard = Keyboard(configs[0].idle_minutes * 60, probes(configs[0].idle_command))
    ending = Ending(updates)
    spools: List[Spool] = []
    try:
        programs = [find_blender(config) for config in configs]
        if None in programs:
            log.warning("no Blender was found: only tasks without it can be done")
        spools += [Spool(config.spool) for config in configs]
        for place, (config, program) in enumerate(zip(configs, programs)):
            if not any(token or "/t/" in url for url, token in config.servers):
                found = admitted(config, program, ending.asked)
                if found is None:
                    return 0
                configs[place] = found
        keyboard.start()
        sessions = [
            Session(config, program, spool, keyboard=keyboard, updates=updates if config.update else None)
            for config, program, spool in zip(configs, programs, spools)
        ]
        action = ending.wait(sessions)
    finally:
        keyboard.stop()
        for spool in spools:
            spool.close()
        ending.close()
    if action == "update":
        restart(updates.folder)
    if os.environ.get("CROFT_RUN") and not any(session.delivered for session in sessions):
        return IDLE
    if action == "shutdown":
        return shut_down(next(config for config in configs if config.allow_shutdown), config_files)
    return 0


def shut_down(config: Config, config_files: List[Path]) -> int:
    """Off with this computer. Where that fails the node goes on, and says no more that it can."""
    try:
        done = subprocess.run(shlex.split(config.shutdown_command), stdin=subprocess.DEVNULL, check=False)
        failed = f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, ValueError) as error:
        failed = str(error)
    if not failed:
        return 0
    log.error("%s failed (%s): this computer stays on", config.shutdown_command, failed)
    known_to_fail.add(config.shutdown_command)
    return run(config_files)


class Ending:
    """Runs the sessions in threads of their own, so that the main one is free for signals."""

    def __init__(self, updates: Updates) -> None:
        self.asked = threading.Event()
        self._updates = updates
        self._signals = 0
        self._error: Optional[BaseException] = None
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._signal) for number in numbers}

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, sessions: List[Session]) -> str:
        """When all have ended: what is to be done then, if anything. Raises what ended one that didn't want
        to."""
        threads = [
            threading.Thread(target=self._run, args=(session,), name="session", daemon=True)
            for session in sessions
        ]
        for thread in threads:
            thread.start()
        stopped = False
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.2 / len(threads))
            if self._updates.ready.is_set():
                for session in sessions:
                    session.leave("update")
            off = any(session.ending == "shutdown" for session in sessions)
            if (self._signals or self._error or off) and not stopped:
                if self._signals:
                    log.info("stopping: giving claims back")
                for session in sessions:
                    session.stop()
                stopped = True
            if self._signals > 1:
                os._exit(1)  # the leashes end what still runs
        if self._error is not None:
            raise self._error
        if self._signals:
            return ""
        endings = {session.ending for session in sessions}
        return next((ending for ending in ("shutdown", "update") if ending in endings), "")

    def _signal(self, *_: object) -> None:
        self._signals += 1  # little else: a handler may come between any two lines
        self.asked.set()

    def _run(self, session: Session) -> None:
        try:
            session.run()
        except BaseException as error:
            self._error = error
