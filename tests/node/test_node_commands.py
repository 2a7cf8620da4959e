"""The node's commands without Blender: programs, files, previews; what they are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from node.commands import PLAIN, preview
from node.config import load
from node.tools import Tools, frames_of, numbered
from node.work import Attempt, Failed, Result


class Bench:
    """A share, a configuration, and one attempt at a task of frames 1 to 3."""

    def __init__(self, folder: Path) -> None:
        self.version = folder / "share/demo/render/x/v001"
        self.version.mkdir(parents=True)
        config = folder / "config.json"
        config.write_text(
            json.dumps({"name": "n", "paths": {"data": "share"}, "programs": {"py": sys.executable}})
        )
        message = {"uuid": "j.0.1.abcd", "job": "j", "frame": [1, 3], "commands": []}
        self.attempt = Attempt.of(message)
        self.attempt.begin()
        self.tools = Tools(load(config), self.attempt)

    def do(self, kind: str, **command: Any) -> Result:
        whole = {"do": kind, "folder": "data::demo/render/x/v001", **command}
        result = PLAIN[kind](self.attempt, whole, self.tools)
        self.tools.made += result.outputs
        return result

    def names(self) -> list[str]:
        return sorted(path.name for path in self.version.iterdir() if path.is_file())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def picture(path: Path, size: tuple[int, int] = (20, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "#123456").save(path)
    return path


def test_a_program_leaves_files_under_the_attempts_name(bench: Bench) -> None:
    """Given a program by its name here, when it writes beside and into the folder, then its own are taken."""
    script = "import sys\nfor path in sys.argv[1:]: open(path, 'wb').write(b'x')\nprint('PROGRESS: 40%')"
    mine = [f"data::demo/render/x/v001/.j.0.1.abcd.x.{n:04d}.png" for n in (1, 2)]
    made = bench.do(
        "run", argv=["py", "-c", script, *mine, "data::demo/render/x/v001/.other.x.0003.png"]
    ).outputs
    assert [(output.kind, output.frame) for output in made] == [("frame", 1), ("frame", 2)]
    assert bench.attempt.progress == 0.4
    with pytest.raises(Failed, match="2 files were made instead of 3"):
        bench.do("verify", least=3)
    with pytest.raises(Failed, match=r"1\.png"):  # one byte is no picture
        bench.do("verify", least=2)


def test_files_are_moved_into_place_whole(bench: Bench) -> None:
    for n in (1, 2):
        picture(bench.tools.scratch / f"x.{n:04d}.png")
    made = bench.do("move", **{"from": "{scratch}/*.png"}).outputs
    assert bench.names() == [".j.0.1.abcd.x.0001.png", ".j.0.1.abcd.x.0002.png"]
    assert [output.frame for output in made] == [1, 2]
    assert list(bench.tools.scratch.iterdir()) == []
    bench.do("verify", least=2, width=20, height=10)
    with pytest.raises(Failed, match="20 x 10 pixels instead of 40 x 10"):
        bench.do("verify", least=2, width=40, height=10)
    copied = bench.do(
        "copy", **{"from": "data::demo/render/x/v001/.j.0.1.abcd.x.0001.png", "name": "still.png"}
    )
    assert [output.path.name for output in copied.outputs] == [".j.0.1.abcd.still.png"]
    scratch = bench.tools.scratch
    bench.tools.close()
    assert not scratch.exists()


def test_what_lies_on_a_share_is_never_moved_away(bench: Bench) -> None:
    """Given a person's file, when a task is to move it, then it stays: the copy may yet be refused."""
    theirs = picture(bench.version.parent / "cache.0001.png")
    with pytest.raises(Failed, match=r"only files in \{scratch\} can be moved"):
        bench.do("move", **{"from": "data::demo/render/x/cache.*.png"})
    assert theirs.is_file()
    assert bench.names() == []


@pytest.mark.parametrize(
    ("kind", "command", "told"),
    [
        ("run", {"argv": []}, "no list of arguments"),
        ("run", {"argv": ["py", "-c", "raise SystemExit(3)"]}, "ended with exit code 3"),
        ("run", {"argv": ["no-such-program-anywhere"]}, "isn't there"),
        ("run", {"argv": ["py", "elsewhere::a/b"]}, "doesn't have"),
        ("run", {"argv": ["py", "data::../../secret"]}, "leads out"),
        ("run", {"argv": ["py"], "folder": "data::demo/none"}, "isn't there"),
        ("copy", {"from": "data::demo/none.png"}, "there is no data::demo/none.png"),
        ("copy", {"from": "{scratch}/../x"}, "leads out"),
        ("move", {"from": "{scratch}/*", "name": "../x"}, "can't be a file's name"),
        (
            "make-preview",
            {"source": "x.####", "frames": "1-9999999", "name": "x.mp4"},
            "too many for one task",
        ),
        ("make-preview", {"source": "x.####", "frames": "1-3", "name": "x.mp4"}, "none of the frames"),
    ],
)
def test_what_cannot_be_done_is_said(bench: Bench, kind: str, command: dict[str, Any], told: str) -> None:
    with pytest.raises(Failed, match=told):
        bench.do(kind, **command)


def test_addresses_within_arguments_become_paths(bench: Bench) -> None:
    root = str(bench.version.parents[3])
    given = ["py", "data::a b/c.ma", "-o=data::x/y", "a::b", "std::string", "http://x", "-im", "{scratch}/n"]
    found = bench.tools.arguments(given)
    assert found == [sys.executable, f"{root}/a b/c.ma", f"-o={root}/x/y", "a::b", "std::string",
                     "http://x", "-im", f"{bench.tools.scratch}/n"]  # fmt: skip
    line = "cp data::a.ma 'data::b c/d.ma' && echo x::y http://z"
    assert bench.tools.arguments([line])[0] == f"cp {root}/a.ma '{root}/b c/d.ma' && echo x::y http://z"
    with pytest.raises(Failed, match="leads out"):
        bench.tools.arguments(["cat data::a data::b/../../c"])


def test_a_preview_of_pictures_that_browsers_cannot_show(bench: Bench, needs: Callable[[str], str]) -> None:
    """Given OpenEXR frames with pictures made beside them, of which one is missing, then those are filmed."""
    needs("ffmpeg")
    for n in (1, 2, 4):
        (bench.version / f"x.{n:04d}.exr").write_bytes(b"\x76\x2f\x31\x01")
        picture(bench.version / f".croft/x.{n:04d}.exr/thumbs/node.png", (21, 11))
    (made,) = bench.do("make-preview", source="x.####", frames="1-4", name="x.mp4", fps=25).outputs
    assert made.kind == "video"
    command = [needs("ffprobe"), "-v", "error", "-count_frames", "-show_entries",
               "stream=width,height,pix_fmt,nb_read_frames", "-of", "csv=p=0", str(made.path)]  # fmt: skip
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert told == "20,10,yuv420p,3"


def test_frames_and_names() -> None:
    assert frames_of("1-5x2,-3--1,9") == [1, 3, 5, -3, -2, -1, 9]
    assert (numbered("x.####", 7), numbered("x.####", -7), numbered("x", 7)) == ("x.0007", "x.-0007", "x")
    assert preview.chosen(Path("."), "x.####", [1]) == []
