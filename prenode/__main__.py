"""`python3 FOLDER --config FILE`: runs the prenode wherever its folder was copied, whatever its name."""

import importlib
import importlib.util
import sys
from pathlib import Path


def begin() -> int:
    folder = Path(__file__).resolve().parent
    # The folder itself must not stand on the path: a room here could hide a module of Python's.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        "croft_prenode", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["croft_prenode"] = package
    spec.loader.exec_module(package)
    return int(importlib.import_module("croft_prenode.main").main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(begin())
