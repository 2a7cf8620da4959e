"""Fixtures that every wing's tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background hands down an ignored Ctrl-C, and so would we to what we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a Debian machine calls the real parts that tests run against.
PACKAGES = {
    "blender": "blender",
    "smbd": "samba",
    "smbclient": "smbclient",
    "mergerfs": "mergerfs",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "nginx": "nginx-light",
    "rsync": "rsync",
    "smbpasswd": "samba",
    "testparm": "samba",
    "snapraid": "snapraid",
    "exportfs": "nfs-kernel-server",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "systemd-analyze": "systemd",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "munged": "munge",
    "Xvfb": "xvfb",
    "xdotool": "xdotool",
}


@pytest.fixture(scope="session")
def needs() -> Callable[[str], str]:
    """`needs("mergerfs")`: the program's path, or a skip that names its package; on CI a failure."""

    def find(program: str) -> str:
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path:
            return path
        text = f"needs Debian's package {PACKAGES.get(program, program)}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)

    return find
