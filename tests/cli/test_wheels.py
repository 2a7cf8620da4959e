"""Does Croft install without internet from a folder of wheels, also on a Raspberry Pi?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[2]
UNREACHABLE = "http://127.0.0.1:1/simple"  # nothing listens there
PACKAGES = re.findall(r"^([a-z0-9-]+)==([^ ]+)", (CLONE / "requirements.txt").read_text(), re.MULTILINE)

pytestmark = pytest.mark.timeout(240)  # as long as the packages take to come


def run(clone: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "CROFT_VENV"}
    command = [getattr(sys, "_base_executable", sys.executable), str(clone / "run.py"), *words]
    return subprocess.run(
        command, capture_output=True, text=True, env={**kept, **environment}, timeout=200, check=False
    )


def wheels(folder: Path) -> dict[str, str]:
    """Package -> the file that holds it."""
    found = {}
    for path in folder.iterdir():
        name, version, *_ = path.name.split("-")
        found[f"{name.lower().replace('_', '-')}=={version}"] = path.name
    return found


@pytest.mark.parametrize(
    "python", ["3.11", pytest.param("3.13", marks=pytest.mark.soak)]
)  # Raspberry Pi OS 12 and 13
def test_a_raspberry_pi_finds_every_package_ready_made(python: str, tmp_path: Path) -> None:
    done = run(CLONE, "wheels", str(tmp_path / "w"), "--machine", "aarch64", "--python", python,
               CROFT_VENV=sys.prefix)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = wheels(tmp_path / "w")
    assert found.keys() == {f"{name}=={version}" for name, version in PACKAGES}
    # pip has compared each with the hashes of requirements.txt; what is compiled is compiled for this.
    compiled = [name for name in found.values() if not name.endswith("-any.whl")]
    assert compiled
    assert all("aarch64" in name for name in compiled)
    assert all(f"cp{python.replace('.', '')}" in n or "-py3-" in n or "-abi3-" in n for n in compiled)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What an admin carries to a machine without internet on a stick."""
    made = tmp_path / "croft"
    for name in ("server", "node", "config", "templates"):
        shutil.copytree(CLONE / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.py", "requirements.txt"):
        shutil.copy(CLONE / name, made)
    return made


def test_croft_is_installed_from_a_folder_where_there_is_no_internet(clone: Path, tmp_path: Path) -> None:
    brought = tmp_path / "stick"
    fetched = run(CLONE, "wheels", str(brought), CROFT_VENV=sys.prefix)
    assert fetched.returncode == 0, fetched.stderr
    alone = {"PIP_INDEX_URL": UNREACHABLE, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0",
             "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1"}  # fmt: skip
    ask = ("token", "admin", "--config", str(tmp_path / "config"))

    # Without the folder it can't; the folder of a machine of another kind is told apart.
    (tmp_path / "empty").mkdir()
    wrong = run(clone, *ask, **alone, CROFT_WHEELS=str(tmp_path / "empty"))
    assert wrong.returncode == 1
    assert "has not all that requirements.txt names for this computer" in wrong.stderr.splitlines()[-1]

    # Beside run.py it is found by itself.
    brought.rename(clone / "wheels")
    done = run(clone, *ask, **alone)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f]{12}\.\S+", done.stdout.strip())
    assert (clone / ".venv" / "bin" / "python").exists()
