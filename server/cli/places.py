"""Where a command finds the configuration and the share, and how it names them to a person."""

from __future__ import annotations

import argparse
from pathlib import Path

from server.disk.mounts import chosen_data
from server.disk.settings import Settings

CLONE = Path(__file__).resolve().parents[2]


def config_dir(options: argparse.Namespace) -> Path:
    return Path(options.config or CLONE / "var" / "config").expanduser().resolve()


def data_dir(options: argparse.Namespace) -> Path:
    """Where the share `data` lies: as --data says, else as `run.py setup pool` chose, else var/data."""
    named = getattr(options, "data", None)
    if named:
        return Path(named).expanduser().resolve()
    return chosen_data(settings(options), CLONE / "var" / "data")


def settings(options: argparse.Namespace) -> Settings:
    return Settings(config_dir(options))
