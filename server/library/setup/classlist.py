"""A class list: people from a table, one a line, read whole before anything is made.

`read` says of every line what it would do, or what is wrong with it, by the line's number; `carry_out` makes
the people of a list without mistakes, and the projects that they are in. Who is there already stays as they
are.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk.errors import BadInput, CroftError
from server.disk.speech import key, say
from server.library.people import IDENT, ROLES, SOMEONE, People, check_pin, checked, checked_role

COLUMNS = ("name", "ident", "role", "project", "team", "email", "system", "uid", "pin", "password")
BARE = ("name", "ident")  # of a list without a first line of names: then a role or not, then projects
ALSO = {  # what the columns are called elsewhere
    "title": "name",
    "vorname": "name",
    "student": "name",
    "user": "ident",
    "username": "ident",
    "id": "ident",
    "login": "system",
    "login name": "system",
    "projects": "project",
    "projekt": "project",
    "film": "project",
    "class": "team",
    "group": "team",
    "klasse": "team",
    "mail": "email",
    "e-mail": "email",
    "kennwort": "password",
    "passwort": "password",
    "rolle": "role",
}
LETTERS = {
    "ä": "ae",
    "ö": "oe",
    "ü": "ue",
    "ß": "ss",
    "ø": "o",
    "æ": "ae",
    "œ": "oe",
    "ł": "l",
    "đ": "d",
    "þ": "th",
}
MOST_LINES = 2000
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One line: who it is about, and what would be done."""

    line: int
    ident: str
    title: str
    role: str
    more: Mapping[str, Any] = field(default_factory=dict)
    password: str = ""
    pin: str = ""
    there: bool = False  # already a user, who stays as they are


@dataclass(frozen=True, slots=True)
class ClassList:
    """A list that was read. With `faults` nothing of it can be carried out."""

    rows: tuple[Row, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()
    projects: Mapping[str, str] = field(default_factory=dict)  # that aren't there yet: ident -> title

    @property
    def fresh(self) -> list[Row]:
        return [row for row in self.rows if not row.there]


def decode(raw: bytes) -> str:
    """The text of a file as Excel, LibreOffice or a school's office wrote it."""
    for encoding in ("utf-8-sig", "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"):
        try:
            return raw.decode(encoding)
        except UnicodeError:
            continue
    return raw.decode("cp1252", "replace")


def read(text: str, people: People, projects: Mapping[str, str] | None = None) -> ClassList:
    """What the list would do. Never raises: what is wrong stands in `faults`, with the line's number.

    `projects`: those that are there, ident -> title.
    """
    teams = Teams(projects or {})
    text = text.lstrip("\ufeff")
    if text.count("\n") > MOST_LINES:
        return ClassList(
            faults=((MOST_LINES + 1, say("More than {most} lines: import them in parts.", most=MOST_LINES)),)
        )
    rows: list[Row] = []
    faults: list[tuple[int, str]] = []
    taken: dict[str, int] = {}
    columns: list[str] | None = None
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text), skipinitialspace=True, strict=True)
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            faults.append(
                (reader.line_num, say("A quotation mark is missing or too many ({error}).", error=error))
            )
            break
        line = reader.line_num
        if not any(cells) or cells[0].startswith("#"):
            continue
        if columns is None:
            columns, wrong = _columns(cells)
            if wrong:
                faults.append((line, wrong))
                break
            if columns is not None:
                continue
            columns = []
        try:
            row = _row(line, cells, columns or _bare(cells), people, teams)
        except CroftError as error:
            faults.append((line, error.message))
            continue
        if row.ident in taken:
            text = key("'{ident}' stands in line {line} already: give one of them another ident.")
            faults.append((line, say(text, ident=row.ident, line=taken[row.ident])))
            continue
        taken[row.ident] = line
        rows.append(row)
    if not rows and not faults:
        faults.append((1, say("The list is empty. A line is: Ana Schmidt, ana, green")))
    wanted = {ident for row in rows if not row.there for ident in row.more.get("projects", ())}
    return ClassList(tuple(rows), tuple(faults), {i: t for i, t in teams.fresh.items() if i in wanted})


def carry_out(
    listed: ClassList, people: People, make_project: Callable[[str, str], None] | None = None
) -> list[str]:
    """Make everybody of a list that has no faults and who isn't there yet: their idents. Before them, by
    `make_project(ident, title)`, the projects that are missing."""
    if listed.faults:
        line, text = listed.faults[0]
        raise BadInput("Line {line}: {text} Nothing was changed.", line=line, text=text)
    made = []
    for ident, title in listed.projects.items():
        if make_project is not None:
            make_project(ident, title)
    for row in listed.fresh:
        people.add(row.ident, row.role, row.title, row.password, row.pin, **row.more)
        made.append(row.ident)
    return made


def _delimiter(text: str) -> str:
    """Tab, semicolon (Excel, where the comma is for decimals) or comma: what the first line has most of."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return max(("\t", ";", ","), key=first.count)


def _columns(cells: list[str]) -> tuple[list[str] | None, str]:
    """The columns that a first line names; None where it is a person's already."""
    named = [ALSO.get(cell.lower(), cell.lower()) for cell in cells]
    known = [name in COLUMNS for name in named]
    if (known[0] and named[0] in ("name", "ident")) or sum(known) >= 2:
        odd = [cell for cell, name in zip(cells, named, strict=True) if name not in COLUMNS and name]
        if odd:
            said = key("There is no column '{column}': use {columns}.")
            return None, say(said, column=odd[0][:40], columns=", ".join(COLUMNS))
        if "name" not in named and "ident" not in named:
            return None, say("A column 'name' or 'ident' is missing.")
        double = next((name for name in named if name not in ("", "project") and named.count(name) > 1), "")
        return (None, say("The column '{column}' is there twice.", column=double)) if double else (named, "")
    return None, ""


def _bare(cells: list[str]) -> list[str]:
    """What the cells are where no first line says so: name, ident, a role where there is one, projects."""
    known = [*BARE, "role"] if len(cells) > 2 and cells[2].lower() in ROLES else list(BARE)
    return known + ["project"] * (len(cells) - len(known))


class Teams:
    """The projects that a list names, by what people write: the ident or the title, large or small."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._by_name = {title.casefold(): ident for ident, title in known.items()}
        self._by_name |= {ident.casefold(): ident for ident in known}
        self.fresh: dict[str, str] = {}

    def ident(self, name: str) -> str:
        """The project's ident; a new one where there is none of that name. BadInput where that can't be."""
        found = self._by_name.get(name.casefold())
        if found is None:
            found = ident_of(name).replace(".", "-")
            if len(name) > LONGEST_NAME or not name.isprintable() or not IDENT.fullmatch(found):
                raise BadInput(say("'{name}' can't be a project: use letters and digits.", name=name[:40]))
            if found.casefold() not in self._by_name:
                self.fresh[found] = name
            self._by_name |= {name.casefold(): found, found.casefold(): found}
        return found


def _row(line: int, cells: list[str], columns: list[str], people: People, teams: Teams) -> Row:
    if len([cell for cell in cells if cell]) and len(cells) > len(columns) and any(cells[len(columns) :]):
        text = key("There are {n} columns, and {known} are known: put text with a comma in quotes.")
        raise BadInput(text, n=len(cells), known=len(columns))
    found = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
    title = found.get("name", "")
    if len(title) > LONGEST_NAME or not title.isprintable():
        raise BadInput("The name is too long, or holds odd characters.")
    ident = found.get("ident", "").lower() or ident_of(title)
    if not IDENT.fullmatch(ident) or ident == SOMEONE:
        text = key("'{ident}' can't be an ident: use small letters, digits, dots and dashes.")
        raise BadInput(text, ident=ident or title)
    role = found.get("role", "student").lower()
    checked_role(role)
    password, pin = found.get("password", ""), found.get("pin", "")
    if pin:
        check_pin(role, pin)
    more: dict[str, Any] = {name: found[name] for name in ("team", "email", "system") if name in found}
    if "uid" in found:
        if not re.fullmatch(r"[0-9]{1,10}", found["uid"]):
            text = key("'{value}' isn't a uid: it is a number, as `id` prints it.")
            raise BadInput(text, value=found["uid"][:40])
        more["uid"] = int(found["uid"])
    named = [cell for name, cell in zip(columns, cells, strict=False) if name == "project" and cell]
    projects = [teams.ident(one.strip()) for cell in named for one in cell.split("|") if one.strip()]
    if projects:
        more["projects"] = list(dict.fromkeys(projects))
    checked({"title": title or ident, **more})
    return Row(line, ident, title or ident.capitalize(), role, more, password, pin, people.known(ident))


def ident_of(name: str) -> str:
    """'Ana Müller-Lüdenscheid' -> 'ana.mueller-luedenscheid'."""
    text = "".join(LETTERS.get(letter, letter) for letter in name.lower())
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"\s+", ".", re.sub(r"[^a-z0-9.\s-]", "", text).strip())
    return text.strip(".-")[:64]


def free_ident(name: str, people: People) -> str:
    """An ident for somebody new of this name: 'ana', else 'ana.2'."""
    base = ident_of(name) or "somebody"
    found = base
    number = 1
    while people.known(found) or found == SOMEONE:
        number += 1
        found = f"{base[:60]}.{number}"
    return found
