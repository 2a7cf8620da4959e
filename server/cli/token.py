"""`run.py token USER` or `--node NAME`: print a new token, and nothing else, on standard output."""

from __future__ import annotations

import argparse

from server.cli import places
from server.disk.errors import BadInput
from server.library.people import People


def run(options: argparse.Namespace) -> int:
    if bool(options.user) == bool(options.node):
        raise BadInput("say for whom: 'run.py token USER', or 'run.py token --node NAME'.")
    people = People(places.settings(options))
    print(people.make_token(user=options.user or "", node=options.node or "", title="made by run.py token"))
    return 0
