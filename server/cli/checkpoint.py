"""`run.py checkpoint FILE`: keep the present content of a file. Prints the save's id alone."""

from __future__ import annotations

import argparse

from server.cli.client import quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    with running_server(options, LONG_S) as server:
        save = server.post(f"/api/assets/{quote(address)}/checkpoint", {"comment": options.comment})
    print(save["id"])
    return 0
