"""`run.py restore-backup`: put a file, a folder, a project or a whole share back from a backup."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import os
import socket
import sys
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.cli import places
from server.disk import paths, probes, restores
from server.disk.backups import Backups, Tree, moment_of
from server.disk.branches import branches_of
from server.disk.errors import BadInput, NotFound
from server.disk.locks import Locks
from server.disk.mounts import configured_shares
from server.disk.paths import Share
from server.disk.settings import Settings

NAMED = 5  # of the files that a backup doesn't have


def run(options: argparse.Namespace) -> int:
    os.umask(0o002)  # what root makes here, locks above all, must be the server's to write, too
    settings = places.settings(options)
    backups = Backups(where(options, settings))
    zone = zone_of(settings)
    if not backups.is_here():
        raise NotFound(f"There are no backups in {backups.root}. Is its disk mounted?")
    if not options.address:
        return show(backups, zone)
    share, inside = place(options.address, configured_shares(settings, places.data_dir(options)))
    tree = chosen(backups, options.at, zone, share.name)
    copy = tree.folder(share.name, "")
    if copy is None:
        raise NotFound(f"The backup {tree.name} has nothing of the share {share.name}.")
    if inside and tree.find(share.name, inside) is None and "@" not in inside:
        raise NotFound(f"The backup {tree.name} has no {inside}. Without an address the times are listed.")
    who = f"{getpass.getuser()}, from a backup"
    marker = probes.read_marker(share.root)
    if marker is None:
        if inside:
            raise NotFound(f"{share.root} has no {paths.SHARE_MARKER}: it isn't mounted.")
        share.root.mkdir(parents=True, exist_ok=True)
        done = restores.refill(share, copy)
        print(f"{share.name} is back at {share.root} as it was {words(tree, zone)}: {done.files} files.")
        return 0
    known = settings.folder("shares").get(share.name, {}).get("id")
    if known and known != marker.id:
        raise BadInput(f"Another share lies at {share.root}: its marker holds another id.")
    locks = Locks(share.root, f"{socket.gethostname()} process {os.getpid()} run.py restore-backup")
    if inside:
        tell(restores.restore(share, locks, copy, inside, who), share, tree, zone)
    else:
        for done in restores.restore_share(share, locks, copy, who):
            tell(done, share, tree, zone)
    return 0


def where(options: argparse.Namespace, settings: Settings) -> Path:
    path = getattr(options, "from") or settings.get("backup").get("path")
    if not isinstance(path, str) or not path:
        raise BadInput('Say where the backups lie: --from DIR, or "backup": {"path": …} in server.json.')
    return Path(path).expanduser().resolve()


def zone_of(settings: Settings) -> Any:
    try:
        return zoneinfo.ZoneInfo(settings.get("timezone"))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return UTC


def place(address: str, shares: list[Share]) -> tuple[Share, str]:
    """Share and inside of an address, or of a path on one of the shares."""
    if paths.SEPARATOR not in address:
        path = os.path.abspath(address)
        for share in shares:
            if path == str(share.root) or path.startswith(str(share.root).rstrip("/") + "/"):
                address = share.address(path)
    name, inside = paths.parse(address.rstrip("/") if not address.endswith(paths.SEPARATOR) else address)
    for share in shares:
        if share.name == name:
            if any(part.startswith(".") for part in inside.split("/")):
                raise BadInput(f"{inside} is Croft's own: put back the file or folder that it belongs to.")
            return dataclasses.replace(share, branches=branches_of(share.root)), inside
    raise NotFound(f"There is no share {name!r}.")


def chosen(backups: Backups, at: str | None, zone: Any, share: str) -> Tree:
    """The backup of that time, else the newest that has this share."""
    if at is not None:
        return backups.before(moment_of(at, zone, datetime.now(UTC)))
    for tree in backups.trees():
        if tree.share(share).is_dir():
            return tree
    raise NotFound(f"No backup in {backups.root} has the share {share}.")


def show(backups: Backups, zone: Any) -> int:
    """Every backup, newest first."""
    for tree in backups.trees():
        record = tree.record()
        held = record.get("shares")
        names = ", ".join(sorted(held)) if isinstance(held, dict) else "?"
        lacks = f"  lacks {len(record['faults'])} files" if record.get("faults") else ""
        print(f"{tree.name}  {tree.at.astimezone(zone):%a %d %b %Y %H:%M}  {names}{lacks}")
    print("Put something back: run.py restore-backup ADDRESS --at TIME", file=sys.stderr)
    return 0


def tell(done: restores.Restored, share: Share, tree: Tree, zone: Any) -> None:
    line = f"{share.name}::{done.inside} is as it was {words(tree, zone)}: {done.files} files."
    if done.aside:
        line += f" What was there lies in {share.name}::{done.aside}."
    print(line)
    if done.newer:
        more = f" and {len(done.newer) - NAMED} more" if len(done.newer) > NAMED else ""
        print(f"  The backup doesn't have {', '.join(done.newer[:NAMED])}{more}: look there.")


def words(tree: Tree, zone: Any) -> str:
    return f"on {tree.at.astimezone(zone):%d %b %Y at %H:%M}"
