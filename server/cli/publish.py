"""`run.py publish FILE`: freeze the present content as the next version. Prints the version alone."""

from __future__ import annotations

import argparse

from server.cli.client import quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    with running_server(options, LONG_S) as server:
        version = server.post(f"/api/assets/{quote(address)}/publish", {"comment": options.comment})
    print(version["version"])
    return 0
