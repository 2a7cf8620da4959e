"""One project as its files tell it: title, licence, set, who does what, what it has from elsewhere. Pure.

Reads Croft's own form and RFAM's: `roles` as a list, or as an object with an `order` in each; what is of the
wrong kind counts as not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk import encoding

from .sets import DEFAULT_SET, number, severities


@dataclass(frozen=True)
class Role:
    """What some people do in the film. `people` are idents."""

    id: str
    title: str
    people: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        return {"id": self.id, "title": self.title, "people": list(self.people)}

    @property
    def etag(self) -> str:
        """Of what it says, that an edit can name what it was made on."""
        return etag_of(self.view())


@dataclass(frozen=True)
class External:
    """Something that others made: a texture, a sound, a font. `files` are addresses."""

    id: str
    name: str
    description: str = ""
    licence: str = ""
    origin: str = ""
    author: str = ""
    files: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "origin": self.origin,
            "author": self.author,
            "files": list(self.files),
        }

    @property
    def etag(self) -> str:
        """Of what it says, that an edit can name what it was made on."""
        return etag_of(self.view())


@dataclass(frozen=True)
class Project:
    """One project. `address` is its folder; `here` is False where that folder isn't there."""

    ident: str
    address: str
    title: str
    description: str = ""
    licence: str = ""
    set: str = DEFAULT_SET
    render_priority: int = 3
    here: bool = True
    roles: tuple[Role, ...] = ()  # in the order of the credits
    external: tuple[External, ...] = ()
    approve_by: str = ""
    image: str = ""  # RFAM's named path of the team's photo
    etag: str = ""  # of project.json
    validations: Mapping[str, str] = field(default_factory=dict)  # severities, above its set's

    @property
    def folder(self) -> str:
        """As `address`."""
        return self.address

    def inside(self, address: str) -> str:
        """The path of an asset of this project within its folder."""
        return address[len(self.address) :].lstrip("/")

    def view(self) -> dict[str, Any]:
        """For the API."""
        return {
            "id": self.ident,
            "address": self.address,
            "title": self.title,
            "description": self.description,
            "licence": self.licence,
            "set": self.set,
            "render_priority": self.render_priority,
            "approve_by": self.approve_by or "supervisors",
            "here": self.here,
            "roles": [role.view() for role in self.roles],
            "external": [one.view() for one in self.external],
            "url": f"/p/{self.ident}/assets",
            "etag": self.etag or None,
        }


def read_project(ident: str, place: str, data: Mapping[str, Any], here: bool, etag: str = "") -> Project:
    """A project from what its files say (RFAM's keys already under Croft's names)."""
    return Project(
        ident=ident,
        address=place,
        title=_text(data.get("title")) or ident,
        description=_text(data.get("description")),
        licence=_text(data.get("licence")),
        set=_text(data.get("set")) or _text(data.get("configuration_set")) or DEFAULT_SET,
        render_priority=number(data.get("render_priority"), 3),
        here=here,
        roles=tuple(_roles(data.get("roles"))),
        external=tuple(_external(data.get("external"))),
        approve_by=_text(data.get("approve_by")),
        image=_text(data.get("image")),
        etag=etag,
        validations=severities(data.get("validations")),
    )


def etag_of(view: Mapping[str, Any]) -> str:
    """The hash of a record that has no file of its own."""
    return hashlib.blake2b(encoding.dumps(view), digest_size=8).hexdigest()


def _roles(value: Any) -> list[Role]:
    if isinstance(value, dict):  # RFAM: one person each, and one role several times
        ordered = sorted(_objects(value), key=lambda pair: _order(pair[1].get("order")))
        found: list[Role] = []
        for key, one in ordered:
            title, person = _text(one.get("role")) or _text(one.get("title")), _text(one.get("user"))
            people = (person,) if person else _texts(one.get("people"))
            if found and found[-1].title == title:
                last = found.pop()
                found.append(Role(last.id, title, tuple(dict.fromkeys((*last.people, *people)))))
            else:
                found.append(Role(key, title, people))
        return found
    return [
        Role(_text(one.get("id")) or f"r{place}", _text(one.get("title")), _texts(one.get("people")))
        for place, one in enumerate(_listed(value))
    ]


def _external(value: Any) -> list[External]:
    pairs = _objects(value) if isinstance(value, dict) else [
        (_text(one.get("id")) or f"x{place}", one) for place, one in enumerate(_listed(value))
    ]  # fmt: skip
    found = [
        External(
            key,
            _text(one.get("name")) or _first_line(_text(one.get("description"))),
            _text(one.get("description")),
            _text(one.get("licence")) or _text(one.get("license")),
            _text(one.get("origin")),
            _text(one.get("author")),
            _texts(one.get("files")),
        )
        for key, one in pairs
    ]
    return sorted(found, key=lambda one: one.name.casefold()) if isinstance(value, dict) else found


def _order(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _objects(value: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(str(key), one) for key, one in value.items() if isinstance(one, dict)]


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str) and one) if isinstance(value, list) else ()


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:100]
