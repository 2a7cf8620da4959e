"""`run.py rescan`: the running server looks at every file again, or at those of one share."""

from __future__ import annotations

import argparse

from server.cli.session import running_server

SHOWN = 10


def run(options: argparse.Namespace) -> int:
    with running_server(options) as server:
        answer = server.post("/api/rescan", {"share": options.share} if options.share else {})
    found = answer.get("changed", [])
    print(f"Looked at {'share ' + options.share if options.share else 'all shares'} again.")
    if found:
        print(
            f"Not as they were known before: {', '.join(found[:SHOWN])}{', …' if len(found) > SHOWN else ''}"
        )
    return 0
