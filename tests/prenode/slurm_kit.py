"""A Slurm of one machine, as a test's own: its ports, keys, sockets and files are nobody else's.

`munged`, `slurmctld` and `slurmd` run in the foreground as children of this process, under its user, and are
ended by their own numbers. Its machine is said to have eight processors, so that several nodes run at once.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONF = """
ClusterName=croft
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=1
KillWait=5
MinJobAge=60
SlurmctldTimeout=10
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
DAEMONS = "/usr/sbin:/sbin"


class Slurm:
    """`close` ends it. Commands find it by `environment`."""

    def __init__(self) -> None:
        # Not in a test's folder: a socket's path may have 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="croft-slurm-"))
        self.host = socket.gethostname().partition(".")[0]
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._free = self._ports()
        try:
            self._write()
            self.start("munged", "--foreground", "--force", *self._munge())
            self.until(lambda: (self.folder / "munge/socket").exists())
            self.start("slurmctld", "-D")
            self.start("slurmd", "-D", "-N", self.host)
            self.until(lambda: "idle" in self.states())
        except BaseException:
            self.close()
            raise

    def start(self, program: str, *arguments: str) -> None:
        path = shutil.which(program) or shutil.which(program, path=DAEMONS)
        assert path is not None
        with open(self.folder / f"{program}.out", "ab") as log:
            self.processes[program] = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def stop(self, program: str, number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(program)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart_controller(self) -> None:
        self.stop("slurmctld")
        self.start("slurmctld", "-D")

    def close(self) -> None:
        if "slurmctld" in self.processes:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.clear()
        for program in ("slurmd", "slurmctld", "munged"):
            if program in self.processes:
                self.stop(program)
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Nothing waits or runs any more."""
        self.run("scancel", "--user", getpass.getuser())
        self.until(lambda: not self.run("squeue", "-h"), 30)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()

    def states(self) -> list[str]:
        return self.run("sinfo", "-h", "-N", "-o", "%T").split()

    def jobs(self, *states: str) -> list[str]:
        """Every node of every array in these states (all that wait and run, if none is named)."""
        named = ["--states", ",".join(states)] if states else []
        return self.run("squeue", "-h", "-r", "-o", "%i", *named).split()

    def set_machine(self, state: str) -> None:
        self.run("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def until(self, true: Callable[[], Any], timeout_s: float = 40) -> None:
        end = time.monotonic() + timeout_s
        while not true():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"{dead[0]} has ended: {self.said(dead[0])}"
            assert time.monotonic() < end, f"Slurm did not come to it: {self.said('slurmctld')}"
            time.sleep(0.1)

    def said(self, program: str) -> str:
        texts = [self.folder / f"{program}.{kind}" for kind in ("out", "log")]
        return "".join(path.read_text(errors="replace")[-1500:] for path in texts if path.exists())

    # -- its files

    def _write(self) -> None:
        self.folder.chmod(0o755)  # munged wants its socket reachable
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        conf = CONF.format(
            host=self.host,
            folder=self.folder,
            user=getpass.getuser(),
            controller=self._free[0],
            daemon=self._free[1],
        )
        (self.folder / "slurm.conf").write_text(conf)
        # Nothing here uses control groups; this plugin alone starts in a container that has none to give.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def _munge(self) -> list[str]:
        folder = self.folder / "munge"
        return [
            f"--key-file={folder}/key",
            f"--socket={folder}/socket",
            f"--pid-file={folder}/pid",
            f"--log-file={folder}/log",
            f"--seed-file={folder}/seed",
        ]

    def _ports(self) -> list[int]:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [one.getsockname()[1] for one in held]
        for one in held:
            one.close()
        return ports
