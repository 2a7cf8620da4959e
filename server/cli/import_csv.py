"""`run.py import-csv FILE`: a class list, one person a line; all of it or, where a line is wrong, nothing."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from server.cli import places
from server.disk.errors import BadInput
from server.library.people import People
from server.library.setup import classlist

MOST_BYTES = 4 << 20


def run(options: argparse.Namespace) -> int:
    carry_out(People(places.settings(options)), options.file, options.dry_run)
    return 0


def carry_out(people: People, file: str, dry_run: bool) -> None:
    """Read the list (`-`: from standard input), say what is in it, and make the people."""
    raw = sys.stdin.buffer.read(MOST_BYTES) if file == "-" else Path(file).read_bytes()
    if len(raw) >= MOST_BYTES:
        raise BadInput(f"{file} is longer than a class list can be.")
    listed = classlist.read(classlist.decode(raw), people)
    for line, text in listed.faults:
        print(f"line {line}: {text}", file=sys.stderr)
    if listed.faults:
        raise BadInput(f"{len(listed.faults)} lines of {file} are wrong; nothing was changed.")
    if dry_run:
        for row in listed.rows:
            what = "is there already and stays" if row.there else f"would be a new {row.role}"
            print(f"line {row.line}: {row.title} ({row.ident}) {what}")
        print(f"{len(listed.fresh)} people would be added. Nothing was changed.")
        return
    made = classlist.carry_out(listed, people)
    there = len(listed.rows) - len(made)
    print(f"Added {len(made)} people{f'; {there} were there already and stay as they are' if there else ''}.")


def secret(question: str) -> str:
    """A password from the terminal, or the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\r\n")
