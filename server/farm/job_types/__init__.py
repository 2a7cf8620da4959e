"""Job types: `config/job_types/*.json`, what a job of each needs and which commands its tasks become.

    settings   what a person may set, with types, limits and help
    commands   what there is to do, and how the words in it are filled in
    plan       stages, and from them the tasks of one job
    seal       that a job's commands are those that the farm itself wrote down

A file that makes no sense is told as a problem that names it and the key; the last good one stays.
docs/job-types.md describes the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk.errors import BadContent, BadInput, NotFound
from server.disk.settings import Settings
from server.disk.speech import say
from server.farm.failures import rules as failure_rules
from server.farm.job_types import commands, plan
from server.farm.job_types import settings as known_settings
from server.farm.job_types.plan import StagePlan
from server.farm.job_types.settings import Setting

HEAD_BYTES = 16
ROLES = ("student", "supervisor", "admin")
FRAMES = ("range", "one", "file")  # which frames a person says: any, one, or none since the file does
OUTPUTS = ("version", "scene")
_KEYS = frozenset(
    {
        *("title", "description", "suffixes", "magic", "programs", "requires", "simple_nodes", "outputs"),
        *("name", "timeout_s", "silence_s", "rules", "settings", "parameters", "commands", "stages"),
        *("for", "frames", "rank", "schema"),
    }
)


@dataclass(frozen=True)
class JobType:
    """What a job of this kind is made of."""

    ident: str
    title: str
    description: str
    rank: int  # of several that take a file the least is meant
    role: str  # who may submit one
    suffixes: tuple[str, ...]  # of files that it takes; none: any asset
    magic: tuple[bytes, ...]  # how such a file begins; none: not looked at
    frames: str
    outputs: tuple[str, ...]
    name: str
    timeout_s: float
    silence_s: float  # an attempt that says nothing for so long has hung; 0: may be silent
    rules: tuple[dict[str, Any], ...]  # what the last lines of a failed task mean
    settings: Mapping[str, Setting]
    stages: tuple[StagePlan, ...]

    @property
    def parameters(self) -> Mapping[str, Setting]:
        """The settings, by their older name."""
        return self.settings

    @property
    def programs(self) -> frozenset[str]:
        """What a node needs for the first stage."""
        kinds = (commands.COMMANDS[command["do"]].program for command in self.stages[0].commands)
        return frozenset({*self.stages[0].programs, *kinds} - {""})

    @property
    def requires(self) -> frozenset[str]:
        """Labels that a node must have for the first stage."""
        return frozenset(self.stages[0].requires)

    @property
    def simple_nodes(self) -> bool:
        """A node that takes no commands (RFAM's) can do the first stage."""
        return self.stages[0].simple

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
            raise BadContent(
                "{path} is not what its name says: {title} can't be made from it.",
                path=path.name,
                title=self.title,
            )

    def check_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings with their values; BadInput for one that isn't known or doesn't fit."""
        for name in given:
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise BadInput(
                    "{title} has no parameter {name} (it has {known}).",
                    title=self.title,
                    name=repr(str(name)[:60]),
                    known=known,
                )
        values = {
            name: setting.check(given[name]) if name in given else setting.default
            for name, setting in self.settings.items()
        }
        if any(command["do"] == "run" for stage in self.stages for command in stage.commands):
            for name, value in values.items():
                if self.settings[name].type == "text" and str(value or "").startswith("-"):
                    raise BadInput(
                        "{name} may not begin with a dash: the program would take it for more.", name=name
                    )
        return values

    def plan(
        self,
        values: Mapping[str, Any],
        frames: int,
        output: str,
        stem: str,
        lists: list[Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The stages of one job of it, as `job.json` keeps them."""
        return plan.plan(self.stages, values, frames, output, stem, lists)

    def view(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "id": self.ident,
            "title": self.title,
            "description": self.description,
            "suffixes": list(self.suffixes),
            "frames": self.frames,
            "outputs": list(self.outputs),
            "role": self.role,
            "settings": [setting.view() for setting in self.settings.values()],
            "stages": [
                {
                    "name": stage.name,
                    "title": stage.title,
                    "per": stage.per,
                    "optional": stage.optional,
                    "programs": sorted(stage.programs),
                }
                for stage in self.stages
            ],
        }


class JobTypes:
    """The types as configured now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: Mapping[str, dict[str, Any]] | None = None
        self._types: dict[str, JobType] = {}
        self._asked_for: tuple[object, frozenset[str]] = (None, frozenset())
        self.wrong: dict[str, str] = {}

    def all(self) -> dict[str, JobType]:
        """Ident -> type, those that are usually meant first."""
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
            ordered = sorted(types.items(), key=lambda item: (item[1].rank, item[0]))
            self._types, self.wrong, self._seen = dict(ordered), wrong, folder
        return self._types

    def asked_for(self) -> frozenset[str]:
        """The programs that these types name."""
        types = self.all()
        if self._asked_for[0] is not types:
            stages = (stage for one in types.values() for stage in one.stages)
            self._asked_for = types, frozenset(name for stage in stages for name in stage.programs)
        return self._asked_for[1]

    def get(self, ident: object) -> JobType:
        """One type; NotFound names those that there are."""
        found = self.all().get(ident) if isinstance(ident, str) else None
        if found is None:
            known = ", ".join(sorted(self.all()))
            raise NotFound(
                "There is no job type {ident}: there are {known}.", ident=repr(str(ident)[:60]), known=known
            )
        return found

    def for_file(self, name: str) -> JobType:
        """The type that this file is usually asked for; BadContent when none takes it by its name."""
        for job_type in self.all().values():
            if job_type.suffixes and job_type.takes(name):
                return job_type
        known = ", ".join(sorted({suffix for t in self.all().values() for suffix in t.suffixes}))
        raise BadContent(
            "{name} can't be rendered: the farm renders files that end in {known}.", name=name, known=known
        )

    def that_take(self, name: str) -> list[JobType]:
        """All types that a file of this name can be asked for, the usual one first."""
        return [job_type for job_type in self.all().values() if job_type.takes(name)]


def parse(ident: str, data: Mapping[str, Any]) -> JobType:
    """A type from its file; BadInput says which key of which file is wrong."""
    try:
        return _parse(ident, data)
    except BadInput as error:
        raise BadInput(
            "config/job_types/{ident}.json can't be used: {why}.", ident=ident, why=error.message.rstrip(".")
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(
            "config/job_types/{ident}.json can't be used: {why}.", ident=ident, why=repr(error)[:200]
        ) from error


def _parse(ident: str, data: Mapping[str, Any]) -> JobType:
    for key in data:
        if key not in _KEYS and not str(key).startswith("_"):
            raise BadInput("it has the unknown key {key}", key=repr(str(key)[:40]))
    told = data.get("settings", data.get("parameters", {}))
    if not isinstance(told, Mapping) or len(told) > known_settings.MAX_SETTINGS:
        raise BadInput("settings must be an object with one entry for each setting")
    settings: dict[str, Setting] = {}
    for name, one in told.items():
        if not commands.WORD.fullmatch(f"{{{name}}}") or name in (*commands.OF_JOB, *commands.ON_NODE):
            raise BadInput(
                "settings.{name}: a setting is called by small letters and _, and not {reserved}",
                name=str(name)[:40],
                reserved=", ".join(commands.OF_JOB),
            )
        settings[name] = known_settings.read(name, one, f"settings.{name}")
    stages = _stages(data, settings)
    texts = {key: data.get(key, []) for key in ("suffixes", "magic", "outputs", "rules")}
    for key, value in texts.items():
        if not isinstance(value, list):
            raise BadInput("{key} must be a list", key=key)
    for n, rule in enumerate(texts["rules"]):
        try:
            failure_rules.read([rule])
        except BadInput as error:
            raise BadInput("rules[{n}]: {why}", n=n, why=error.message) from None
    outputs = tuple(texts["outputs"]) or ("version",)
    for key, value, known in (
        ("for", data.get("for", "student"), ROLES),
        ("frames", data.get("frames", "range"), FRAMES),
        *(("outputs", output, OUTPUTS) for output in outputs),
    ):
        if value not in known:
            raise BadInput(
                "{key} must be one of {known}, not {value}",
                key=key,
                known=", ".join(known),
                value=repr(value),
            )
    for key in ("timeout_s", "silence_s", "rank"):
        value = data.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
            raise BadInput("{key} must be a number, not {value}", key=key, value=repr(value))
    return JobType(
        ident=ident,
        title=say(str(data.get("title", ident))),
        description=say(str(data.get("description", ""))),
        rank=int(data.get("rank", 100)),
        role=data.get("for", "student"),
        suffixes=tuple(str(suffix).lower() for suffix in texts["suffixes"]),
        magic=tuple(bytes.fromhex(start) for start in texts["magic"]),
        frames=data.get("frames", "range"),
        outputs=outputs,
        name=str(data.get("name", "{stem}.####")),
        timeout_s=float(data.get("timeout_s", 86_400)),
        silence_s=float(data.get("silence_s", 0)),
        rules=tuple(dict(rule) for rule in texts["rules"]),
        settings=settings,
        stages=stages,
    )


def _stages(data: Mapping[str, Any], settings: Mapping[str, Setting]) -> tuple[StagePlan, ...]:
    told = data.get("stages")
    if told is None:  # how types were written before there were stages
        keys = ("programs", "requires", "commands")
        told = [
            {**{key: data[key] for key in keys if key in data}, "simple": data.get("simple_nodes", False)}
        ]
        if "commands" not in data:
            raise BadInput("stages is missing")
    elif "commands" in data:
        raise BadInput("commands belong into the stages")
    if not isinstance(told, list) or not 0 < len(told) <= plan.MOST_STAGES:
        raise BadInput("stages must be a list of 1 to {most_stages} stages", most_stages=plan.MOST_STAGES)
    found: list[StagePlan] = []
    for n, one in enumerate(told):
        found.append(plan.read(one, f"stages[{n}]", settings, found))
    if found[0].optional:
        raise BadInput("stages[0].optional: a job needs a stage that is not optional")
    return tuple(found)
