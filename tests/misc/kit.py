"""The shipped files of misc/ at work: the real pool of misc/fstab, the real Samba of misc/smb.conf.

Only paths and ports are replaced. The people are ordinary users of one group, known to Samba and to the pool
through nss_wrapper alone: the machine's own users stay as they are. Everything lies in one temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.cli.children import Child
from tests.misc.people import GID, PEOPLE, WRAPPER, write_people

CLONE = Path(__file__).resolve().parents[2]
MISC = CLONE / "misc"
SHIPPED_PATH, SHIPPED_POOL = "/srv/pool/film", "/srv/pool"
PASSWORD = "correct horse"
DISK_BYTES = 60 << 30  # of memory that is never used: more than the pool's minfreespace
PATIENCE_S = 20.0
PRIVATE = """
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
    disable spoolss = yes
    load printers = no
"""

Needs = Callable[[str], str]


@dataclass
class Person:
    """One student's connection: `ana("put a.blend")`, as smbclient has its commands."""

    name: str
    port: int
    environment: dict[str, str]

    def __call__(self, commands: str) -> str:
        """Several commands, `;` between them; each has to do well."""
        done = self.ask(commands)
        text = done.stdout + done.stderr
        assert done.returncode == 0, f"{self.name}: {commands}\n{text}"
        assert "NT_STATUS" not in text, f"{self.name}: {commands}\n{text}"
        return done.stdout

    def ask(self, commands: str) -> subprocess.CompletedProcess[str]:
        """The same, whatever becomes of it."""
        command = ["smbclient", "-s", "/dev/null", "-U", f"{self.name}%{PASSWORD}", "-p", str(self.port)]
        command += ["//127.0.0.1/film", "-c", commands]
        return subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)

    def denied(self, commands: str) -> bool:
        done = self.ask(commands)
        return "NT_STATUS_ACCESS_DENIED" in done.stdout + done.stderr


@dataclass
class Share:
    """The share of a school: `root` is the folder that Samba shows, through the pool."""

    home: Path
    root: Path
    disks: tuple[Path, ...]
    port: int
    environment: dict[str, str]

    def person(self, name: str) -> Person:
        return Person(name, self.port, self.environment)

    def as_croft(self, code: str, *words: str) -> None:
        """What Croft's own user does on the machine itself."""
        uid = PEOPLE["croft"]
        python = [str(python_for(uid, self.home)), "-I", "-c", code, *words]
        subprocess.run([*as_user(uid), *python], check=True, cwd=self.root, timeout=60)

    def sidecar(self, inside: str) -> None:
        """Sidecar and companion of a file, made as Croft makes them."""
        self.as_croft(MAKE_RECORD, inside)

    def file(self, inside: str) -> Path:
        return self.root / inside


MAKE_RECORD = """
import os, pathlib, sys
os.umask(0)
file = pathlib.Path(sys.argv[1])
(file.parent / (file.name + ".json")).write_text('{"name": "x"}')
jobs = file.parent / ".croft" / file.name / "jobs" / "j1"
for folder in (jobs.parents[2], jobs.parents[1], jobs.parent, jobs):
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2775)
(jobs / "job.json").write_text("{}")
(jobs.parents[1] / "file.json").write_text("{}")
for made in (file.parent / (file.name + ".json"), jobs / "job.json", jobs.parents[1] / "file.json"):
    made.chmod(0o664)
"""


def as_user(uid: int) -> list[str]:
    ids = ["--reuid", str(uid), "--regid", str(GID), "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig", "TERM"]


def python_for(uid: int, home: Path) -> Path:
    """A Python with our packages that this user may run: ours, else the system's beside our packages."""
    for python in (Path(sys.executable), home / "venv" / "bin" / "python"):
        if python.exists() and _runs(uid, python):
            return python
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    packages = next((home / "venv" / "lib").glob("python3*/site-packages"))
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shadow = home / "venv" / "bin" / "python"
    if not _runs(uid, shadow):
        pytest.skip("an ordinary user can't run a Python with Croft's packages here")
    return shadow


def _runs(uid: int, python: Path) -> bool:
    command = [*as_user(uid), "sh", "-c", f"exec '{python}' -c 'import orjson'"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# The pool, from misc/fstab.


def pool_line() -> str:
    """The line of misc/fstab that mounts the pool."""
    lines = (MISC / "fstab").read_text("utf-8").splitlines()
    return next(line for line in lines if "fuse.mergerfs" in line)


@contextlib.contextmanager
def pool(home: Path, needs: Needs, *, change: Callable[[str], str] = str) -> Iterator[tuple[Path, ...]]:
    """Two disks and the pool of misc/fstab over them at home/pool; `change` may alter its line."""
    needs("mergerfs")
    with ExitStack() as stack:
        disks = tuple(home / name for name in ("disk1", "disk2"))
        for disk in disks:
            stack.enter_context(tmpfs(disk, DISK_BYTES))
        root = home / "pool"
        root.mkdir()
        line = change(pool_line()).replace(SHIPPED_POOL, str(root)).replace("/mnt/disk", f"{home}/disk")
        table = home / "fstab"
        table.write_text(line + "\n")
        subprocess.run(["mount", "--fstab", str(table), str(root)], check=True, timeout=30)
        stack.callback(subprocess.run, ["umount", "--lazy", str(root)], check=False)
        yield disks


@contextlib.contextmanager
def tmpfs(path: Path, size_bytes: int) -> Iterator[None]:
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0755", "tmpfs", str(path)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


# Samba, from misc/smb.conf.


def configuration(home: Path, root: Path, port: int) -> str:
    """misc/smb.conf with this folder and port, the group as it is."""
    text = (MISC / "smb.conf").read_text("utf-8").replace(SHIPPED_PATH, str(root))
    return text.replace("[global]\n", "[global]\n" + PRIVATE.format(home=home, port=port), 1)


@contextlib.contextmanager
def school(
    needs: Needs, *, change: Callable[[str], str] = str, conf: Callable[[str], str] = str
) -> Iterator[Share]:
    """A pool, Samba over it, three members of the group `film` and a stranger.

    `change` may alter the line of the pool, `conf` the text of smb.conf.
    """
    smbd = needs("smbd")
    for program in ("smbclient", "smbpasswd"):
        needs(program)
    if os.geteuid() != 0:
        pytest.skip("needs root: Samba changes to the students' users")
    with ExitStack() as stack:
        # Not pytest's folder: that is closed to everybody but us, and students must get in.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croft-misc-")))
        home.chmod(0o755)
        environment = {**os.environ, **write_people(home)}
        disks = stack.enter_context(pool(home, needs, change=change))
        root = home / "pool" / "film"
        root.mkdir()
        os.chown(root, PEOPLE["croft"], GID)
        root.chmod(0o2775)
        samba = home / "samba"
        for folder in ("private", "lock", "state", "cache", "pid", "ncalrpc"):
            (samba / folder).mkdir(parents=True)
        port = free_port()
        file = samba / "smb.conf"
        file.write_text(conf(configuration(samba, root, port)))
        for name in PEOPLE:
            command = ["smbpasswd", "-c", str(file), "-s", "-a", name]
            given = f"{PASSWORD}\n{PASSWORD}\n".encode()
            subprocess.run(command, input=given, env=environment, check=True, capture_output=True)
        command = ["env", f"LD_PRELOAD={WRAPPER}", smbd, "--foreground", "--no-process-group"]
        command += ["-s", str(file)]
        log = home / "smbd.log"
        with wrapped(environment):
            stack.enter_context(Child("smbd", command, log))
        share = Share(home, root, disks, port, environment)
        last = time.monotonic() + PATIENCE_S
        while (said := share.person("ana").ask("ls")).returncode:
            assert time.monotonic() < last, f"{said.stdout}{said.stderr}{log.read_text()}"
            time.sleep(0.05)
        yield share


@contextlib.contextmanager
def wrapped(environment: dict[str, str]) -> Iterator[None]:
    """Our environment is this, less the preload: what is started here has its people."""
    kept = dict(os.environ)
    os.environ.update({k: v for k, v in environment.items() if k.startswith("NSS_WRAPPER")})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("NSS_WRAPPER")]:
            del os.environ[name]
        os.environ.update(kept)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(folder: Path) -> set[str]:
    """Every file under a folder, as a path inside it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
