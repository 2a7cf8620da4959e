"""`run.py test` itself: what failed once is tried again by itself, what fails twice fails the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.cli import test as command

UNSTEADY = """
import pathlib
def test_other(): pass
def test_unsteady():
    here = pathlib.Path(__file__).with_name("seen")
    was = here.exists()
    here.touch()
    assert was
"""
BROKEN = "def test_broken(): assert False\n"


def test_a_test_that_fails_among_the_others_is_tried_alone_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_some.py").write_text(UNSTEADY)
    assert command.tests_pass({"": ["-q"]}, tmp_path)
    said = capfd.readouterr()
    assert "UNSTEADY, failed among the others and passed alone: test_some.py::test_unsteady\n" in said.err
    assert "1 passed" in said.out.splitlines()[-1]  # the other one wasn't run again


def test_two_halves_run_at_the_same_time_and_are_told_one_after_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    waits = "import pathlib, time\ndef test_{0}():\n    here = pathlib.Path(__file__).parent\n"
    waits += "    (here / '{0}').touch()\n    while not (here / '{1}').exists():\n        time.sleep(0.01)\n"
    (tmp_path / "test_one.py").write_text(waits.format("one", "two"))
    (tmp_path / "test_two.py").write_text(waits.format("two", "one") + "    assert not 'the second half'\n")
    halves = {"one": ["-v", "test_one.py"], "two": ["-v", "test_two.py"]}
    assert not command.tests_pass(halves, tmp_path)
    said = capfd.readouterr()
    assert said.out.index("test_one PASSED") < said.out.index("test_two FAILED")
    assert "once more by themselves: test_two.py::test_two\n" in said.err


def test_what_fails_twice_and_what_cannot_be_run_fail_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(UNSTEADY + BROKEN)
    assert not command.tests_pass({"": ["-q"]}, tmp_path)
    (tmp_path / "test_some.py").write_text("import nothing_of_that_name\n")
    assert not command.tests_pass({"": ["-q"]}, tmp_path)


def test_many_failures_are_no_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_some.py").write_text(UNSTEADY)
    monkeypatch.setattr(command, "FEW", 0)
    assert not command.tests_pass({"": ["-q"]}, tmp_path)
