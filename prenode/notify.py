"""RFAM's own way, where no engine is named: a command that starts, or asks somebody to start, so many nodes.

The server tells of each open job once; a command line with %i in the place of the number does the rest.
Nothing is remembered, nothing is taken back.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from typing import Any, Callable, List

from . import wire
from .config import Config
from .engine import with_count

log = logging.getLogger("croft.prenode")


def run(
    config: Config, stop: threading.Event, ask: Callable[..., Any] = wire.ask, once: bool = False
) -> bool:
    """Until `stop` is set; whether the server was reached the last time. Raises Rejected where it never was
    and won't have this prenode."""
    met = well = False
    while not stop.is_set():
        try:
            jobs = ask(config.server, config.token, config.name)
            met = well = True
        except (wire.Away, wire.Rejected) as error:
            if isinstance(error, wire.Rejected) and not met:
                raise
            log.warning("%s", error)
            well = False
            wait_s = config.retry_time
        else:
            tell(config, jobs if isinstance(jobs, list) else [])
            wait_s = config.check_time
        if once:
            break
        stop.wait(wait_s)
    return well


def tell(config: Config, jobs: List[Any]) -> None:
    """Run the command for as many nodes as these jobs can use here."""
    count = 0
    for job in jobs:
        try:
            fits = set(job["requires"]) <= set(config.provides)
            nodes = (1 if job["video"] else int(job["frames"])) if fits else 0
            log.info("%s: %s", job["name"], f"{nodes} nodes" if fits else "not for this place")
        except (KeyError, TypeError, ValueError) as error:
            log.warning("the server said something strange: %r (%r)", job, error)
            continue
        count += nodes
    if not count:
        return
    try:
        code = subprocess.call(with_count(config.cmd, count), shell=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        log.error("the command can't be run: %s", error)
        return
    if code:
        log.error("the command ended with code %d", code)
