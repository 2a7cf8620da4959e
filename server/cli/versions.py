"""`run.py versions FILE`: its versions, newest first, one a line; `*` where `current` leads."""

from __future__ import annotations

import argparse

from server.cli.client import quote
from server.cli.session import running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    with running_server(options) as server:
        rows = server.all(f"/api/assets/{quote(address)}/versions", unapproved="1")
    hidden = 0
    wide = max((len(row["id"]) for row in rows), default=0)
    for row in rows:
        if row["kind"] == "render" and not (row["approved"] or options.unapproved):
            hidden += 1
            continue
        said = "approved" if row["approved"] else "rejected" if row.get("rejected") else "-"
        at, who = str(row.get("at") or row.get("created") or ""), str(row.get("who") or row.get("user") or "")
        mark = "*" if row.get("current") else " "
        told = f"{mark} {row['id']:<{wide}}  {said:<8}  {at[:19]:<19}  {who:<12}"
        print(f"{told}  {' '.join(str(row.get('comment') or '').split())}".rstrip())
    if hidden:
        print(f"{hidden} more that nobody approved: --unapproved lists them.")
    return 0
