"""`run.py forget USER`: a person's name out of all that Croft wrote, by the running server."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

from server.cli.session import LONG_S, running_server
from server.disk.errors import BadInput


def run(options: argparse.Namespace) -> int:
    if not options.yes:
        if not sys.stdin.isatty():
            raise BadInput("this can't be undone: say --yes.")
        if (
            input(f"Forget {options.user} for good? This can't be undone. Type the name again: ")
            != options.user
        ):
            raise BadInput("the names differ; nothing was changed.")
    body = {"sure": "yes"}
    if options.credits:
        body["credits"] = options.credits
    with running_server(options, LONG_S) as server:
        done = server.post(f"/api/users/{quote(options.user, safe='')}/forget", body)
    print(
        f"{options.user} is forgotten: {done['files']} files are nobody's, {done['histories']} histories,"
        f" {done['notes']} notes, {done['renders']} renders, {done['versions']} other records name nobody,"
        f" {done['tokens']} tokens are revoked; the credits of {done['credits']} films keep the name."
    )
    for sentence in done["left"]:
        print(f"- {sentence}")
    return 0
