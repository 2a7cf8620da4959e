"""Fixtures of the web wing's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import QUICK, House

from server.web.app import build


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A Croft of its own for one test."""
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    (config / "server.json").write_text(QUICK)
    croft = build(config, data)
    yield House(croft, config, data)
    croft.close()
