"""`run.py check`: every fault of Croft's files on the shares, with its path and what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from server.cli import places
from server.disk import check
from server.disk.errors import BadInput, Broken, DiskError, NotFound
from server.disk.mounts import configured_shares
from server.disk.paths import Share
from server.farm.jobs.record import read_record
from server.library.setup import speed


def run(options: argparse.Namespace) -> int:
    shares = configured_shares(places.settings(options), places.data_dir(options))
    unknown = set(options.share) - {share.name for share in shares}
    if unknown:
        raise BadInput(f"there is no share {sorted(unknown)[0]!r}.")
    wanted = [share for share in shares if not options.share or share.name in options.share]
    if options.speed:
        return speed_of(wanted)
    looked = Looked()
    try:
        return check.main(wanted, sys.stdout, looked, job_fault)
    finally:
        looked.end()


def speed_of(shares: list[Share]) -> int:
    """What each share's disk takes for what Croft does all day; 1 when one is too slow."""
    worst_found = 0
    for share in shares:
        try:
            found = speed.measure(share.root)
        except OSError as error:
            raise DiskError(f"{share.root} can't be tried: {error.strerror}.") from error
        print(f"{share.name}: {found.line()}")
        for said in speed.verdict(found):
            print(f"  {said.text}{' ' + said.mend if said.mend else ''}")
            worst_found |= said.state == "wrong"
    return worst_found


def job_fault(folder: Path) -> str:
    """What the farm would say of this job's request; '' when it would take it."""
    try:
        read_record(folder)
    except NotFound:
        return ""
    except Broken as error:
        return str(error.why)
    return ""


class Looked:
    """The folder that is looked at, on one line of a terminal; nothing where there is none."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, folder: str) -> None:
        now = time.monotonic()
        if not folder:
            self.end()
        elif self._live and now >= self._next:
            self._next = now + 0.1
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r" + f"  {folder}"[:width].ljust(width))
            sys.stderr.flush()

    def end(self) -> None:
        if self._live:
            sys.stderr.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
