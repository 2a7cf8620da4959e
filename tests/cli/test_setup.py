"""`run.py setup` and `run.py import-csv`, as an admin types them."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.cli.children import Child
from server.disk.settings import Settings
from server.library.people import People

CLONE = Path(__file__).resolve().parents[2]


def call(tmp_path: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLONE / "run.py"), *words, "--config", str(tmp_path / "config")]
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    return subprocess.run(
        command, input=text, capture_output=True, text=True, env=environment, timeout=50, check=False
    )


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A folder as it should be."""
    if os.geteuid() != 0:
        pytest.skip("giving folders to others needs root")
    made = tmp_path / "film"
    made.mkdir()
    os.chown(made, 0, 100)
    made.chmod(0o2775)
    return made


def test_all_steps_are_shown_with_what_mends_them(tmp_path: Path, film: Path) -> None:
    done = call(tmp_path, "setup", "--data", str(film))
    assert done.returncode in (0, 1), done.stderr
    heads = [line[2:] for line in done.stdout.splitlines() if line[:1] in "●○✕!" and line[1:2] == " "]
    assert [head.partition(":")[0] for head in heads] == [
        "Your password", "The folder for the films", "Samba", "People", "Computers that render",
        "A test render", "How fast the disk is", "Start with the machine", "The backup",
    ]  # fmt: skip
    assert f"user password admin --config {tmp_path}/config" in done.stdout
    assert "'run.py setup samba' prints what to copy." in done.stdout
    assert "force group = users" in call(tmp_path, "setup", "samba", "--data", str(film)).stdout


def test_a_folder_is_chosen_and_stays_chosen(tmp_path: Path, film: Path) -> None:
    refused = call(tmp_path, "setup", "pool", str(CLONE / "tests"))
    assert refused.returncode == 1
    assert "Croft's own" in refused.stdout
    assert "nothing was changed" in refused.stderr
    done = call(tmp_path, "setup", "pool", str(film))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "config/shares/data.json").read_text())["path"] == str(film)
    # From now on every command finds it there.
    assert str(film) in call(tmp_path, "setup", "service").stdout
    assert call(tmp_path, "check", "--speed").stdout.startswith("data: ")
    # What was wrong in between is told again.
    film.chmod(0o755)
    again = call(tmp_path, "setup", "pool")
    assert again.returncode == 1
    assert "may not write" in again.stdout


def test_a_class_is_added_and_a_wrong_list_changes_nothing(tmp_path: Path) -> None:
    right, wrong = tmp_path / "class.csv", tmp_path / "wrong.csv"
    right.write_text("Ana Schmidt, ana, student\nMr Bo, bo, supervisor\n")
    wrong.write_text("Cem, cem\nDua, d u a\nEva, e v a\n")
    tried = call(tmp_path, "import-csv", str(right), "--dry-run")
    assert "line 1: Ana Schmidt (ana) would be a new student" in tried.stdout
    people = People(Settings(tmp_path / "config"))
    assert not people.known("ana")
    refused = call(tmp_path, "import-csv", str(wrong))
    assert refused.returncode == 1
    assert [line[:7] for line in refused.stderr.splitlines()[:2]] == ["line 2:", "line 3:"]
    assert "2 lines" in refused.stderr.splitlines()[-1]
    done = call(tmp_path, "import-csv", "-", text=right.read_text())
    assert done.stdout == "Added 2 people.\n"
    people = People(Settings(tmp_path / "config"))
    assert people.user("bo").role == "supervisor"
    assert not people.known("cem")
    again = call(tmp_path, "setup", "people", str(right))
    assert "Added 0 people; 2 were there already" in again.stdout
    assert "1 student and 1 supervisor." in again.stdout


def test_a_project_that_a_list_names_gets_a_folder_for_each_kind_of_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    listed = tmp_path / "class.csv"
    listed.write_text("name,ident,project\nAna,ana,The Lighthouse\n")
    done = call(tmp_path, "import-csv", str(listed), "--data", str(data))
    assert done.returncode == 0, done.stderr
    folder = next(data.glob("*lighthouse*"))
    assert json.loads((folder / "project.json").read_text())["title"] == "The Lighthouse"
    assert {"characters", "props", "sets", "shots"} <= {one.name for one in folder.iterdir() if one.is_dir()}


def test_units_are_written_where_asked(tmp_path: Path, film: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    done = call(tmp_path, "setup", "service", "--write", str(units), "--data", str(film))
    assert f"Wrote {units}/croft.service" in done.stdout
    text = (units / "croft.service").read_text()
    assert f"--config {tmp_path}/config --data {film} " in text
    assert "\nGroup=users\n" in text
    assert call(tmp_path, "setup", "backup", "--write", str(units), "--data", str(film)).returncode == 0
    assert {path.name for path in units.iterdir()} == {
        "croft.service", "croft-backup.service", "croft-backup.timer"
    }  # fmt: skip


def test_what_needs_the_server_says_so(tmp_path: Path, film: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "server.json").write_text('{"port": 1}')
    done = call(tmp_path, "setup", "nodes", "--data", str(film))
    assert done.returncode == 1
    assert "start it with 'python3 run.py serve'" in done.stderr


def test_a_person_at_the_terminal_is_led_through(tmp_path: Path, film: Path) -> None:
    """Answers are typed into a real terminal: a wrong folder, the right one, a class list; then away."""
    (tmp_path / "class.csv").write_text("Ana, ana\n")
    place, terminal = pty.openpty()
    command = [sys.executable, str(CLONE / "run.py"), "setup", "--config", str(tmp_path / "config")]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={**os.environ, "CROFT_VENV": sys.prefix, "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(terminal)
    try:
        talk = Talk(place)
        talk("Whose password", "")
        talk("Which folder?", "/nowhere")
        talk("There is no folder /nowhere", str(film))
        talk("is the folder for the films", "")
        talk("Which student’s login", "")
        talk("Which file holds the class list", str(tmp_path / "class.csv"))
        talk("Added 1 people.", "\x04")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(place)
    assert People(Settings(tmp_path / "config")).known("ana")


class Talk:
    """A person at a terminal: reads until something is said, then until it is asked, then types."""

    def __init__(self, place: int) -> None:
        self._place = place
        self.said = ""

    def __call__(self, expected: str, answer: str) -> None:
        self.until(lambda: expected in self.said and self.said.endswith("? "), expected)
        os.write(self._place, (answer if answer == "\x04" else answer + "\n").encode())
        self.said = ""

    def until(self, fact: Callable[[], bool], text: str) -> None:
        last = time.monotonic() + 20
        while not fact():
            assert time.monotonic() < last, f"{text!r} wasn't said, but: {self.said[-2000:]}"
            if select.select([self._place], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self._place, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"it ended: {self.said[-2000:]}") from None


def test_the_code_stands_in_the_address_for_a_person_and_never_in_a_log(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(CLONE / "run.py"),
        "serve",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
    ]
    command += ["--config", str(tmp_path / "config")]
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    with Child("server", command, tmp_path / "server.log") as server:
        server.wait_for_first_line(30)
        code = (tmp_path / "config" / "first-sign-in.txt").read_text().split("\n")[0]
        last = time.monotonic() + 20
        while "/setup, with the code in" not in server.log.read_text():
            assert time.monotonic() < last, server.log.read_text()
            time.sleep(0.05)
        assert code not in server.log.read_text()
    place, terminal = pty.openpty()
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, env=environment
    )
    os.close(terminal)
    try:
        talk = Talk(place)
        talk.until(lambda: f"/setup?code={code}" in talk.said, "the code")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(place)
