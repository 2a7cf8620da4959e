#!/usr/bin/env python3
"""What the languages lack: every sentence of Croft's that a person may read, held against config/languages.

    python3 misc/languages.py              tells how complete each language is, and what is missing or unused
    python3 misc/languages.py --write fr   adds what fr.json lacks, empty, and takes out what nothing says

Needs Croft's own packages (.venv/bin/python). The tests use it too; a running Croft doesn't.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

CLONE = Path(__file__).resolve().parents[1]
LANGUAGES = CLONE / "config" / "languages"
SAYING = {"say", "say_later", "key"}  # whose first argument is a sentence
COUNTING = {"count", "pair"}  # whose first two are
PLACE = re.compile(r"\{([A-Za-z_]\w*)(?::[^{}]*)?\}")
TITLES = {  # what is said of these files of the configuration: by key, at any depth
    "sets": {"title"},
    "job_types": {"title", "description", "help", "unit"},
    "failure_rules": {"say"},
}


@dataclass
class Sentence:
    """What a key of the languages stands for: `many` is the pattern of more than one, else ''."""

    pattern: str
    many: str = ""
    where: list[str] = field(default_factory=list)

    @property
    def places(self) -> set[str]:
        return set(PLACE.findall(self.pattern)) | set(PLACE.findall(self.many))


def sentences() -> dict[str, Sentence]:
    """Every sentence that can be said, by its key."""
    found: dict[str, Sentence] = {}

    def add(pattern: str, many: str, where: str) -> None:
        if not re.search(r"[^\W\d_]", PLACE.sub("", pattern + many)):
            return  # marks and places alone: '{a}: {b}'
        key = f"{pattern} | {many}" if many else pattern
        found.setdefault(key, Sentence(pattern, many)).where.append(where)

    for path in sorted((CLONE / "templates").rglob("*.html")):
        for pattern, many, line in of_template(path.read_text("utf-8")):
            add(pattern, many, f"templates/{path.name}:{line}")
    errors = error_names()
    for path in sorted((CLONE / "server").rglob("*.py")):
        if path.parts[-2] == "cli":
            continue  # the terminal speaks English
        for pattern, many, line in of_python(
            path.read_text("utf-8"), errors, pages=path.parent.name == "pages"
        ):
            add(pattern, many, f"{path.relative_to(CLONE)}:{line}")
    for kind, keys in TITLES.items():
        for path in sorted((CLONE / "config" / kind).rglob("*.json")):
            for text in titles(json.loads(path.read_text("utf-8")), keys):
                add(re.sub(r"\{(\d)\}", r"{p\1}", text), "", str(path.relative_to(CLONE)))
    return found


def of_template(source: str) -> Iterator[tuple[str, str, int]]:
    """(pattern, pattern of many, line) of each `_("…")` and `_n("…", "…", n)` whose sentence stands there."""
    for call in jinja2.Environment().parse(source).find_all(nodes.Call):
        name = getattr(call.node, "name", "")
        if name not in ("_", "_n"):
            continue
        given = call.args[: 2 if name == "_n" else 1]
        if all(isinstance(one, nodes.Const) and isinstance(one.value, str) for one in given) and given:
            yield given[0].value, given[1].value if name == "_n" else "", call.lineno


def error_names() -> set[str]:
    """Every class that stands on CroftError, wherever it is."""
    bases: dict[str, set[str]] = {}
    for path in (CLONE / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
    found = {"CroftError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def of_python(source: str, errors: set[str], *, pages: bool) -> Iterator[tuple[str, str, int]]:
    """(pattern, pattern of many, line) of each sentence that is said in a module."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        of = getattr(getattr(node.func, "value", None), "id", "")
        if name == "Key":  # of the configuration: its unit and what it is for
            for text in constants(node.args[2:4]):
                yield text, "", node.lineno
        elif name in SAYING or name in errors:
            for text in constants(node.args[:1]):
                yield text, "", node.lineno
        elif name in COUNTING and (isinstance(node.func, ast.Name) or of in ("speech", "languages")):
            if len(pair := [one for arg in node.args[:2] for one in constants([arg])]) == 2:
                yield pair[0], pair[1], node.lineno
        elif name == "number" and ((pages and isinstance(node.func, ast.Name)) or of == "words"):
            words = [one for arg in node.args[1:3] for one in constants([arg])]
            if words:
                many = words[1] if len(words) > 1 else words[0] + "s"
                yield f"{{n}} {words[0]}", f"{{n}} {many}", node.lineno


def constants(given: list[Any]) -> Iterator[str]:
    """The texts that an argument may be: itself, or either side of a condition."""
    for one in given:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
        elif isinstance(one, ast.IfExp):
            yield from constants([one.body, one.orelse])


def titles(value: Any, keys: set[str]) -> Iterator[str]:
    """What stands under these keys in a file of the configuration."""
    if isinstance(value, dict):
        for name, inside in value.items():
            if name in keys and isinstance(inside, str) and inside:
                yield inside
            else:
                yield from titles(inside, keys)
    elif isinstance(value, list):
        for inside in value:
            yield from titles(inside, keys)


def main() -> int:
    parser = argparse.ArgumentParser(description="What the languages lack.")
    parser.add_argument("--write", metavar="CODE", help="bring the keys of this language up to date")
    asked = parser.parse_args()
    known = sentences()
    short = False
    for path in sorted(LANGUAGES.glob("*.json")):
        data = json.loads(path.read_text("utf-8"))
        said = data.get("sentences", {})
        missing = [key for key in known if not said.get(key)]
        unused = [key for key in said if key not in known]
        if path.stem == asked.write:
            data["sentences"] = {key: said.get(key, "") for key in sorted(known, key=str.casefold)}
            path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
        print(f"{path.stem}: {len(known) - len(missing)} of {len(known)}, {len(unused)} unused")
        for key in missing:
            print(f"  missing  {key!r}   {known[key].where[0]}")
        for key in unused:
            print(f"  unused   {key!r}")
        short = short or bool(missing or unused)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
