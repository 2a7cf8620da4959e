"""What a search asks: words and `field:value` pairs, sorts, cursors. Pure.

`hero state:done owner:ana -tag:old type:shot is:missing priority:>=4 "two words"`: everything must fit;
a '-' before a term turns it round; a value fits where the word begins with it. A field that isn't known is
taken as text, since people type colons too.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.disk import paths
from server.disk.errors import BadInput
from server.disk.records import Entry

from .media import kinds
from .projects import AssetSet

SORTS = ("name", "path", "type", "state", "priority", "owner", "modified", "size", "status", "kind")
ALIASES = {"changed": "modified", "title": "name"}
QUERY_LIMIT = 500  # characters
NOBODY = ("none", "nobody", "-")  # as a value of owner:
_TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"|(\S+))')
_COMPARE = re.compile(r"(>=|<=|>|<)?(\d+)$")
_DIGITS = re.compile(r"\d+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz_-"


class Row:
    """An entry of a listing, with what searching and sorting ask of it worked out once."""

    __slots__ = ("_text", "asset", "entry", "name_key", "priority")

    def __init__(self, entry: Entry, asset: bool, priority: float | None = None) -> None:
        """`priority` is the true one, where who waits for it makes that another than its own."""
        self.entry = entry
        own = entry.facts.priority if entry.facts is not None else 0
        self.priority = own if priority is None else max(own, priority)
        self.asset = asset
        name = entry.facts.name if entry.facts and entry.facts.name else paths.name_of(entry.address)
        self.name_key = natural(name)
        self._text: str | None = None

    @property
    def text(self) -> str:
        """All that words are looked for in, folded."""
        if self._text is None:
            facts = self.entry.facts
            parts = [self.entry.address.partition("::")[2]]
            if facts is not None:
                parts += [facts.name, facts.description, facts.owner, *facts.tags]
            self._text = fold("\n".join(parts))
        return self._text


Change = tuple[Row | None, Row | None]  # a row as it was and as it is; None where there is none


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `field` '' means: somewhere in the text."""

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search: hashable, so that its answer can be remembered."""

    terms: tuple[Term, ...] = ()
    sort: str = "name"
    descending: bool = False
    files: bool = False

    @classmethod
    def parse(
        cls, q: str = "", *, type: str = "", state: str = "", owner: str = "", sort: str = "name",
        files: bool = False,
    ) -> Query:  # fmt: skip
        """BadInput for a query that is too long or an unknown sort."""
        if len(q) > QUERY_LIMIT:
            raise BadInput(
                "The search is longer than {query_limit} characters.", field="q", query_limit=QUERY_LIMIT
            )
        terms = []
        for minus, field, quoted, word in _TERM.findall(q):
            value = fold(quoted or word)
            if not field and value.endswith(":") and value[:-1] in FIELDS:
                continue  # somebody is typing: what they look for is still to come
            if field.lower() in FIELDS and value:
                terms.append(Term(field.lower(), value, bool(minus)))
            elif value:
                text = f"{fold(field)}:{value}" if field else value
                terms.append(Term("", text, bool(minus)))
        terms += [
            Term(f"={field}", value.strip())
            for field, value in (("type", type), ("state", state), ("owner", owner))
            if value.strip()
        ]
        name = sort.strip() or "name"
        descending = name.startswith("-")
        name = name.removeprefix("-")
        name = ALIASES.get(name, name)
        if name not in SORTS:
            raise BadInput(
                "'{name}' isn't a way to sort: use {sorts}.",
                field="sort",
                name=name[:50],
                sorts=", ".join(SORTS),
            )
        return cls(tuple(terms), name, descending, files)

    def run(self, rows: Iterable[Row], words: AssetSet) -> list[Row]:
        """The rows that fit, in order."""
        fits = self._fits(words)
        return sorted((row for row in rows if fits(row)), key=self._key(words), reverse=self.descending)

    def follow(self, rows: list[Row], changes: list[Change], words: AssetSet) -> list[Row] | None:
        """What `run` would give after these changes, from what it gave before. The same list where none of
        them concerns it, else another one; None where the rows aren't what the changes began with."""
        fits, key = self._fits(words), self._key(words)
        concerned = [
            (old if old is not None and fits(old) else None, new if new is not None and fits(new) else None)
            for old, new in changes
        ]
        concerned = [change for change in concerned if change != (None, None)]
        if not concerned:
            return rows
        rows = rows[::-1] if self.descending else rows.copy()
        for old, new in concerned:
            if old is not None:
                place = bisect_left(rows, key(old), key=key)
                if place >= len(rows) or rows[place] is not old:
                    return None
                del rows[place]
            if new is not None:
                rows.insert(bisect_left(rows, key(new), key=key), new)
        return rows[::-1] if self.descending else rows

    def _fits(self, words: AssetSet) -> Callable[[Row], bool]:
        tests = [_test(term, words) for term in self.terms]
        if self.files and not tests:
            return lambda row: True
        if not tests:
            return lambda row: row.asset
        if self.files:
            return lambda row: all(test(row) for test in tests)
        return lambda row: row.asset and all(test(row) for test in tests)

    def cursor(self, row: Row, words: AssetSet) -> str:
        """Where to go on after `row`: opaque, good while the order is asked for in the same way."""
        data = json.dumps([self._stamp(), *self._key(words)(row)], ensure_ascii=False)
        return base64.urlsafe_b64encode(data.encode("utf-8", "surrogatepass")).decode().rstrip("=")

    def place(self, rows: list[Row], after: list[Any], words: AssetSet) -> int:
        """The index of the first row after a cursor's place, whether or not its row is still there."""
        key = self._key(words)
        target = tuple(after)
        try:
            if not self.descending:
                return bisect_right(rows, target, key=key)
            backwards = rows[::-1]
            return len(rows) - bisect_left(backwards, target, key=key)
        except TypeError as error:
            raise BadInput("This cursor is spoilt: begin the list again.", field="cursor") from error

    def _stamp(self) -> str:
        return ("-" if self.descending else "") + self.sort

    def _key(self, words: AssetSet) -> Callable[[Row], tuple[Any, ...]]:
        make = _SORT_KEYS[self.sort]
        places = _places(words, self.sort)
        return lambda row: (make(row, places), row.name_key, row.entry.address)


def parse_cursor(text: str, query: Query) -> list[Any] | None:
    """A cursor's sort key; None for ''. BadInput if it isn't one, or of another order."""
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        data = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BadInput("This cursor is spoilt: begin the list again.", field="cursor") from error
    if not isinstance(data, list) or len(data) != 4 or data[0] != query._stamp():
        raise BadInput("This cursor belongs to another list: begin again.", field="cursor")
    return data[1:]


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Without case, accents and Unicode form, as people search."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def natural(text: str) -> str:
    """A sort key in which sh2 comes before sh10."""
    folded = text.casefold() if text.isascii() else fold(text)
    return _DIGITS.sub(lambda found: found[0].zfill(10), folded)


def _places(words: AssetSet, sort: str) -> dict[str, int]:
    """Types and states sort in their set's order."""
    known: Iterable[str] = words.types if sort == "type" else words.states if sort == "state" else ()
    return {ident: number for number, ident in enumerate(known)}


def _facts_text(row: Row, field: str) -> str:
    facts = row.entry.facts
    return str(getattr(facts, field)) if facts is not None else ""


_SORT_KEYS: dict[str, Callable[[Row, dict[str, int]], Any]] = {
    "name": lambda row, places: row.name_key,
    "path": lambda row, places: natural(row.entry.address),
    "type": lambda row, places: places.get(_facts_text(row, "type"), 999),
    "state": lambda row, places: places.get(_facts_text(row, "state"), 999),
    "priority": lambda row, places: row.priority,
    "owner": lambda row, places: _facts_text(row, "owner"),
    "modified": lambda row, places: row.entry.stat.mtime_ns if row.entry.stat else 0,
    "size": lambda row, places: row.entry.stat.size if row.entry.stat else -1,
    "status": lambda row, places: row.entry.status,
    "kind": lambda row, places: kinds.kind(row.entry.address),
}


def among(value: str, known: Container[str]) -> Callable[[str], bool]:
    """Which types or states a filter means: `shot`, `shot,prop`, or all but some: `-shot,-prop`."""
    if value in known:
        return lambda one: one == value
    named = [part.strip() for part in value.split(",") if part.strip()]
    if named and all(part.startswith("-") for part in named):
        out = frozenset(part.removeprefix("-") for part in named)
        return lambda one: one not in out
    return frozenset(named).__contains__


def _test(term: Term, words: AssetSet) -> Callable[[Row], bool]:
    test = _plain_test(term, words)
    return (lambda row: not test(row)) if term.negated else test


def _plain_test(term: Term, words: AssetSet) -> Callable[[Row], bool]:
    value = term.value
    if not term.field:
        return lambda row: value in row.text
    if term.field.startswith("="):
        field = term.field[1:]
        if field == "owner":
            wanted = "" if value in NOBODY else value
            return lambda row: _facts_text(row, field) == wanted
        fits = among(value, words.types if field == "type" else words.states)
        return lambda row: fits(_facts_text(row, field))
    return FIELDS[term.field](value, words)


def _by_word(field: str) -> Callable[[str, AssetSet], Callable[[Row], bool]]:
    """A type or state, by the beginning of its ident or of its title."""

    def make(value: str, words: AssetSet) -> Callable[[Row], bool]:
        known = words.types if field == "type" else words.states
        fitting = {
            ident
            for ident, one in known.items()
            if fold(ident).startswith(value) or fold(one.title).startswith(value)
        }
        return lambda row: (
            (text := _facts_text(row, field)) in fitting or (bool(text) and fold(text).startswith(value))
        )

    return make


def _owner(value: str, words: AssetSet) -> Callable[[Row], bool]:
    if value in NOBODY:
        return lambda row: not _facts_text(row, "owner")
    return lambda row: _facts_text(row, "owner").casefold().startswith(value)


def _tag(value: str, words: AssetSet) -> Callable[[Row], bool]:
    return lambda row: (
        row.entry.facts is not None and any(fold(tag).startswith(value) for tag in row.entry.facts.tags)
    )


def _status(value: str, words: AssetSet) -> Callable[[Row], bool]:
    if value == "incomplete":
        return lambda row: row.entry.incomplete
    return lambda row: row.entry.status.startswith(value)


def _kind(value: str, words: AssetSet) -> Callable[[Row], bool]:
    return lambda row: kinds.kind(row.entry.address).startswith(value)


def _path(value: str, words: AssetSet) -> Callable[[Row], bool]:
    return lambda row: value in fold(row.entry.address)


def _priority(value: str, words: AssetSet) -> Callable[[Row], bool]:
    fits = _number(value)
    if fits is None:
        fitting = {number for number, title in words.priorities.items() if fold(title).startswith(value)}
        return lambda row: row.entry.facts is not None and row.entry.facts.priority in fitting
    return lambda row: row.entry.facts is not None and fits(row.entry.facts.priority)


def _number(value: str) -> Callable[[int], bool] | None:
    """`3`, `>3`, `>=3` …; None for what is no number."""
    found = _COMPARE.match(value)
    if found is None:
        return None
    sign, number = found[1] or "=", int(found[2])
    compare: dict[str, Callable[[int], bool]] = {
        "=": lambda one: one == number,
        ">": lambda one: one > number,
        "<": lambda one: one < number,
        ">=": lambda one: one >= number,
        "<=": lambda one: one <= number,
    }
    return compare[sign]


def _by_name(field: str) -> Callable[[str, AssetSet], Callable[[Row], bool]]:
    """What the file's name says: by its beginning, or by that of what follows its first letters."""

    def make(value: str, words: AssetSet) -> Callable[[Row], bool]:
        def test(row: Row) -> bool:
            said = words.named(paths.name_of(row.entry.address)).get(field)
            if said is None:
                return False
            text = fold(str(said))
            return text.startswith(value) or text.lstrip(_LETTERS).startswith(value)

        return test

    return make


def _version(value: str, words: AssetSet) -> Callable[[Row], bool]:
    compare = _number(value.removeprefix("v"))
    if compare is None:
        return lambda row: False

    def test(row: Row) -> bool:
        said = words.named(paths.name_of(row.entry.address)).get("version")
        return said is not None and compare(said)

    return test


FIELDS: dict[str, Callable[[str, AssetSet], Callable[[Row], bool]]] = {
    "type": _by_word("type"),
    "state": _by_word("state"),
    "owner": _owner,
    "tag": _tag,
    "is": _status,
    "status": _status,
    "kind": _kind,
    "path": _path,
    "priority": _priority,
    "sequence": _by_name("sequence"),
    "shot": _by_name("shot"),
    "task": _by_name("task"),
    "version": _version,
}
