"""Which Blender does the demo take, and what does it try before it gives up?"""

from __future__ import annotations

from pathlib import Path

import pytest

import run
from server.cli import blender
from server.disk.errors import CroftError


def make(path: Path, version: str) -> str:
    """A program that answers as Blender does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "{version}"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has no Blender and gets none."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin.nowhere")
    monkeypatch.delenv("CROFT_BLENDER", raising=False)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(run, "install_debian", lambda package: False)
    monkeypatch.setattr(blender, "install_bpy", lambda: "")
    return tmp_path


def test_the_configured_one_comes_before_the_one_on_the_path(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make(machine / "venv" / "bin" / "blender", "Blender 5.0.1")
    assert blender.find("") == own
    on_path = make(machine / "path" / "blender", "Blender 3.4.1")
    assert blender.find("") == on_path
    named = make(machine / "named", "Blender 4.2.0 LTS")
    monkeypatch.setenv("CROFT_BLENDER", named)
    assert blender.find("") == named
    configured = make(machine / "configured", "Blender 4.5.0")
    assert blender.find(configured) == configured
    assert blender.version(configured) == "4.5.0"


def test_what_is_no_blender_or_does_not_start_is_passed_over(machine: Path) -> None:
    on_path = make(machine / "path" / "blender", "Blender 3.4.1")
    other = make(machine / "other", "GIMP 2.10")
    broken = machine / "broken"
    broken.write_text("#!/bin/nowhere\n")
    broken.chmod(0o755)
    for configured in (other, str(broken), str(machine / "absent"), "bpy"):
        assert blender.find(configured) == on_path


def test_debians_package_is_tried_before_the_python_package(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def debian(package: str) -> bool:
        tried.append(package)
        make(machine / "path" / "blender", "Blender 3.4.1")
        return True

    monkeypatch.setattr(blender, "install_bpy", lambda: tried.append("bpy"))
    monkeypatch.setattr(run, "install_debian", debian)
    assert blender.find_or_install() == str(machine / "path" / "blender")
    assert tried == ["blender"]


def test_the_python_package_is_the_last_resort(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blender, "install_bpy", lambda: "/venv/bin/blender")
    assert blender.find_or_install() == "/venv/bin/blender"


def test_no_blender_at_all_is_told_with_what_to_do(machine: Path) -> None:
    with pytest.raises(CroftError, match="apt install blender"):
        blender.find_or_install()
