"""Publishing a file: whether anything changed, what the checks say, then a frozen copy of what was seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.checkpoints import Known
from server.disk.errors import Conflict
from server.disk.speech import count, say, together
from server.disk.store import Store

from ..publishing import Finding, Look, Validations
from ..publishing.checks import ERROR, WARNING
from . import frozen

TRIES = 3  # a file that is saved again and again while it is looked at and copied
SAID = 5  # findings that a refusal says; it brings all of them


@dataclass(frozen=True, slots=True)
class Published:
    """A version's record; not `made` where an earlier one holds just what is there now. `protected`: the
    file itself is, from now on."""

    record: dict[str, Any]
    made: bool = True
    protected: bool = False


class Refused(Conflict):
    """What the checks found stops it, or is to be confirmed. Facts: `findings`."""


def publish(
    store: Store,
    validations: Validations,
    address: str,
    who: str,
    comment: str,
    despite: bool | Collection[str],
    known: Known,
) -> Published:
    """The present content as the next version. Refused where the checks find errors, or warnings that
    `despite` doesn't name by their ids (True: any)."""
    for _ in range(TRIES):
        try:
            return _publish(store, validations, address, who, comment, despite, known)
        except frozen.Changed:
            continue  # Race: it was saved again between the look and the copy
    raise Conflict(
        "{inside} is being saved again and again. Try again in a moment.", inside=paths.name_of(address)
    )


def _publish(
    store: Store,
    validations: Validations,
    address: str,
    who: str,
    comment: str,
    despite: bool | Collection[str],
    known: Known,
) -> Published:
    store.for_people(address)
    now = frozen.look(store, address)
    newest = next(iter(frozen.listed(store, address)), None)
    if newest is not None and frozen.holds(store, address, newest, now, known):
        return Published(newest, False)
    look = validations.look(address, now)
    refuse(address, look, despite, newest)
    before = newest.get("dependencies") if newest is not None else None
    more = {
        "dependencies": validations.pins(look, lambda other: frozen.listed(store, other), before),
        "validations": [finding.view() for finding in look.findings],
    }
    return Published(*frozen.publish(store, address, who, comment, now, known, more))


def refuse(
    address: str, look: Look, despite: bool | Collection[str], newest: Mapping[str, Any] | None = None
) -> None:
    """Raise what stops a file from being published, or what is still to be confirmed. `newest`: its version
    that is."""
    errors, name = look.of(ERROR), paths.name_of(address)
    asked = [] if despite is True else [one for one in look.of(WARNING) if one.id not in (despite or ())]
    if errors:
        raise _refused(say("{name} can’t be published like this.", name=name), [*errors, *look.of(WARNING)])
    if asked:
        n = (paths.version_number(str(newest["version"])) or 0) + 1 if newest is not None else 1
        said = say("Version {n} of {name} isn’t published yet: look at this first.", n=n, name=name)
        raise _refused(said, asked)


def _refused(text: str, findings: list[Finding]) -> Refused:
    said = [finding.text for finding in findings[:SAID]]
    if len(findings) > SAID:
        said.append(count("And {n} more.", "And {n} more.", len(findings) - SAID))
    return Refused(together([text, *said]), findings=findings)


__all__ = ["Published", "Refused", "publish", "refuse"]
