"""When is a task given up: too long, too silent, out of memory or only killed? And how far is it?"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm, until
from real_farm import make_scenes

TICKING = "import time\nwhile True: print('tick ' * 80 + 'tick', flush=True); time.sleep(0.01)"
QUIET = "import time; print('last words', flush=True); time.sleep(60)"


def run(farm: Farm, code: str, **more: Any) -> dict[str, Any]:
    return {**farm.task("a1", do="run", argv=[sys.executable, "-c", code]), **more}


@pytest.mark.parametrize(
    ("code", "limit", "words"),
    [
        (TICKING, {"bound": 0.8}, "far longer than such a frame usually takes"),
        (QUIET, {"silence": 0.8}, "no line of output for 0.8 s"),
        (TICKING, {"timeout": 0.8, "silence": 30}, "not over within 0.8 s"),
    ],
)
def test_each_limit_ends_a_program(farm: Farm, code: str, limit: dict[str, float], words: str) -> None:
    farm.give(run(farm, code, **limit), farm.task("a2"))
    farm.node()
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    assert failed["reason"] == "time-out"
    assert words in failed["log"].partition("\n")[0], "the sentence stays, however much was said"
    assert len(failed["log"]) <= 8000
    assert failed["log"].rstrip().endswith(("tick", "last words")), "and its last lines come along"
    farm.server.wait(lambda: farm.server.of("done"))


def test_who_speaks_now_and_then_is_not_silent(farm: Farm) -> None:
    code = "import time\nfor n in range(12): print(n, flush=True); time.sleep(0.1)"
    farm.give(run(farm, code, silence=0.9))
    farm.node()
    farm.server.wait(lambda: farm.server.of("done"))
    assert not farm.server.of("failed")


def test_progress_is_read_off_the_output(farm: Farm) -> None:
    """By the one word that any program may say, and by what the job type says of this program."""
    own = r"ALF_PROGRESS (\d+) of (\d+)"
    lines = ["PROGRESS: 12.5%", "ALF_PROGRESS 3 of 4"]
    code = f"import time\nfor line in {lines!r}: print(line, flush=True); time.sleep(1)"
    task = run(farm, code)
    task["commands"][0]["progress"] = ["(unclosed", own]
    farm.give(task)
    farm.node()
    farm.server.wait(lambda: {0.125, 0.75} <= {report["progress"] for report in farm.server.of("report")})
    assert all("seconds" in report for report in farm.server.of("report"))


def test_a_kill_is_a_crash_unless_memory_ran_out(farm: Farm) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    farm.give(run(farm, code))
    farm.node()
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    assert (failed["reason"], "signal 9" in failed["log"]) == ("crash", True)


def test_a_full_disk_is_told_from_a_broken_scene(farm: Farm, tmp_path: Path) -> None:
    """Given a computer whose own disk is full, its failure says so: nothing is wrong with the scene."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=4m none {small}"):
        pytest.skip("needs to mount a small disk")
    try:
        (small / "junk").write_bytes(bytes(3 << 20))
        farm.give(run(farm, "import sys; sys.exit(1)"))
        os.environ["TMPDIR"] = str(small)
        farm.node()
        failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    finally:
        os.environ.pop("TMPDIR")
        farm.close()
        os.system(f"umount {small}")
    assert failed["reason"] == "bad output"
    assert failed["log"].startswith(f"This computer's own disk is full: {small}.")


def test_a_blender_that_hangs_is_ended_and_the_next_frame_is_rendered(
    farm: Farm, needs: Any, tmp_path: Path
) -> None:
    """Given a Blender that was stopped in the middle of a frame, when the bound has passed, then it is
    killed, the frame has failed for its time, and a fresh Blender does the next."""
    needs("blender")
    make_scenes(tmp_path, "slow", "plain")
    for name in ("slow", "plain"):
        shutil.copy(tmp_path / f"{name}.blend", farm.share / "demo" / f"{name}.blend")
    first, second = (
        {
            **farm.task(attempt, 1, do="blender-frame", file=f"data::demo/{name}.blend", frames="1-2"),
            "file": f"data::demo/{name}.blend",
            **limit,
        }
        for attempt, name, limit in (("a1", "slow", {"bound": 4}), ("a2", "plain", {}))
    )
    farm.give(first)
    farm.node()
    # It says its pid nowhere on the wire: found as the only Blender with that file.
    hung = until(lambda: next(iter(blenders("slow.blend")), 0))
    farm.server.wait(lambda: any(r["line"] for r in farm.server.of("report")))
    stopped = time.monotonic()
    os.kill(hung, signal.SIGSTOP)
    farm.give(second)
    failed = farm.server.wait(lambda: farm.server.of("failed"), 60)[0]
    assert failed["reason"] == "time-out"
    assert time.monotonic() - stopped < 55
    farm.server.wait(lambda: farm.server.of("done"), 60)
    until(lambda: not blenders("slow.blend"))


def blenders(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"blender") and any(word.endswith(name.encode()) for word in words):
                found.append(int(folder.name))
    return found
