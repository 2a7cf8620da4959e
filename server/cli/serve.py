"""`run.py serve`: the pages, the API and the farm, until a signal comes."""

from __future__ import annotations

import argparse

from server.cli import places


def run(options: argparse.Namespace) -> int:
    from server.web.serve import serve

    config = places.config_dir(options)
    data = places.data_dir(options) if options.data else None  # else as it was chosen in the configuration
    return serve(config, data, options.host, options.port, options.only)
