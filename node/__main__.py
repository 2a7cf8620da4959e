"""`python3 FOLDER --config FILE`: runs the node wherever its folder was copied, whatever its name.

Where the server has sent another version (`update.py`), that one runs, out of `.versions/` in this folder.
One that has never come so far as to talk with its server is tried twice, then the one before counts again.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

TRIES = 2


def main() -> int:
    folder = Path(__file__).resolve().parent
    # The folder itself must not stand on the path: a room here could hide a module of Python's.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    state = {} if "--version" in sys.argv else read(folder)
    chosen = folder / ".versions" / str(state["build"]) if state.get("build") else folder
    if not state.get("build") or not (chosen / "main.py").exists():
        return begin(folder, folder)
    if state.get("base") != begin_module(folder, folder, "update").build_of(folder):
        return begin(folder, folder)  # somebody has copied another version over this one since
    if state.get("good"):
        return begin(chosen, folder)
    if int(state.get("tries") or 0) >= TRIES:
        again(folder)
    write(folder, {**state, "tries": int(state.get("tries") or 0) + 1})
    try:
        code = begin(chosen, folder)
    except BaseException as error:
        if isinstance(error, (SystemExit, KeyboardInterrupt)) or read(folder).get("good"):
            raise
        print(f"node: version {state['build']} ended: {error!r}", file=sys.stderr)
        again(folder)
    if code and not read(folder).get("good"):
        again(folder)
    return code


def begin(folder: Path, home: Path) -> int:
    return int(begin_module(folder, home, "main").main(sys.argv[1:]))


def begin_module(folder: Path, home: Path, name: str):  # type: ignore[no-untyped-def]
    """A room of the version in this folder."""
    for known in [known for known in sys.modules if known.partition(".")[0] == "croft_node"]:
        del sys.modules[known]
    spec = importlib.util.spec_from_file_location(
        "croft_node", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    package.HOME = str(home)  # type: ignore[attr-defined]
    sys.modules["croft_node"] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"croft_node.{name}")


def again(folder: Path) -> NoReturn:
    """The version before counts again, from its beginning."""
    state = read(folder)
    bad = {**state.get("bad", {}), str(state.get("build")): time.time()}
    good = {"build": state.get("previous") or "", "base": state.get("base"), "good": True, "bad": bad}
    write(folder, good)
    os.execv(sys.executable, [sys.executable, str(folder), *sys.argv[1:]])


def read(folder: Path) -> dict:  # type: ignore[type-arg]
    try:
        state = json.loads((folder / ".version").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write(folder: Path, state: dict) -> None:  # type: ignore[type-arg]
    fresh = folder / ".version.new"
    fresh.write_text(json.dumps(state), "utf-8")
    os.replace(fresh, folder / ".version")


if __name__ == "__main__":
    if __package__:
        from .main import main as package_main

        sys.exit(package_main(sys.argv[1:]))
    sys.exit(main())
