"""Job types: `config/job_types/*.json`, what a job of each needs and which commands its tasks become.

A type says which files it takes, which parameters a person may give, which programs and labels a node
needs, and a list of commands in which `"{file}"`, `"{frame}"`, `"{seconds}"` … stand for values. A text
that is nothing but one such word takes the value as it is (numbers stay numbers, null stays null).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk.errors import BadContent, BadInput, NotFound
from server.disk.settings import Settings

_WORD = re.compile(r"\{([a-z_]+)\}")
MAX_TEXT = 1000  # characters of a text parameter
HEAD_BYTES = 16


@dataclass(frozen=True)
class Parameter:
    """One thing that a person may set when submitting."""

    name: str
    type: str  # text, number, whole or flag
    default: Any
    choices: tuple[Any, ...]
    least: float | None
    most: float | None

    def check(self, value: Any) -> Any:
        """The value, or BadInput with a sentence."""
        if value is None and (self.default is None or None in self.choices):
            return None
        if not self._fits(value):
            raise BadInput(f"{self.name} must be {_TYPE_WORDS[self.type]}, not {value!r}."[:300])
        if self.choices and value not in self.choices:
            known = ", ".join(str(choice) for choice in self.choices if choice is not None)
            raise BadInput(f"{self.name} must be one of {known}, not {value!r}."[:300])
        if self.least is not None and value < self.least:
            raise BadInput(f"{self.name} must be at least {self.least:g}, not {value}.")
        if self.most is not None and value > self.most:
            raise BadInput(f"{self.name} must be at most {self.most:g}, not {value}.")
        return value

    def _fits(self, value: Any) -> bool:
        if self.type == "flag":
            return isinstance(value, bool)
        if self.type == "text":
            return isinstance(value, str) and len(value) <= MAX_TEXT and "\0" not in value
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole if self.type == "whole" else whole or (isinstance(value, float) and abs(value) < 1e15)


_TYPE_WORDS = {"text": "text", "number": "a number", "whole": "a whole number", "flag": "true or false"}


@dataclass(frozen=True)
class JobType:
    """What a job of this kind is made of."""

    ident: str
    title: str
    description: str
    suffixes: tuple[str, ...]  # of files that it takes; none: any asset
    magic: tuple[bytes, ...]  # how such a file begins; none: not looked at
    programs: frozenset[str]
    requires: frozenset[str]
    simple_nodes: bool  # a node that takes no commands (RFAM's) can do it
    outputs: tuple[str, ...]
    name: str
    timeout_s: float
    parameters: Mapping[str, Parameter]
    commands: tuple[dict[str, Any], ...]

    def takes(self, name: str) -> bool:
        """Is a file of this name one that it can be asked for?"""
        return not self.suffixes or name.lower().endswith(self.suffixes)

    def check_file(self, path: Path) -> None:
        """BadContent when the file can't be what its name says."""
        if not self.magic:
            return
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if not head.startswith(self.magic):
            raise BadContent(f"{path.name} is not what its name says: {self.title} can't be made from it.")

    def check_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values; BadInput for one that isn't known or doesn't fit."""
        for name in given:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise BadInput(f"{self.title} has no parameter {str(name)[:60]!r} (it has {known}).")
        return {
            name: parameter.check(given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }

    def fill(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The commands of one task."""
        return fill(self.commands, values)


def fill(commands: Iterable[dict[str, Any]], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Commands with each word replaced by what it stands for."""
    return [_fill(command, values) for command in commands]


def _fill(thing: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(thing, str):
        whole = _WORD.fullmatch(thing)
        if whole and whole[1] in values:
            return values[whole[1]]
        return _WORD.sub(lambda found: str(values.get(found[1], found[0])), thing)
    if isinstance(thing, dict):
        return {key: _fill(value, values) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_fill(value, values) for value in thing]
    return thing


class JobTypes:
    """The types as configured now. A file that makes no sense is told as a problem and left out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: Mapping[str, dict[str, Any]] | None = None
        self._types: dict[str, JobType] = {}
        self.wrong: dict[str, str] = {}

    def all(self) -> dict[str, JobType]:
        """Ident -> type."""
        folder = self._settings.folder("job_types")
        if folder is not self._seen:
            types: dict[str, JobType] = {}
            wrong: dict[str, str] = {}
            for ident, data in folder.items():
                try:
                    types[ident] = parse(ident, data)
                except BadInput as error:
                    wrong[ident] = error.message
                    if ident in self._types:
                        types[ident] = self._types[ident]
            self._types, self.wrong, self._seen = types, wrong, folder
        return self._types

    def get(self, ident: object) -> JobType:
        """One type; NotFound names those that there are."""
        found = self.all().get(ident) if isinstance(ident, str) else None
        if found is None:
            known = ", ".join(sorted(self.all()))
            raise NotFound(f"There is no job type {str(ident)[:60]!r}: there are {known}.")
        return found

    def for_file(self, name: str) -> JobType:
        """The type that this file is usually asked for; BadContent when none takes it by its name."""
        for _, job_type in sorted(self.all().items()):
            if job_type.suffixes and job_type.takes(name):
                return job_type
        known = ", ".join(sorted({suffix for t in self.all().values() for suffix in t.suffixes}))
        raise BadContent(f"{name} can't be rendered: the farm renders files that end in {known}.")


def parse(ident: str, data: Mapping[str, Any]) -> JobType:
    """A type from its file; BadInput says what is wrong with it."""
    try:
        parameters = {
            name: Parameter(
                name,
                str(told.get("type", "text")),
                told.get("default"),
                tuple(told.get("choices", ())),
                told.get("least"),
                told.get("most"),
            )
            for name, told in dict(data.get("parameters", {})).items()
        }
        commands = tuple(dict(command) for command in data["commands"])
        job_type = JobType(
            ident=ident,
            title=str(data.get("title", ident)),
            description=str(data.get("description", "")),
            suffixes=tuple(str(suffix).lower() for suffix in data.get("suffixes", ())),
            magic=tuple(bytes.fromhex(start) for start in data.get("magic", ())),
            programs=frozenset(map(str, data.get("programs", ()))),
            requires=frozenset(map(str, data.get("requires", ()))),
            simple_nodes=bool(data.get("simple_nodes", False)),
            outputs=tuple(map(str, data.get("outputs", ("version",)))),
            name=str(data.get("name", "{stem}.####")),
            timeout_s=float(data.get("timeout_s", 86_400)),
            parameters=parameters,
            commands=commands,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"The job type {ident} can't be used: {error!r}.") from error
    for parameter in parameters.values():
        if parameter.type not in _TYPE_WORDS:
            raise BadInput(f"The job type {ident} has a parameter of unknown type {parameter.type!r}.")
    return job_type
