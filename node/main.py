"""The node's command line: `--config FILE`, log lines on standard error, a clean end on SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import List, Optional

from . import VERSION
from .config import KEYS, ConfigError, find_blender, load
from .session import Session
from .spool import Spool, Taken
from .wire import Rejected

log = logging.getLogger("croft.node")


def main(arguments: Optional[List[str]] = None) -> int:
    """The exit code: 0 after a clean end, 1 after one sentence about what to mend."""
    parser = argparse.ArgumentParser(
        prog="node",
        description="Renders for a Croft server.",
        epilog="Keys of the configuration:\n"
        + "\n".join(f"  {key:11} {text}" for key, (_, text) in KEYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    beside = Path(__file__).resolve().with_name("config.json")
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
        run(options.config or [beside])
    except (ConfigError, Taken, Rejected) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1
    return 0


def run(config_files: List[Path]) -> None:
    """One node for each file, until a signal comes or all have ended by themselves."""
    spools: List[Spool] = []
    sessions: List[Session] = []
    try:
        for file in config_files:
            config = load(file)
            for warning in config.warnings:
                log.warning("%s", warning)
            program = find_blender(config)
            if program is None:
                log.warning("no Blender was found: only tasks without it can be done")
            spools.append(Spool(config.spool))
            sessions.append(Session(config, program, spools[-1]))
        Ending(sessions).wait()
    finally:
        for spool in spools:
            spool.close()


class Ending:
    """Runs the sessions in threads of their own, so that the main one is free for signals."""

    def __init__(self, sessions: List[Session]) -> None:
        self._sessions = sessions
        self._signals = 0
        self._error: Optional[BaseException] = None
        self._threads = [
            threading.Thread(target=self._run, args=(session,), name="session", daemon=True)
            for session in sessions
        ]

    def wait(self) -> None:
        """Returns when all have ended; raises what ended one that didn't want to."""
        before = {number: signal.signal(number, self._signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for thread in self._threads:
                thread.start()
            stopped = False
            while any(thread.is_alive() for thread in self._threads):
                for thread in self._threads:
                    thread.join(0.2 / len(self._threads))
                if (self._signals or self._error) and not stopped:
                    if self._signals:
                        log.info("stopping: giving claims back")
                    for session in self._sessions:
                        session.stop()
                    stopped = True
                if self._signals > 1:
                    os._exit(1)  # the leashes end what still runs
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._error is not None:
            raise self._error

    def _signal(self, *_: object) -> None:
        self._signals += 1  # nothing else: a handler may come between any two lines

    def _run(self, session: Session) -> None:
        try:
            session.run()
        except BaseException as error:
            self._error = error
