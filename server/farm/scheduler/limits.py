"""How many tasks may be out at once, of a project, a person, a licence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """What isn't named has no limit."""

    projects: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    users_each: int = 0  # of each user that isn't named; 0: any number
    licences: Mapping[str, int] = field(default_factory=dict)

    def of_user(self, ident: str) -> int | None:
        """The most for this user, in all projects together; None: any number."""
        return self.users.get(ident, self.users_each or None)


def read_limits(told: Mapping[str, Any]) -> tuple[Limits, list[str]]:
    """The limits that a configuration says, and what of it makes no sense and counts for nothing."""
    wrong: list[str] = []
    tables: dict[str, dict[str, int]] = {"projects": {}, "users": {}, "licences": {}}
    each = 0
    for key, value in told.items():
        if key in tables and isinstance(value, Mapping):
            for name, most in value.items():
                if _whole(most):
                    tables[key][str(name)] = most
                else:
                    wrong.append(f"limits: {key}: {name} must be a whole number, not {str(most)[:40]!r}")
        elif key == "users_each" and _whole(value):
            each = value
        elif not key.startswith("_"):
            wrong.append(f"limits: {key} makes no sense there: it has projects, users, users_each, licences")
    return Limits(tables["projects"], tables["users"], each, tables["licences"]), wrong


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
