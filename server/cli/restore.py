"""`run.py restore FILE SAVE`: bring an earlier save back, or a deletion by its folder in `old/`.

What is there now is kept first; the id of what it became is printed, to undo it with.
"""

from __future__ import annotations

import argparse
import sys

from server.cli.client import quote
from server.cli.session import LONG_S, running_server
from server.cli.submit import address_of
from server.disk import intents, paths
from server.disk.errors import BadInput


def run(options: argparse.Namespace) -> int:
    address = address_of(options)
    if not options.save:
        folder, name = paths.split(address)
        if paths.name_of(folder) != paths.OLD or not intents.is_ident(name):
            raise BadInput(f"say which save: 'run.py saves {options.file}' lists them.")
    with running_server(options, LONG_S) as server:
        if not options.save:
            print(server.post("/api/restore", {"folder": address})["address"])
            return 0
        body = {"save": options.save, "beside": options.beside, "record": options.record}
        done = server.post(f"/api/assets/{quote(address)}/restore", body)
    print(done["address"] if done["beside"] else done["kept"])
    if not done["beside"]:
        kept = f"; what it was before is kept as {done['kept']}" if done["kept"] else ""
        print(f"{paths.name_of(address)} is back as it was{kept}.", file=sys.stderr)
    return 0
