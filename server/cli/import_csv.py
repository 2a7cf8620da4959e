"""`run.py import-csv FILE`: a class list, one person a line; all of it or, where a line is wrong, nothing."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import sys
from pathlib import Path

from server.cli import places
from server.disk import files, paths
from server.disk.errors import BadInput
from server.disk.settings import Settings
from server.library.people import People
from server.library.projects import sets
from server.library.setup import classlist

MOST_BYTES = 4 << 20


def run(options: argparse.Namespace) -> int:
    settings = places.settings(options)
    carry_out(People(settings), options.file, options.dry_run, settings, places.data_dir(options))
    return 0


def carry_out(people: People, file: str, dry_run: bool, settings: Settings, data: Path) -> None:
    """Read the list (`-`: from standard input), say what is in it, make the people and their projects."""
    raw = sys.stdin.buffer.read(MOST_BYTES) if file == "-" else Path(file).read_bytes()
    if len(raw) >= MOST_BYTES:
        raise BadInput("{file} is longer than a class list can be.", file=file)
    listed = classlist.read(classlist.decode(raw), people, projects_of(settings, data))
    for line, text in listed.faults:
        print(f"line {line}: {text}", file=sys.stderr)
    if listed.faults:
        raise BadInput("{n} lines of {file} are wrong; nothing was changed.", n=len(listed.faults), file=file)
    if dry_run:
        for row in listed.rows:
            what = "is there already and stays" if row.there else f"would be a new {row.role}"
            print(f"line {row.line}: {row.title} ({row.ident}) {what}")
        for ident, title in listed.projects.items():
            print(f"project {title} ({ident}) would be made")
        print(f"{len(listed.fresh)} people would be added. Nothing was changed.")
        return
    if listed.projects and not data.is_dir():
        raise BadInput("{data} isn't there, and the list names new projects: say --data.", data=data)

    inside_all = ["", *folders_of(settings)]

    def make_project(ident: str, title: str) -> None:
        folder = data / ident
        for inside in inside_all:
            files.make_folders(folder / inside, data)
        text = json.dumps({"title": title}, ensure_ascii=False, indent=2)
        files.write_atomic(folder / paths.PROJECT_FILE, text.encode("utf-8") + b"\n")
        print(f"Made the project {title} ({folder}).")

    made = classlist.carry_out(listed, people, make_project)
    there = len(listed.rows) - len(made)
    print(f"Added {len(made)} people{f'; {there} were there already and stay as they are' if there else ''}.")


def secret(question: str) -> str:
    """A password from the terminal, or the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\r\n")


def folders_of(settings: Settings) -> list[str]:
    """The folders of the usual set's types."""
    said = sets.resolved(sets.DEFAULT_SET, settings.folder("sets"))
    found = []
    for kind in sets.read_set(sets.DEFAULT_SET, said).offered_types:
        with contextlib.suppress(BadInput):  # a set's file may name anything
            paths.check_inside(kind.folder.strip("/"))
            found.append(kind.folder.strip("/"))
    return [one for one in found if one]


def projects_of(settings: Settings, data: Path) -> dict[str, str]:
    """The projects that are there, ident -> title: the configuration's, and the folders of the share."""
    found = {}
    for ident, one in settings.folder("projects").items():
        found[ident] = str(one.get("title") or one.get("name") or ident)
    for path in sorted(data.glob(f"*/{paths.PROJECT_FILE}")):
        found.setdefault(path.parent.name, path.parent.name)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            raw, _ = files.read_bounded(path, MOST_BYTES)
            found[path.parent.name] = str(json.loads(raw).get("title") or path.parent.name)
    return found
