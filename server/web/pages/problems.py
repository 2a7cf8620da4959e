"""The page of what is wrong: in groups, in plain words, each with the button or the command that mends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.records import Action, Problem
from server.disk.speech import say as say_later
from server.library.problems import of_project
from server.web.languages import known, say
from server.web.pages import words
from server.web.pages.listing import key
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User

SHOWN = 50  # of one group
GLYPHS = {
    "error": ("failed", say_later("Urgent")),
    "warning": ("needs", say_later("To do")),
    "note": ("waiting", say_later("Good to know")),
}
GROUPS: dict[str, tuple[str, str]] = {  # kind: title, and what it means; in the order of the page
    "share": (
        say_later("Folders that aren’t connected"),
        say_later("Nothing is lost: what lies there is shown as it was."),
    ),
    "full": (say_later("Disks that are full"), say_later("Nothing more can be saved there.")),
    "read-only": (
        say_later("Disks that can’t be written to"),
        say_later("Everything can be looked at, nothing changed."),
    ),
    "sidecar": (
        say_later("What Croft wrote down and can’t read any more"),
        say_later("Something cut it off, or it was edited by hand."),
    ),
    "missing-library": (
        say_later("Scenes that are missing"),
        say_later("What links them renders without them."),
    ),
    "missing-texture": (
        say_later("Textures and other files that are missing"),
        say_later("They render pink, silent or not at all."),
    ),
    "absolute-path": (
        say_later("Files that only some computers find"),
        say_later(
            "A scene names them by a drive or folder of one computer. Others look there, and find nothing."
        ),
    ),
    "orphan": (
        say_later("Files that are gone"),
        say_later("What was known of them stays until somebody says that it may go."),
    ),
    "protected": (
        say_later("Protected files that were changed"),
        say_later("What was published is kept. Say what was meant."),
    ),
    "incomplete": (say_later("Copies that never ended"), say_later("They are cut off, and aren’t used.")),
    "interrupted": (say_later("What was cut off"), say_later("A part of it may have been done.")),
    "upload": (
        say_later("Dropped and never added"),
        say_later("They wait on somebody’s page Drop, and are no files yet."),
    ),
    "conflict": (
        say_later("Saved in two places at once"),
        say_later("Both are kept. Choose the better one."),
    ),
    "copy": (say_later("Copies"), say_later("Files that look like another one, saved twice.")),
    "duplicate": (say_later("The same file twice"), say_later("Equal to the last byte.")),
    "case-clash": (
        say_later("Names that are too alike"),
        say_later("Windows and macOS take them for one file."),
    ),
    "name": (say_later("Names that some systems can’t show"), say_later("They open on Linux alone.")),
    "identity": (
        say_later("Which file is it?"),
        say_later("A file went, and more than one could be it under a new name."),
    ),
    "unreadable": (
        say_later("What Croft can’t look at"),
        say_later("Its rights keep Croft out, or its disk is failing."),
    ),
    "clock": (say_later("Clocks that are wrong"), say_later("Croft sorts by time, and so do backups.")),
    "leftover": (say_later("Leftovers"), say_later("They do no harm and take room.")),
    "history": (say_later("Gaps in a history"), say_later("The change itself was made.")),
    "job": (say_later("Renders"), say_later("Something in what is written down of a render doesn’t fit.")),
    "node": (say_later("Computers"), ""),
    "watch": (say_later("Watching the folders"), say_later("Changes show later than usual.")),
    "watcher": (say_later("Watching the folders"), say_later("Changes show later than usual.")),
    "backup": (say_later("Backups"), ""),
    "setup": (say_later("Setting up"), ""),
    "config": (say_later("Configuration"), say_later("What was valid last is used.")),
    "settings": (say_later("Configuration"), say_later("What was valid last is used.")),
}
SAID = ("orphan", "absolute-path")
OTHER: tuple[str, str] = (say_later("Other things"), "")


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/problems` and `/p/<project>/problems`; `?kind=` shows the whole of one group."""
    project = shell.project(ident) if ident else None
    found = list(shell.services.problems.all())
    if project is not None:
        found = of_project(found, project.address)
    kind = call.query.get("kind", "")
    groups = grouped([one for one in found if not kind or one.kind == kind])
    return shell.page(
        call,
        "problems.html",
        title=say("Problems of {project}", project=project.title) if project else say("Problems"),
        here="Problems",
        project=project,
        summary=summary(found),
        may_look=call.user is not None and call.user.at_least("supervisor"),
        kind=kind,
        groups=[
            {
                "key": key(name),
                "title": title,
                "means": means,
                "rows": [row(shell, call, problem) for problem in (members if kind else members[:SHOWN])],
                "more": len(members) - SHOWN if not kind and len(members) > SHOWN else 0,
                "url": f"?kind={quote(members[0].kind)}",
            }
            for name, title, means, members in groups
        ],
    )


def grouped(found: list[Problem]) -> list[tuple[str, str, str, list[Problem]]]:
    """Groups in their order: name, title, what it means, and its problems, the worst first."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in found:
        groups.setdefault(GROUPS.get(problem.kind, OTHER), []).append(problem)
    places = {group: place for place, group in reversed(list(enumerate(GROUPS.values())))}
    ordered = sorted(groups.items(), key=lambda group: places.get(group[0], len(places)))
    return [(group[0], *group, members) for group, members in ordered]


def summary(found: list[Problem]) -> str:
    """How many of each severity, as a person says it."""
    if not found:
        return say("Nothing is wrong.")
    counts = {severity: sum(one.severity == severity for one in found) for severity in GLYPHS}
    said = [
        words.number(counts["error"], "urgent", "urgent") if counts["error"] else "",
        words.number(counts["warning"], "to do", "to do") if counts["warning"] else "",
        words.number(counts["note"], "good to know", "good to know") if counts["note"] else "",
    ]
    return " · ".join(part for part in said if part)


def row(shell: Shell, call: Call, problem: Problem) -> dict[str, Any]:
    """One problem as the template shows it."""
    user = call.user
    glyph, spoken = GLYPHS.get(problem.severity, GLYPHS["warning"])
    place, url = "", ""
    if paths.SEPARATOR in problem.address:
        place = problem.address.partition(paths.SEPARATOR)[2]
        project = shell.services.projects.of(problem.address)
        subject = problem.address
        if project is not None and shell.services.store.index.get(subject) is None:
            subject = subject.removesuffix(".json")
        if project is not None and shell.services.store.index.get(subject) is not None:
            inside = quote(project.inside(subject), safe="/")
            url = f"/p/{quote(project.ident, safe='')}/asset/{inside}"
    return {
        "key": key(problem.id),
        "kind": problem.kind,
        "glyph": glyph,
        "spoken": spoken,
        "text": known(problem.text),
        "mend": known(problem.mend),
        "place": place,
        "url": url if not place.endswith(paths.PROJECT_FILE) else "",
        "command": problem.command if user is not None and user.at_least("supervisor") else "",
        "acts": [
            {
                "label": known(act.label),
                "call": f"{act.method} {act.path}",
                "body": json.dumps(dict(act.body)),
            }
            for act in problem.actions
            if user is not None and user.at_least(act.role) and may_press(shell, problem, act, user)
        ],
    }


def may_press(shell: Shell, problem: Problem, act: Action, user: User) -> bool:
    """Whether this button is for this person: who unlocks a file is its owner or a supervisor."""
    if problem.kind != "protected" or not act.path.endswith("/unlock"):
        return True
    return shell.services.protection.may_unlock(problem.address, user)


def of_asset(shell: Shell, call: Call, address: str) -> list[dict[str, Any]]:
    """What is wrong with one file, for its own page: but for what that page says anyway."""
    places = (address, paths.sidecar_of(address))
    return [
        {**row(shell, call, problem), "url": "", "place": ""}
        for problem in shell.services.problems.of(places)
        if problem.kind not in SAID and not (problem.kind == "protected" and _is_answered(shell, address))
    ]


def _is_answered(shell: Shell, address: str) -> bool:
    """Whether what was meant has been said since the last look."""
    return not shell.services.protection.is_changed(address)
