"""Students at a real Samba share: what they save appears, what Croft makes they may move and delete.

A private smbd on the loopback, two students who are ordinary users of the folder's group, a real server.
"""

from __future__ import annotations

import grp
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.cli.children import Child
from server.cli.client import CallFailed, Client, quote
from server.disk.settings import Settings
from server.library.people import People

CLONE = Path(__file__).resolve().parents[1]
GROUP = "users"
STUDENTS = {"ana": "games", "ben": "news"}  # shares, each entered as an ordinary user of Debian's
PATIENCE_S = 30.0

SMB_CONF = """
[global]
    private dir = {home}/private
    lock directory = {home}/lock
    state directory = {home}/state
    cache directory = {home}/cache
    pid directory = {home}/pid
    ncalrpc dir = {home}/ncalrpc
    log file = {home}/log
    smb ports = {port}
    interfaces = 127.0.0.1/8
    bind interfaces only = yes
    map to guest = Bad User
    disable spoolss = yes
    load printers = no
"""
SHARE = """
[{name}]
    path = {path}
    read only = no
    guest ok = yes
    force user = {user}
    force group = {group}
    create mask = 0664
    force create mode = 0664
    directory mask = 2775
    force directory mode = 2775
"""


class Student:
    """One person's connection to the share."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port

    def __call__(self, commands: str) -> str:
        done = self.ask(commands)
        assert done.returncode == 0, f"{self.name}: {commands}\n{done.stdout}{done.stderr}"
        assert "NT_STATUS" not in done.stdout, f"{self.name}: {commands}\n{done.stdout}"
        return done.stdout

    def ask(self, commands: str) -> subprocess.CompletedProcess[str]:
        command = ["smbclient", "-N", "-p", str(self._port), f"//127.0.0.1/{self.name}", "-c", commands]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class School:
    def __init__(self, data: Path, client: Client, ana: Student, ben: Student) -> None:
        self.data, self.client, self.ana, self.ben = data, client, ana, ben

    def asset(self, address: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.client.get(f"/api/assets/{quote(address)}")
        except CallFailed as error:
            if error.status == 404:
                return None
            raise
        return found

    def until(self, address: str, status: str | None, within_s: float = PATIENCE_S) -> list[str]:
        """The states that the asset is seen in until it is `status`; None: until it is gone."""
        seen: list[str] = []
        last = time.monotonic() + within_s
        while True:
            asset = self.asset(address)
            now = asset["status"] if asset else ""
            if seen[-1:] != [now]:
                seen.append(now)
            if now == (status or ""):
                return seen
            assert time.monotonic() < last, f"{address} was {seen}, not {status}"
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("blender"):
        if os.environ.get("CI"):
            pytest.fail("needs Debian's package blender")
        pytest.skip("needs Debian's package blender")
    made = tmp_path_factory.mktemp("scene") / "sh010.blend"
    script = str(CLONE / "misc" / "demo_scene.py")
    command = ["blender", "--background", "--factory-startup", "--python", script, "--", str(made)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    return made


@pytest.fixture
def school(needs: Callable[[str], str]) -> Iterator[School]:
    smbd = needs("smbd")
    needs("smbclient")
    if os.geteuid() != 0:
        pytest.skip("needs root: smbd changes to the students' users")
    with ExitStack() as stack:
        # Not pytest's folder: that is closed to everybody but us, and students must get in.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croft-samba-")))
        home.chmod(0o755)
        data = home / "data"
        data.mkdir()
        os.chown(data, -1, grp.getgrnam(GROUP).gr_gid)
        data.chmod(0o2775)
        server = stack.enter_context(start_server(home, data))
        url = server.wait_for_first_line(PATIENCE_S).split()[-1]
        token = People(Settings(home / "config")).make_token(user="admin")
        client = Client(url, token)
        port = free_port()
        students = {name: Student(name, port) for name in STUDENTS}
        stack.enter_context(start_samba(smbd, home, data, port))
        wait_for(lambda: students["ana"].ask("ls").returncode == 0, "smbd doesn't answer")
        wait_for(lambda: answers(client), f"the server doesn't answer: {server.last_words()}")
        yield School(data, client, students["ana"], students["ben"])


def start_server(home: Path, data: Path) -> Child:
    command = [sys.executable, str(CLONE / "run.py"), "serve", "--port", "0"]
    command += ["--config", str(home / "config"), "--data", str(data)]
    return Child("server", command, home / "server.log")


def start_samba(smbd: str, home: Path, data: Path, port: int) -> Child:
    for folder in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (home / folder).mkdir()
    conf = home / "smb.conf"
    shares = [SHARE.format(name=n, path=data, user=u, group=GROUP) for n, u in STUDENTS.items()]
    conf.write_text(SMB_CONF.format(home=home, port=port) + "".join(shares))
    return Child("smbd", [smbd, "--foreground", "--no-process-group", "-s", str(conf)], home / "smbd.log")


def answers(client: Client) -> bool:
    try:
        return bool(client.get("/api/projects"))
    except CallFailed:
        return False


def wait_for(fact: Callable[[], bool], sentence: str) -> None:
    last = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < last, sentence
        time.sleep(0.05)


def test_a_students_day(school: School, scene: Path) -> None:
    address = "data::demo/shots/sh010.blend"
    # Given Ana's share, when she drops a scene into a folder of her own making…
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    # …then it appears by itself, first as arriving, then ready, with what is in it.
    assert school.until(address, "ok")[-2:] == ["arriving", "ok"]
    wait_for(lambda: bool((school.asset(address) or {}).get("facts")), "nothing was read from the scene")
    asset = school.asset(address)
    assert asset is not None
    assert asset["facts"]["frames"] == [1, 24]
    # What Croft wrote is the group's: setgid folders, group-writable files.
    sidecar = school.data / "demo" / "shots" / "sh010.blend.json"
    wait_for(sidecar.exists, "there is no sidecar")
    assert sidecar.stat().st_mode & stat.S_IWGRP
    assert grp.getgrgid(sidecar.stat().st_gid).gr_name == GROUP

    # When Ben renames Ana's scene, then it is known again under its new name.
    uuid = asset["uuid"]
    school.ben("rename demo/shots/sh010.blend demo/shots/sh020.blend")
    renamed = "data::demo/shots/sh020.blend"
    school.until(renamed, "ok")
    wait_for(lambda: (school.asset(renamed) or {}).get("uuid") == uuid, "it lost its identity")

    # A folder with everything in it can be moved by another student too.
    school.ben("rename demo/shots demo/scenes")
    moved = "data::demo/scenes/sh020.blend"
    school.until(moved, "ok")
    assert (school.asset(moved) or {}).get("uuid") == uuid

    # And deleted: the scene and what Croft wrote beside it.
    school.ben("del demo/scenes/sh020.blend; del demo/scenes/sh020.blend.json")
    school.until(moved, None)


def test_a_folder_comes_back_from_the_backup_while_the_server_runs(school: School, scene: Path) -> None:
    address = "data::demo/shots/sh010.blend"
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    school.until(address, "ok")
    wait_for((school.data / "demo" / "shots" / "sh010.blend.json").exists, "there is no sidecar")
    before = school.asset(address)
    assert before is not None
    backup = school.data.parent / "backup"
    shutil.copytree(school.data / "demo" / "shots", backup, symlinks=True)
    # The whole folder is lost.
    shutil.rmtree(school.data / "demo" / "shots")
    school.until(address, None)
    # An admin copies it back with nothing but cp.
    subprocess.run(["cp", "-a", str(backup), str(school.data / "demo" / "shots")], check=True)
    school.until(address, "ok", within_s=10)
    after = school.asset(address)
    assert after is not None
    assert {key: after[key] for key in ("uuid", "etag", "state", "owner")} == {
        key: before[key] for key in ("uuid", "etag", "state", "owner")
    }
