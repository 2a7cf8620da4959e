"""`run.py where`: which rule decides, and what others would, before anybody writes them down."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import run
from server.cli import where
from server.disk.errors import BadInput

RULES = {"rules": [{"if": {"project": "x"}, "then": "never-elsewhere"}, {"then": "both", "at_most_nodes": 9}]}
NOW = {"here": True, "elsewhere": 0, "reason": "it is rendered here", "rule": 1}
THEN = {"here": False, "elsewhere": 4, "reason": "it is rendered elsewhere alone", "rule": 2}
ROW = {"job": "j1", "name": "sh010", "project": None, "waiting": 5, "hours": None, "now": NOW, "then": THEN}


class Server:
    """What the command asks, and what it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        return {"jobs": [ROW], "wrong": [], "queue_hours": None, "node_hours_today": 1.25}

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return {"jobs": [ROW], "wrong": ["rule 3: no"], "queue_hours": 2.5, "node_hours_today": 0}


def options(config: Path, *words: str) -> argparse.Namespace:
    return run.command_line().parse_args(["where", "--config", str(config), *words])


def test_what_is_not_there_can_be_supposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "where.json").write_text(json.dumps(RULES))
    assert where.run(options(tmp_path, "--suppose", "project=green,frames=60,slots=2")) == 0
    assert capsys.readouterr().out == "here, 9 elsewhere (rule 2: it is rendered here and elsewhere)\n"
    assert where.run(options(tmp_path, "--suppose", "project=x, frames=60")) == 0
    assert capsys.readouterr().out.startswith("here, 0 elsewhere (rule 1: ")
    other = tmp_path / "new.json"
    other.write_text('{"rules": [{"if": {"queue_hours_over": 2}, "then": "overflow"}, {"then": "mars"}]}')
    facts = "hours=5,seconds=600,frames=60,requires=gpu+big"  # the queue is as long, at least
    assert where.run(options(tmp_path, "--rules", str(other), "--suppose", facts)) == 1
    told = capsys.readouterr()
    assert "here, 3 elsewhere (rule 1" in told.out
    assert "rule 2: then must be one of" in told.err
    for wrong in ("colour=red", "hours=many", "project"):
        with pytest.raises(BadInput):
            where.run(options(tmp_path, "--suppose", wrong))
    for text in ("[", "[]"):
        other.write_text(text)
        with pytest.raises(BadInput):
            where.run(options(tmp_path, "--rules", str(other)))


def test_the_server_is_asked_of_its_open_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()

    @contextmanager
    def running(options: argparse.Namespace) -> Iterator[Server]:
        yield server

    monkeypatch.setattr(where, "running_server", running)
    assert where.run(options(tmp_path)) == 0
    told = capsys.readouterr().out
    assert "j1  sh010 (no project, 5 waiting)\n    now   here, 0 elsewhere (rule 1: " in told
    assert "then" not in told
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    assert where.run(options(tmp_path, "j1", "--rules", str(rules))) == 1
    told = capsys.readouterr().out
    assert "    then  not here, 4 elsewhere (rule 2: " in told
    assert "busy for 2.5 hours" in told
    assert server.asked == ["/api/farm/where", ("/api/farm/where", RULES)]
    with pytest.raises(BadInput):
        where.run(options(tmp_path, "j2"))
