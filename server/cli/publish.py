"""`run.py publish FILE`: freeze the present content as the next version. Prints the version alone.

`run.py publish DIR` publishes the image sequences of a folder where they lie: see publish_folder.
"""

from __future__ import annotations

import argparse

from server.cli import publish_folder
from server.cli.client import quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of


def run(options: argparse.Namespace) -> int:
    address = address_of(options).rstrip("/")
    if address.endswith("::."):
        address = address[:-1]  # a share's own folder
    with running_server(options, LONG_S) as server:
        if publish_folder.is_folder(server, options.file, address):
            return publish_folder.run(options, server, address)
        version = server.post(f"/api/assets/{quote(address)}/publish", {"comment": options.comment})
    print(version["version"])
    return 0
