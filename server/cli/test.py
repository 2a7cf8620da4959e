"""`run.py test`: ruff, mypy and pytest, in this order, as CI runs them; `--soak` adds the long runs.

All three run even if one fails, so that one run tells everything. A few tests that failed are run once more,
by themselves: one that then passes failed by the company it kept (a machine out of breath), is named as
unsteady, and doesn't fail the run. What fails twice does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
FAILED = Path(".pytest_cache/v/cache/lastfailed")  # where pytest notes which they were
FEW = 10  # more than so many are no accident
SOME_FAILED = 1  # pytest's exit status; others mean that it couldn't run them


def run(options: argparse.Namespace) -> int:
    # Arguments for pytest mean that someone looks for one thing: then no linters before it.
    checks = [] if options.rest else [["ruff", "check", "--quiet", "."], ["mypy"]]
    failed = [check[0] for check in checks if run_module(check, CLONE)]
    marks = [] if options.soak else ["-m", "not soak"]
    if not tests_pass([*marks, *options.rest], CLONE):
        failed.append("pytest")
    if failed:
        print(f"run.py test: {' and '.join(failed)} failed; see above.", file=sys.stderr)
    return 1 if failed else 0


def tests_pass(arguments: list[str], folder: Path) -> bool:
    """Whether every test passes, some of them at the second try."""
    first = run_module(["pytest", *arguments], folder)
    if first != SOME_FAILED:
        return first == 0
    names = failed_in(folder)
    if not 0 < len(names) <= FEW:
        return False
    print(f"run.py test: once more by themselves: {', '.join(names)}", file=sys.stderr)
    if run_module(["pytest", *arguments, "--last-failed", "--last-failed-no-failures=none"], folder):
        return False
    print(f"run.py test: UNSTEADY, failed among the others and passed alone: {', '.join(names)}",
          file=sys.stderr)  # fmt: skip
    return True


def failed_in(folder: Path) -> list[str]:
    """The tests that failed in the run before this."""
    try:
        return sorted(json.loads((folder / FAILED).read_bytes()))
    except (OSError, ValueError):
        return []


def run_module(check: list[str], folder: Path) -> int:
    # Tests that start run.py again shall do it in this same environment.
    environment = {**os.environ, "CROFT_VENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", *check], cwd=folder, env=environment, check=False).returncode
