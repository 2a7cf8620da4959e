"""Setting up Samba: is a right share called right, a wrong one explained, the trial a student's own?

The shipped configuration on a real pool with a real smbd; Croft's part is played by this process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.library.setup import samba
from server.library.setup.machine import Machine
from server.library.setup.records import Check, worst
from tests.misc.kit import CLONE, PASSWORD, Share, school
from tests.misc.people import GID, GROUP, PEOPLE

NAMES = {uid: name for name, uid in PEOPLE.items()}


class School(Machine):
    """This machine, with the school's people."""

    def group(self, gid: int) -> str:
        return GROUP if gid == GID else super().group(gid)

    def user(self, uid: int) -> str:
        return NAMES.get(uid) or super().user(uid)

    def uid(self, name: str) -> int | None:
        return PEOPLE.get(name) or super().uid(name)

    def members(self, gid: int) -> list[str]:
        return ["ana", "ben", "croft"] if gid == GID else super().members(gid)


@pytest.fixture(scope="module")
def share(needs: Callable[[str], str]) -> Iterator[Share]:
    with school(needs) as made:
        yield made


def conf_with(share: Share, old: str, new: str, folder: Path) -> str:
    """smb.conf as it is shipped, with one line changed."""
    text = (share.home / "samba" / "smb.conf").read_text()
    assert old in text
    conf = folder / "smb.conf"
    conf.write_text(text.replace(old, new, 1))
    return str(conf)


def test_the_shipped_share_is_right(share: Share) -> None:
    checks, name = samba.look(share.root, School(), str(share.home / "samba" / "smb.conf"))
    assert (worst(checks), name) == ("right", "film"), checks


@pytest.mark.parametrize(
    ("old", "new", "said", "state"),
    [
        (
            "    read only = no",
            "    read only = no\n    veto files = /*.json/",
            "makes folders undeletable",
            "wrong",
        ),
        ("    read only = no", "    read only = no\n    force user = root", "force user", "wrong"),
        ("    read only = no", "    read only = yes", "nobody may write", "wrong"),
        ("    force group = film", "", "doesn't belong to the group film by itself", "wrong"),
        ("    directory mask = 2775", "    directory mask = 0755", "takes rights from the group", "wrong"),
        (
            "    force create mode = 0664",
            "    force create mode = 0600",
            "takes rights from the group",
            "wrong",
        ),
        ("vfs objects = recycle", "vfs objects = nonsense recycle", "has no module nonsense", "wrong"),
        ("vfs objects = recycle ", "vfs objects = ", "what a student deletes is gone at once", "note"),
    ],
)
def test_what_is_wrong_with_a_share_is_told(
    share: Share, tmp_path: Path, old: str, new: str, said: str, state: str
) -> None:
    checks, _ = samba.look(share.root, School(), conf_with(share, old, new, tmp_path))
    assert worst(checks) == state
    found = next(check for check in checks if said in check.text)
    assert found.mend


def test_a_folder_without_a_share_gets_its_lines(
    share: Share, tmp_path: Path, needs: Callable[[str], str]
) -> None:
    other = tmp_path / "other films"
    other.mkdir()
    conf = tmp_path / "smb.conf"
    conf.write_text(samba.snippet(str(other), "film makers", "films"))
    said = subprocess.run(
        [needs("testparm"), "-s", str(conf)], capture_output=True, text=True, check=True
    ).stdout
    assert f"path = {other}" in said
    assert re.search(r'valid users = "?@film makers"?', said)
    assert "force group = " in said
    checks, name = samba.look(other, School(), str(share.home / "samba" / "smb.conf"))
    assert (worst(checks), name) == ("todo", "")
    inside = share.root / "inside"
    inside.mkdir(exist_ok=True)
    checks, _ = samba.look(inside, School(), str(share.home / "samba" / "smb.conf"))
    assert "inside of the share film" in checks[0].text


def write(share: Share, user: str, password: str = PASSWORD, name: str = "film") -> list[Check]:
    return samba.write_over_smb(share.root, name, user, password, School(), share.port)


def test_a_write_over_smb_goes_well_and_leaves_nothing(share: Share) -> None:
    before = sorted(path.name for path in share.root.iterdir() if path.name != "#recycle")
    checks = write(share, "ana")
    assert [check.text for check in checks] == [
        "ana saved a file over SMB, Croft changed it, ana deleted it again."
    ]
    assert sorted(path.name for path in share.root.iterdir() if path.name != "#recycle") == before
    assert not list((share.root / "#recycle").rglob("*croft-try*"))


@pytest.mark.parametrize(
    ("user", "password", "name", "said", "command"),
    [
        ("ana", "wrong", "film", "doesn't know ana with this password", "smbpasswd -a ana"),
        ("eva", PASSWORD, "film", "doesn't let eva in", "usermod -aG film eva"),
        ("ana", PASSWORD, "nonsense", "can't open the share nonsense", "tail /var/log/samba/log.smbd"),
    ],
)
def test_who_cannot_come_in_is_told_why(
    share: Share, user: str, password: str, name: str, said: str, command: str
) -> None:
    checks = write(share, user, password, name)
    assert worst(checks) == "wrong"
    assert said in checks[0].text
    assert checks[0].command == command


def test_a_samba_that_does_not_run_is_told(share: Share) -> None:
    checks = samba.write_over_smb(share.root, "film", "ana", PASSWORD, School(), 1)
    assert "Samba doesn't answer" in checks[0].text


def test_masks_that_keep_others_out_are_found_by_the_write(needs: Callable[[str], str]) -> None:
    """The configuration isn't read here: what a student's file looks like on the disk tells it."""

    def spoil(text: str) -> str:
        text = re.sub(r"^ *force (create|directory) mode.*\n", "", text, flags=re.MULTILINE)
        return re.sub(r"(create|directory) mask = \d+", r"\1 mask = 0700", text)

    with school(needs, conf=spoil) as share:
        checks = write(share, "ana")
        assert worst(checks) == "wrong"
        assert any("others can't change it" in check.text for check in checks), checks


def test_without_a_password_another_member_of_the_group_writes(share: Share) -> None:
    checks = samba.write_as_another(share.root, School(), PEOPLE["croft"])
    assert worst(checks) == "right"
    assert checks[0].text.startswith("ana, of the group film, saved a file")
    share.root.chmod(0o2755)
    try:
        checks = samba.write_as_another(share.root, School(), PEOPLE["croft"])
    finally:
        share.root.chmod(0o2775)
    assert worst(checks) == "wrong"
    assert "can't write" in checks[0].text
    assert not [path for path in share.root.iterdir() if path.name.startswith(".croft-try")]


def test_what_a_student_saved_is_seen_from_here(share: Share, tmp_path: Path) -> None:
    machine, croft = School(), PEOPLE["croft"]
    scene = tmp_path / "a.blend"
    scene.write_bytes(b"x")
    share.person("ana")(f'mkdir seen; put "{scene}" seen\\a.blend')
    check = samba.seen_from_students(share.root, croft, machine)
    assert check is not None
    assert (check.state, check.text) == (
        "right", "seen/a.blend, saved by ana, may be changed by everybody of the group film."
    )  # fmt: skip
    share.file("seen/a.blend").chmod(0o600)
    check = samba.seen_from_students(share.root, croft, machine)
    assert check is not None
    assert check.state == "wrong"
    assert "mode 600" in check.text


def test_the_terminal_tries_a_students_login(share: Share, tmp_path: Path) -> None:
    config = tmp_path / "config"
    command = [sys.executable, str(CLONE / "run.py"), "setup", "samba", "--config", str(config)]
    command += ["--data", str(share.root), "--student", "ana", "--share", "film"]
    command += ["--samba-port", str(share.port), "--user", "croft", "--called", "\\\\nas\\film"]
    environment = {**share.environment, "CROFT_VENV": sys.prefix}
    for password, said in ((PASSWORD, "● ana saved a file over SMB"), ("wrong", "✕ Samba doesn't know ana")):
        done = subprocess.run(
            command,
            input=password + "\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert said in done.stdout, done.stdout + done.stderr
        assert done.returncode == ("✕" in said)
    # What root wrote there is Croft's.
    kept = config / "shares" / "data.json"
    assert kept.stat().st_uid == PEOPLE["croft"]
    assert json.loads(kept.read_text())["people"] == "\\\\nas\\film"
