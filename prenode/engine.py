"""An engine: somebody else's scheduler, spoken with by commands that a JSON file names.

Knows how to fill in the templates, run them with a time limit, and read what they print. It decides nothing
and remembers nothing. Whatever goes wrong is an EngineError with one sentence; after one from `submit` the
nodes may have been started all the same, and only a listing can tell.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from .config import ConfigError, options_of, read_object, words

ENGINES = Path(__file__).with_name("engines")
TIMEOUT_S = 60.0  # a scheduler that is being started anew may take long to answer
MAX_OUTPUT_BYTES = 32 << 20
IDS_AT_ONCE = 200  # in one command line
# What an engine's words for a job's state may be mapped to; "over": it ended by its time limit.
STATES = ("waiting", "running", "done", "over", "failed", "cancelled", "lost")
# key -> (kind, sentence); docs/prenode.md has the same list.
KEYS: Dict[str, Tuple[type, str]] = {
    "title": (str, "What people call it."),
    "submit": (list, "The command that starts an array of {count} nodes."),
    "id": (str, "A regular expression for what `submit` prints; its first group is the id."),
    "most": (int, "How many nodes one `submit` may start."),
    "index": (str, "The environment variable that tells a node its number in the array."),
    "list": (list, "The command that lists what waits, runs and has ended."),
    "line": (str, "A regular expression for an entry: id, name, state; index, host, why if they are told."),
    "one": (str, "How one node of an array is named: \"{id}_{index}\"."),
    "cancel": (list, "The command that takes {ids} back, whether they wait or run."),
    "cancel_waiting": (list, "The same for those alone that still wait."),
    "states": (dict, "The engine's words for states -> " + ", ".join(STATES) + "."),
    "reasons": (dict, "The engine's words for reasons -> what they mean."),
    "requirements": (dict, "Label -> options that ask for a machine with it; memory_mb has a {value}."),
    "machines": (list, "The command that lists the machines."),
    "machine": (str, "A regular expression for one of them: machine; state and why if they are told."),
    "usable": (str, "A regular expression for the states in which a machine takes work."),
    "on_machine": (list, "Options that ask for one {machine}."),
}  # fmt: skip


class EngineError(Exception):
    """What the engine said, or that it said nothing, as a sentence."""


@dataclass(frozen=True)
class Item:
    """One node as the engine lists it."""

    id: str  # of its array
    index: int
    name: str
    state: str
    why: str
    host: str


@dataclass(frozen=True)
class Machine:
    """One computer over there."""

    name: str
    usable: bool
    why: str


class Engine:
    """`words` are the JSON file's; `given` is what every template may name, such as {folder}."""

    def __init__(
        self,
        told: Dict[str, Any],
        given: Mapping[str, str],
        options: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.title: str = told["title"]
        self.most: int = told.get("most", 1000)
        self.index: str = told.get("index", "")
        self.lists = bool(told.get("list"))
        self.cancels = bool(told.get("cancel"))
        self.spares_running = bool(told.get("cancel_waiting"))  # what has begun just then isn't hit
        self.requirements: Dict[str, List[str]] = told.get("requirements", {})
        self.needs_cmd = any("{cmd}" in part for part in told["submit"])
        self.knows_machines = bool(told.get("machines"))
        self._told = told
        self._options = list(options)
        self._given = {"user": user_name(), **given}
        self._timeout_s = timeout_s
        self._line = re.compile(told.get("line", "$^"), re.MULTILINE)
        self._states: Dict[str, str] = told.get("states", {})

    # -- what it does

    def submit(
        self, count: int, batch: Mapping[str, str], options: Sequence[str], keep_open: Sequence[int] = ()
    ) -> str:
        """Start this many nodes; the engine's id. `keep_open`: file numbers that the command inherits."""
        given = {**batch, "count": str(count)}
        if "cmd" in self._given:
            given["cmd"] = with_count(self._given["cmd"], count)
        argv = self._argv("submit", given, {"options": [*self._options, *options]})
        environment = {**os.environ, **{f"CROFT_{name.upper()}": text for name, text in given.items()}}
        text = self._run(argv, environment, keep_open)
        found = re.search(self._told["id"], text, re.MULTILINE)
        return found.group(1) if found else ""

    def list(self, prefix: str) -> List[Item]:
        """All that wait, run, or have ended lately, whose name begins so."""
        text = self._run(self._argv("list", {}, {}))
        return [item for item in self._items(text) if item.name.startswith(prefix)]

    def cancel(self, ids: Sequence[Tuple[str, int]], waiting: bool) -> None:
        """Take them back; `waiting`: those alone that haven't begun, where the engine can tell."""
        key = "cancel_waiting" if waiting and self._told.get("cancel_waiting") else "cancel"
        names = [self.one(*item) for item in ids]
        for at in range(0, len(names), IDS_AT_ONCE):
            self._run(self._argv(key, {}, {"ids": names[at : at + IDS_AT_ONCE]}))

    def machines(self) -> List[Machine]:
        text = self._run(self._argv("machines", {}, {}))
        found: Dict[str, Machine] = {}
        for match in re.finditer(self._told["machine"], text, re.MULTILINE):
            told = match.groupdict(default="")
            state, why = told.get("state", ""), told.get("why", "")
            usable = bool(re.search(self._told.get("usable", ""), state))
            name = told["machine"].strip()
            # A machine may stand in several queues: it is usable if it is so in one.
            if name not in found or usable:
                found[name] = Machine(name, usable, f"{state}: {why}" if why not in ("", "none") else state)
        return list(found.values())

    def on_machine(self, machine: str) -> List[str]:
        return [part.replace("{machine}", machine) for part in self._told.get("on_machine", [])]

    def one(self, ident: str, index: int) -> str:
        """The engine's name for one node of an array."""
        shape: str = self._told.get("one", "{id}")
        return shape.replace("{id}", ident).replace("{index}", str(index))

    # -- helpers

    def _items(self, text: str) -> Iterator[Item]:
        for match in self._line.finditer(text):
            told = match.groupdict(default="")
            word = told["state"].strip()
            state = self._states.get(word, "running")
            why = told.get("why", "").strip()
            why = "" if why in ("None", "(null)") else self._plain(why)
            if word not in self._states:
                why = word
            for index in numbers(told.get("index", "")):
                yield Item(told["id"], index, told["name"].strip(), state, why, told.get("host", "").strip())

    def _plain(self, why: str) -> str:
        """The engine's word for a reason, with what it means before it, where the file tells that."""
        meant: str = self._told.get("reasons", {}).get(re.split(r"\W", why, maxsplit=1)[0], "")
        return f"{meant} ({why})" if meant else why

    def _argv(self, key: str, given: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> List[str]:
        known = {**self._given, **given}
        argv: List[str] = []
        for part in self._told[key]:
            if part.startswith("{") and part[1:-1] in lists:
                argv += lists[part[1:-1]]
            else:
                argv.append(re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), part))
        return argv

    def _run(
        self, argv: Sequence[str], environment: Optional[Dict[str, str]] = None, keep_open: Sequence[int] = ()
    ) -> str:
        """What the command prints. It has a group of its own, so that a time limit ends its children too."""
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                pass_fds=tuple(keep_open),
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"{argv[0]} can't be run: {(error.strerror or str(error)).lower()}") from None
        try:
            out, errors = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            end_group(process)
            raise EngineError(f"{argv[0]} didn't answer within {self._timeout_s:g} seconds") from None
        if process.returncode:
            said = errors.decode("utf-8", "replace").strip().splitlines()
            raise EngineError(said[-1][:300] if said else f"{argv[0]} ended with code {process.returncode}")
        return out[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")


def load(name: str, given: Mapping[str, str], options: Sequence[str], home: Path) -> Engine:
    """The engine of this name, or of this JSON file (its path from the configuration's folder)."""
    shipped = ENGINES / f"{name}.json"
    path = shipped if "/" not in name and shipped.exists() else home / name
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in ENGINES.glob("*.json")))
        raise ConfigError(f'"engine" is {name!r}: neither one of {known}, nor a file')
    told = read_object(path)
    for key, value in told.items():
        if key not in KEYS:
            raise ConfigError(f"{path.name} has the unknown key {key!r}")
        if not isinstance(value, KEYS[key][0]):
            raise ConfigError(f"{path.name}: {key!r} must be a {KEYS[key][0].__name__}")
    for key in ("title", "submit", "id"):
        if not told.get(key):
            raise ConfigError(f"{path.name} lacks {key!r}")
    if told.get("list") and not {"line", "states"} <= set(told):
        raise ConfigError(f"{path.name} has 'list' but not 'line' and 'states'")
    for key in ("submit", "list", "cancel", "cancel_waiting", "machines", "on_machine"):
        words(told.get(key, []), key)
    options_of(told.get("requirements", {}), "requirements")
    strange = sorted(set(map(str, told.get("states", {}).values())) - set(STATES))
    if strange:
        raise ConfigError(f"{path.name}: {strange[0]!r} is no state; they are {', '.join(STATES)}")
    for key, group in (("id", None), ("line", "name"), ("machine", "machine"), ("usable", None)):
        try:
            groups = re.compile(told.get(key, "()(?P<name>)(?P<machine>)")).groupindex
        except re.error as error:
            raise ConfigError(f"{path.name}: {key!r} isn't a regular expression: {error}") from None
        if group is not None and group not in groups:
            raise ConfigError(f"{path.name}: {key!r} must have the group (?P<{group}>…)")
    return Engine(told, given, options)


def with_count(cmd: str, count: int) -> str:
    """RFAM's way to say how many: %i, and %% for a percent sign. One that counts nothing stays as it is."""
    try:
        return cmd % count
    except (TypeError, ValueError):
        return cmd


def numbers(text: str) -> List[int]:
    """The members of an array that an entry stands for: "3", "1-4:1,7", "2-9%4"; without any: 1."""
    found: List[int] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+)(?::(\d+))?)?\s*", part)
        if match:
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            found += range(first, min(last, first + 100_000) + 1, max(1, step))
    return found or [1]


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def end_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
