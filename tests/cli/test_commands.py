"""Do the commands of run.py say what they do, do it, and tell what is wrong in one clear line?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import run
from server.disk.settings import Settings
from server.library.people import People

CLONE = Path(__file__).resolve().parents[2]
COMMANDS = ["serve", "demo", "test", "node", "token", "user", "submit", "check", "rescan", "wheels"]
COMMANDS += ["setup", "import-csv", "where", "checkpoint", "publish", "saves", "restore", "delete"]


def call(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run run.py as a person does, in the environment that the tests run in."""
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    return subprocess.run(
        [sys.executable, str(CLONE / "run.py"), *arguments],
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_without_installing_anything(command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run.command_line().parse_args([command, "--help"])
    assert ended.value.code == 0
    listed = run.command_line().format_help()
    assert re.search(rf"^    {command}\s", listed, re.MULTILINE)


def test_no_command_means_serve() -> None:
    assert run.with_default_command([]) == ["serve"]
    assert run.with_default_command(["--port", "0"]) == ["serve", "--port", "0"]
    assert run.with_default_command(["--help"]) == ["--help"]
    assert run.with_default_command(["check"]) == ["check"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "invalid choice"),
        (["serve", "--port", "many"], "isn't a port"),
        (["serve", "--nonsense"], "unknown option --nonsense"),
        (["demo", "--nodes", "0"], "isn't a number of nodes"),
        (["token"], "say for whom"),
        (["token", "nobody"], "no user named 'nobody'"),
        (["token", "admin", "--node", "n1"], "say for whom"),
        (["user", "add", "A B", "--no-password"], "can't be a user's name"),
        (["user", "add", "ana"], "no password came in"),
        (["user", "password", "nobody"], "no user named 'nobody'"),
        (["submit", "/etc/passwd"], "lies on no share"),
        (["checkpoint", "/etc/passwd"], "lies on no share"),
        (["saves", "data::a/b.blend", "--server", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1"),
        (
            ["delete", "data::a/b.blend", "--server", "http://127.0.0.1:1"],
            "no answer from http://127.0.0.1:1",
        ),
        (["restore", "data::a/b.blend"], "say which save"),
        (["rescan", "--server", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1"),
    ],
)
def test_a_mistake_ends_with_one_clear_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    places = [] if arguments[0] in ("nonsense", "demo") else ["--config", str(tmp_path / "config")]
    done = call(*arguments, *places)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert said in last, done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_is_all_that_is_printed_and_opens_the_door(tmp_path: Path) -> None:
    done = call("token", "admin", "--config", str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = done.stdout.strip()
    people = People(Settings(tmp_path))
    assert people.check_token(text).user == "admin"
    node = call("token", "--node", "*", "--config", str(tmp_path)).stdout.strip()
    assert People(Settings(tmp_path)).check_token(node).allows_node("anything")


def test_people_are_added_and_get_passwords(tmp_path: Path) -> None:
    config = ["--config", str(tmp_path)]
    assert call("user", "add", "ana", "--role", "supervisor", *config, text="secret\n").returncode == 0
    assert People(Settings(tmp_path)).sign_in("ana", "secret").role == "supervisor"
    assert "already a user" in call("user", "add", "ana", "--no-password", *config).stderr
    assert call("user", "add", "ben", "--no-password", "--system", "b.b", *config).returncode == 0
    assert json.loads((tmp_path / "users" / "ben.json").read_text())["system"] == "b.b"
    assert call("user", *config, "password", "ana", text="other\n").returncode == 0
    assert People(Settings(tmp_path)).sign_in("ana", "other").ident == "ana"


def test_people_get_pins_and_are_taken_out(tmp_path: Path) -> None:
    config = ["--config", str(tmp_path)]
    named = ["--role", "guest", "--title", "Guest of the day", "--project", "green", "--pin"]
    assert call("user", "add", "gil", *named, *config, text="4821\n").returncode == 0
    assert People(Settings(tmp_path)).sign_in("gil", "4821", pin=True).projects == ("green",)
    assert "the first that anybody would try" in call("user", "pin", "gil", *config, text="1111\n").stderr
    assert call("user", "off", "gil", *config).stdout == "Guest of the day is switched off.\n"
    lines = call("user", "list", *config).stdout.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("gil")] == [
        ["gil", "guest", "off", "green"]
    ]
    assert call("user", "remove", "gil", *config).returncode == 0
    assert not People(Settings(tmp_path)).known("gil")
    refused = call("forget", "gil", *config)
    assert (refused.returncode, "say --yes" in refused.stderr) == (1, True)


def test_an_admins_password_closes_the_first_door(tmp_path: Path) -> None:
    code = tmp_path / "first-sign-in.txt"
    code.write_text("0000-1111-2222")
    assert call("user", "password", "student", "--config", str(tmp_path), text="x\n").returncode == 0
    assert code.exists()
    assert call("user", "password", "admin", "--config", str(tmp_path), text="x\n").returncode == 0
    assert not code.exists()


def test_a_configuration_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = call("token", "admin", "--config", str(tmp_path / "file" / "config"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "file/config" in done.stderr


# ---- the environment


def pins(name: str) -> dict[str, list[str]]:
    """Package==version -> its hashes."""
    found: dict[str, list[str]] = {}
    for line in (CLONE / name).read_text("utf-8").splitlines():
        if line.startswith("    --hash="):
            found[next(reversed(found))].append(line.strip(" \\"))
        elif line and not line.startswith("#"):
            found[line.rstrip(" \\")] = []
    return found


FILES = ["requirements.txt", "requirements-test.txt", "requirements-blender.txt"]


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_by_hash_and_from_nowhere_in_particular(name: str) -> None:
    text = (CLONE / name).read_text("utf-8")
    assert "http" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    for package, hashes in pins(name).items():
        assert "==" in package
        assert hashes, f"{package} has no hash"


@pytest.mark.parametrize("name", FILES[1:])
def test_tests_and_blender_stand_on_what_the_server_has(name: str) -> None:
    assert pins("requirements.txt").items() <= pins(name).items()


def test_an_environment_is_ready_until_its_list_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CLONE", tmp_path)
    monkeypatch.setattr(run, "VENV", tmp_path / ".venv")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("a==1")
    assert not run.is_ready("requirements.txt")
    stamp = tmp_path / ".venv" / "croft-requirements.txt.sha256"
    stamp.write_text(run.fingerprint("requirements.txt"))
    assert not run.is_ready("requirements.txt"), "its Python is gone"
    python.symlink_to(sys.executable)
    assert run.is_ready("requirements.txt")
    (tmp_path / "requirements.txt").write_text("a==2")
    assert not run.is_ready("requirements.txt")


def test_an_old_python_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.sys, "version_info", (3, 9, 2))
    with pytest.raises(run.Trouble, match=r"needs Python 3\.11"):
        run.make_environment("requirements.txt")


def test_ci_installs_every_part_that_the_tests_ask_for() -> None:
    from tests.conftest import PACKAGES

    script = (CLONE / ".ci" / "run").read_text("utf-8")
    missing = [package for package in PACKAGES.values() if package not in script.replace('"', " ").split()]
    assert not missing, f".ci/run doesn't install {missing}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [CLONE / "README.md", *(CLONE / "docs").glob("*.md"), *(CLONE / "misc").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
            if "://" not in target and not target.endswith("screenshot.png"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"
