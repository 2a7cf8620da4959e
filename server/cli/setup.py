"""`run.py setup`: the admin's path in the terminal, step by step; each may be left and come back to.

Without a step it shows all of them, and asks where somebody sits at the terminal. What the farm knows (the
computers, the test render) comes from the running server, which draws the same steps on its page /setup.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.cli import import_csv, places
from server.cli.client import CallFailed, Client
from server.cli.places import CLONE
from server.cli.session import running_server, url_of
from server.disk.errors import BadInput, CroftError
from server.library.people import People
from server.library.setup import STEPS, Check, Setup, Step, service
from server.library.setup.records import worst

GLYPHS = {"right": "●", "note": "!", "todo": "○", "wrong": "✕"}
WORDS = {"right": "right", "note": "right, with a note", "todo": "still to do", "wrong": "not right"}
COLOURS = {"right": "32", "note": "33", "todo": "2", "wrong": "31"}
RENDER_S = 300.0
LOOK_S = 0.5


def run(options: argparse.Namespace) -> int:
    walk = Walk(options)
    try:
        if options.step:
            return walk.one(options.step)
        return walk.all()
    finally:
        hand_over(places.config_dir(options), walk.setup.user)


class Walk:
    """One call of the command."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.config = places.config_dir(options)
        settings = places.settings(options)
        self.people = People(settings)
        user = whom_croft_runs_as(options.user, self.config)
        self.setup = Setup(settings, self.people, places.data_dir(options), user=user, told=self.told)
        self._told: dict[str, list[Check]] | None = None

    # What the running server tells

    def told(self) -> dict[str, list[Check]]:
        """The checks of the computers and of the test render; none where no server runs."""
        if self._told is None:
            self._told = {}
            try:
                for step in self.ask(lambda client: client.get("/api/setup")):
                    if step["id"] in ("nodes", "render"):
                        self._told[step["id"]] = [Check(**check) for check in step["checks"]]
            except (CroftError, OSError):
                pass  # the step says that it needs the server
        return self._told

    def ask(self, question: Callable[[Client], Any]) -> Any:
        with running_server(self.options) as client:
            return question(client)

    def server_try(self, step: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self.ask(lambda client: client.post(f"/api/setup/{step}", body or {}))
        except CallFailed as error:
            if error.status == 0:
                where = url_of(self.setup.settings)
                raise BadInput(
                    f"Croft doesn't run at {where}: start it with 'python3 run.py serve'."
                ) from error
            raise
        self._told = None
        return answer

    # One step

    def one(self, ident: str) -> int:
        act = getattr(self, f"do_{ident}", None)
        if act is not None:
            act()
        step = self.setup.step(ident)
        draw(step, with_texts=ident not in ("service", "backup") or not self.options.write)
        return 1 if step.state == "wrong" else 0

    def do_pool(self) -> None:
        if not self.options.value:
            return
        path = Path(self.options.value).expanduser()
        if self.options.data:
            raise BadInput("--data names the folder already: leave one of the two out.")
        checks = self.setup.choose(Path(os.path.abspath(path)))
        if worst(checks) == "wrong":
            draw_checks(checks)
            raise BadInput(f"{path} was not chosen: nothing was changed.")
        self.setup.data = Path(os.path.abspath(path))
        print(f"{path} is the folder for the films. Start Croft again, if it runs.")

    def do_samba(self) -> None:
        if self.options.called:
            self.setup.call_it(self.options.called)
        student, password = self.options.student or "", ""
        if student:
            password = import_csv.secret(f"{student}’s Samba password: ")
        elif not self.setup.machine.is_root():
            return
        self.setup.try_samba(student, password, self.options.share or "", self.options.samba_port)

    def do_people(self) -> None:
        if self.options.value:
            import_csv.carry_out(
                self.people, self.options.value, self.options.dry_run, self.setup.settings, self.setup.data
            )

    def do_nodes(self) -> None:
        answer = self.server_try("nodes")
        for where, line in answer["lines"]:
            print(f"{where}:\n    {line}\n")

    def do_render(self) -> None:
        print("Rendering a small scene …", flush=True)
        self.server_try("render")
        self.ask(self.follow_render)

    def follow_render(self, client: Client) -> None:
        """Say how the test render goes until it has ended; Ctrl-C leaves it to itself."""
        said, last = "", time.monotonic() + RENDER_S
        while time.monotonic() < last:
            step = next(step for step in client.get("/api/setup") if step["id"] == "render")
            if step["state"] != "todo":
                return
            if step["checks"][0]["text"] != said:
                said = step["checks"][0]["text"]
                print(f"  {said}", flush=True)
            time.sleep(LOOK_S)

    def do_speed(self) -> None:
        print("Trying the disk, some seconds …", flush=True)
        self.setup.measure_speed()

    def do_service(self) -> None:
        if self.options.write:
            self.written({service.NAME: service.unit(self.setup.places())})

    def do_backup(self) -> None:
        if self.options.value:
            target = os.path.abspath(os.path.expanduser(self.options.value))
            choose_backup(self.setup, target)
        if self.options.write:
            self.written(service.backup_units(self.setup.places()))
        if self.options.practise:
            print("Backing up (the first takes as long as a copy), losing a file …", flush=True)
            self.setup.practise()

    def written(self, texts: dict[str, str]) -> None:
        folder = Path(self.options.write)
        for file in service.write(folder, texts):
            print(f"Wrote {file}")
        if folder == self.setup.machine.units:
            names = [name for name in texts if not name.startswith("croft-backup.s")]
            print(f"Now: systemctl daemon-reload && systemctl enable --now {names[0]}")

    # All steps

    def all(self) -> int:
        if sys.stdin.isatty() and sys.stdout.isatty():
            return self.interactive()
        steps = self.setup.steps()
        for step in steps:
            draw(step, with_texts=False)
            if step.texts and step.state != "right":
                print(f"    'run.py setup {step.ident}' prints what to copy.")
        return 1 if any(step.state == "wrong" for step in steps) else 0

    def interactive(self) -> int:
        """Each step in turn; Enter goes on, Ctrl-D ends."""
        print("Enter goes on to the next step; Ctrl-D leaves. What is done stays done.")
        for ident in STEPS:
            draw(self.setup.step(ident))
            question = QUESTIONS.get(ident)
            while question is not None:
                try:
                    answer = input(f"  {question} ").strip()
                except EOFError:
                    print()
                    return 0
                if not answer:
                    break
                try:
                    self.answered(ident, answer)
                except CroftError as error:
                    print(f"  {error.message}")
                else:
                    draw(self.setup.step(ident))
        return 0

    def answered(self, ident: str, answer: str) -> None:
        options = self.options
        options.value, options.student, options.practise, options.write = answer, "", False, None
        options.called = None
        if ident == "you":
            first, again = getpass.getpass("  Password: "), getpass.getpass("  Again: ")
            if first != again:
                raise BadInput("The two passwords differ; nothing was changed.")
            self.people.set_password(answer, first)
            return
        if ident == "samba":
            options.student = answer
        elif ident == "service":
            options.write = answer
        elif ident == "backup" and answer == "practise":
            options.value, options.practise = None, True
        getattr(self, f"do_{ident}")()


QUESTIONS = {
    "you": "Whose password do you want to set (admin)?",
    "pool": "Which folder?",
    "samba": "Which student’s login shall be tried?",
    "people": "Which file holds the class list (CSV)?",
    "nodes": "Type 'line' for a line to paste on each computer:",
    "render": "Type 'start' for a test render:",
    "speed": "Type 'measure':",
    "service": "Into which folder shall the unit be written (/etc/systemd/system)?",
    "backup": "Which folder takes the backups? 'practise' loses a file and brings it back:",
}


# Drawing


def draw(step: Step, *, with_texts: bool = True) -> None:
    """A step with its checks, and what is to be copied."""
    print(f"\n{paint(step.state, GLYPHS[step.state])} {step.title}: {WORDS[step.state]}")
    draw_checks(step.checks)
    if with_texts and step.state != "right":
        for where, text in step.texts:
            print(f"\n    # {where}")
            print(textwrap.indent(text.rstrip(), "    "))
    sys.stdout.flush()


def draw_checks(checks: Any) -> None:
    for check in checks:
        print(f"  {paint(check.state, GLYPHS[check.state])} {check.text}")
        if check.mend:
            print(f"      {check.mend}")
        if check.command:
            print(f"      $ {check.command}")


def paint(state: str, glyph: str) -> str:
    live = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[{COLOURS[state]}m{glyph}\033[0m" if live else glyph


# Helpers


def choose_backup(setup: Setup, target: str) -> None:
    """Write the backup's folder into server.json."""
    setup.choose_backup(Path(target))
    print(f"Backups go to {target}.")


def whom_croft_runs_as(named: str | None, config: Path) -> int:
    """The user of the service: named, else the owner of the configuration, else 'croft', else ourselves."""
    import pwd

    if named:
        try:
            return pwd.getpwnam(named).pw_uid
        except KeyError:
            raise BadInput(f"There is no user {named!r} on this machine.") from None
    if os.geteuid() != 0:
        return os.geteuid()
    owner = config.stat().st_uid if config.exists() else 0
    if owner:
        return owner
    try:
        return pwd.getpwnam("croft").pw_uid
    except KeyError:
        return 0


def hand_over(config: Path, user: int) -> None:
    """What root wrote into the configuration belongs to Croft's own user, or it couldn't read it."""
    if os.geteuid() != 0 or user == 0 or CLONE in config.parents:
        return
    group = config.stat().st_gid
    for place, folders, names in os.walk(config):
        for name in [".", *folders, *names]:
            path = os.path.join(place, name)
            if os.lstat(path).st_uid == 0:
                os.chown(path, user, group, follow_symlinks=False)
