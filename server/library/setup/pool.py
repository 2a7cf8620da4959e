"""The folder where the films will lie: everything that can be wrong with it, and what mends it.

Looks and tries; what it writes for the trial it takes away again. Chooses nothing by itself.
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from pathlib import Path

from server.disk.speech import say
from server.library.setup.machine import Machine, is_within
from server.library.setup.records import Check, note, right, worst, wrong

WITHOUT_RIGHTS = {
    "vfat": "FAT",
    "msdos": "FAT",
    "exfat": "exFAT",
    "ntfs": "NTFS",
    "ntfs3": "NTFS",
    "fuseblk": say("NTFS or exFAT"),
}
NETWORK = {"nfs": "NFS", "nfs4": "NFS", "cifs": "SMB", "smb3": "SMB", "fuse.sshfs": "SSH"}
LEAST_BYTES = 1 << 30  # less room than this is none
LITTLE_BYTES = 20 << 30
GB = 1e9
TRY = """
mkdir "$1"; printf croft > "$1/one"; mv "$1/one" "$1/two"; cat "$1/two" > /dev/null; rm "$1/two"; rmdir "$1"
"""


def look(path: Path, user: int, machine: Machine, forbidden: tuple[Path, ...] = ()) -> list[Check]:
    """What is right and wrong with this folder as a share, for a Croft that runs as `user`.

    `forbidden` are Croft's own folders, which it must not lie in nor hold.
    """
    if not path.is_absolute():
        return [
            wrong(say("{path} isn't a whole path.", path=path), say("Begin with a slash: /srv/pool/film."))
        ]
    checks = [*_mount(path, machine)]
    if not path.is_dir():
        if os.path.lexists(path):
            return [wrong(say("{path} isn't a folder.", path=path), say("Choose another name."))]
        if worst(checks) == "wrong":
            return checks
        command = f"install -d -o {machine.user(user)} -g film -m 2775 {shlex.quote(str(path))}"
        return [
            *checks,
            wrong(
                say("There is no folder {path}.", path=path),
                say("Make it, with the group of your students:"),
                command,
            ),
        ]
    path = Path(os.path.realpath(path))
    checks += [*_place(path, forbidden), *_pool(path, machine), *_kind(path, machine), *_room(path, machine)]
    if worst(checks) == "wrong":
        return checks  # what comes next would be about the wrong folder
    checks += _rights(path, user, machine)
    if worst(checks) != "wrong":
        checks += _trial(path, user, machine)
    return checks


def _place(path: Path, forbidden: tuple[Path, ...]) -> list[Check]:
    for folder in forbidden:
        own = Path(os.path.realpath(folder))
        if path == own or own in path.parents:
            text = say(
                "{path} lies in {own}, which is Croft's own: replacing the program would take the "
                "films along.",
                path=path,
                own=own,
            )
            return [wrong(text, say("Choose a folder on the disks for the films, such as /srv/pool/film."))]
        if path in own.parents:
            text = say(
                "{own}, which is Croft's own, lies in {path}: students could change the program or "
                "read secrets.",
                own=own,
                path=path,
            )
            return [wrong(text, say("Choose a folder of its own, such as /srv/pool/film."))]
    return []


def _mount(path: Path, machine: Machine) -> list[Check]:
    """A folder under a mount that should be there and isn't, lies on the system's disk instead."""
    points = {mount.point for mount in machine.mounted()}
    above = [m for m in machine.wanted() if m.point != "/" and is_within(str(path), m.point)]
    for mount in above:
        if mount.point not in points:
            text = say(
                "{point} isn't mounted: what is written to {path} now would lie on the system's disk.",
                point=mount.point,
                path=path,
            )
            mend = say("Mount it, and let 'noauto' go from /etc/fstab if it stands there:")
            return [wrong(text, mend, f"mount {shlex.quote(mount.point)}")]
    return []


def _pool(path: Path, machine: Machine) -> list[Check]:
    for disk, pool in machine.disks_of_pools():
        if is_within(str(path), disk):
            inside = str(path).split("/", len(disk.rstrip("/").split("/")))
            rest = inside[-1] if len(inside) > len(disk.rstrip("/").split("/")) else ""
            through = os.path.join(pool, rest) if rest else pool
            text = say(
                "{path} is one disk of the pool {pool}: it would fill up alone, and locks there "
                "don't exclude locks through the pool.",
                path=path,
                pool=pool,
            )
            return [wrong(text, say("Choose it through the pool: {through}", through=through))]
    if machine.filesystem(path) == "fuse.mergerfs":
        return [right(say("{path} lies on a mergerfs pool.", path=path)), *_policy(path)]
    return []


def _policy(path: Path) -> list[Check]:
    from server.disk.branches import mount_point

    try:
        control = os.path.join(mount_point(path), ".mergerfs")
        policy = os.getxattr(control, "user.mergerfs.category.create").decode("ascii", "replace")
    except OSError:
        return []
    if policy.startswith(("ep", "msp")):
        text = say(
            "The pool puts new files where their folder is (category.create={policy}): it says "
            "'full' while another disk is empty, and Samba's recycle bin loses what it can't "
            "move.",
            policy=policy,
        )
        return [
            wrong(
                text,
                say("Mount it with category.create=mfs (misc/mergerfs.md); at once, until then:"),
                f"setfattr -n user.mergerfs.category.create -v mfs {shlex.quote(control)}",
            )
        ]
    return [right(say("New files go to the disk with room (category.create={policy}).", policy=policy))]


def _kind(path: Path, machine: Machine) -> list[Check]:
    kind = machine.filesystem(path)
    if kind in WITHOUT_RIGHTS:
        text = say(
            "{path} lies on {without_rights}, which knows neither owners nor groups.",
            path=path,
            without_rights=WITHOUT_RIGHTS[kind],
        )
        mend = say("Use a disk with ext4, XFS or Btrfs. What is on this one has to be copied away first.")
        return [wrong(text, mend)]
    if kind in NETWORK:
        text = say(
            "{path} is mounted over {network}: Croft works there, but hears of changes late.",
            path=path,
            network=NETWORK[kind],
        )
        return [note(text, say("Better run Croft on the machine that has the disks."))]
    return []


def _room(path: Path, machine: Machine) -> list[Check]:
    free, size = machine.free(path)
    words = say("{free:.1f} of {size:.1f} GB are free", free=free / GB, size=size / GB)
    if free < LEAST_BYTES:
        text = say("The disk is full: {words}.", words=words)
        return [wrong(text, say("Make room or add a disk; a render of one minute takes some GB."))]
    if free < LITTLE_BYTES:
        return [note(say("There is little room: {words}.", words=words), say("Add a disk soon."))]
    return [right(say("{fact}.", fact=words))]


def _rights(path: Path, user: int, machine: Machine) -> list[Check]:
    st = os.stat(path)
    name, group, quoted = machine.user(user), machine.group(st.st_gid), shlex.quote(str(path))
    fix = f"chgrp film {quoted} && chmod 2775 {quoted}"
    if st.st_gid == 0:
        return [
            wrong(
                say("{path} belongs to the group root, in which no student is.", path=path),
                say("Give it the group of your students (here 'film'):"),
                fix,
            )
        ]
    members = machine.members(st.st_gid)
    if user != 0 and st.st_gid not in machine.groups_of(user):
        return [
            wrong(
                say(
                    "Croft's user {name} isn't in the group {group} of {path}.",
                    name=name,
                    group=group,
                    path=path,
                ),
                say("Put it there, and start Croft again:"),
                f"usermod -aG {group} {name}",
            )
        ]
    if group == name and not [member for member in members if member != name]:
        return [
            wrong(
                say(
                    "{path} belongs to the group {group}, which is {name}'s alone: no student may write "
                    "there.",
                    path=path,
                    group=group,
                    name=name,
                ),
                say("Give it the group of your students (here 'film'):"),
                fix,
            )
        ]
    checks = []
    if stat.S_IMODE(st.st_mode) & 0o070 != 0o070:
        checks.append(
            wrong(
                say("The group {group} may not write to {path}.", group=group, path=path),
                say("Let it:"),
                f"chmod 2775 {quoted}",
            )
        )
    elif not st.st_mode & stat.S_ISGID:
        text = say(
            "{path} isn't setgid: new folders in it wouldn't belong to the group {group}.",
            path=path,
            group=group,
        )
        mend = say("Set it for this folder and those in it:")
        checks.append(wrong(text, mend, f"find {quoted} -type d -exec chmod g+s {{}} +"))
    else:
        checks.append(
            right(
                say(
                    "The group {group} may write, and what is made there is the group's (setgid).",
                    group=group,
                )
            )
        )
    others = [member for member in members if member != name]
    if not others:
        text = say(
            "Nobody but {name} is in the group {group}, as far as this machine can tell.",
            name=name,
            group=group,
        )
        checks.append(note(text, say("Put each student's login there:"), f"usermod -aG {group} ana"))
    if stat.S_IMODE(st.st_mode) & 0o002:
        text = say("Everybody on this machine may write to {path}.", path=path)
        checks.append(note(text, say("The group is enough:"), f"chmod o-w {quoted}"))
    return checks


def _trial(path: Path, user: int, machine: Machine) -> list[Check]:
    """Write there as Croft's user."""
    gid = os.stat(path).st_gid
    done = machine.run_as(user, gid, TRY, str(path / f".croft-try-{secrets.token_hex(4)}"))
    name = machine.user(user)
    if done.returncode == 0:
        return [right(say("Croft (as {name}) wrote, renamed and deleted a file there.", name=name))]
    why = done.stderr.strip().splitlines()[-1:] or [say("no reason was given")]
    reason = why[0].rpartition(": ")[2] or why[0]
    if not machine.is_root() and user != os.geteuid():
        return [
            note(
                say("Only root can try whether {name} may write to {path}.", name=name, path=path),
                "",
                "sudo python3 run.py setup pool",
            )
        ]
    mend = say(
        "Mend the rights of the folders above it, or the mount: is it read-only (`mount`), "
        "is the disk failing (`dmesg`)?"
    )
    return [
        wrong(
            say("Croft (as {name}) can't write to {path}: {reason}.", name=name, path=path, reason=reason),
            mend,
        )
    ]
