"""`run.py prune`: the renders that the policy would put away; with --yes they go to `old/`."""

from __future__ import annotations

import argparse
from typing import Any

from server.cli.publish_folder import size_of
from server.cli.session import LONG_S, running_server


def run(options: argparse.Namespace) -> int:
    body: dict[str, Any] = {"yes": options.yes}
    if options.project:
        body["project"] = options.project
    with running_server(options, LONG_S) as server:
        found = server.post("/api/prune", body)
    if options.kept:
        for row in found["kept"]:
            print(f"stays  {row['address']}  {row['version']}  {row['why']}")
    for row in found["rows"]:
        size = f"{row['files']:,} {'file' if row['files'] == 1 else 'files'}, {size_of(row['bytes'])}"
        verb = "gone" if options.yes else "goes"
        print(f"{verb:<5}  {row['address']}  {row['version']}  {size}  {row['why']}")
    rows = len(found["rows"])
    told = f"{rows:,} {'version' if rows == 1 else 'versions'}, {size_of(found['bytes'])},"
    if options.yes and rows:
        print(f"{told} lie in old/ now. 'run.py purge --older-than 30d' frees their space.")
    elif rows:
        print(f"{told} would go to old/. Say --yes to do it.")
    else:
        print(f"Nothing would go; {len(found['kept']):,} versions stay.")
    return 0
