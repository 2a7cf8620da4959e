"""`run.py delete FILE`: move a file and all that is known of it to `old/`. Prints the folder it lies in."""

from __future__ import annotations

import argparse

from server.cli.client import quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    with running_server(options, LONG_S) as server:
        print(server.delete(f"/api/assets/{quote(address)}")["folder"])
    return 0
