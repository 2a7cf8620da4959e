"""How the house is: shares and every disk of theirs, what is watched, backups, computers, people, and the
configuration with its mistakes where they stand. For admins.

Asks the kernel and what is in memory; opens a file of the configuration only where it can't be read.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import bottle

from server.disk import health, inotify, mistakes, paths
from server.disk.branches import Pool, filesystem_of, mount_point, pool_of
from server.disk.paths import Share
from server.disk.records import Problem
from server.disk.settings import KEYS, KINDS, MAX_BYTES, PRIVATE, SINGLES
from server.disk.speech import count, pair, say
from server.library.people import ROLES
from server.web.pages import computers, file_rows, problems, words
from server.web.pages.shell import Shell
from server.web.requests import Call

NEARLY = 0.9  # of the watches that the kernel allows
VALUE = 200  # characters of a value
SECRET = ("code", "password", "secret", "token", "pin")  # keys whose values aren't shown
ROLE_WORDS = {
    "guest": pair("{n} guest", "{n} guests"), "student": pair("{n} student", "{n} students"),
    "supervisor": pair("{n} supervisor", "{n} supervisors"), "admin": pair("{n} admin", "{n} admins"),
}  # fmt: skip
MANUAL = {  # which part of the manual tells of a kind of file
    "server.json": "configuration.md", "where.json": "where.md", "users": "people.md",
    "projects": "configuration.md", "nodes": "nodes.md",
    "shares": "shares.md", "sets": "sets.md", "job_types": "job-types.md", "failure_rules": "farm.md",
    "tokens": "api.md", "paths": "moving-from-rfam.md", "languages": "configuration.md",
}  # fmt: skip
Row = dict[str, Any]


def page(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """`/admin`: health."""
    call.require("admin")
    services = shell.services
    wrong = mistaken(shell, call)
    found = services.problems.all()
    told = [one for one in found if one.severity != "note"]
    nodes = services.farm.machines.all()
    return shell.page(
        call,
        "admin.html",
        title=say("Health"),
        here="Health",
        urgent=sum(one.severity == "error" for one in told),
        summary=count("{n} thing needs a look", "{n} things need a look", len(told))
        if told
        else say("All is well"),
        shares=[share_row(shell, call, share, found) for share in services.store.shares],
        watching=watching(shell),
        backups=backups(shell, call, found),
        computers=computers.figure(nodes),
        computers_more=computers.summary(nodes),
        computer_problems=[problems.row(shell, call, one) for one in found if one.kind == "node"],
        people=people(shell),
        mistakes=wrong,
        files=sum(len(services.settings.folder(kind)) for kind in KINDS) + 1,
        server=server(shell),
    )


# ---- shares and disks


def share_row(shell: Shell, call: Call, share: Share, found: tuple[Problem, ...]) -> Row:
    """A share: where it is, what its disks have left, what is wrong with it."""
    store = shell.services.store
    address = paths.address(share.name)
    away = store.away(share.name)
    probe = store.mounts.probes.get(share.name)
    if away:
        state = ("failed", say("Away"))
    elif share.read_only:
        state = ("needs", say("Can only be read"))
    else:
        state = ("done", say("Connected"))
    known = shell.services.settings.folder("shares").get(share.name, {})
    folders = store.looks.watcher.watched(share.name) if store.looks.watcher is not None else None
    return {
        "name": share.name,
        "root": str(share.root),
        "people": str(known.get("people") or ""),
        "state": state,
        "facts": [] if away or probe is None else probed(probe, folders),
        "disks": [] if away else disks(share),
        "problems": [problems.row(shell, call, one) for one in found if one.address == address],
    }


def probed(probe: Any, folders: list[str] | None) -> list[tuple[str, str]]:
    """What was found when the share was tried out."""
    step = probe.mtime_step_ns
    yes, no = say("yes"), say("no")
    return [
        (say("File system"), probe.file_system),
        (say("Locks"), say("{kind}, exclude others", kind=probe.lock_class) if probe.exclusion else no),
        (say("Replaces files in one step"), yes if probe.replaces else no),
        (say("Times to"), say("{n} ns", n=step) if step < 1000 else words.duration(step / 1e9)),
        (say("Tells upper from lower case"), yes if probe.case_sensitive else no),
        (say("Links"), yes if probe.symlinks and probe.hard_links else no),
        (say("Watched folders"), count("{n} folder", "{n} folders", len(folders))
         if folders is not None else say("not all of them")),
    ]  # fmt: skip


def disks(share: Share) -> list[Row]:
    """The share as a whole, and every disk of its pool."""
    pool = pool_of(share.root) if share.branches or "mergerfs" in filesystem_of(share.root) else None
    rows = [disk(share.root, say("the whole share"), None)]
    modes = dict(pool.branches) if pool is not None else {}
    named = list(modes) or [Path(mount_point(branch)) for branch in share.branches]
    for path in dict.fromkeys((*named, *share.out)):
        takes = None if path not in modes or pool is None else taking(pool, path, modes[path])
        rows.append(disk(path, takes, pool))
    return rows


def disk(path: Path, note: Any, pool: Pool | None) -> Row:
    """One disk: what is free, and what is the matter."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        why = say("not there: {why}", why=error.strerror or str(error))
        return {
            "path": str(path),
            "note": note,
            "state": ("failed", why),
            "free": "",
            "whole": "",
            "used": None,
        }
    left, whole = health.free(found), found.f_blocks * found.f_frsize
    least = pool.least_bytes if pool is not None else 0
    state: tuple[str, Any] = ("done", say("Well"))
    if found.f_flag & os.ST_RDONLY:
        state = ("failed", say("Can only be read"))
    elif left < health.LOW_BYTES:
        state = ("failed", say("Full"))
    elif left < least or (left < health.SOON_BYTES and left < whole * health.SOON_SHARE):
        state = ("needs", say("Nearly full"))
    return {
        "path": str(path),
        "note": note,
        "state": state,
        "free": words.size(left),
        "whole": words.size(whole),
        "used": round(100 * (1 - left / whole)) if whole else 0,
    }


def taking(pool: Pool, path: Path, takes: bool) -> Any:
    """Whether new files go to this disk of the pool."""
    if not takes:
        return say("takes no new files")
    try:
        if health.free(os.statvfs(path)) < pool.least_bytes:
            return say("takes no new files: less than {size} are free", size=words.size(pool.least_bytes))
    except OSError:
        return say("takes no new files")
    return say("takes new files ({policy})", policy=pool.policy or "?")


# ---- the rest of the house


def watching(shell: Shell) -> Row:
    """How many folders are watched, and how many there may be."""
    watcher = shell.services.store.looks.watcher
    shares = [share.name for share in shell.services.store.shares]
    known = [watcher.watched(name) if watcher is not None else None for name in shares]
    limit = inotify.limit()
    total = sum(len(folders) for folders in known if folders is not None)
    state: tuple[str, Any] = ("done", say("Every folder is watched"))
    if any(folders is None for folders in known):
        state = ("failed", say("Not every folder is watched: changes show later than usual"))
    elif limit and total > limit * NEARLY:
        state = ("needs", say("Soon there are more folders than may be watched"))
    return {
        "state": state,
        "said": say("{n:,} of {limit:,} that the kernel allows", n=total, limit=limit),
        "command": "sudo sysctl fs.inotify.max_user_watches=1000000" if state[0] != "done" else "",
    }


def backups(shell: Shell, call: Call, found: tuple[Problem, ...]) -> Row:
    """How old the newest backup is."""
    wrong = [problems.row(shell, call, one) for one in found if one.kind == "backup"]
    path = str(shell.services.settings.get("backup").get("path") or "")
    newest = shell.services.backups.newest()
    if not path:
        state: tuple[str, Any] = ("needs", say("No backup is set up"))
    elif newest is None:
        state = ("failed", say("There is none yet"))
    else:
        glyph = "needs" if wrong else "done"
        state = (glyph, say("The newest is of {time}", time=words.when(newest.isoformat(), shell.now())))
    return {"state": state, "path": path, "problems": wrong}


def people(shell: Shell) -> Row:
    """How many there are of each role."""
    users = shell.services.people.users()
    counts = Counter(user.role for user in users if not user.disabled)
    said = [count(*ROLE_WORDS[role], counts[role]) for role in ROLES if counts[role]]
    closed = sum(user.disabled for user in users)
    return {"counts": said, "closed": count("{n} disabled", "{n} disabled", closed) if closed else ""}


def server(shell: Shell) -> list[tuple[Any, Any]]:
    """What runs here."""
    services, now = shell.services, shell.services.clock()
    counts = services.counts
    return [
        (say("Runs since"), words.when(counts.started, shell.now())),
        (say("Address"), services.listens),
        (say("Name of this installation"), services.settings.get("site")),
        (say("Files known"), f"{len(services.store.index):,}"),
        (say("Browsers that follow"), say("{n} of {most}", n=services.events.open_streams,
                                          most=services.settings.get("event_streams"))),
        (say("Errors since then"), f"{counts.errors:,}"),
        (say("Load"), say("{load:.1f} for {n} cores", load=os.getloadavg()[0], n=os.cpu_count() or 1)),
        (say("Configuration"), str(services.config_dir)),
        (say("Python"), platform.python_version()),
        (say("Clock"), words.when(now, shell.now())),
    ]  # fmt: skip


# ---- the configuration


def mistaken(shell: Shell, call: Call) -> list[Row]:
    """What is wrong in the configuration: each with its file, line, the lines around it, and what to do."""
    services = shell.services
    services.problems.look_again()  # as of now: what is counted elsewhere on this page is to be the same
    found = [one for one in services.problems.all() if one.kind in ("config", "settings")]
    rows = []
    for one in found:
        inside, key = file_of(one)
        raw = read(services.config_dir / inside) if inside else b""
        wrong = mistakes.of_object(raw) if raw is not None and inside else None
        line = wrong.line if wrong is not None else mistakes.line_of_key(raw or b"", key) if key else 0
        private = inside.partition("/")[0] in PRIVATE
        rows.append({
            "key": file_rows.key(one.id),
            "file": str(services.config_dir / inside) if inside else one.address,
            "line": line,
            "text": wrong.text if wrong is not None else one.text,
            "mend": wrong.mend if wrong is not None else one.mend,
            "lines": mistakes.around(raw or b"", line, secret=private) if line else [],
            "manual": MANUAL.get(inside.partition("/")[0], "configuration.md"),
        })  # fmt: skip
    return rows


def file_of(problem: Problem) -> tuple[str, str]:
    """Which file of the configuration a problem is of, and which key of server.json."""
    place, _, key = problem.address.partition(": ")
    kind, _, ident = problem.id.partition(":")
    folder = {"job-type": "job_types", "failure-rules": "failure_rules", "node-file": "nodes"}.get(kind)
    if folder:
        return f"{folder}/{ident}.json", ""
    safe = place in ("server.json", *SINGLES) or (place.partition("/")[0] in KINDS and ".." not in place)
    return (place, key) if safe else ("", "")


def read(path: Path) -> bytes | None:
    """A file's bytes; None where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return None


def configuration(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """`/admin/configuration`: every key with its value, every kind of file, and what is wrong in them."""
    call.require("admin")
    settings = shell.services.settings
    wrong = mistaken(shell, call)
    told = {key: one.text for one in settings.problems() if (key := file_of(one)[1])}
    return shell.page(
        call,
        "configuration.html",
        title=say("Configuration"),
        here="Health",
        summary=count("{n} mistake", "{n} mistakes", len(wrong)) if wrong else say("Nothing is wrong in it."),
        folder=str(shell.services.config_dir),
        mistakes=wrong,
        keys=[key_row(settings.get(name), name, told.get(name, "")) for name in KEYS],
        kinds=[
            {
                "kind": kind,
                "count": len(settings.folder(kind)),
                "manual": MANUAL.get(kind, "configuration.md"),
            }
            for kind in KINDS
        ],
    )


def key_row(value: Any, name: str, wrong: str = "") -> Row:
    """A key of server.json with what holds now, and what is wrong with what the file says."""
    key = KEYS[name]
    hidden = bool(value) and any(word in name for word in SECRET)
    return {
        "name": name,
        "value": say("set; not shown") if hidden else shown(value),
        "default": "" if value == key.default else shown(key.default),
        "unit": key.unit,
        "sentence": key.sentence,
        "wrong": wrong,
    }


def shown(value: Any) -> str:
    """A value as the file would say it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE else text[:VALUE] + "…"
