"""`run.py saves FILE`: what a file can be brought back to, newest first, one save a line."""

from __future__ import annotations

import argparse

from server.cli.client import quote
from server.cli.session import running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    with running_server(options) as server:
        rows = server.all(f"/api/assets/{quote(address)}/saves")
    wide = max((len(row["id"]) for row in rows), default=0)
    for row in rows:
        size = f"{row['size']:>12,}" if row["size"] is not None else " " * 12
        told = f"{row['id']:<{wide}}  {row['kind']:<10}  {row['at'][:19]:<19}  {size}  {row['who']:<12}"
        print(f"{told}  {' '.join(row['comment'].split())}".rstrip())
    return 0
