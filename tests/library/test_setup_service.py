"""The units with this machine's paths: does systemd take them, and is their state told as it is?"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from server.library.setup import service
from server.library.setup.machine import Machine
from server.library.setup.records import worst
from server.library.setup.service import Places, backup_units, look, unit, write

PLACES = Places(Path("/srv/croft"), Path("/etc/croft"), Path("/srv/pool/film"), "croft", "film", "/srv/pool")


class Systemd(Machine):
    """A machine whose systemd says what a test wants."""

    def __init__(self, units: Path, enabled: str = "enabled", active: str = "active") -> None:
        self.units = units
        self.words = {"is-enabled": enabled, "is-active": active}

    def program(self, name: str) -> str | None:
        return f"/bin/{name}" if self.words else None

    def run(self, command, **more):  # type: ignore[no-untyped-def]
        return subprocess.CompletedProcess(command, 0, self.words[command[1]] + "\n", "")


@pytest.mark.parametrize("odd", ["", "my 100% films"])
def test_systemd_takes_the_units_whatever_the_paths_are_called(
    odd: str, tmp_path: Path, needs: Callable[[str], str]
) -> None:
    program = needs("systemd-analyze")
    place = tmp_path / odd if odd else tmp_path
    for folder in ("clone", "config", "data", "backup"):
        (place / folder).mkdir(parents=True)
    places = Places(
        place / "clone", place / "config", place / "data", "games", "users", "", str(place / "backup")
    )
    texts = {service.NAME: unit(places), **backup_units(places)}
    for text in texts.values():
        assert "/srv/" not in text
        assert "/etc/croft" not in text
        assert "/mnt/backup" not in text
    files = write(tmp_path / "clone" if not odd else place / "clone", texts)
    done = subprocess.run([program, "verify", *map(str, files)], capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if any(f.name in line for f in files)]
    assert [line for line in about if "not executable" not in line and "No such file" not in line] == []


def test_a_service_that_runs_is_right(tmp_path: Path) -> None:
    (tmp_path / service.NAME).write_text(unit(PLACES))
    checks = look(PLACES, Systemd(tmp_path))
    assert [check.text for check in checks] == ["Croft runs as a service and starts with the machine."]


def test_what_is_wrong_with_the_service_is_told(tmp_path: Path) -> None:
    assert "doesn't start with the machine yet" in look(PLACES, Systemd(tmp_path))[0].text
    (tmp_path / service.NAME).write_text(unit(PLACES))
    checks = look(PLACES, Systemd(tmp_path, enabled="disabled", active="failed"))
    assert {check.state for check in checks} == {"todo", "wrong"}
    assert "The service is failed." in [check.text for check in checks]
    moved = Places(PLACES.clone, PLACES.config, Path("/srv/pool/other"), "root", "film", "/srv/pool")
    checks = look(moved, Systemd(tmp_path))
    assert worst(checks) == "wrong"
    texts = " ".join(check.text for check in checks)
    assert "starts it with other paths" in texts
    assert "says User=croft, and now it is root" in texts
    assert "Croft runs as root" in texts


def test_a_unit_that_somebody_changed_is_kept_beside(tmp_path: Path) -> None:
    write(tmp_path, {service.NAME: unit(PLACES)})
    mine = tmp_path / service.NAME
    mine.write_text(mine.read_text() + "# mine\n")
    write(tmp_path, {service.NAME: unit(PLACES)})
    assert (tmp_path / f"{service.NAME}.before").read_text().endswith("# mine\n")
    assert mine.read_text() == unit(PLACES)
