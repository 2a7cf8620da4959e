"""Samba's share: the snippet filled in, the configuration looked through, and a write as a student does.

The trial goes the whole way where it can: a student's own login, with Croft at the other end. Nothing of it
stays on the share; the password is handed to smbclient and kept nowhere.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.disk.speech import say
from server.library.setup.machine import Machine
from server.library.setup.records import Check, note, right, todo, wrong

MISC = Path(__file__).resolve().parents[3] / "misc"
SHIPPED_PATH, SHIPPED_GROUP = "/srv/pool/film", "film"
MODULES = "samba-vfs-modules"
AS_STUDENT = """
mkdir "$1"; printf student > "$1/file"; printf again >> "$1/file"
"""
FINISH = """
mv "$1/by-croft" "$1/renamed"; rm "$1/renamed"; rm -r "$1"
"""


def snippet(path: str, group: str, share: str = SHIPPED_GROUP) -> str:
    """misc/smb.conf for this folder, group and name, without the comments of its head."""
    text = (MISC / "smb.conf").read_text("utf-8")
    text = text[text.index("[global]") :].replace(SHIPPED_PATH, path)
    text = text.replace(f"[{SHIPPED_GROUP}]", f"[{share}]")
    text = text.replace(f"valid users = @{SHIPPED_GROUP}", f"valid users = {_member(group)}")
    return text.replace(f"force group = {SHIPPED_GROUP}", f"force group = {_quoted(group)}")


def _member(group: str) -> str:
    return f'"@{group}"' if " " in group else f"@{group}"


def _quoted(group: str) -> str:
    return f'"{group}"' if " " in group else group


# The configuration that Samba has now.


@dataclass(frozen=True, slots=True)
class Section:
    """One share as Samba understands it: parameter -> value, names in small letters."""

    name: str
    values: Mapping[str, str]

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


def sections(machine: Machine, conf: str = "") -> tuple[list[Section], str]:
    """Every section that testparm prints, [global] first, and why there are none."""
    program = machine.program("testparm")
    if program is None:
        return [], say("testparm isn't there")
    done = machine.run([program, "-s", "-v", *([conf] if conf else [])])
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or [say("testparm failed")])[-1]
    found: list[Section] = []
    values: dict[str, str] = {}
    for line in done.stdout.splitlines():
        header = re.fullmatch(r"\[(.+)\]", line.strip())
        if header:
            values = {}
            found.append(Section(header[1], values))
        elif " = " in line:
            name, _, value = line.strip().partition(" = ")
            values[name.lower()] = value
    return found, ""


def look(path: Path, machine: Machine, conf: str = "") -> tuple[list[Check], str]:
    """What is right and wrong with Samba's configuration for this folder; the name of its share."""
    if machine.program("smbd") is None:
        mend = say("Install it; or, where Samba runs on another machine, put the lines below there.")
        command = f"apt install samba {MODULES} smbclient"
        return [todo(say("Samba isn't on this machine."), mend, command)], ""
    known, why = sections(machine, conf)
    if not known:
        return [
            wrong(
                say("Samba's configuration can't be read: {why}.", why=why),
                say("See what is wrong with it:"),
                "testparm",
            )
        ], ""
    root = os.path.realpath(path)
    shares = [s for s in known if s.name != "global" and s.get("path")]
    share = next((s for s in shares if os.path.realpath(s.get("path")) == root), None)
    if share is None:
        inside = [
            s.name for s in shares if root.startswith(os.path.realpath(s.get("path")).rstrip("/") + "/")
        ]
        if inside:
            text = say(
                "Samba shows {path} inside of the share {inside}: what is true of that share isn't "
                "checked here.",
                path=path,
                inside=inside[0],
            )
            return [note(text, say("A share of its own, with the lines below, is safer."))], ""
        mend = say("Add the lines below to /etc/samba/smb.conf, then:")
        return [
            todo(say("Samba has no share for {path}.", path=path), mend, "testparm && systemctl restart smbd")
        ], ""
    checks = _faults(share, path, machine)
    if not checks:
        checks = [
            right(
                say(
                    "Samba's share {share} shows {path}, with the rights that it needs.",
                    share=share.name,
                    path=path,
                )
            )
        ]
    return checks, share.name


def _faults(share: Section, path: Path, machine: Machine) -> list[Check]:
    found = []
    group = machine.group(os.stat(path).st_gid)
    if share.get("veto files"):
        text = say("'veto files' makes folders undeletable or takes along, unseen, what Croft keeps in them.")
        found.append(
            wrong(
                say("{share}: {text}", share=share.name, text=text),
                say("Take the line out; 'hide files' hides as well."),
            )
        )
    if share.get("force user"):
        text = say(
            "With 'force user' everything belongs to one user, and nothing of Croft's is safe from students."
        )
        found.append(wrong(say("{share}: {text}", share=share.name, text=text), say("Take the line out.")))
    if share.get("read only", "Yes").lower() == "yes":
        found.append(wrong(say("{share}: nobody may write.", share=share.name), say("Set 'read only = no'.")))
    if share.get("force group").strip('"+@ ') != group:
        text = say(
            "{share}: what students make doesn't belong to the group {group} by itself.",
            share=share.name,
            group=group,
        )
        found.append(wrong(text, say("Set 'force group = {quoted}'.", quoted=_quoted(group))))
    for name, wanted in (("create mask", 0o060), ("directory mask", 0o2070), ("force create mode", 0o060),
                         ("force directory mode", 0o2070)):  # fmt: skip
        if not re.fullmatch(r"[0-7]+", share.get(name)) or int(share.get(name), 8) & wanted != wanted:
            value = "2775" if "directory" in name else "0664"
            text = say(
                "{share}: '{name} = {get}' takes rights from the group.",
                share=share.name,
                name=name,
                get=share.get(name),
            )
            found.append(wrong(text, say("Set '{name} = {value}'.", name=name, value=value)))
    missing = [name for name in share.get("vfs objects").split() if not _has_module(name)]
    if missing:
        text = say(
            "{share}: Samba has no module {missing}, and can't open the share.",
            share=share.name,
            missing=", ".join(missing),
        )
        found.append(wrong(text, say("Install it:"), f"apt install {MODULES}"))
    if "recycle" not in share.get("vfs objects").split():
        text = say("{share}: what a student deletes is gone at once.", share=share.name)
        found.append(note(text, say("The lines with 'recycle' below keep it in #recycle.")))
    return found


def _has_module(name: str) -> bool:
    places = list(Path("/usr/lib").glob("*/samba/vfs"))
    return not places or any((folder / f"{name}.so").exists() for folder in places)


# A write as a student would.


def write_over_smb(
    path: Path, share: str, user: str, password: str, machine: Machine, port: int = 445
) -> list[Check]:
    """A student's login makes a folder and a file; Croft changes them; the student renames and deletes."""
    program = machine.program("smbclient")
    if program is None:
        return [
            todo(
                say("smbclient isn't on this machine, so a student's login can't be tried."),
                say("Install it:"),
                "apt install smbclient",
            )
        ]
    name = f".croft-try-{secrets.token_hex(4)}"
    place = path / name
    with tempfile.TemporaryDirectory(prefix="croft-try-") as folder:
        login, file = Path(folder, "login"), Path(folder, "file")
        login.touch(0o600)
        login.write_text(f"username = {user}\npassword = {password}\n", "utf-8")
        file.write_bytes(b"student")

        def ask(commands: str) -> str:
            """What went wrong; '' if nothing did."""
            command = [program, "-A", str(login), "-p", str(port), f"//127.0.0.1/{share}", "-c", commands]
            done = machine.run(command)
            said = done.stdout + done.stderr
            if done.returncode == 0 and "NT_STATUS" not in said:
                return ""
            found = re.search(r"NT_STATUS_\w+", said)
            return found[0] if found else (said.strip().splitlines() or [say("no answer")])[-1]

        failed = ask("ls")
        if failed:
            return [_no_way_in(failed, share, user, path, machine)]
        try:
            failed = ask(f'mkdir {name}; put "{file}" {name}\\file')
            if failed:
                text = say("{user} came in, but couldn't save a file: {failed}.", user=user, failed=failed)
                return [
                    wrong(
                        text,
                        say("Compare the share's lines with those below, and the folder's rights above."),
                    )
                ]
            checks = _as_croft_finds_it(place, path, user, machine)
            failed = ask(
                f"rename {name}\\file {name}\\renamed; del {name}\\by-croft; del {name}\\renamed; rmdir"
                f" {name}"
            )
            if failed:
                text = say(
                    "{user} saved a file, but couldn't rename and delete it again with what Croft made: "
                    "{failed}.",
                    user=user,
                    failed=failed,
                )
                checks.append(
                    wrong(text, say("The masks of the share, or an access list on the folder (`getfacl`)."))
                )
            return checks or [
                right(
                    say("{user} saved a file over SMB, Croft changed it, {user} deleted it again.", user=user)
                )
            ]
        finally:
            _tidy(place, path / "#recycle" / user / name)


def _no_way_in(failed: str, share: str, user: str, path: Path, machine: Machine) -> Check:
    group = machine.group(os.stat(path).st_gid)
    if "LOGON_FAILURE" in failed:
        text = say("Samba doesn't know {user} with this password.", user=user)
        return wrong(text, say("It has passwords of its own; set one:"), f"smbpasswd -a {shlex.quote(user)}")
    if "ACCESS_DENIED" in failed:
        text = say("Samba doesn't let {user} in.", user=user)
        return wrong(
            text, say("Is {user} in the group?", user=user), f"usermod -aG {group} {shlex.quote(user)}"
        )
    if "BAD_NETWORK_NAME" in failed:
        text = say("Samba can't open the share {share}.", share=share)
        return wrong(text, say("Is a module missing? Its log says which:"), "tail /var/log/samba/log.smbd")
    if "CONNECTION_REFUSED" in failed or "HOST_UNREACHABLE" in failed:
        return wrong(say("Samba doesn't answer."), say("Start it:"), "systemctl restart smbd")
    return wrong(
        say("{user} couldn't come in: {failed}.", user=user, failed=failed),
        say("Samba's log says more:"),
        "tail /var/log/samba/log.smbd",
    )


def _as_croft_finds_it(place: Path, root: Path, user: str, machine: Machine) -> list[Check]:
    """What is wrong with what a student made, for Croft; and Croft's own file beside it."""
    wanted, found = os.stat(root).st_gid, []
    try:
        made = {"folder": os.stat(place), "file": os.stat(place / "file")}
    except OSError as error:
        text = say(
            "{user} saved a file, and it isn't in {root}: Samba shows another folder ({why}).",
            user=user,
            root=root,
            why=error.strerror,
        )
        return [wrong(text, say("Set the share's 'path = {root}'.", root=root))]
    for what, st in made.items():
        if st.st_gid != wanted:
            text = say(
                "The {what} that {user} made belongs to {group}, not to {group2}.",
                what=what,
                user=user,
                group=machine.group(st.st_gid),
                group2=machine.group(wanted),
            )
            found.append(
                wrong(
                    text,
                    say(
                        "Set 'force group = {group}', and setgid on the folder.", group=machine.group(wanted)
                    ),
                )
            )
        needed = stat.S_IRWXG | stat.S_ISGID if what == "folder" else stat.S_IRGRP | stat.S_IWGRP
        if st.st_mode & needed != needed:
            text = say(
                "The {what} that {user} made has the mode {s_imode:o}: others can't change it.",
                what=what,
                user=user,
                s_imode=stat.S_IMODE(st.st_mode),
            )
            found.append(wrong(text, say("Set the four masks of the lines below.")))
    if made["file"].st_uid == 0:
        found.append(
            wrong(
                say("The file that {user} made belongs to root.", user=user),
                say("Take 'force user' out of the share."),
            )
        )
    try:
        fresh = place / "by-croft"
        fresh.write_bytes(b"croft")
        os.chown(fresh, -1, wanted)
        fresh.chmod(0o664)
        (place / "file").write_bytes(b"changed")
    except OSError as error:
        text = say("Croft can't change what {user} made: {why}.", user=user, why=error.strerror)
        found.append(wrong(text, say("The masks of the share, or an access list on the folder (`getfacl`).")))
    return found


def write_as_another(path: Path, machine: Machine, croft: int) -> list[Check]:
    """Without a student's password: as another user of the group, on the machine itself. Needs root."""
    gid = os.stat(path).st_gid
    group = machine.group(gid)
    if not machine.is_root():
        mend = say("Give a student's name and password above, or as root, which may act as another user:")
        return [
            todo(
                say("Nobody has tried yet whether a student may write."),
                mend,
                "sudo python3 run.py setup samba",
            )
        ]
    others = [name for name in machine.members(gid) if name not in (machine.user(croft), "root")]
    uid = next((found for found in map(machine.uid, others) if found), None)
    if uid is None:
        return [
            todo(
                say("There is nobody else in the group {group} to try as.", group=group),
                say("Put a student's login there:"),
                f"usermod -aG {group} ana",
            )
        ]
    name, place = machine.user(uid), path / f".croft-try-{secrets.token_hex(4)}"
    try:
        done = machine.run_as(uid, gid, AS_STUDENT, str(place))
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1].rpartition(": ")[2]
            text = say(
                "{name}, who is in the group {group}, can't write to {path}: {reason}.",
                name=name,
                group=group,
                path=path,
                reason=reason,
            )
            return [
                wrong(
                    text,
                    say("May the group enter every folder above it? See:"),
                    f"namei -l {shlex.quote(str(path))}",
                )
            ]
        found = _as_croft_finds_it(place, path, name, machine)
        done = machine.run_as(uid, gid, FINISH, str(place))
        if done.returncode and not found:
            text = say(
                "{name} saved a file, but couldn't rename and delete what Croft made beside it.", name=name
            )
            found = [
                wrong(text, say("An access list on the folder? See:"), f"getfacl {shlex.quote(str(path))}")
            ]
        return found or [
            right(
                say(
                    "{name}, of the group {group}, saved a file, Croft changed it, {name} deleted it.",
                    name=name,
                    group=group,
                )
            )
        ]
    finally:
        _tidy(place, place)


def _tidy(*places: Path) -> None:
    for place in places:
        for name in ("file", "renamed", "by-croft"):
            (place / name).unlink(missing_ok=True)
        try:
            place.rmdir()
        except OSError:
            pass  # gone already, or not ours to take away


def seen_from_students(path: Path, croft: int, machine: Machine, most: int = 4000) -> Check | None:
    """The newest file of somebody else near the top of the share: what students save, seen from here."""
    newest: tuple[float, os.stat_result, str] | None = None
    looked = 0
    folders = [path]
    for depth in range(3):
        following: list[Path] = []
        for folder in folders:
            try:
                entries = list(os.scandir(folder))
            except OSError:
                continue
            for entry in entries:
                looked += 1
                if looked > most or entry.name.startswith((".", "#")):
                    continue
                try:
                    st = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(st.st_mode) and depth < 2:
                    following.append(Path(entry.path))
                elif stat.S_ISREG(st.st_mode) and st.st_uid not in (croft, 0):
                    newest = max(
                        newest or (0.0, st, ""), (st.st_mtime, st, entry.path), key=lambda one: one[0]
                    )
        folders = following
    if newest is None:
        return None
    _, st, where = newest
    inside, who, group = os.path.relpath(where, path), machine.user(st.st_uid), machine.group(st.st_gid)
    if st.st_gid != os.stat(path).st_gid or not st.st_mode & stat.S_IWGRP:
        text = say(
            "{inside}, saved by {who}, belongs to {group} with the mode {s_imode:o}: others can't change it.",
            inside=inside,
            who=who,
            group=group,
            s_imode=stat.S_IMODE(st.st_mode),
        )
        return wrong(
            text,
            say("Set the masks and 'force group' of the lines below, then for what is there already:"),
            f"chgrp -R {machine.group(os.stat(path).st_gid)} {shlex.quote(str(path))} && "
            f"chmod -R g+rwX {shlex.quote(str(path))}",
        )
    return right(
        say(
            "{inside}, saved by {who}, may be changed by everybody of the group {group}.",
            inside=inside,
            who=who,
            group=group,
        )
    )
