"""`run.py publish FILE…`: freeze the present content of each as its next version.

What the checks find is shown, and asked about where it only warns. Prints the version, one a line; behind it
the file where there are several. `run.py publish DIR` publishes the image sequences of a folder where they
lie: see publish_folder.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.cli import publish_folder
from server.cli.client import CallFailed, Client, quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of

MARKS = {"error": "✕", "warning": "!", "note": "○"}


def run(options: argparse.Namespace) -> int:
    addresses = [address_of(options, named).rstrip("/") for named in options.file]
    failed = 0
    with running_server(options, LONG_S) as server:
        for named, address in zip(options.file, addresses, strict=True):
            address = address[:-1] if address.endswith("::.") else address  # a share's own folder
            if publish_folder.is_folder(server, named, address):
                failed += publish_folder.run(options, server, address)
            else:
                failed += not published(server, address, options)
    return 1 if failed else 0


def published(server: Client, address: str, options: argparse.Namespace) -> bool:
    """One file; whether it is published now."""
    path, body = f"/api/assets/{quote(address)}/publish", {"comment": options.comment}
    try:
        answer = server.answer(path, body)
    except CallFailed as error:
        found = error.data.get("findings") if isinstance(error.data, dict) else None
        if not found:
            if len(options.file) == 1:
                raise
            say(error.message)
            return False
        if not confirmed(address, found, options.yes):
            return False
        answer = server.answer(path, {**body, "despite": [one["id"] for one in found]})
    say(answer["message"])
    print(answer["data"]["version"], *([address] if len(options.file) > 1 else []), flush=True)
    return True


def confirmed(address: str, found: list[dict[str, Any]], yes: bool) -> bool:
    """Show what was found; whether to go on."""
    name = address.rpartition("/")[2]
    say(f"{name}:")
    for one in found:
        say(f"  {MARKS.get(one['severity'], ' ')} {one['id']}: {one['message']}")
        if one.get("todo"):
            say(f"    {one['todo']}")
    if any(one["severity"] == "error" for one in found):
        say(f"{name} isn't published: mend that first.")
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        say(f"{name} isn't published. To publish it all the same, say --yes.")
        return False
    return input(f"Publish {name} all the same? [y/N] ").strip().lower() in ("y", "yes")


def say(text: str) -> None:
    print(text, file=sys.stderr)
