"""What misc/ tells admins: each option is one that Samba knows, and OpenMediaVault's text says the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.misc.kit import MISC

# How OpenMediaVault writes a share of its own; its 'extra options' come last.
OPENMEDIAVAULT = """
[global]
    {settings}
[film]
    path = /srv/pool/film
    guest ok = no
    guest only = no
    read only = no
    browseable = yes
    inherit acls = yes
    inherit permissions = no
    ea support = no
    store dos attributes = no
    printable = no
    create mask = 0664
    force create mode = 0664
    directory mask = 0775
    force directory mode = 0775
    hide special files = yes
    follow symlinks = yes
    hide dot files = yes
    {extra}
"""


def said(testparm: str, file: Path) -> tuple[dict[str, str], str]:
    """Every parameter of the share `film` and of [global] as Samba understands it, and what it objects to."""
    done = subprocess.run([testparm, "-s", "-v", str(file)], capture_output=True, text=True, check=True)
    found, section = {}, ""
    for line in done.stdout.splitlines():
        if line.startswith("["):
            section = line
        name, mark, value = line.strip().partition(" = ")
        if mark:
            found[f"{section} {name}"] = value
    return found, done.stderr


def test_samba_takes_every_line(needs: Callable[[str], str]) -> None:
    found, errors = said(needs("testparm"), MISC / "smb.conf")
    assert "Unknown parameter" not in errors, errors
    assert "WARNING" not in errors, errors
    assert found["[film] directory mask"] == "02775"
    assert found["[film] kernel oplocks"] == "Yes"
    assert "[film] veto files" not in found
    assert "force user" not in (MISC / "smb.conf").read_text().replace("Never 'force user'", "")


def test_the_modules_know_their_options(needs: Callable[[str], str]) -> None:
    """testparm takes `recycle:nonsense` silently; the module that is asked for it does not hold the word."""
    needs("smbd")
    modules = {path.stem: path.read_bytes() for path in Path("/usr/lib").glob("*/samba/vfs/*.so")}
    text = (MISC / "smb.conf").read_text()
    wanted = re.search(r"vfs objects = (.*)", text)
    assert wanted is not None
    for name in wanted[1].split():
        assert name in modules, f"needs Debian's package samba-vfs-modules: {name}"
    for module, option in re.findall(r"^\s*(\w+):(\w+) =", text, re.MULTILINE):
        assert option.encode() + b"\0" in modules[module], f"{module} knows no {option}"


def test_openmediavaults_text_says_the_same(tmp_path: Path, needs: Callable[[str], str]) -> None:
    testparm = needs("testparm")
    blocks = re.findall(r"```\n(.*?)```", (MISC / "openmediavault.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    conf = tmp_path / "smb.conf"
    conf.write_text(OPENMEDIAVAULT.format(settings=blocks[0], extra=blocks[1]))
    ours, _ = said(testparm, MISC / "smb.conf")
    theirs, errors = said(testparm, conf)
    assert "Unknown parameter" not in errors
    # What only OpenMediaVault sets, and means nothing here.
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert different <= {"[film] inherit acls", "[film] hide special files"}


@pytest.mark.parametrize("unit", ["croft.service", "croft-node.service", "croft-prenode.service"])
def test_systemd_takes_the_units(unit: str, tmp_path: Path, needs: Callable[[str], str]) -> None:
    program = needs("systemd-analyze")
    text = (MISC / unit).read_text("utf-8")
    made = tmp_path / unit
    made.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run([program, "verify", str(made)], capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if unit in line and "not executable" not in line]
    assert about == []
