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
        "--config", metavar="FILE", type=Path, default=beside, help="default: config.json beside"
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
        return run(options.config)
    except (ConfigError, Taken, Rejected) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1


def run(config_file: Path) -> int:
    config = load(config_file)
    for warning in config.warnings:
        log.warning("%s", warning)
    program = find_blender(config)
    if program is None:
        log.warning("no Blender was found: only tasks without it can be done")
    spool = Spool(config.spool)
    try:
        session = Session(config, program, spool)
        ending = _Ending(session)
        ending.wait()
        return 0
    finally:
        spool.close()


class _Ending:
    """Runs the session in a thread of its own, so that the main one is free for signals."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._signals = 0
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)

    def wait(self) -> None:
        before = {number: signal.signal(number, self._signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._thread.start()
            stopped = False
            while self._thread.is_alive():
                self._thread.join(0.2)
                if self._signals and not stopped:
                    log.info("stopping: giving claims back")
                    self._session.stop()
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

    def _run(self) -> None:
        try:
            self._session.run()
        except BaseException as error:
            self._error = error
