"""What it costs to know who uses what, and what is wrong, among 100,000 scenes.

Each scene links two libraries that many share, one that few do, and names three textures, one of them its
own; one in a hundred names something that is missing. Beside the building runs a bare read of the same
`file.json`s: `ratio` is the one over the other. All figures are of one process without pages. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from performance.assets_page import film  # noqa: E402
from performance.memory import resident_mb  # noqa: E402
from server.disk.paths import Share  # noqa: E402
from server.disk.settings import Settings  # noqa: E402
from server.disk.store import Store  # noqa: E402
from server.library.dependencies import Dependencies  # noqa: E402
from server.library.problems import Problems  # noqa: E402
from server.library.projects import Projects  # noqa: E402

TURNS = 50
REACH_MB = 150


def companions(root: Path) -> list[Path]:
    """Each scene has been read: what it names stands in its companion."""
    scenes = sorted(path for path in root.rglob("*.blend"))
    props = [path for path in scenes if path.name.startswith("prop")]
    made = []
    for number, path in enumerate(scenes):
        st = path.stat()
        linked = {props[n % len(props)] for n in (number % 7, number % 100, number)} - {path}
        uses = [
            {"path": "//" + os.path.relpath(other, path.parent), "kind": "library", "absolute": False}
            for other in sorted(linked)
        ]
        names = ["//../tex/wood.png", f"//../tex/set{number % 1000}.png", f"//tex/{path.stem}.png"]
        uses += [{"path": name, "kind": "image", "absolute": False} for name in names]
        if number % 100:
            for name in names:
                texture = Path(os.path.normpath(path.parent / name[2:]))
                texture.parent.mkdir(exist_ok=True)
                texture.touch()
        folder = path.parent / ".croft" / path.name
        folder.mkdir(parents=True)
        record = {"schema": 1, "size": st.st_size, "mtime_ns": st.st_mtime_ns, "facts": {"uses": uses}}
        (folder / "file.json").write_text(json.dumps(record))
        made.append(folder / "file.json")
    return made


def took(what: Callable[[], object], turns: int = 1) -> float:
    """Seconds a turn."""
    began = time.perf_counter()
    for _ in range(turns):
        what()
    return (time.perf_counter() - began) / turns


def bare(records: list[Path]) -> None:
    for path in records:
        with open(path, "rb") as file:
            orjson.loads(file.read())


def measure(root: Path, count: int) -> dict[str, object]:
    film(root / "data", count)
    records = companions(root / "data")
    reading = min(took(lambda: bare(records)) for _ in range(2))
    settings = Settings(root / "config")
    store = Store(settings, [Share("data", root / "data")])
    store.open()
    projects = Projects(settings, store)
    dependencies = Dependencies(store, projects)
    problems = Problems(store)
    problems.add(dependencies.problems)
    gc.collect()
    before = resident_mb(os.getpid())
    building = took(lambda: (dependencies.start(), dependencies.wait(600)))
    gc.collect()
    megabytes = resident_mb(os.getpid()) - before
    if not dependencies.true or not dependencies.waiting:
        raise SystemExit("Nobody rises: the film isn't what it should be.")
    first = took(problems.all)
    some = next(iter(dependencies.waiting))
    priorities = iter(range(10**9))

    def edit() -> None:
        store.edit(some, {"priority": 1 + next(priorities) % 5}, who="ana")
        dependencies.wait(60)

    ranking = took(edit, 3)

    def gather() -> None:
        problems.look_again()
        problems.all()

    asked = took(
        lambda: (dependencies.uses(some), dependencies.used_by(some), dependencies.warnings(some)), TURNS
    )

    again = took(gather, TURNS)
    dependencies.close()
    store.close()
    return {
        "script": "dependencies",
        "ratio": round(building / reading, 2),
        "absolute": {
            "built": f"{building:.1f} s",
            "bare read": f"{reading:.1f} s",
            "memory": f"{megabytes:.0f} MB",
            "uses": dependencies.book.count,
            "an edit until everybody's rank is right": f"{ranking * 1000:.0f} ms",
            "uses, used by and warnings of one": f"{asked * 1e6:.0f} µs",
            "problems, the first time": f"{first * 1000:.0f} ms",
            "problems, again": f"{again * 1000:.1f} ms",
            "problems told": len(problems.all()),
        },
        "reach": f"at most {REACH_MB} MB; an edit within 500 ms",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="croft-dependencies-") as folder:
        print(json.dumps(measure(Path(folder), chosen.assets), ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
