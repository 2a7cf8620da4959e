"""After kill -9 at any moment: is every file old or new, and every accepted event still there?

Several processes edit the same sidecars and append to the same journals. Each says so as soon as a call
has returned; what it said is what was accepted. They are killed at random moments and started again.
"""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from disk_kit import leftovers, make_file, make_store, worker

from server.disk import check, paths
from server.disk.journal import Journal
from server.disk.locks import Locks

FILES = 6
WORKER = """
import random, sys
from pathlib import Path
from disk_kit import make_store
from server.disk.errors import Busy, Restored
from server.disk.journal import Journal

root, config, me, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
store = make_store(root, config)
chance = random.Random(seed)
journals = [Journal(root / f"green/shots/.croft/sh{n}.blend/jobs/j{n}/journal.jsonl") for n in range(6)]
places, turn = [0] * 6, 0
print("ready", flush=True)
while True:
    n = chance.randrange(6)
    turn += 1
    if chance.random() < 0.5:
        def change(old):
            return {**old, "count": old.get("count", 0) + 1, "by": {**old.get("by", {}), me: turn},
                    "padding": "x" * chance.randrange(3000)}
        store.edit(f"data::green/shots/sh{n}.blend", change, who=me, timeout_s=60)
        print(f"edited {n} {turn}", flush=True)
    else:
        try:
            with store.locks("data").hold(f"j{n}", timeout_s=60) as held:
                try:
                    events, places[n], bad = journals[n].read(places[n])
                except Restored:
                    events, places[n], bad = journals[n].read(0)
                held.check()
                places[n] = journals[n].append([{"by": me, "turn": turn}], expect=places[n])
                journals[n].sync()
        except (Busy, Restored):  # a restore, under the worker's hands: nothing was accepted
            continue
        print(f"appended {n} {turn}", flush=True)
"""


class Storm:
    """Workers that are killed and started again, and what they said before."""

    def __init__(self, root: Path, config: Path, seed: int) -> None:
        self.root, self.config, self.chance = root, config, random.Random(seed)
        self.edited: Counter[str] = Counter()  # by file
        self.last: dict[tuple[str, str], int] = {}  # file, worker -> the last turn it said
        self.appended: list[tuple[str, str, int]] = []
        self.kills = 0
        self._names = 0

    def run(self, seconds: float, workers: int = 4, enough: int = 10**9) -> None:
        """Until so many calls were accepted and ten workers killed; for so many seconds at most."""
        end, self._enough = time.monotonic() + seconds, enough
        threads = [
            threading.Thread(target=self._keep, args=(end, self.chance.random())) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _keep(self, end: float, seed: float) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end and not (self.kills >= 10 and self.accepted >= self._enough):
            self._names += 1
            name = f"w{self._names}-{chance.randrange(10**6)}"
            process = worker(WORKER, self.root, self.config, name, chance.randrange(10**6))
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            timer = threading.Timer(chance.uniform(0.02, 0.6), process.kill)
            timer.start()
            for line in process.stdout:
                if line.endswith("\n"):
                    self._said(name, *line.split())
            process.communicate()
            timer.join()
            assert process.returncode == -9, "a worker failed by itself"
            self.kills += 1

    @property
    def accepted(self) -> int:
        return sum(self.edited.values()) + len(self.appended)

    def _said(self, name: str, what: str, n: str, turn: str) -> None:
        if what == "edited":
            self.edited[n] += 1
            self.last[n, name] = int(turn)
        else:
            self.appended.append((n, name, int(turn)))


def storm(root: Path, tmp_path: Path, seconds: float, seed: int, enough: int = 10**9) -> Storm:
    for n in range(FILES):
        make_file(root, f"green/shots/sh{n}.blend")
        make_file(root, f"green/shots/.croft/sh{n}.blend/jobs/j{n}/job.json", b'{"id": "j"}')
    make_store(root, tmp_path / "config").close()
    done = Storm(root, tmp_path / "config", seed)
    done.run(seconds, enough=enough)
    return done


def judge(done: Storm) -> None:
    root = done.root
    assert sum(done.edited.values()) > 20
    assert len(done.appended) > 20
    for n in range(FILES):
        data = json.loads((root / f"green/shots/sh{n}.blend.json").read_bytes())
        # Every edit that was accepted counted once; one that was under way at a kill may have as well.
        assert done.edited[str(n)] <= data["count"] <= done.edited[str(n)] + done.kills
        for (file, name), turn in done.last.items():
            if file == str(n):
                assert data["by"][name] >= turn
        events, _, bad = Journal(root / f"green/shots/.croft/sh{n}.blend/jobs/j{n}/journal.jsonl").read()
        assert bad <= done.kills
        there = Counter((event["by"], event["turn"]) for event in events)
        assert set(there.values()) == {1}  # nothing twice
        said = {(name, turn) for file, name, turn in done.appended if file == str(n)}
        assert said <= set(there)
        assert len(there) <= len(said) + done.kills
    assert len(leftovers(root)) <= done.kills
    # What is left says the check, and nothing else.
    store = make_store(root, done.config)
    assert {problem.kind for problem in check.check(store.shares)} <= {"leftover", "journal"}
    live, store = store.index.dump(), make_store(root, done.config)
    assert live == store.index.dump()


def test_killed_at_random_moments(disk_root: Path, tmp_path: Path) -> None:
    judge(storm(disk_root, tmp_path, 20, seed=7, enough=1000))


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_for_long(disk_root: Path, tmp_path: Path, seed: int) -> None:
    judge(storm(disk_root, tmp_path, 60, seed=seed))


def test_restores_while_in_use(disk_root: Path, tmp_path: Path) -> None:
    """Lock files, journals and whole job folders are replaced by restored ones under four busy workers."""
    root = disk_root
    for n in range(FILES):
        make_file(root, f"green/shots/sh{n}.blend")
        make_file(root, f"green/shots/.croft/sh{n}.blend/jobs/j{n}/job.json", b'{"id": "j"}')
    make_store(root, tmp_path / "config").close()
    done = Storm(root, tmp_path / "config", 3)
    stop = threading.Event()
    faults: list[BaseException] = []
    locks = Locks(root, "restore")

    def restore() -> None:
        chance = random.Random(4)
        while not stop.wait(0.05):
            # Half of the jobs lose their lock files, the others their journals: who restores both at
            # once takes away what is accepted in between, and no program can know.
            n = chance.randrange(FILES)
            job = root / f"green/shots/.croft/sh{n}.blend/jobs/j{n}"
            try:
                if n < FILES // 2:
                    # A lock file, replaced by a copy of itself.
                    lock = root / paths.LOCKS / f"j{n}.lock"
                    if lock.exists():
                        shutil.copy(lock, lock.with_name("restored"))
                        lock.with_name("restored").replace(lock)
                else:
                    # A journal or its whole folder, by an equal copy, as from a backup of this moment.
                    with locks.hold(f"j{n}", timeout_s=30):
                        copy = job.with_name(f"j{n}.restored")
                        shutil.copytree(job, copy)
                        if chance.random() < 0.5 and (job / "journal.jsonl").exists():
                            (copy / "journal.jsonl").replace(job / "journal.jsonl")
                            shutil.rmtree(copy)
                        else:
                            shutil.rmtree(job)
                            copy.rename(job)
            except BaseException as error:
                faults.append(error)
                raise

    restorer = threading.Thread(target=restore)
    restorer.start()
    try:
        done.run(15, workers=3, enough=600)
    finally:
        stop.set()
        restorer.join()
    assert faults == []
    judge(done)
