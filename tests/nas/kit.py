"""A NAS to test on: a real mergerfs pool, a private Samba server over it, Croft beside them.

Students are ordinary users of one group and enter by shares of their own; Croft runs as an ordinary user of
that group too. Everything listens on the loopback, lies in one temporary folder, and ends with its block.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.cli.children import Child
from server.cli.client import CallFailed, quote
from server.cli.client import Client as Api
from tests.disk.disk_kit import mount_pool

CLONE = Path(__file__).resolve().parents[2]
GROUP = "users"
# Ordinary users that every Debian has.
STUDENTS = {"ana": "games", "ben": "news", "cem": "uucp", "dua": "proxy"}
SERVER_USER = "www-data"
PATIENCE_S = 30.0
MB = 1 << 20

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
    {extra}
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
    {extra}
"""

Needs = Callable[[str], str]


# -- the disks ------------------------------------------------------------------------------------


@dataclass
class Pool:
    """A mounted mergerfs pool and the folders it is made of."""

    root: Path
    branches: tuple[Path, ...]
    policy: str
    program: str = "mergerfs"

    def mount(self) -> None:
        mount_pool(self.program, self.root, self.branches, self.policy)

    def unmount(self) -> None:
        if os.path.ismount(self.root):
            subprocess.run(["umount", "--lazy", str(self.root)], check=True)

    def set_branches(self, value: str) -> None:
        """While it is mounted: `+>/mnt/d4` adds a branch at the end, `-/mnt/d4` takes one away."""
        os.setxattr(self.root / ".mergerfs", "user.mergerfs.branches", os.fsencode(value))


@contextlib.contextmanager
def tmpfs(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of so many bytes at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={size_bytes},mode=0775"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


@contextlib.contextmanager
def pool(
    home: Path, needs: Needs, policy: str = "mfs", sizes_mb: Sequence[float] = (4000, 6000, 5000)
) -> Iterator[Pool]:
    """Disks of these sizes in `home`, as one pool at `home/pool`."""
    program = needs("mergerfs")
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with ExitStack() as stack:
        branches = tuple(
            stack.enter_context(tmpfs(home / f"disk{number}", int(size * MB)))
            for number, size in enumerate(sizes_mb, 1)
        )
        root = home / "pool"
        root.mkdir()
        made = Pool(root, branches, policy, program)
        made.mount()
        stack.callback(made.unmount)
        yield made


# -- Samba ----------------------------------------------------------------------------------------


class Student:
    """One person at the share: `ana('put a.blend shots/a.blend')` as smbclient has its commands."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port

    def __call__(self, commands: str, timeout_s: float = PATIENCE_S) -> str:
        """Several commands in one connection, `;` between them; each has to do well."""
        done = self.ask(commands, timeout_s)
        assert done.returncode == 0, f"{self.name}: {commands}\n{done.stdout}{done.stderr}"
        assert "NT_STATUS" not in done.stdout, f"{self.name}: {commands}\n{done.stdout}"
        return done.stdout

    def ask(self, commands: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """The same, whatever becomes of it."""
        command = [*self._command(), "-c", commands]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def script(self, lines: Sequence[str], timeout_s: float = 600) -> str:
        """Any number of commands in one connection, whatever becomes of each: what was answered."""
        if not any(";" in line for line in lines):
            # By standard input smbclient now and then takes half a line for a command.
            done = self.ask("; ".join(lines), timeout_s)
        else:
            done = subprocess.run(
                self._command(), input="\n".join(lines) + "\n", capture_output=True, text=True,
                timeout=timeout_s, check=False,
            )  # fmt: skip
        return done.stdout + done.stderr

    def begin(self, commands: str) -> subprocess.Popen[str]:
        """Started, not waited for: to be killed half way."""
        return subprocess.Popen(
            [*self._command(), "-c", commands],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _command(self) -> list[str]:
        return ["smbclient", "-N", "-p", str(self.port), f"//127.0.0.1/{self.name}"]


@dataclass
class Samba:
    """A running smbd, and one connection for each student."""

    port: int
    students: dict[str, Student]
    process: Child

    def __getitem__(self, name: str) -> Student:
        return self.students[name]


@contextlib.contextmanager
def samba(
    home: Path,
    data: Path,
    needs: Needs,
    students: Mapping[str, str] = STUDENTS,
    extra: str = "",
    share_extra: str = "",
) -> Iterator[Samba]:
    """A private smbd over the folder `data`; its own files lie in `home`. `extra` goes into [global]."""
    smbd = needs("smbd")
    needs("smbclient")
    if os.geteuid() != 0:
        pytest.skip("needs root: smbd changes to the students' users")
    place = home / "samba"
    for folder in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
        (place / folder).mkdir(parents=True)
    port = free_port()
    shares = [
        SHARE.format(name=name, path=data, user=user, group=GROUP, extra=share_extra)
        for name, user in students.items()
    ]
    conf = place / "smb.conf"
    conf.write_text(SMB_CONF.format(home=place, port=port, extra=extra) + "".join(shares))
    command = [smbd, "--foreground", "--no-process-group", "-s", str(conf)]
    with Child("smbd", command, place / "smbd.log") as process:
        made = Samba(port, {name: Student(name, port) for name in students}, process)
        first = next(iter(made.students.values()))
        wait_for(lambda: first.ask("ls").returncode == 0, "smbd doesn't answer")
        yield made


# -- all of it ------------------------------------------------------------------------------------


@dataclass
class Nas:
    """Croft at work on a share that students reach by Samba."""

    home: Path
    data: Path
    samba: Samba
    pool: Pool | None
    python: Path
    keys: dict[str, Any] = field(default_factory=dict)
    user: str = SERVER_USER
    token: str = ""
    _server: Child | None = None
    _api: Api | None = None

    @property
    def ana(self) -> Student:
        return self.samba["ana"]

    @property
    def ben(self) -> Student:
        return self.samba["ben"]

    @property
    def api(self) -> Api:
        """Croft's API as an admin; `api.get('/api/problems')`."""
        assert self._api is not None, "the server doesn't run"
        return self._api

    @property
    def server(self) -> Child:
        assert self._server is not None, "the server doesn't run"
        return self._server

    @property
    def config(self) -> Path:
        return self.home / "config"

    # The server.

    def start(self) -> None:
        self.config.mkdir(exist_ok=True)
        (self.config / "server.json").write_text(json.dumps(self.keys))
        shutil.chown(self.config, self.user, GROUP)
        shutil.chown(self.config / "server.json", self.user, GROUP)
        command = self.as_server("serve", "--port", "0", "--data", str(self.data))
        self._server = Child("server", command, self.home / "server.log")
        url = self._server.wait_for_first_line(PATIENCE_S).split()[-1]
        if not self.token:
            self.token = self.run("token", "admin").strip().split()[-1]
        self._api = Api(url, self.token)
        wait_for(self._answers, f"the server doesn't answer: {self._server.last_words()}")

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = self._api = None

    def kill(self) -> None:
        """As a power cut does."""
        pid = self.server._process.pid
        os.kill(pid, signal.SIGKILL)
        self.stop()

    def run(self, *words: str, code: int = 0) -> str:
        """A command of `run.py` as the server's user: what it printed."""
        done = subprocess.run(
            self.as_server(*words), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"run.py {words[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def as_server(self, *words: str) -> list[str]:
        """The command line of a command of `run.py` as the server's user."""
        home = f"CROFT_VENV={self.python.parent.parent}"
        command = [str(self.python), str(CLONE / "run.py"), *words, "--config", str(self.config)]
        return [*as_user(self.user), "env", home, *command]

    def _answers(self) -> bool:
        try:
            return bool(self.api.get("/api/projects"))
        except CallFailed:
            return False

    # What it shows.

    def asset(self, address: str) -> dict[str, Any] | None:
        """An asset as the API shows it; None where there is none."""
        try:
            found: dict[str, Any] = self.api.get(f"/api/assets/{quote(address)}")
        except CallFailed as error:
            if error.status == 404:
                return None
            raise
        return found

    def assets(self, **query: str) -> list[dict[str, Any]]:
        """All rows of the list of assets."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            asked = encoded({**query, "limit": "1000", "cursor": cursor})
            answer = self.api._json("GET", "/api/assets" + asked)
            rows += answer["data"]
            cursor = answer.get("next") or ""
            if not cursor:
                return rows

    def problems(self, kind: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.all("/api/problems")
        return [problem for problem in found if not kind or problem["kind"] == kind]

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


@contextlib.contextmanager
def nas(
    needs: Needs,
    policy: str = "",
    *,
    sizes_mb: Sequence[float] = (4000, 6000, 5000),
    students: Mapping[str, str] = STUDENTS,
    keys: Mapping[str, Any] | None = None,
    extra: str = "",
    share_extra: str = "",
    start: bool = True,
) -> Iterator[Nas]:
    """Croft and Samba on a plain folder or, with a create policy, on a pool of disks of these sizes."""
    if os.geteuid() != 0:
        pytest.skip("needs root: Samba changes to the students' users")
    with ExitStack() as stack:
        # Not pytest's folder: that is closed to everybody but us, and students must get in.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croft-nas-")))
        home.chmod(0o755)
        disks = stack.enter_context(pool(home, needs, policy, sizes_mb)) if policy else None
        for place in disks.branches if disks else [home / "data"]:
            place.mkdir(exist_ok=True)
            for_the_group(place)
        data = disks.root if disks else home / "data"
        server = stack.enter_context(samba(home, data, needs, students, extra, share_extra))
        python = python_for(SERVER_USER, home)
        user = SERVER_USER if python else "root"
        made = Nas(home, data, server, disks, python or Path(sys.executable), dict(keys or {}), user)
        stack.callback(made.stop)
        if start:
            made.start()
        yield made


# -- helpers --------------------------------------------------------------------------------------


def for_the_group(folder: Path) -> None:
    """As an admin makes a share's folder: setgid, for everybody in the group."""
    os.chown(folder, -1, grp.getgrnam(GROUP).gr_gid)
    folder.chmod(0o2775)


def as_user(user: str) -> list[str]:
    """What to put before a command so that an ordinary user of the group runs it."""
    if user == "root":
        return []
    uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(GROUP).gr_gid
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", "--pdeathsig", "TERM"]


def python_for(user: str, home: Path) -> Path | None:
    """A Python with our packages that this user may run: ours, else the system's; None where neither is."""
    system = Path("/usr/bin/python3")
    shadow = home / "venv" / "bin" / "python"
    if _runs(user, Path(sys.executable)):
        return Path(sys.executable)
    subprocess.run([system, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    packages = sysconfig.get_path("purelib")
    shadow_packages = next((home / "venv" / "lib").glob("python3*/site-packages"))
    (shadow_packages / "ours.pth").write_text(packages + "\n")
    return shadow if _runs(user, shadow) else None


def _runs(user: str, python: Path) -> bool:
    code = "import sys, orjson; sys.exit(sys.version_info < (3, 11))"
    command = [*as_user(user), "sh", "-c", f"exec '{python}' -c '{code}'"]  # sh: without root's rights
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def encoded(query: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{key}={quote(value)}" for key, value in query.items())


def wait_for(fact: Callable[[], Any], sentence: str | Callable[[], str], within_s: float = PATIENCE_S) -> Any:
    """The fact, once it is true."""
    last = time.monotonic() + within_s
    while not (found := fact()):
        assert time.monotonic() < last, sentence if isinstance(sentence, str) else sentence()
        time.sleep(0.05)
    return found
