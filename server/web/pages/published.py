"""What was published of a file, on its page; and publishing it, with what there is to know before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.disk import paths
from server.disk.speech import say as say_later
from server.library.assets import tells_of
from server.library.in_place import Difference
from server.library.publishing import Finding
from server.web.languages import count, known, say
from server.web.pages import words
from server.web.pages.about import api_of
from server.web.pages.saves import button
from server.web.pages.shell import Shell
from server.web.pages.versions import base
from server.web.requests import Call

MOST = 60
PINS_SHOWN = 100
GLYPHS = {"error": "failed", "warning": "needs", "note": "waiting"}
Thing = dict[str, Any]


def section(shell: Shell, call: Call, a: Thing) -> Thing:
    """What a template shows; nothing where it was never published, and this person can't."""
    student = call.user is not None and call.user.at_least("student")
    records = list(shell.services.saves.versions(a["address"]))
    whole = student and a["status"] in ("ok", "broken")
    lies = any(record.get("in_place") for record in records[:MOST])
    since = shell.services.in_place.known(a["address"]) if lies else None
    return {
        "api": api_of(a),
        "form": form(shell, a, records) if whole and not a["protect"] else None,
        "rows": [publication(shell, call, a, record, whole, since) for record in records[:MOST]],
    }


def form(shell: Shell, a: Thing, records: list[Thing]) -> Thing:
    """What stands before the button: what the checks find, as far as the file was read."""
    look = shell.services.saves.validations.look(a["address"])
    number = (paths.version_number(str(records[0]["version"])) or 0) if records else 0
    same = bool(records) and is_unchanged(shell, a, records[0])
    stopped = bool(look.of("error"))
    if same:
        about = say("Nothing changed since version {n}.", n=number)
    elif stopped:
        about = say("Before it can be published:")
    else:
        about = say(
            "Publishing keeps it for good as it is now, as version {n}: others can build on that while you "
            "go on working.",
            n=number + 1,
        )
    return {
        "about": about,
        "may": not same and not stopped,
        "findings": [] if same else [*map(row, look.findings), *([] if look.sure else [reading()])],
        "despite": sorted({finding.id for finding in look.of("warning")}),
    }


def row(finding: Finding) -> Thing:
    names = {"error": say("Stops it"), "warning": say("Look at this"), "note": say("Good to know")}
    return {
        "glyph": GLYPHS[finding.severity],
        "word": names[finding.severity],
        "text": known(finding.text),
        "todo": known(finding.todo),
    }


def reading() -> Thing:
    """Said of a file that was saved a moment ago."""
    return row(Finding("", "note", say_later("It was saved a moment ago, and is still being looked at.")))


def is_unchanged(shell: Shell, a: Thing, newest: Thing) -> bool:
    """Whether the newest version is known to hold what is there now. Reads no file for it."""
    entry = shell.services.store.index.get(a["address"])
    record = shell.services.assets.file_record(a["address"])
    hashed = record.get("hash")
    known_now = entry is not None and entry.stat is not None and tells_of(record, entry.stat)
    return bool(known_now and hashed and hashed == newest.get("hash"))


def publication(
    shell: Shell, call: Call, a: Thing, record: Thing, may: bool, since: Mapping[str, Difference] | None
) -> Thing:
    """One published version: a frozen copy of the file, or an image sequence that lies where it is."""
    name, size = str(record["version"]), record.get("size")
    number = paths.version_number(name) or 0
    made = base(shell, call, a, record, name, say("Version {n}", n=number))
    pins = record.get("dependencies")
    pins = [pin for pin in pins if isinstance(pin, dict)] if isinstance(pins, list) else []
    found = record.get("validations")
    found = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    despite = [known(str(one.get("message") or "")) for one in found if one.get("severity") == "warning"]
    lies = bool(record.get("in_place"))
    return {
        **made,
        "size": words.size(size if isinstance(size, int) else None),
        "told": about_frames(record) if lies else [],
        "despite": despite[:PINS_SHOWN],
        "despite_words": count(
            "Published despite {n} warning", "Published despite {n} warnings", len(despite)
        ),
        "changed": changed(name, since) if lies else [],
        "pins": [pin_of(pin) for pin in pins[:PINS_SHOWN]],
        "pins_words": count("Made with {n} file", "Made with {n} files", len(pins)),
        "open": button(
            say("Open version {n}", n=number),
            f"POST {api_of(a)}/restore",
            {"save": name, "beside": True},
        )
        if may and not lies
        else None,
    }


def about_frames(record: Thing) -> list[str]:
    """What is told of a sequence that wasn't copied: where it lies, its frames."""
    place, gaps = str(record.get("sequence") or ""), str(record.get("missing") or "")
    first, last = record.get("first"), record.get("last")
    told = say("Not copied: it lies in {folder}.", folder=paths.folder_of(place)) if place else ""
    if gaps:
        gaps = gaps[:80].replace(",", ", ")
        frames = say("Frames {first} to {last} without {missing}.", first=first, last=last, missing=gaps)
    else:
        frames = say("Frames {first} to {last}.", first=first, last=last)
    return [told or say("Not copied: it lies where it was."), frames]


def changed(version: str, since: Mapping[str, Difference] | None) -> list[str]:
    """What became of its frames since; nothing while that is being looked up."""
    found = since.get(version) if since is not None else None
    return found.told() if found is not None else []


def pin_of(pin: Thing) -> Thing:
    """A file that a version was made with."""
    path, version = str(pin.get("path") or ""), str(pin.get("version") or "")
    number = paths.version_number(version.removeprefix("render-"))
    return {
        "name": paths.name_of(path) if paths.SEPARATOR in path else path,
        "path": path.partition(paths.SEPARATOR)[2],
        "version": say("version {n}", n=number) if number is not None else "",
    }
