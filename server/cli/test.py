"""`run.py test`: ruff, mypy and pytest, in this order, as CI runs them; `--soak` adds the long runs.

All three run even if one fails, so that one run tells everything.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def run(options: argparse.Namespace) -> int:
    # Arguments for pytest mean that someone looks for one thing: then no linters before it.
    checks = [] if options.rest else [["ruff", "check", "--quiet", "."], ["mypy"]]
    marks = [] if options.soak else ["-m", "not soak"]
    checks.append(["pytest", *marks, *options.rest])
    failed = [check[0] for check in checks if not passes(check)]
    if failed:
        print(f"run.py test: {' and '.join(failed)} failed; see above.", file=sys.stderr)
    return 1 if failed else 0


def passes(check: list[str]) -> bool:
    # Tests that start run.py again shall do it in this same environment.
    environment = {**os.environ, "CROFT_VENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", *check], cwd=CLONE, env=environment, check=False)
    return done.returncode == 0
