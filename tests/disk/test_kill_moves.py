"""After kill -9 amid uploads and deletions: is every file whole at one place, with all that belongs to it?"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from disk_kit import make_store, worker

from server.disk import paths

WORKER = """
import sys
from pathlib import Path
from disk_kit import make_store
from test_kill_moves import content

root, config, me = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
store = make_store(root, config)
print("ready", flush=True)
for turn in range(10**6):
    name = f"{me}-{turn}.blend"
    address = f"data::green/shots/{name}"
    temporary = store.temporary(address)
    temporary.write_bytes(content(name))
    store.place(temporary, address, me)
    print("placed", name, flush=True)
    store.edit(address, {"owner": name}, who=me)
    print("edited", name, flush=True)
    if turn % 2:
        store.delete(address, me)
        print("deleted", name, flush=True)
"""


def content(name: str) -> bytes:
    return name.encode() * 2000


def files_of(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.blend"):
        if path.is_file() and paths.LOCKS not in path.parts:
            yield path


def test_killed_amid_uploads_and_deletions(disk_root: Path, tmp_path: Path) -> None:
    (disk_root / "green/shots").mkdir(parents=True)
    make_store(disk_root, tmp_path / "config").close()
    said: list[tuple[str, str]] = []
    kills = [0]
    end = time.monotonic() + 20

    def keep(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end and (kills[0] < 8 or len(said) < 300):
            process = worker(WORKER, disk_root, tmp_path / "config", f"w{number}{chance.randrange(10**6)}")
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            timer = threading.Timer(chance.uniform(0.01, 0.3), process.kill)
            timer.start()
            said.extend((line.split()[0], line.split()[1]) for line in process.stdout if line.endswith("\n"))
            process.communicate()
            timer.join()
            assert process.returncode == -9, "a worker failed by itself"
            kills[0] += 1

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = make_store(disk_root, tmp_path / "config")  # a start finishes what was under way

    assert len(said) > 50
    assert list((disk_root / paths.LOCKS).glob("intent-*")) == []
    there: dict[str, list[Path]] = {}
    for path in files_of(disk_root):
        assert path.read_bytes() == content(path.name), f"{path} is not whole"
        there.setdefault(path.name, []).append(path.parent)
    home = disk_root / "green/shots"
    for what, name in said:
        assert len(there[name]) == 1, f"{name} lies in {there[name]}"
        folder = there[name][0]
        if what == "edited":
            assert (folder / f"{name}.json").is_file()
            assert list((folder / ".croft" / name).glob("history.*.jsonl"))
            if folder != home:
                assert not (home / f"{name}.json").exists()
                assert not (home / ".croft" / name).exists()
        elif what == "deleted":
            assert folder.parent == home / "old"
    live = {entry.address for entry in store.index.entries() if entry.stat is not None}
    assert live == {f"data::green/shots/{name}" for name, where in there.items() if where == [home]}
