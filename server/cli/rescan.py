"""`run.py rescan`: the running server looks at every file again, or at those of one share."""

from __future__ import annotations

import argparse

from server.cli.session import running_server


def run(options: argparse.Namespace) -> int:
    with running_server(options) as server:
        server.post("/api/rescan", {"share": options.share} if options.share else {})
    print(f"Looked at {'share ' + options.share if options.share else 'all shares'} again.")
    return 0
