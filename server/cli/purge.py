"""`run.py purge --older-than 30d`: what lies in `old/` for longer, deleted for good. Needs no server."""

from __future__ import annotations

import argparse
import os
import socket
import time

from server.cli import places
from server.cli.publish_folder import size_of
from server.disk import probes, purge
from server.disk.errors import BadInput, CroftError, NotFound
from server.disk.locks import Locks
from server.disk.mounts import configured_shares


def run(options: argparse.Namespace) -> int:
    os.umask(0o002)  # what root makes here, locks above all, must be the server's to write, too
    older_s = purge.seconds_of(options.older_than)
    shares = configured_shares(places.settings(options), places.data_dir(options))
    unknown = set(options.share) - {share.name for share in shares}
    if unknown:
        raise BadInput(f"there is no share {sorted(unknown)[0]!r}.")
    count = size = wrong = 0
    for share in shares:
        if options.share and share.name not in options.share:
            continue
        if probes.read_marker(share.root) is None:
            raise NotFound(f"{share.root} isn't mounted: it has no marker of Croft's.")
        locks = Locks(share.root, f"{socket.gethostname()} process {os.getpid()} run.py purge")
        if not options.dry_run:
            purge.sweep(share)
        for old in purge.find(share, older_s, time.time(), options.saves):
            try:
                if not options.dry_run and not purge.purge(share, locks, old):
                    continue
            except (CroftError, OSError) as error:
                wrong += 1
                print(f"stays  {share.name}::{old.inside}  {error}")
                continue
            count, size = count + 1, size + old.bytes
            kind = "save" if old.is_save else "deleted"
            print(f"{kind:<7}  {old.at[:19]}  {old.bytes / 1e6:>10,.1f} MB  {share.name}::{old.inside}")
    freed = "would be freed" if options.dry_run else "freed"
    things = "thing that was" if count == 1 else "things that were"
    print(f"{count:,} {things} deleted or kept, {size_of(size)} {freed}.")
    return 1 if wrong else 0
