"""`run.py test`: ruff, mypy and pytest, in this order, as CI runs them; `--soak` adds the long runs.

All three run even if one fails, so that one run tells everything. The tests run in two halves at the same
time, since most of them wait for something. A few tests that failed are run once more, by themselves: one
that then passes failed by the company it kept (a machine out of breath), is named as unsteady, and doesn't
fail the run. What fails twice does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

CLONE = Path(__file__).resolve().parents[2]
ONE = ("tests/web", "tests/cli", "tests/nas")  # take as long as all others
HALVES = {"one": [*ONE], "other": [f"--ignore={folder}" for folder in ONE]}
CACHE = Path(".pytest_cache")  # where pytest notes which tests failed
FEW = 10  # more than so many are no accident
SOME_FAILED = 1  # pytest's exit status; others mean that it couldn't run them


def run(options: argparse.Namespace) -> int:
    # Arguments for pytest mean that someone looks for one thing: then no linters before it.
    checks = [] if options.rest else [["ruff", "check", "--quiet", "."], ["mypy"]]
    failed = [check[0] for check in checks if run_module(check, CLONE)]
    marks = [] if options.soak else ["-m", "not soak"]
    # The long runs measure themselves against the machine, and one thing is quick anyway: those go alone.
    parts = {"": options.rest} if options.rest or options.soak else HALVES
    if not tests_pass({name: [*marks, *part] for name, part in parts.items()}, CLONE):
        failed.append("pytest")
    if failed:
        print(f"run.py test: {' and '.join(failed)} failed; see above.", file=sys.stderr)
    return 1 if failed else 0


def tests_pass(parts: dict[str, list[str]], folder: Path) -> bool:
    """Whether every test passes, some of them at the second try. The parts run at the same time."""
    codes = run_tests(parts, folder)
    if any(code not in (0, SOME_FAILED) for code in codes.values()):
        return False
    again = {name: failed_in(folder, name) for name, code in codes.items() if code}
    names = [name for some in again.values() for name in some]
    if not all(again.values()) or len(names) > FEW:
        return False
    for name in again:
        print(f"run.py test: once more by themselves: {', '.join(again[name])}", file=sys.stderr)
        only = [*parts[name], "--last-failed", "--last-failed-no-failures=none"]
        if any(run_tests({name: only}, folder).values()):
            return False
    if names:
        said = f"UNSTEADY, failed among the others and passed alone: {', '.join(names)}"
        print(f"run.py test: {said}", file=sys.stderr)
    return True


def run_tests(parts: dict[str, list[str]], folder: Path) -> dict[str, int]:
    """pytest's exit status of each part. What the second and further ones print comes after the first's."""
    with ExitStack() as stack:
        running: list[tuple[str, IO[bytes] | None, subprocess.Popen[bytes]]] = []
        for name, arguments in parts.items():
            output = stack.enter_context(tempfile.TemporaryFile()) if running else None
            command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={CACHE / name}", *arguments]
            running.append((name, output, start(command, folder, output)))
        codes = {}
        for name, printed, process in running:
            codes[name] = process.wait()
            if printed is not None:
                printed.seek(0)
                sys.stdout.buffer.write(printed.read())
                sys.stdout.flush()
    return codes


def failed_in(folder: Path, part: str) -> list[str]:
    """The tests that failed in the run before this."""
    try:
        return sorted(json.loads((folder / CACHE / part / "v/cache/lastfailed").read_bytes()))
    except (OSError, ValueError):
        return []


def run_module(check: list[str], folder: Path) -> int:
    return start([sys.executable, "-m", *check], folder).wait()


def start(command: list[str], folder: Path, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    # Tests that start run.py again shall do it in this same environment.
    environment = {**os.environ, "CROFT_VENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.stdout.flush()
    errors = subprocess.STDOUT if output is not None else None
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=errors)
