"""From a job type and what a person set to the stages of one job, as `job.json` keeps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say
from server.farm import stages
from server.farm.job_types import commands as known_commands
from server.farm.job_types.commands import COMMANDS, WORD

_KEYS = frozenset(
    {
        *("name", "title", "per", "chunk", "tiles", "after", "if", "least_frames", "outputs", "programs"),
        *("requires", "memory_mb", "commands", "optional", "simple", "writes", "parts", "allow"),
    }
)
PER = ("frame", "chunk", "tile", "once", "list")
MOST_STAGES = 20


@dataclass(frozen=True)
class StagePlan:
    """One stage as a job type tells it."""

    name: str
    title: str
    per: str
    chunk: Any  # a number, or the setting that says it as "{chunk_size}"
    tiles: tuple[Any, Any]
    after: tuple[dict[str, str], ...]
    condition: str  # the setting that must be on, "" for none
    least_frames: int
    outputs: tuple[str, ...]  # for jobs with such an output alone; none: for all
    programs: tuple[str, ...]
    requires: tuple[str, ...]
    memory_mb: Any
    commands: tuple[dict[str, Any], ...]
    optional: bool
    simple: bool  # RFAM's node can do it
    writes: str  # the names of what it makes, `####` for the frame
    parts: bool  # what it makes is for later stages alone, and goes when the job is done
    allow: tuple[str, ...]  # programs that a list of commands may name


def read(told: Any, place: str, settings: Mapping[str, Any], before: list[StagePlan]) -> StagePlan:
    """A stage from a type's file; BadInput names the key that is wrong."""
    if not isinstance(told, Mapping):
        raise BadInput("{place} must be an object in braces", place=place)
    for key in told:
        if key not in _KEYS and not str(key).startswith("_"):
            raise BadInput(
                "{place} has no key {key}: it may have {keys}",
                place=place,
                key=repr(str(key)[:40]),
                keys=", ".join(sorted(_KEYS)),
            )
    name = told.get("name", "render")
    if not isinstance(name, str) or not name or name in [stage.name for stage in before]:
        raise BadInput(
            "{place}.name must be a text that no stage before it has, not {name}",
            place=place,
            name=repr(name),
        )
    per = told.get("per", "frame")
    if per not in PER:
        raise BadInput(
            "{place}.per must be one of {per}, not {given}", place=place, per=", ".join(PER), given=repr(per)
        )
    tiles = told.get("tiles", [1, 1])
    if not isinstance(tiles, list) or len(tiles) != 2:
        raise BadInput("{place}.tiles must be a list of columns and rows", place=place)
    numbers = [("chunk", told.get("chunk", 1)), ("tiles", tiles[0]), ("tiles", tiles[1])]
    for key, value in [*numbers, ("memory_mb", told.get("memory_mb", 0))]:
        _check_number(value, f"{place}.{key}", settings)
    condition = told.get("if", "")
    if condition and condition not in settings:
        raise BadInput(
            "{place}.if must be one of the type's settings, not {condition}",
            place=place,
            condition=repr(condition),
        )
    optional = bool(told.get("optional", False))
    if before and before[-1].optional and not optional:
        raise BadInput("{place}: optional stages come last", place=place)
    listed = {}
    for key in ("outputs", "programs", "requires", "allow"):
        listed[key] = told.get(key, [])
        if not isinstance(listed[key], list) or not all(isinstance(text, str) for text in listed[key]):
            raise BadInput("{place}.{key} must be a list of texts", place=place, key=key)
    least = told.get("least_frames", 1)
    if not isinstance(least, int) or isinstance(least, bool):
        raise BadInput("{place}.least_frames must be a whole number", place=place)
    return StagePlan(
        name=name,
        title=say(str(told.get("title") or name.capitalize())),
        per=per,
        chunk=told.get("chunk", 1),
        tiles=(tiles[0], tiles[1]),
        after=_after(told.get("after", []), f"{place}.after", before, optional),
        condition=condition,
        least_frames=least,
        outputs=tuple(listed["outputs"]),
        programs=tuple(listed["programs"]),
        requires=tuple(listed["requires"]),
        memory_mb=told.get("memory_mb", 0),
        commands=()
        if per == "list"
        else known_commands.check(told.get("commands"), settings, f"{place}.commands"),
        optional=optional,
        simple=bool(told.get("simple", False)),
        writes=str(told.get("writes") or ""),
        parts=bool(told.get("parts", False)),
        allow=tuple(listed["allow"]),
    )


def _after(told: Any, place: str, before: list[StagePlan], optional: bool) -> tuple[dict[str, str], ...]:
    if not isinstance(told, list):
        raise BadInput("{place} must be a list", place=place)
    found = []
    for n, one in enumerate(told):
        one = {"stage": one} if isinstance(one, str) else one
        if not isinstance(one, Mapping):
            raise BadInput(
                '{place}[{number}] must be like {"stage": "render", "by": "frame"}', place=place, number=n
            )
        stage = next((stage for stage in before if stage.name == one.get("stage")), None)
        if stage is None or (stage.optional and not optional):
            names = ", ".join(stage.name for stage in before if not stage.optional) or "none"
            raise BadInput(
                "{place}[{number}].stage must be a stage before it ({names}), not {stage}",
                place=place,
                number=n,
                names=names,
                stage=repr(one.get("stage")),
            )
        by = one.get("by", "all")
        if by not in stages.BY:
            raise BadInput(
                "{place}[{number}].by must be one of {by}, not {given}",
                place=place,
                number=n,
                by=", ".join(stages.BY),
                given=repr(by),
            )
        found.append({"stage": stage.name, "by": by})
    return tuple(found)


def _check_number(value: Any, place: str, settings: Mapping[str, Any]) -> None:
    if isinstance(value, int) and not isinstance(value, bool):
        return
    word = WORD.fullmatch(value) if isinstance(value, str) else None
    if word is None or word[1] not in settings or settings[word[1]].type != "whole":
        raise BadInput(
            "{place} must be a whole number, or such a setting in braces, not {value}",
            place=place,
            value=repr(value),
        )


def plan(
    found: tuple[StagePlan, ...],
    values: Mapping[str, Any],
    frames: int,
    output: str,
    stem: str,
    lists: list[Any] | None = None,
) -> list[dict[str, Any]]:
    """The stages of one job. `lists`: for stages that are lists the commands of each task, level by level."""
    planned: list[dict[str, Any]] = []
    for stage in found:
        wanted = not stage.condition or values.get(stage.condition)
        fits = not stage.outputs or output in stage.outputs
        if not wanted or not fits or frames < stage.least_frames:
            continue
        if stage.per != "list":
            planned.append(_one(stage, planned, values, frames, stem, []))
            continue
        before = ""
        for n, units in enumerate(lists or []):  # each level waits for all of the one before
            one = _one(stage, planned, values, frames, stem, units)
            if before:
                one.update(name=f"{stage.name} {n + 1}", after=[{"stage": before, "by": "all"}])
            before = one["name"]
            planned.append(one)
    if not planned:
        raise BadInput("There is nothing to do in it.")
    return planned


def _one(
    stage: StagePlan,
    before: list[dict[str, Any]],
    values: Mapping[str, Any],
    frames: int,
    stem: str,
    lists: list[Any],
) -> dict[str, Any]:
    chunk = min(_number(stage.chunk, values, 1), frames)
    tiles = (_number(stage.tiles[0], values, 1), _number(stage.tiles[1], values, 1))
    per = "frame" if stage.per == "chunk" and chunk <= 1 else stage.per
    commands = [said(command, per, values) for command in stage.commands]
    if per == "chunk":  # an older node knows single frames alone
        commands = [
            {**command, "do": "blender-frames"} if command["do"] == "blender-frame" else command
            for command in commands
        ]
    names = {made["name"] for made in before}
    programs = {*stage.programs, *(COMMANDS[command["do"]].program for command in stage.commands)} - {""}
    made: dict[str, Any] = {
        "name": stage.name,
        "title": stage.title,
        "per": per,
        "tasks": stages.count(per, frames, chunk, tiles, len(lists)),
        "after": [after for after in stage.after if after["stage"] in names],
        "programs": sorted(programs),
        "requires": list(stage.requires),
        "memory_mb": _number(stage.memory_mb, values, 0),
        "does": sorted({str(command["do"]) for command in commands}),
        "commands": commands,
    }
    if per == "chunk":
        made["chunk"] = chunk
    if per == "tile":
        made["tiles"] = list(tiles)
    if per == "list":
        made["lists"] = lists
        made["does"] = ["run"]
    if stage.writes:
        made["base"] = stage.writes.replace("{stem}", stem)
    for key, value in (("optional", stage.optional), ("simple", stage.simple), ("parts", stage.parts)):
        if value:
            made[key] = True
    return made


def said(command: Mapping[str, Any], per: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A command without what an older node wouldn't know and nobody asked for."""

    def empty(key: str, value: Any) -> bool:
        word = WORD.fullmatch(value) if isinstance(value, str) else None
        if key == "chunk":
            return per == "frame"
        return key in COMMANDS[command["do"]].newer and word is not None and values.get(word[1], "") is None

    return {key: value for key, value in command.items() if not empty(key, value)}


def _number(value: Any, values: Mapping[str, Any], fallback: int) -> int:
    if isinstance(value, str):
        value = values.get(value[1:-1])
    return int(value) if value is not None else fallback
