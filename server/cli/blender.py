"""A Blender for this machine: the one that is there, else Debian's package, else the `bpy` package.

`bpy` is Blender as a Python module, installed into Croft's own environment; misc/bpy_blender.py lets it
take the few command-line options that Croft uses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import run
from server.cli.places import CLONE
from server.disk.errors import CroftError

START_S = 120.0  # a cold start from an old disk
WRAPPER = """#!{python}
import runpy
runpy.run_path({script!r}, run_name="__main__")
"""


def find_or_install(configured: str = "") -> str:
    """The path of a Blender that starts. CroftError with what to do if none can be had."""
    found = find(configured)
    if found:
        return found
    if run.install_debian("blender"):
        found = find("")
        if found:
            return found
    found = install_bpy()
    if found:
        return found
    raise CroftError("There is no Blender here: 'sudo apt install blender' (or put one on PATH), then again.")


def find(configured: str) -> str:
    """The first that starts of: the configured one, $CROFT_BLENDER, the one on PATH, our own."""
    for candidate in _candidates(configured):
        path = shutil.which(candidate)
        if path and version(path):
            return path
    return ""


def _candidates(configured: str) -> Iterable[str]:
    own = str(Path(sys.prefix) / "bin" / "blender")
    return [name for name in (configured, os.environ.get("CROFT_BLENDER", ""), "blender", own) if name]


def version(path: str) -> str:
    """'3.4.1' of a Blender; '' where the program isn't one, or can't start."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.decode("utf-8", "replace").split()
    return words[1] if done.returncode == 0 and words[:1] == ["Blender"] and len(words) > 1 else ""


def install_bpy() -> str:
    """Blender's Python package in our environment; '' where there is none for this machine."""
    print("Installing Blender as a Python package (400 MB, once) …", file=sys.stderr, flush=True)
    pins = str(CLONE / "requirements-blender.txt")
    install = [*run.usable_pip(), "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    if not run.works([*install, "--only-binary", ":all:", "--require-hashes", "-r", pins]):
        return ""
    wrapper = Path(sys.prefix) / "bin" / "blender"
    script = str(CLONE / "misc" / "bpy_blender.py")
    wrapper.write_text(WRAPPER.format(python=sys.executable, script=script))
    wrapper.chmod(0o755)
    return str(wrapper) if version(str(wrapper)) else ""
