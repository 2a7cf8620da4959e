"""The node's configuration: RFAM's keys and a few more, from one JSON file. Read once, at start.

`load` gives a Config or raises ConfigError with one sentence that says what to mend.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple
from urllib.parse import urlsplit

from .output import known_secrets

MARKER = ".croft-share.json"
MAX_BYTES = 1 << 20
KNOWN_PROGRAMS = ("ffmpeg", "Render", "hython", "Nuke", "nuke", "prman")  # looked for on PATH
# name -> (default, sentence). docs/configuration.md has the same list.
KEYS: Dict[str, Tuple[Any, str]] = {
    "name": ("", "The node's name; empty: the computer's."),
    "server": ("http://127.0.0.1:8080", "The server, or as http://host:8080/t/TOKEN; or a list of them."),
    "token": ("", "What `run.py token --node NAME` printed; empty: it asks to be admitted."),
    "paths": ("paths", "Where shares are: {\"data\": \"/mnt/data\"}, or a folder of {ident, path} files."),
    "processes": ([0], "One slot for each entry: threads of its renderer, 0: all cores; or {\"gpu\": 0}."),
    "provides": ([], "What this computer has that jobs may require, such as \"gpu\"."),
    "blender": ("", "Blender's program; \"bpy\": the Python package; empty: whichever is found first."),
    "programs": ({}, "Other renderers and where they are: {\"Render\": \"/opt/maya/bin/Render\"}."),
    "python": ("", "The Python that has the package bpy; empty: the one that runs the node."),
    "scripting": (None, "Whether scenes may run their scripts; null: as Blender's preferences say."),
    "nice": (0, "How much the renderer steps back for other programs, 0 to 19."),
    "tick": (0, "Seconds an idle node waits at least before it asks again."),
    "jitter": (0.1, "Part by which waiting times vary, so that many nodes don't ask at once."),
    "single_use": (False, "End when there is nothing more to do, as on a cluster."),
    "memory_mb": (0, "A renderer that holds more is started afresh; 0: its part of two thirds of all."),
    "idle_only": (False, "Take no work while somebody is at this computer's keyboard."),
    "idle_minutes": (5, "For how long nobody must have touched it."),
    "when_used": ("", "What a renderer does meanwhile: suspend, lower, give back, or go on."),
    "idle_command": ("", "A program that prints the seconds since somebody touched this computer."),
    "allow_shutdown": (False, "Whether the server may shut this computer down when there is no work."),
    "shutdown_command": ("systemctl poweroff", "What does it."),
    "update": (True, "Whether the server may bring this program up to date."),
    "spool": ("", "Where results wait for a server that is away; empty: beside the configuration."),
}  # fmt: skip


known_to_fail: Set[str] = set()  # commands that were to shut this computer down and didn't


class ConfigError(Exception):
    """The configuration can't be used; the message is one sentence."""


WHEN_USED = ("suspend", "lower", "give back", "go on")


@dataclass(frozen=True)
class Seat:
    """What one slot's renderer may use."""

    threads: int = 0  # 0: all cores
    gpu: Optional[int] = None  # the one that it sees; None: it isn't kept from any

    def environment(self) -> Dict[str, str]:
        """How a renderer is told of its GPU: NVIDIA's, AMD's and Intel's ways."""
        if self.gpu is None:
            return {}
        names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
        return {
            **dict.fromkeys(names, str(self.gpu)),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "ONEAPI_DEVICE_SELECTOR": f"level_zero:{self.gpu}",
        }


@dataclass
class Config:
    """What the configuration file said, defaults filled in."""

    file: Path
    name: str
    servers: List[Tuple[str, str]]  # address and token of each
    token: str
    shares: Dict[str, Path]
    processes: List[Seat]
    provides: List[str]
    blender: str
    python: str
    programs: Dict[str, str]
    scripting: Optional[bool]
    nice: int
    tick: float
    jitter: float
    single_use: bool
    memory_mb: int
    idle_only: bool
    idle_minutes: float
    when_used: str
    idle_command: str
    allow_shutdown: bool
    shutdown_command: str
    update: bool
    spool: Path
    warnings: List[str] = field(default_factory=list)

    @property
    def server(self) -> str:
        """The first server's address."""
        return self.servers[0][0]

    def mounted(self) -> Dict[str, str]:
        """The shares that are here now, each with the id on its marker. One without a marker isn't."""
        found = {}
        for name, root in self.shares.items():
            try:
                with open(root / MARKER, encoding="utf-8-sig") as file:
                    found[name] = str(json.loads(file.read(MAX_BYTES))["id"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def local(self, address: str) -> Path:
        """Where a file of a share lies on this computer. Raises ValueError for what lies nowhere."""
        share, mark, inside = address.partition("::")
        if not mark or share not in self.shares:
            raise ValueError(f"{address} lies on a share that this node doesn't have")
        parts = Path(inside).parts
        if ".." in parts or inside.startswith("/") or "\0" in inside:
            raise ValueError(f"{address} leads out of its share")
        return self.shares[share].joinpath(*parts)


def load(path: Path) -> Config:
    data = read_object(path)
    warnings = [f"{path.name} has the unknown key {key!r}" for key in data if key not in KEYS]
    values = {key: data.get(key, default) for key, (default, _) in KEYS.items()}
    servers = read_servers(values["server"], text(values, "token"), path.name)
    folder = path.resolve().parent
    shares = read_shares(values["paths"], folder, path.name)
    processes = read_seats(values["processes"], path.name)
    provides = values["provides"]
    if not isinstance(provides, list) or not all(isinstance(item, str) for item in provides):
        raise ConfigError(f'{path.name}: "provides" must be a list of words')
    when_used = text(values, "when_used") or ("suspend" if values["idle_only"] else "go on")
    if when_used not in WHEN_USED:
        raise ConfigError(f'{path.name}: "when_used" must be one of {", ".join(WHEN_USED)}')
    if values["scripting"] not in (None, True, False):
        raise ConfigError(f'{path.name}: "scripting" must be true, false or null')
    spool = text(values, "spool")
    name = text(values, "name") or socket.gethostname().partition(".")[0] or "node"
    if values["single_use"] and not data.get("name"):
        name = f"{name}-{os.getpid()}"  # several may run on one machine of a cluster
    return Config(
        file=path,
        name=name,
        servers=servers,
        token=text(values, "token"),
        shares=shares,
        processes=processes,
        provides=provides,
        blender=text(values, "blender"),
        python=text(values, "python"),
        programs=find_programs(values["programs"], path.name),
        scripting=values["scripting"],
        nice=int(number(values, "nice", 0, 19)),
        tick=number(values, "tick", 0, 3600),
        jitter=number(values, "jitter", 0, 1),
        single_use=bool(values["single_use"]),
        memory_mb=int(number(values, "memory_mb", 0, 1 << 30)),
        idle_only=bool(values["idle_only"]),
        idle_minutes=number(values, "idle_minutes", 0, 24 * 60),
        when_used=when_used,
        idle_command=text(values, "idle_command"),
        allow_shutdown=values["allow_shutdown"] is True
        and text(values, "shutdown_command") not in known_to_fail,
        shutdown_command=text(values, "shutdown_command"),
        update=values["update"] is not False,
        spool=(folder / spool) if spool else folder / f"{path.stem}.spool",
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


def find_programs(configured: Any, name: str) -> Dict[str, str]:
    """The renderers and tools besides Blender that are here: those configured, and those that are found."""
    if not isinstance(configured, dict) or not all(isinstance(path, str) for path in configured.values()):
        raise ConfigError(f'{name}: "programs" must be like {{"Render": "/opt/maya/bin/Render"}}')
    found = {program: path for program in KNOWN_PROGRAMS if (path := shutil.which(program))}
    return {**found, **{str(program): path for program, path in configured.items()}}


def find_program(name: str) -> str:
    """Where a program that a job type names lies on this computer's path; "": nowhere."""
    return shutil.which(name) or "" if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name) else ""


def read_shares(paths: Any, folder: Path, name: str) -> Dict[str, Path]:
    if isinstance(paths, dict):
        if not all(isinstance(root, str) and root for root in paths.values()):
            raise ConfigError(f'{name}: each of "paths" must be a folder\'s path')
        return {str(ident): (folder / root).resolve() for ident, root in paths.items()}
    if not isinstance(paths, str):
        raise ConfigError(f'{name}: "paths" must be an object or the name of a folder')
    shares = {}
    for file in sorted((folder / paths).glob("*.json")):
        data = read_object(file)
        if not isinstance(data.get("path"), str):
            raise ConfigError(f'{file} must hold {{"ident": …, "path": …}}')
        shares[str(data.get("ident") or file.stem)] = (file.parent / data["path"]).resolve()
    return shares


def read_servers(told: Any, token: str, name: str) -> List[Tuple[str, str]]:
    """One address, or several; each may be {"url", "token"} with a token of its own."""
    servers: List[Tuple[str, str]] = []
    for item in told if isinstance(told, list) else [told]:
        url, own = (item.get("url"), item.get("token")) if isinstance(item, dict) else (item, None)
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or not isinstance(url, str):
            raise ConfigError(f'{name}: "server" must be like http://host:8080, not {url!r}')
        if own is not None and not isinstance(own, str):
            raise ConfigError(f'{name}: the "token" of {url} must be a text')
        known_secrets.add(own or token)
        if url.rstrip("/") not in [known for known, _ in servers]:
            servers.append((url.rstrip("/"), own or token))
    if not servers:
        raise ConfigError(f'{name}: "server" must be like http://host:8080, not an empty list')
    return servers


def read_seats(told: Any, name: str) -> List[Seat]:
    """The slots: `2`, `[4, 4]`, `[{"gpu": 0}, {"gpu": 1, "threads": 2}]`."""
    if isinstance(told, int) and not isinstance(told, bool):
        told = [0] * told
    seats: List[Seat] = []
    for item in told if isinstance(told, list) else []:
        if isinstance(item, dict):
            threads, gpu = item.get("threads", 0), item.get("gpu")
            known = (
                not set(item) - {"threads", "gpu"} and is_count(threads) and (gpu is None or is_count(gpu))
            )
        else:
            threads, gpu, known = item, None, is_count(item)
        if not known:
            seats.clear()
            break
        seats.append(Seat(threads, gpu))
    if not seats:
        text = 'must be a list of thread counts such as [4] or [2, 2], or of {"gpu": 0, "threads": 2}'
        raise ConfigError(f'{name}: "processes" {text}')
    return seats


def text(values: Dict[str, Any], key: str) -> str:
    value = values[key]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f'"{key}" must be a text, not {value!r}')
    return value


def number(values: Dict[str, Any], key: str, low: float, high: float) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f'"{key}" must be a number from {low:g} to {high:g}, not {value!r}')
    return float(value)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1024


@dataclass(frozen=True)
class Program:
    """How Blender is started here: its program, or a Python that can import `bpy`."""

    argv: Tuple[str, ...]
    package: bool


def find_blender(config: Config) -> Optional[Program]:
    """The configured Blender, else the one on PATH, else the package. Configured and absent is an error."""
    wanted = config.blender
    python = config.python or sys.executable
    if wanted == "bpy":
        if not config.python and find_spec("bpy") is None:
            raise ConfigError(f'{python} has no package bpy; install it or set "python"')
        return Program((python,), package=True)
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise ConfigError(f"there is no Blender at {wanted}")
        return Program((found,), package=False)
    found = shutil.which("blender")
    if found:
        return Program((found,), package=False)
    if find_spec("bpy") is not None:
        return Program((python,), package=True)
    return None
