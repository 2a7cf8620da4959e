"""`run.py check`: every fault of Croft's files on the shares, with its path and what to do."""

from __future__ import annotations

import argparse
import sys

from server.cli import places
from server.disk import check
from server.disk.errors import BadInput
from server.disk.mounts import configured_shares


def run(options: argparse.Namespace) -> int:
    shares = configured_shares(places.settings(options), places.data_dir(options))
    unknown = set(options.share) - {share.name for share in shares}
    if unknown:
        raise BadInput(f"there is no share {sorted(unknown)[0]!r}.")
    wanted = [share for share in shares if not options.share or share.name in options.share]
    return check.main(wanted, sys.stdout, lambda words: print(f"Checking {words} …", file=sys.stderr))
