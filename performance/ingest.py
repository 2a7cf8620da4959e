"""Files a second from 'there' to metadata and thumbnail, on two cores, against a bare loop of the same work.

Half of the files are scenes, saved by a real Blender with a preview and packed, a quarter photographs with
EXIF, a quarter renders; all are assets in the end. The bare loop is two processes that read each file by
blender-asset-tracer or Pillow, draw its thumbnail, hash it and write both beside it, without limits for
hostile files, records, locks or flushes. Taken in turns, medians. Prints one line of JSON; `ratio` is
Croft's time over the bare loop's, `processor_ratio` the same of processor time, which others' work on the
machine changes less.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.library.assets import Assets
from server.library.ingest import Ingest
from server.library.media import Media, blend, images, scenes
from server.library.people import People
from server.library.projects import Projects

CLONE = Path(__file__).resolve().parents[1]
MAKE = """
import bpy, sys
folder = sys.argv[-1]
bpy.context.preferences.filepaths.file_preview_type = 'CAMERA'
for number in range(60):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16, location=(number, 0, 0))
for number in range(20):
    image = bpy.data.images.new('wood %d' % number, 8, 8)
    image.filepath, image.source, image.use_fake_user = '//tex/wood%d.png' % number, 'FILE', True
bpy.ops.wm.save_as_mainfile(filepath=folder + '/scene.blend', compress=True)
"""
CORES = 2


def sources(folder: Path) -> dict[str, bytes]:
    """One whole file of each kind."""
    script = folder / "make.py"
    script.write_text(MAKE)
    command = ["blender", "-b", "--factory-startup", "--python", str(script), "--", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    photo = Image.effect_noise((2000, 1500), 40).convert("RGB")
    tags = photo.getexif()
    tags[0x0110] = "Camera"
    tags.get_ifd(0x8769)[0x9003] = "2024:02:29 13:05:09"
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=85, exif=tags)
    frame = io.BytesIO()
    Image.radial_gradient("L").resize((1280, 720)).convert("RGB").save(frame, "PNG")
    return {"blend": (folder / "scene.blend").read_bytes(), "jpg": out.getvalue(), "png": frame.getvalue()}


def plant(root: Path, count: int, files: dict[str, bytes]) -> list[Path]:
    """The share: as many files as `count`, no two alike; the pictures have sidecars, as if promoted."""
    made = []
    for number in range(count):
        kind = ("blend", "jpg", "blend", "png")[number % 4]
        folder = root / f"demo/shots/seq{number // 100:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sh{number:05d}x.{kind}"
        path.write_bytes(files[kind])
        if kind != "blend":
            path.with_name(path.name + ".json").write_text('{"name": "picture", "schema": 1}')
        made.append(path)
    (root / "demo/project.json").write_text("{}")
    return made


def bare_one(path: Path) -> int:
    """What a loop without Croft does for one file."""
    with path.open("rb") as file:
        if path.suffix == ".blend":
            found = blend.read(file)
            facts = scenes.facts(found)
            content = images.from_rows(*found.preview, 256)[0] if found.preview else b""
        else:
            facts = images.facts(file)
            content = images.thumbnail(file, 256, 1 << 30)[0]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    companion = path.parent / ".bare" / path.name
    companion.mkdir(parents=True)
    (companion / "thumb").write_bytes(content)
    (companion / "file.json").write_text(json.dumps({"facts": facts, "hash": digest}))
    return len(content)


def processor_s() -> float:
    """Processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def bare(paths: list[Path]) -> tuple[float, float]:
    """Seconds of two processes that divide the files among them, and of their processors."""
    used, begun = processor_s(), time.perf_counter()
    with multiprocessing.Pool(CORES) as pool:
        drawn = pool.map(bare_one, paths, chunksize=8)
        seconds = time.perf_counter() - begun
        pool.close()
        pool.join()
    assert all(drawn)
    used = processor_s() - used
    for path in paths:
        shutil.rmtree(path.parent / ".bare", ignore_errors=True)
    return seconds, used


def croft(folder: Path, root: Path, paths: list[Path]) -> tuple[float, float]:
    """Seconds from the start of taking in until every file has its facts, hash, record and thumbnail."""
    config = folder / "config"
    config.mkdir()
    (config / "server.json").write_text(json.dumps({"thumbnail_workers": CORES, "settle_s": 0}))
    settings = Settings(config)
    store = Store(settings, [Share("data", root)])
    people, projects = People(settings), Projects(settings, store)
    media = Media(store, settings)
    assets = Assets(store, projects, people, media.hopeless)
    store.open()
    projects.prepare()
    ingest = Ingest(store, projects, assets, media)
    try:
        used, begun = processor_s(), time.perf_counter()
        ingest.start()
        ingest.ask(entry.address for entry in store.index.under("data::demo"))
        while not ingest.wait(1):
            pass
        seconds = time.perf_counter() - begun
    finally:
        ingest.close()
        media.close()
        store.close()
    used = processor_s() - used
    for path in paths:
        companion = path.parent / ".croft" / path.name
        record = json.loads((companion / "file.json").read_text())
        assert record["facts"], path
        assert record["hash"], path
        assert list((companion / "thumbs").iterdir()), path
        assert path.with_name(path.name + ".json").exists(), path
    return seconds, used


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=600)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    ratios, work, ours, theirs = [], [], [], []
    # Beside the clone, not in /tmp: that may be memory.
    with tempfile.TemporaryDirectory(dir=CLONE) as made:
        base = Path(made)
        (base / "whole").mkdir()
        files = sources(base / "whole")
        for turn in range(chosen.rounds):
            folder = base / str(turn)
            paths = plant(folder / "data", chosen.count, files)
            without, their_work = bare(paths)
            with_croft, our_work = croft(folder, folder / "data", paths)
            ours.append(with_croft)
            theirs.append(without)
            ratios.append(with_croft / without)
            work.append(our_work / their_work)
            shutil.rmtree(folder)
    print(
        json.dumps(
            {
                "script": "ingest",
                "files": chosen.count,
                "ratio": round(statistics.median(ratios), 2),
                "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
                "processor_ratio": round(statistics.median(work), 2),
                "files_a_second": round(chosen.count / statistics.median(ours)),
                "bare_files_a_second": round(chosen.count / statistics.median(theirs)),
            }
        )
    )


if __name__ == "__main__":
    main()
