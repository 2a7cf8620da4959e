"""Fixtures that every wing's tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

# What a Debian machine calls the real parts that tests run against.
PACKAGES = {
    "blender": "blender",
    "smbd": "samba",
    "smbclient": "smbclient",
    "mergerfs": "mergerfs",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "nginx": "nginx-light",
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
