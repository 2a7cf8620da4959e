"""48 light frames on the farm against `blender -b -a` of the same frames.

A real server, one real node, both on this machine; from the submission over HTTP until every frame is
accepted. With `--slots 2` the node has two slots that share the cores between them. Farm and bare runs
alternate; the ratio is the median of the pairs' ratios. `processor_ratio` compares processor time, with the
preview that follows the frames: it can be trusted on a busy machine, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/node"))

from real_farm import RealFarm, make_scenes, until

FRAMES = 48
TARGET = 1.05


def bare(scene: Path, folder: Path) -> float:
    begun = time.monotonic()
    command = ["blender", "-b", str(scene), "-o", f"{folder}/x.####", "-s", "1", "-e", str(FRAMES), "-a"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    assert len(list(folder.glob("*.png"))) == FRAMES
    return seconds


def processor_s(*roots: int) -> float:
    """Of these processes and all below them, those that are over included."""
    known: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parts = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            known[int(entry.name)] = int(parts[1]), sum(map(int, parts[11:15])) / os.sysconf("SC_CLK_TCK")
    total = 0.0
    for number, (_, seconds) in known.items():
        above = number
        while above and above not in roots:
            above = known.get(above, (0, 0.0))[0]
        total += seconds if above else 0.0
    return total


def farmed(farm: RealFarm, scene: Path) -> tuple[float, dict[str, float]]:
    begun, clock = time.monotonic(), time.time()
    status, job = farm.api(
        "POST", "/api/jobs", {"file": f"data::demo/shots/{scene.name}", "frames": f"1-{FRAMES}"}
    )
    assert status == 201, job
    submitted = time.monotonic()
    # Asked rarely, since asking costs the machine that renders; the journal knows when the last was accepted.
    until(lambda: farm.job(job["id"])["counts"]["done"] == FRAMES, 300, 1.0)
    accepted = [event["at"] for event in farm.events(job["id"], "done") if event["task"] < FRAMES]
    seconds = datetime.datetime.fromisoformat(max(accepted)).timestamp() - clock
    # The preview, which is made of the frames, isn't part of what `-a` does.
    ended = until(lambda: (view := farm.job(job["id"]))["state"] == "done" and view, 300)
    assert len(list(farm.version(ended).glob("*.png"))) == FRAMES
    done = [event for event in farm.events(job["id"], "done") if "waited_s" in event["statistics"]]
    rendered = sum(event["statistics"]["render_s"] for event in done)
    started = max(event["statistics"]["waited_s"] for event in done)
    return seconds, {"submit_s": submitted - begun, "render_s": rendered, "blender_start_s": started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--slots", type=int, default=1)
    options = parser.parse_args()
    if shutil.which("blender") is None:
        sys.exit("render_overhead: needs Debian's package blender")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = make_scenes(folder, "light") / "light.blend"
        (folder / "farm").mkdir()
        farm = RealFarm(folder / "farm", settle_s=1, lease_s=90, heartbeat_s=10)
        try:
            threads = 0 if options.slots == 1 else max(1, (os.cpu_count() or 1) // options.slots)
            farm.start_node("alpha", processes=[threads] * options.slots)
            # A file for each: the node must not find its Blender open with it.
            scenes = [farm.shots / f"light{number}.blend" for number in range(options.pairs)]
            for copy in scenes:
                shutil.copy(scene, copy)
            last = f"/api/assets/data::demo/shots/{scenes[-1].name}"
            until(lambda: farm.api("GET", last)[0] == 200)
            time.sleep(3)  # the files settle, the node finds the server
            pairs, processor = [], []
            roots = [process.pid for process in farm.processes]
            for number in range(options.pairs):
                (folder / f"bare{number}").mkdir()
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                alone = bare(scene, folder / f"bare{number}")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                bare_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                begun = processor_s(*roots)
                on_farm, parts = farmed(farm, scenes[number])
                processor.append((processor_s(*roots) - begun) / bare_cpu)
                pairs.append((on_farm / alone, on_farm, alone, parts))
        finally:
            farm.close()
    pairs.sort(key=lambda pair: pair[0])
    _, on_farm, alone, parts = pairs[len(pairs) // 2]
    print(
        json.dumps(
            {
                "script": "render_overhead",
                "slots": options.slots,
                "ratio": round(statistics.median(pair[0] for pair in pairs), 3),
                "target": TARGET,
                "processor_ratio": round(statistics.median(processor), 3),
                "ratios": [round(pair[0], 3) for pair in pairs],
                "absolute": {
                    "farm_s": round(on_farm, 2),
                    "bare_s": round(alone, 2),
                    **{key: round(value, 3) for key, value in parts.items()},
                },
            }
        )
    )


if __name__ == "__main__":
    main()
