"""Setting up, step by step, as an admin goes: each step looks at what is there now and says what mends it.

Nothing is stored that can be looked up, so that every step can be left and come back to; only what was tried
on demand (a student's write, the speed, a practised restore) is remembered by this process. The terminal and
the page draw the same steps. What the farm knows is told by the wings above.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.disk.branches import mount_point
from server.disk.errors import BadInput, CroftError
from server.disk.mounts import configured_shares
from server.disk.settings import Settings
from server.disk.speech import say
from server.library.people import People
from server.library.setup import classlist, pool, practice, samba, service, speed
from server.library.setup.machine import Machine
from server.library.setup.records import Check, Step, note, right, todo, worst, wrong

log = logging.getLogger("croft.setup")

CLONE = Path(__file__).resolve().parents[3]
STEPS = ("you", "pool", "samba", "people", "nodes", "render", "speed", "service", "backup")
TITLES = {
    "you": say("Your password"),
    "pool": say("The folder for the films"),
    "samba": say("Samba"),
    "people": say("People"),
    "nodes": say("Computers that render"),
    "render": say("A test render"),
    "speed": say("How fast the disk is"),
    "service": say("Start with the machine"),
    "backup": say("The backup"),
}
ABOUTS = {
    "you": say("The one-time code opens the door once. A password opens it from then on."),
    "pool": say("Where everything lies: on one disk, or on a pool of old disks."),
    "samba": (
        say(
            "Students reach the folder from Windows, macOS and Linux over Samba. Croft tries it "
            "as they would."
        )
    ),
    "people": (
        say("Everybody who works on films. Students sign in by a tap on their name, others with a password.")
    ),
    "nodes": say("One line, pasted on each computer, takes it into the farm. It has to see the same folder."),
    "render": say(
        "A small scene through the whole farm, so that the first student isn’t the one who finds out."
    ),
    "speed": say("What the disk takes for the things that Croft does all day."),
    "service": say("So that Croft is there after a power cut, and runs as a user of its own."),
    "backup": say("Every ten minutes to another disk. A backup is one once something came back from it."),
}
SAMBA_LOOK_S = 2.0  # how old what testparm said may be
Told = Mapping[str, Sequence[Check]]


class Setup:
    """The steps of one installation. Safe for threads; one trial of a kind at a time."""

    def __init__(
        self,
        settings: Settings,
        people: People,
        data: Path,
        *,
        user: int | None = None,
        machine: Machine | None = None,
        told: Callable[[], Told] | None = None,
        done: Callable[[], None] | None = None,
        clone: Path = CLONE,
    ) -> None:
        self.settings = settings
        self.people = people
        self.data = Path(os.path.abspath(data))
        self.machine = machine or Machine()
        self.user = os.geteuid() if user is None else user  # whom Croft runs as
        self._told = told
        self._done = done  # called when something that was begun aside has ended
        self._clone = clone
        self.joining: list[tuple[str, str]] = []  # the lines that take a computer into the farm
        self.last_made: list[str] = []  # by the last class list
        self._tried: dict[str, list[Check]] = {}
        self._busy: set[str] = set()
        self._samba_seen: tuple[float, Path, list[Check], str] | None = None
        self._guard = threading.Lock()

    # Looking

    def steps(self) -> list[Step]:
        """All of them, in their order, as they stand now."""
        told = self._told() if self._told else {}
        return [self.step(ident, told) for ident in STEPS]

    def step(self, ident: str, told: Told | None = None) -> Step:
        """One of them."""
        if ident not in STEPS:
            raise BadInput(
                "There is no step {ident}: use {steps}.", ident=repr(ident), steps=", ".join(STEPS)
            )
        if told is None:
            told = self._told() if self._told else {}
        checks = list(told.get(ident, ())) or getattr(self, f"_{ident}")()
        if ident in self._busy:
            checks = [*checks, todo(say("It is being tried just now …"))]
        give = getattr(self, f"_{ident}_texts", None)
        texts: list[tuple[str, str]] = give() if give else []
        return Step(ident, TITLES[ident], ABOUTS[ident], tuple(map(self._whole, checks)), tuple(texts))

    def _whole(self, check: Check) -> Check:
        """A command of ours as it works from everywhere on this machine."""
        if "python3 run.py" not in check.command:
            return check
        places = f" --config {shlex.quote(str(self.settings.folder_path))}"
        if " setup service" in check.command and not self._chosen():
            places += f" --data {shlex.quote(str(self.data))}"
        program = shlex.quote(str(self._clone / "run.py"))
        return replace(check, command=check.command.replace("python3 run.py", f"python3 {program}") + places)

    def _you(self) -> list[Check]:
        admins = [user for user in self.people.users() if user.role == "admin" and not user.disabled]
        named = [user.title for user in admins if user.has_password]
        if named:
            return [
                right(
                    say(
                        "{named} {words} a password.",
                        named=", ".join(named),
                        words="have" if len(named) > 1 else "has",
                    )
                )
            ]
        mend = say("Give yourself one below, or:")
        return [
            todo(
                say("No admin has a password yet."),
                mend,
                f"python3 run.py user password {admins[0].ident if admins else 'admin'}",
            )
        ]

    def _pool(self) -> list[Check]:
        inside = self._clone / "var" / "data"
        if self.data == inside and not self._chosen():
            text = say("The films lie in {data}, which is there for trying Croft out.", data=self.data)
            return [todo(text, say("Choose a folder on the disks for the films."))]
        return self.look_at(self.data)

    def look_at(self, path: Path) -> list[Check]:
        """What is right and wrong with a folder as the share."""
        return pool.look(path, self.user, self.machine, (self._clone, self.settings.folder_path))

    def _chosen(self) -> str:
        return str(self.settings.folder("shares").get("data", {}).get("path") or "")

    def _samba(self) -> list[Check]:
        if not self.data.is_dir():
            return [todo(say("First the folder: see the step before."))]
        checks, name = self._samba_look()
        if name and not self.called():
            text = say(
                "Pages show students the folder as {data}, which their computers don’t know.", data=self.data
            )
            checks.append(
                note(text, say("Say what they call it, such as {address}.", address=self.address()))
            )
        if "samba" in self._tried:
            return [*checks, *self._tried["samba"]]
        seen = samba.seen_from_students(self.data, self.user, self.machine)
        if seen is not None:
            return [*checks, seen]
        mend = say(
            "Try it below with a student’s name and password; or save a file from a student’s "
            "computer, and look again."
        )
        return [*checks, todo(say("Nobody has saved a file there yet."), mend)]

    def _samba_look(self) -> tuple[list[Check], str]:
        """Samba's configuration, asked for once a view: testparm takes a moment."""
        now = time.monotonic()
        seen = self._samba_seen
        if seen is None or now - seen[0] > SAMBA_LOOK_S or seen[1] != self.data:
            seen = self._samba_seen = (now, self.data, *samba.look(self.data, self.machine))
        return list(seen[2]), seen[3]

    def _samba_texts(self) -> list[tuple[str, str]]:
        try:
            group = self.machine.group(os.stat(self.data).st_gid)
        except OSError:
            group = samba.SHIPPED_GROUP
        return [("/etc/samba/smb.conf", samba.snippet(str(self.data), group, self.share_name()))]

    def called(self) -> str:
        """What pages call the folder for students to copy; '' where nobody has said."""
        return str(self.settings.folder("shares").get("data", {}).get("people") or "")

    def address(self) -> str:
        """What students' computers probably call it."""
        return f"\\\\{computer_name()}\\{self.share_name()}"

    def call_it(self, text: str) -> None:
        """Have pages call the folder so."""
        if not text.isprintable():
            raise BadInput("An address is one line of text, such as \\\\nas\\film.")
        known = dict(self.settings.folder("shares").get("data", {}))
        self.settings.write("shares", "data", {**known, "people": text.strip()})

    def share_name(self) -> str:
        """What students' computers call the share."""
        if self.data.is_dir():
            _, name = self._samba_look()
            if name:
                return name
        return self.data.name if self.data.name.isalnum() else samba.SHIPPED_GROUP

    def _people(self) -> list[Check]:
        users = [user for user in self.people.users() if not user.disabled]
        example = {"student", "supervisor"}
        class_ = [user for user in users if user.ident not in example and user.role != "admin"]
        counts = {role: sum(user.role == role for user in class_) for role in ("student", "supervisor")}
        checks = []
        if class_:
            known = " and ".join(f"{n} {role}{'' if n == 1 else 's'}" for role, n in counts.items())
            checks.append(right(say("Known so far: {known}.", known=known)))
            left = [user.ident for user in users if user.ident in example and not user.has_password]
            if left:
                text = say(
                    "The example’s {left} are still there; anybody may tap 'Student'.",
                    left=" and ".join(left),
                )
                where = " ".join(f"{self.settings.folder_path}/users/{ident}.json" for ident in left)
                checks.append(note(text, say("Delete them; they stay deleted:"), f"rm {where}"))
            without = [u.title for u in class_ if u.role == "supervisor" and not u.has_password]
            if without:
                names = ", ".join(without[:5])
                checks.append(
                    note(
                        say("Without a password, {names} can’t sign in.", names=names),
                        say("Give them one on the page People."),
                    )
                )
        else:
            checks.append(
                todo(say("Nobody is known but the example’s people."), say("Paste the class list below."))
            )
        return checks

    def _nodes(self) -> list[Check]:
        return [
            todo(
                say("Which computers render is known once Croft runs."),
                say("Start it:"),
                "python3 run.py serve",
            )
        ]

    def _nodes_texts(self) -> list[tuple[str, str]]:
        return self.joining

    def _render(self) -> list[Check]:
        return [todo(say("A test render needs a running Croft."), say("Start it:"), "python3 run.py serve")]

    def _speed(self) -> list[Check]:
        return self._tried.get("speed") or [todo(say("Not measured yet; it takes some seconds."))]

    def places(self) -> service.Places:
        """What the systemd units name."""
        st = os.stat(self.data) if self.data.is_dir() else None
        group = self.machine.group(st.st_gid) if st else "film"
        backup = str(self._backup_settings().get("path") or "")
        user = self.machine.user(self.user)
        mount = mount_point(self.data) if st else ""
        return service.Places(self._clone, self.settings.folder_path, self.data, user, group, mount, backup)

    def _service(self) -> list[Check]:
        return service.look(self.places(), self.machine)

    def _service_texts(self) -> list[tuple[str, str]]:
        return [(f"{self.machine.units}/{service.NAME}", service.unit(self.places()))]

    def _backup_settings(self) -> Mapping[str, Any]:
        found = self.settings.get("backup")
        return found if isinstance(found, Mapping) else {}

    def _backup(self) -> list[Check]:
        return [
            *practice.look(self._backup_settings(), self.data, self.machine),
            *self._tried.get("backup", []),
        ]

    def _backup_texts(self) -> list[tuple[str, str]]:
        return [
            (f"{self.machine.units}/{name}", text)
            for name, text in service.backup_units(self.places()).items()
        ]

    # Trying and choosing

    def choose(self, path: Path) -> list[Check]:
        """Have this folder be the share from the next start on, if nothing is wrong with it."""
        checks = self.look_at(path)
        if worst(checks) == "wrong":
            return checks
        known = dict(self.settings.folder("shares").get("data", {}))
        before = known.get("path")
        self.settings.write("shares", "data", {**known, "path": str(path)})
        try:
            configured_shares(self.settings, path)  # none may lie within another
        except CroftError as error:
            self.settings.write("shares", "data", {**known, **({"path": before} if before else {})})
            return [*checks, wrong(error.message, say("Choose another folder."))]
        return checks

    def try_samba(self, user: str = "", password: str = "", share: str = "", port: int = 445) -> list[Check]:
        """A write as a student would: over SMB with a login, else as another user of the group."""

        def act() -> list[Check]:
            if not self.data.is_dir():
                return [wrong(say("{data} isn't there.", data=self.data), say("See the step before."))]
            if user:
                name = share or self.share_name()
                return samba.write_over_smb(self.data, name, user, password, self.machine, port)
            return samba.write_as_another(self.data, self.machine, self.user)

        return self._try("samba", act)

    def measure_speed(self) -> list[Check]:
        """The verdict on the share's disk."""

        def act() -> list[Check]:
            try:
                found = speed.measure(self.data)
            except (OSError, CroftError) as error:
                return [
                    wrong(
                        say("The disk couldn't be tried: {why}", why=error),
                        say("See the step about the folder."),
                    )
                ]
            return [*speed.verdict(found), right(found.line() + ".")]

        return self._try("speed", act)

    def choose_backup(self, target: Path) -> list[Check]:
        """Have backups go there: into `server.json`, whose other keys stay as they are."""
        if not target.is_absolute():
            raise BadInput("Begin with a slash: /mnt/backup/croft.")
        if not target.is_dir():
            raise BadInput("There is no folder {target}: mount its disk, or make it.", target=target)
        for inner, outer in ((target, self.data), (self.data, target)):
            if (
                os.path.realpath(inner).startswith(os.path.realpath(outer).rstrip("/") + "/")
                or inner == outer
            ):
                raise BadInput(
                    "{target} and the films in {data} have to lie apart.", target=target, data=self.data
                )
        self.settings.change(backup={**self._backup_settings(), "path": str(target)})
        return practice.look(self._backup_settings(), self.data, self.machine)

    def practise(self, *, aside: bool = False) -> list[Check]:
        """Lose a file and bring it back; `aside`: begin it and tell so, since a first backup takes hours."""
        target = self._backup_settings().get("path")
        if not target:
            raise BadInput("Choose a folder for the backup first.")

        def act() -> list[Check]:
            return practice.practise(self.settings.folder_path, self.data, Path(str(target)), self.machine)

        if not aside:
            return self._try("backup", act)
        threading.Thread(
            target=self._try, args=("backup", act), name="a practised restore", daemon=True
        ).start()
        return [todo(say("A file is backed up, lost and brought back; what came of it shows here."))]

    def read_list(self, text: str, projects: Mapping[str, str] | None = None) -> classlist.ClassList:
        return classlist.read(text, self.people, projects)

    def take_back(self, idents: Sequence[str]) -> list[str]:
        """Take out those of the last class list that are named here."""
        gone = [ident for ident in idents if ident in self.last_made]
        for ident in gone:
            self.people.remove(ident)
        self.last_made = [ident for ident in self.last_made if ident not in gone]
        return gone

    def _try(self, ident: str, act: Callable[[], list[Check]]) -> list[Check]:
        with self._guard:
            if ident in self._busy:
                return [todo(say("It is being tried already."))]
            self._busy.add(ident)
        try:
            found = act()
        except Exception as error:  # what nobody foresaw must not end as if it had never been tried
            log.exception("the trial of %s failed", ident)
            found = [wrong(say("The trial broke off: {why}", why=error), say("The server's log says more."))]
        finally:
            self._busy.discard(ident)
        self._tried[ident] = found
        if self._done:
            self._done()
        return found


def computer_name() -> str:
    """What students' computers call this machine."""
    return socket.gethostname().partition(".")[0] or "nas"


__all__ = ["STEPS", "Check", "Setup", "Step", "classlist", "computer_name"]
