"""The prenode's command line: `--config FILE`, `--check`, log lines on standard error, an end on SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import List, Optional

from . import VERSION, engine, notify
from .bridge import Bridge, locked
from .check import Check
from .config import KEYS, Config, ConfigError, load
from .program import Program
from .wire import Rejected

log = logging.getLogger("croft.prenode")


def main(arguments: Optional[List[str]] = None) -> int:
    """The exit code: 0 after a clean end or a good check, 1 after a sentence on what to mend."""
    parser = argparse.ArgumentParser(
        prog="prenode",
        description="Starts nodes on Slurm, or another scheduler, when a Croft server wants them.",
        epilog="Keys of the configuration:\n"
        + "\n".join(f"  {key:13} {text}" for key, (_, text) in KEYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    beside = Path(__file__).resolve().parent / "config.json"
    parser.add_argument(
        "--config", metavar="FILE", type=Path, default=beside, help="default: beside this program"
    )
    parser.add_argument("--check", action="store_true", help="try every machine over there, start nothing")
    parser.add_argument(
        "--wait", metavar="SECONDS", type=float, default=300, help="of a check (default: 300)"
    )
    parser.add_argument("--once", action="store_true", help="look once, do what follows, end")
    parser.add_argument("--quiet", action="store_true", help="only warnings")
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING if options.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = load(options.config)
        for warning in config.warnings:
            log.warning("%s", warning)
        if not config.engine:
            if options.check:
                raise ConfigError('--check needs an "engine"; "cmd" alone can tell nothing of the machines')
            well = notify.run(config, stop, once=options.once)
            return 1 if options.once and not well else 0
        return bridge(config, stop, options)
    except (ConfigError, Rejected) as error:
        print(f"prenode: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"prenode: {error}", file=sys.stderr)
        return 1


def bridge(config: Config, stop: threading.Event, options: argparse.Namespace) -> int:
    folder = config.folder
    given = {"folder": str(folder), "logs": str(folder / "logs"), "prenode": config.name}
    if config.cmd:
        given["cmd"] = config.cmd
    spoken = engine.load(config.engine, given, config.options, config.file.resolve().parent)
    if spoken.needs_cmd and not config.cmd:
        raise ConfigError(f'the engine {config.engine} needs "cmd": the command that starts %i nodes')
    if options.check:
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if Check(config, spoken, Program(config, spoken.index), print, options.wait).run() else 1
    lock = locked(folder)
    try:
        made = Bridge(config, spoken, Program(config, spoken.index), stop=stop)
        try:
            log.info("%s for %s as %s", spoken.title, config.server.partition("/t/")[0], config.name)
            if options.once:
                made.await_orphans()
                made.round()
                return 1 if made.failures or made.error or made.late else 0
            if "programs" not in made.program.means():
                log.warning("nobody has tried the machines over there yet: --check does")
            made.run()
        finally:
            made.close()
    finally:
        os.close(lock)
    return 0
