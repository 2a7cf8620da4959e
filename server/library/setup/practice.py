"""The backup: whether it is set up and fresh; and a restore practised on a file made for it.

The practice does what a real loss would take: the real backup program, a file that is gone, a copy back.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk.speech import say
from server.library.setup.machine import Machine
from server.library.setup.records import Check, note, right, todo, wrong

PROGRAM = Path(__file__).resolve().parents[3] / "misc" / "backup"
TREE = "%Y-%m-%dT%H%M%SZ"
RECORD = ".croft-backup.json"
LATE_S = 26 * 3600.0  # older than a night: the timer doesn't run
BACKUP_S = 6 * 3600.0  # a first copy of many disks


def trees(target: Path) -> list[Path]:
    """The backups there, oldest first."""
    try:
        return sorted(path for path in target.iterdir() if _when(path) and (path / RECORD).exists())
    except OSError:
        return []


def _when(tree: Path) -> datetime | None:
    try:
        return datetime.strptime(tree.name, TREE).replace(tzinfo=UTC)
    except ValueError:
        return None


def look(
    configured: Mapping[str, Any], data: Path, machine: Machine, now: float | None = None
) -> list[Check]:
    """Whether there is a backup, on another disk, and how old it is."""
    where = str(configured.get("path") or "")
    if not where:
        return [
            todo(say("There is no backup yet."), say("Choose a folder on a disk that isn't the share's."))
        ]
    target = Path(where)
    if not target.is_dir():
        return [
            wrong(
                say("The backup's folder {target} isn't there.", target=target),
                say("Mount its disk, or make the folder:"),
                f"install -d -o croft -m 700 {shlex.quote(where)}",
            )
        ]
    checks = []
    if data.is_dir() and target.stat().st_dev == data.stat().st_dev:
        text = say(
            "{target} lies on the share's own disk: when that disk dies, both are gone.", target=target
        )
        checks.append(wrong(text, say("Choose a folder on another disk.")))
    found = trees(target)
    if not found:
        program = machine.program("croft-backup") or PROGRAM
        mend = say("Practise a restore below, which makes the first; or let the timer:")
        return [
            *checks,
            todo(
                say("There is no backup in {target} yet.", target=target),
                mend,
                f"python3 {program}" if program == PROGRAM else str(program),
            ),
        ]
    made = _when(found[-1])
    age = (time.time() if now is None else now) - (made.timestamp() if made else 0)
    if age > LATE_S:
        text = say("The newest of {found} backups is {age:.0f} days old.", found=len(found), age=age / 86400)
        checks.append(wrong(text, say("Is the timer on?"), "systemctl status croft-backup.timer"))
    else:
        checks.append(
            right(
                say(
                    "{found} backups are in {target}; the newest is {age:.0f} min old.",
                    found=len(found),
                    target=target,
                    age=max(age, 0) / 60,
                )
            )
        )
    return checks


def practise(config: Path, data: Path, target: Path, machine: Machine) -> list[Check]:
    """Make a file, back it up, lose it, bring it back: what came of it."""
    name = f"croft-practice-{secrets.token_hex(4)}"
    folder, text = data / name, f"A restore, practised {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.\n"
    try:
        folder.mkdir()
        (folder / "film.txt").write_text(text)
    except OSError as error:
        return [
            wrong(
                say("No file could be made in {data}: {why}.", data=data, why=error.strerror),
                say("See the step about the folder."),
            )
        ]
    try:
        before = set(trees(target))
        command = [
            sys.executable,
            str(PROGRAM),
            "--config",
            str(config),
            "--data",
            str(data),
            "--to",
            str(target),
        ]
        done = machine.run(command, timeout_s=BACKUP_S)
        fresh = [tree for tree in trees(target) if tree not in before]
        kept = next((place for tree in fresh for place in tree.glob(f"*/{name}")), None)
        if kept is None:
            said = (done.stdout.strip() or done.stderr.strip() or say("it said nothing")).splitlines()[-1]
            who = (
                ""
                if machine.is_root()
                else say(" As root it may go: sudo python3 run.py setup backup --practise")
            )
            return [
                wrong(
                    say("The backup didn't take the file along. {said}", said=said),
                    say("Mend what it says, then again.{who}", who=who),
                )
            ]
        shutil.rmtree(folder)
        lost = not folder.exists()
        shutil.copytree(kept, folder, symlinks=True)
        if not lost or (folder / "film.txt").read_text() != text:
            return [
                wrong(
                    say("The file came back from {kept} with other content.", kept=kept),
                    say("Look at the backup's disk: `dmesg`."),
                )
            ]
        more = (
            []
            if done.returncode == 0
            else [note(say("The backup itself said: {stdout}", stdout=done.stdout.strip()))]
        )
        return [
            right(say("A file was backed up to {parent}, deleted, and came back whole.", parent=kept.parent)),
            *more,
        ]
    except OSError as error:
        return [
            wrong(
                say("The practice broke off: {why}.", why=error),
                say("See whether the disks are all there: `df`."),
            )
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def last_run(target: Path) -> str:
    """What the backup's last run said."""
    try:
        said = json.loads((target / ".croft-last-run.json").read_text("utf-8"))
        return str(said.get("line", ""))
    except (OSError, ValueError, AttributeError):
        return ""
