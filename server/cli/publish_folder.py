"""`run.py publish DIR`: list the image sequences of a folder and of those below it, ask for each, and have it
registered as a version where it lies.

The list and what was done go to standard output, questions and progress to standard error. Cut off in the
middle, what was published is, and is skipped the next time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from server.cli.client import CallFailed, Client
from server.cli.terminal import Progress
from server.disk.encoding import shown
from server.disk.errors import BadInput

Row = Mapping[str, Any]
NAMED = 3
SETTLE_S = 30.0  # what is being written is waited for so long
LOOK_S = 0.5
GAPS_CHARACTERS = 40  # of the frames that are missing, before they are cut short


def is_folder(server: Client, named: str, address: str) -> bool:
    """Whether a person named a folder: on this machine, or to the server where it can't be seen here."""
    if "::" not in named:
        return os.path.isdir(os.path.expanduser(named))
    try:
        server.get("/api/sequences", folder=address)
    except CallFailed as error:
        if error.status in (400, 404):
            return False
        raise
    return True


def run(options: argparse.Namespace, server: Client, address: str) -> int:
    found = settled(server, look(server, address, deep=not options.here))
    rows = [row for folder in found for row in folder["sequences"]]
    show(rows, address)
    left_out(found, address)
    if not rows:
        raise BadInput(f"no image sequence lies in {address}: pictures called like plate.0001.exr.")
    due = [row for row in rows if row["state"] in ("new", "changed")]
    if not due:
        print("Nothing is to be published.")
    if options.dry_run or not due:
        return 0 if options.dry_run else refused(rows)
    if not options.yes and not sys.stdin.isatty():
        raise BadInput(
            f"there is no terminal to ask on: say --yes to publish {counted(len(due), 'sequence')}."
        )
    return publish(server, due, address, options.comment, Asking(address, options.yes)) or refused(rows)


def look(server: Client, address: str, *, deep: bool) -> list[dict[str, Any]]:
    """What each folder holds, the folders in the order of their names."""
    found: list[dict[str, Any]] = []
    waiting = [address]
    with Progress() as progress:
        while waiting:
            folder = waiting.pop()
            try:
                there: dict[str, Any] = server.get("/api/sequences", folder=folder)
            except CallFailed as error:
                if folder == address or error.status != 404:
                    raise
                print(f"Left out: {within(folder, address)}: {error.message}", file=sys.stderr)
                continue
            found.append(there)
            waiting += reversed(there["folders"] if deep else ())
            progress.show(len(found), len(found) + len(waiting), "folders")
    return found


def settled(server: Client, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are once nothing in them is being written any more, or after a while."""
    last = time.monotonic() + SETTLE_S
    with Progress() as progress:
        while True:
            writing = [at for at, folder in enumerate(found) if any(map(is_arriving, folder["sequences"]))]
            if not writing or time.monotonic() > last:
                return found
            progress.show(len(found) - len(writing), len(found), "folders; waiting for what is being written")
            time.sleep(LOOK_S)
            for at in writing:
                found[at] = server.get("/api/sequences", folder=found[at]["folder"])


def is_arriving(row: Row) -> bool:
    return bool(row["state"] == "arriving")


def refused(rows: Iterable[Row]) -> int:
    """1 where something couldn't be published: a script should hear of it."""
    return 1 if any(row["why"] for row in rows) else 0


def show(rows: Iterable[Row], address: str) -> None:
    """A line for each sequence: frames, gaps, size, and whether it is published."""
    table = [(within(row["address"], address), *facts(row), said(row)) for row in rows]
    widths = [max((len(line[n]) for line in table), default=0) for n in range(4)]
    for name, frames, many, size, state in table:
        cells = f"{name:<{widths[0]}}  {frames:<{widths[1]}}  {many:>{widths[2]}}  {size:>{widths[3]}}"
        print(f"{cells}  {state}")


def facts(row: Row) -> tuple[str, str, str]:
    """`0001-0240`, `236 frames`, `12.4 GB`."""
    width = row["padding"] or 1
    frames = f"{row['first']:0{width}d}-{row['last']:0{width}d}"
    return frames, counted(row["frames"], "frame"), size_of(row["size"])


def said(row: Row) -> str:
    """What there is to say of it: its state, what is missing, what is there twice."""
    words = [{"new": "new", "published": f"published as {row['version']}"}.get(row["state"], "")]
    if row["state"] == "changed":
        words = [f"changed since {row['version']}: {changes(row['changes'])}"]
    elif row["why"]:
        words = [f"can’t be published: {row['why']}"]
    if row["missing"] is None:
        words.append("numbers far apart")
    elif row["missing"]:
        gaps = row["missing"]
        words.append("missing " + (gaps if len(gaps) <= GAPS_CHARACTERS else gaps[:GAPS_CHARACTERS] + " …"))
    if row["files"] > row["frames"]:
        words.append(f"{counted(row['files'] - row['frames'], 'number')} twice")
    return "; ".join(words)


def changes(told: Mapping[str, Any]) -> str:
    """`3 frames other, 1 gone, 2 new`."""
    parts = [(told["other"], "other"), (told["gone"], "gone"), (told["added"], "new")]
    found = [(n, word) for n, word in parts if n]
    return ", ".join(
        f"{counted(n, 'frame')} {word}" if not at else f"{n:,} {word}" for at, (n, word) in enumerate(found)
    )


def left_out(found: Iterable[Mapping[str, Any]], address: str) -> None:
    """What was found and isn't asked for."""
    others = sum(folder["others"] for folder in found)
    named = [within(f"{f['folder']}/{name}", address) for f in found for name in f["others_named"]][:NAMED]
    links = [within(f"{f['folder']}/{name}", address) for f in found for name in f["links"]]
    renders = [within(folder["renders"], address) for folder in found if folder["renders"]]
    if others:
        more = ", …" if others > len(named) else ""
        words = "that is no frame" if others == 1 else "that are no frames"
        print(f"Left out: {counted(others, 'file')} {words} of a sequence ({', '.join(named)}{more}).")
    if links:
        print(f"Left out: {', '.join(links)}: links are not followed.")
    if renders:
        print(f"Left out: {', '.join(renders)}: renders are versions already. Name the folder to publish it.")


class Asking:
    """Asks on the terminal: yes, no, all of the rest, or quit."""

    def __init__(self, address: str, yes: bool) -> None:
        self._address, self._yes, self._quit = address, yes, False

    def __call__(self, row: Row) -> bool:
        while not (self._yes or self._quit):
            print(f"Publish {within(row['address'], self._address)}? [y]es, [n]o, [a]ll, [q]uit: ",
                  end="", file=sys.stderr, flush=True)  # fmt: skip
            answer = sys.stdin.readline()
            letter = answer.strip().casefold()[:1]
            if letter in ("y", "n"):
                return letter == "y"
            self._yes, self._quit = letter == "a", letter == "q" or not answer
        return not self._quit


def publish(
    server: Client, due: Iterable[Row], address: str, comment: str, agree: Callable[[Row], bool]
) -> int:
    """Each that is agreed to. 1 where one of them couldn't be."""
    failed = 0
    for row in due:
        if not agree(row):
            continue
        name = within(row["address"], address)
        try:
            done = server.post("/api/sequences", {"address": row["address"], "comment": comment})
        except CallFailed as error:
            if not error.status:
                raise
            failed += 1
            print(f"{name}: {error.message}", file=sys.stderr)
            continue
        print(f"{name} is published as {done['version']['version']}.", flush=True)
    return 1 if failed else 0


def within(place: str, address: str) -> str:
    """An address as a person reads it who named this folder."""
    return shown(place.removeprefix(address).lstrip("/"))


def counted(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def size_of(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
