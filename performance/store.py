"""What the store's safety costs: an event and an edit, against the bare system calls below them.

An event: lock, read what others appended, append a line, flush; bare: write and fdatasync. An edit: lock,
read, write aside, flush, replace, flush the folder, history, index; bare: write aside, fsync, replace,
fsync the folder. Taken in turns, medians. Prints one line of JSON; `ratio` is the event's.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.disk.journal import Journal
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store

ROUNDS, EACH = 15, 100
LINE = b'{"at":"2026-11-21T23:00:00.000Z","event":"done","task":1,"attempt":1,"node":"n1","seconds":1.5}\n'
SIDECAR = b'{\n  "owner": "mia",\n  "state": "doing"\n}\n' + b" " * 300


def seconds_each(call: Callable[[int], None], start: int) -> float:
    began = time.perf_counter()
    for number in range(start, start + EACH):
        call(number)
    return (time.perf_counter() - began) / EACH


def main() -> None:
    # Beside the clone, not in /tmp: that may be memory.
    with tempfile.TemporaryDirectory(dir=Path(__file__).resolve().parents[1]) as folder:
        root = Path(folder) / "share"
        (root / "green").mkdir(parents=True)
        for number in range(EACH):
            (root / f"green/{number}.blend").write_bytes(b"BLENDER")
        store = Store(Settings(Path(folder) / "config"), [Share("data", root)])
        store.open()
        journal, locks, offset = Journal(root / "journal.jsonl"), store.locks("data"), [0]
        bare_fd = os.open(root / "bare.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        folder_fd = os.open(root, os.O_RDONLY)

        def event(number: int) -> None:
            with locks.hold("job") as held:
                _, at, _ = journal.read(offset[0])
                held.check()
                offset[0] = journal.append([json.loads(LINE)], expect=at)
                journal.sync()

        def bare_event(number: int) -> None:
            os.write(bare_fd, LINE)
            os.fdatasync(bare_fd)

        def edit(number: int) -> None:
            store.edit(f"data::green/{number % EACH}.blend", {"owner": str(number)}, who="mia")

        def bare_edit(number: int) -> None:
            fd = os.open(root / ".aside", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.write(fd, SIDECAR)
            os.fsync(fd)
            os.close(fd)
            os.replace(root / ".aside", root / f"{number % EACH}.json")
            os.fsync(folder_fd)

        calls = {"event": event, "bare_event": bare_event, "edit": edit, "bare_edit": bare_edit}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                seconds = seconds_each(call, turn * EACH)
                if turn:  # the first turn makes folders and files
                    taken[name].append(seconds)
        store.close()
    each = {name: statistics.median(values) for name, values in taken.items()}
    absolute = {f"{name}_us": round(seconds * 1e6) for name, seconds in each.items()}
    print(
        json.dumps(
            {
                "script": "store",
                "ratio": round(each["event"] / each["bare_event"], 2),
                "edit_ratio": round(each["edit"] / each["bare_edit"], 2),
                "absolute": {**absolute, "events_a_second": round(1 / each["event"])},
            }
        )
    )


if __name__ == "__main__":
    main()
