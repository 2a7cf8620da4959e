"""The prenode's configuration: RFAM's keys and a few more, from one JSON file. Read once, at start.

`load` gives a Config or raises ConfigError with one sentence that says what to mend.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple
from urllib.parse import urlsplit

MAX_BYTES = 1 << 20
# name -> (default, sentence). docs/prenode.md has the same list.
KEYS: Dict[str, Tuple[Any, str]] = {
    "name": ("", "What people call the place where the nodes run, such as \"lab\"."),
    "server": ("http://127.0.0.1:8080", "The server, or as http://host:8080/t/TOKEN."),
    "token": ("", "What `run.py token --node '*'` printed; for this program and its nodes."),
    "retry_time": (30, "Seconds until the server, or a node that failed, is tried again; longer each time."),
    "check_time": (10, "Seconds between two looks, at most."),
    "provides": ([], "Labels that every machine over there has."),
    "cmd": ("", "A command that starts %i nodes: alone, or for the engine \"command\"."),
    "engine": ("", "A file of engines/, such as \"slurm\", or a file of your own; empty: `cmd` alone."),
    "folder": ("", "A folder that this computer and those over there see under the same path."),
    "at_most": (100, "How many nodes wait and run over there at once, at most."),
    "node": ({}, "The configuration of the nodes over there: paths, blender, processes, and so on."),
    "python": ("python3", "Python 3.9 or newer over there."),
    "options": ([], "Further options of the engine's submit command, such as \"--partition=render\"."),
    "requirements": ({}, "Label -> options that ask for a machine with it; besides the engine's own."),
    "tries": (5, "After so many failures one after the other a job is tried once an hour only."),
}  # fmt: skip


class ConfigError(Exception):
    """The configuration can't be used; the message is one sentence."""


@dataclass
class Config:
    """What the configuration file said, defaults filled in."""

    file: Path
    name: str
    server: str
    token: str
    retry_time: float
    check_time: float
    provides: List[str]
    cmd: str
    engine: str
    folder: Path
    at_most: int
    node: Dict[str, Any]
    python: str
    options: List[str]
    requirements: Dict[str, List[str]]
    tries: int
    warnings: List[str] = field(default_factory=list)


def load(path: Path) -> Config:
    data = read_object(path)
    values = {key: data.get(key, default) for key, (default, _) in KEYS.items()}
    name = text(values, "name")
    if not name or len(name) > 60:
        raise ConfigError(f'{path.name}: "name" is missing: what people call the place, such as "lab"')
    engine = text(values, "engine")
    if engine and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
        raise ConfigError(f'{path.name}: "name" may have letters, digits, - and _ alone, at most 40')
    cmd = text(values, "cmd")
    if not engine and not cmd:
        raise ConfigError(f'{path.name} names no "engine" (such as "slurm") and no "cmd"')
    server = text(values, "server").rstrip("/")
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f'{path.name}: "server" must be like http://host:8080, not {server!r}')
    node = values["node"]
    if not isinstance(node, dict):
        raise ConfigError(f'{path.name}: "node" must be an object with a node\'s keys')
    warnings = [f"{path.name} has the unknown key {key!r}" for key in data if key not in KEYS]
    if values["token"] and path.stat().st_mode & 0o077:
        warnings.append(f"{path.name} holds a token and others may read it: chmod 600 {path}")
    folder = text(values, "folder")
    home = path.resolve().parent
    return Config(
        file=path,
        name=name,
        server=server,
        token=text(values, "token"),
        retry_time=number(values, "retry_time", 0.1, 86400),
        check_time=number(values, "check_time", 0.1, 86400),
        provides=words(values["provides"], "provides"),
        cmd=cmd,
        engine=engine,
        folder=(home / folder).resolve() if folder else home / f"{path.stem}.prenode",
        at_most=int(number(values, "at_most", 0, 100_000)),
        node=node,
        python=text(values, "python") or "python3",
        options=words(values["options"], "options"),
        requirements=options_of(values["requirements"], "requirements"),
        tries=int(number(values, "tries", 1, 1000)),
        warnings=warnings,
    )


def read_object(path: Path) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            data = json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        raise ConfigError(f"{path} isn't there; write one or name it with --config FILE") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} isn't valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a JSON object, {{…}}")
    return data


def text(values: Dict[str, Any], key: str) -> str:
    value = values[key]
    if not isinstance(value, str):
        raise ConfigError(f'"{key}" must be a text, not {value!r}')
    return value


def words(value: Any, key: str) -> List[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f'"{key}" must be a list of words')
    return list(value)


def options_of(value: Any, key: str) -> Dict[str, List[str]]:
    if not isinstance(value, dict):
        raise ConfigError(f'"{key}" must be like {{"gpu": ["--gres=gpu:1"]}}')
    return {str(label): words(options, key) for label, options in value.items()}


def number(values: Dict[str, Any], key: str, low: float, high: float) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f'"{key}" must be a number from {low:g} to {high:g}, not {value!r}')
    return float(value)
