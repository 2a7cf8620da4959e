"""`run.py approve FILE VERSION`: approve a version, reject it, or take that back."""

from __future__ import annotations

import argparse
from urllib.parse import quote as quote_part

from server.cli.client import quote
from server.cli.session import running_server
from server.cli.submit import address_of
from server.disk.errors import BadInput


def run(options: argparse.Namespace) -> int:
    if options.reject and options.undo:
        raise BadInput("say --reject or --undo, not both.")
    address = address_of(options)
    body = {"approved": not (options.reject or options.undo), "rejected": options.reject}
    path = f"/api/assets/{quote(address)}/versions/{quote_part(options.version, safe='')}"
    with running_server(options) as server:
        row = server.patch(path, {**body, "comment": options.comment})
    said = (
        "approved" if row["approved"] else "rejected" if row["rejected"] else "neither approved nor rejected"
    )
    print(f"{row['id']} is {said}.")
    return 0
