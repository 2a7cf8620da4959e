"""`run.py serve`: the pages, the API and the farm, until a signal comes."""

from __future__ import annotations

import argparse

from server.cli import places


def run(options: argparse.Namespace) -> int:
    from server.web.serve import serve

    config, data = places.config_dir(options), places.data_dir(options)
    return serve(config, data, options.host, options.port, options.only)
