"""A class list: people from a table, one a line, read whole before anything is made.

`read` says of every line what it would do, or what is wrong with it, by the line's number; `carry_out` makes
the people of a list without mistakes. Who is there already stays as they are.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk.errors import BadInput, CroftError
from server.library.people import IDENT, ROLES, SOMEONE, People

COLUMNS = ("name", "ident", "role", "team", "email", "system", "uid", "password")
ALSO = {  # what the columns are called elsewhere
    "title": "name",
    "vorname": "name",
    "student": "name",
    "user": "ident",
    "username": "ident",
    "id": "ident",
    "login": "system",
    "login name": "system",
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
    there: bool = False  # already a user, who stays as they are


@dataclass(frozen=True, slots=True)
class ClassList:
    """A list that was read. With `faults` nothing of it can be carried out."""

    rows: tuple[Row, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()

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


def read(text: str, people: People) -> ClassList:
    """What the list would do. Never raises: what is wrong stands in `faults`, with the line's number."""
    text = text.lstrip("\ufeff")
    if text.count("\n") > MOST_LINES:
        return ClassList(faults=((MOST_LINES + 1, f"More than {MOST_LINES} lines: import them in parts."),))
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
            faults.append((reader.line_num, f"A quotation mark is missing or too many ({error})."))
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
            columns = list(COLUMNS)
        try:
            row = _row(line, cells, columns, people)
        except CroftError as error:
            faults.append((line, error.message))
            continue
        if row.ident in taken:
            text = f"'{row.ident}' stands in line {taken[row.ident]} already: give one of them another ident."
            faults.append((line, text))
            continue
        taken[row.ident] = line
        rows.append(row)
    if not rows and not faults:
        faults.append((1, "The list is empty. A line is: Ana Schmidt, ana, student"))
    return ClassList(tuple(rows), tuple(faults))


def carry_out(listed: ClassList, people: People) -> list[str]:
    """Make everybody of a list that has no faults and who isn't there yet: their idents."""
    if listed.faults:
        line, text = listed.faults[0]
        raise BadInput(f"Line {line}: {text} Nothing was changed.")
    made = []
    for row in listed.fresh:
        people.add(row.ident, row.role, row.title, row.password, **row.more)
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
            return None, f"There is no column '{odd[0][:40]}': use {', '.join(COLUMNS)}."
        if "name" not in named and "ident" not in named:
            return None, "A column 'name' or 'ident' is missing."
        double = next((name for name in named if name and named.count(name) > 1), "")
        return (None, f"The column '{double}' is there twice.") if double else (named, "")
    return None, ""


def _row(line: int, cells: list[str], columns: list[str], people: People) -> Row:
    if len([cell for cell in cells if cell]) and len(cells) > len(columns) and any(cells[len(columns) :]):
        raise BadInput(
            f"There are {len(cells)} columns, and {len(columns)} are known: put text with a comma in quotes."
        )
    found = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
    title = found.get("name", "")
    if len(title) > LONGEST_NAME or not title.isprintable():
        raise BadInput("The name is too long, or holds odd characters.")
    ident = found.get("ident", "").lower() or ident_of(title)
    if not IDENT.fullmatch(ident):
        raise BadInput(f"'{ident or title}' can't be an ident: use small letters, digits, dots and dashes.")
    role = found.get("role", "student").lower()
    if role not in ROLES[1:]:
        raise BadInput(f"'{found['role'][:40]}' isn't a role: use {', '.join(ROLES[1:])}.")
    password = found.get("password", "")
    if role != "student" and not password and not people.known(ident):
        pass  # who has no password yet is given one on the page Passwords
    more: dict[str, Any] = {name: found[name] for name in ("team", "email", "system") if name in found}
    if "uid" in found:
        if not re.fullmatch(r"[0-9]{1,10}", found["uid"]):
            raise BadInput(f"'{found['uid'][:40]}' isn't a uid: it is a number, as `id` prints it.")
        more["uid"] = int(found["uid"])
    return Row(line, ident, title or ident.capitalize(), role, more, password, people.known(ident))


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
