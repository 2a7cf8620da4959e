"""What a stage of a job asks of a node, what a node has, and whether the two fit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from server.disk.speech import say

NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage of a job asks of a node."""

    share: str
    requires: frozenset[str] = NONE  # labels that the node must provide
    programs: frozenset[str] = NONE
    simple: bool = False  # also for nodes that take no commands (RFAM's)
    memory_mb: int = 0
    does: frozenset[str] = NONE  # commands that the node must understand
    groups: frozenset[str] = NONE  # the node must be in one of these; none: any node
    licences: frozenset[str] = NONE  # one of each is in use while a task of it runs
    where: str = (
        ""  # "here": on the house's own nodes alone, "elsewhere": on others alone, "nowhere" just now
    )


@dataclass(frozen=True, slots=True)
class Means:
    """What a node has."""

    protocol: int = 2
    shares: frozenset[str] | None = None  # None: it didn't say, so all
    wrong_shares: frozenset[str] = NONE  # under this name it has other data than we
    provides: frozenset[str] = NONE
    programs: frozenset[str] = NONE
    memory_mb: int = 0  # 0: it didn't say
    does: frozenset[str] | None = None  # None: it didn't say, so all
    groups: frozenset[str] = NONE
    place: str = ""  # the prenode that started it elsewhere; "": it is one of the house's own


def misfit(need: Need, means: Means) -> str:
    """Why a node with these means can't serve this need; "" when it can."""
    if means.protocol < 2 and not need.simple:
        return say("this job is for Croft's own nodes")
    if need.where and (need.where == "nowhere" or (need.where == "here") == bool(means.place)):
        return _PLACES[need.where]
    if need.share in means.wrong_shares:
        return say("it has other data under the name {share}", share=need.share)
    if means.shares is not None and need.share not in means.shares:
        return say("it has no share {share}", share=need.share)
    if need.groups and not need.groups & means.groups:
        return say("it is not in {either}", either=_either(need.groups))
    missing = need.requires - means.provides
    if missing:
        return say("it does not provide {missing}", missing=", ".join(sorted(missing)))
    if means.protocol >= 2 and need.programs - means.programs:
        return say("it has no {programs}", programs=", ".join(sorted(need.programs - means.programs)))
    if means.protocol >= 2 and means.does is not None and need.does - means.does:
        unknown = ", ".join(sorted(need.does - means.does))
        return say("it doesn't know how to do {unknown}: is it older than this?", unknown=unknown)
    if means.memory_mb and need.memory_mb > means.memory_mb:
        has, asked = _gigabytes(means.memory_mb), _gigabytes(need.memory_mb)
        return say("it has {has} GB of memory, and {asked} GB are needed", has=has, asked=asked)
    return ""


_PLACES = {
    "here": say("this job is rendered on the house's own computers"),
    "elsewhere": say("this job is rendered elsewhere"),
    "nowhere": say("this job may be rendered nowhere just now"),
}


def _either(names: frozenset[str]) -> str:
    ordered = sorted(names)
    return (
        say("the group {ordered}", ordered=ordered[0])
        if len(ordered) == 1
        else say("any of the groups {ordered}", ordered=", ".join(ordered))
    )


def _gigabytes(megabytes: int) -> str:
    return f"{megabytes / 1024:.1f}".removesuffix(".0")
