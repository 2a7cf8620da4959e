"""What is read from scenes that use every kind of file, pictures, films and sequences: true, or absent."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from server.library.media import exif, films, helper, kinds, pipe, sequences
from server.library.media.workers import Workers

from .test_media import ask

MANY_USES = Path(__file__).with_name("many_uses.py")
Needs = Callable[[str], str]


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.close()


def facts(pool: Workers, path: Path, **more: Any) -> dict[str, Any]:
    answer = ask(pool, path, "facts", **more)
    assert "facts" in answer.data, answer.data
    told: dict[str, Any] = answer.data["facts"]
    return told


# Scenes


@pytest.fixture(scope="module", params=["blender", "bpy"])
def uses_scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, needs: Needs
) -> Path:
    """A folder with scenes that use a file of each kind, saved by Blender 3.4 and by bpy 5."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "blender":
        command = [needs("blender"), "-b", "--factory-startup", "--python-exit-code", "3", "--python"]
        command += [str(MANY_USES), "--"]
    elif importlib.util.find_spec("bpy") is None:
        pytest.skip("needs the package bpy")
    else:
        command = [sys.executable, str(MANY_USES)]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=50, check=False)
    assert (folder / "zstd.blend").exists(), done.stdout + done.stderr
    return folder


def test_a_scene_tells_every_file_that_it_uses(pool: Workers, uses_scene: Path) -> None:
    """Given a scene with libraries, textures, sounds … saved plain and packed, then each is told once."""
    for name in ("uses.blend", "zstd.blend"):
        told = facts(pool, uses_scene / name)
        found = {(one["kind"], one["path"]): (one["absolute"], one["packed"]) for one in told["uses"]}
        assert len(found) == len(told["uses"])
        font = [key for key in found if key[0] == "font"]
        assert all(found.pop(key) == (True, False) for key in font)
        assert found == {
            ("library", "//lib.blend"): (False, False),
            ("image", "//tex/wood.png"): (False, False),
            ("image", f"{uses_scene}/abs/sky.png"): (True, False),
            ("image", "//tex/pack.png"): (False, True),
            ("image", "//tex/skin.<UDIM>.png"): (False, False),
            ("image", "//frames/f.0001.png"): (False, False),  # of a strip of 60 in the video editor
            ("film", "//clips/walk.mp4"): (False, False),
            ("sound", "//snd/step.wav"): (False, False),
            ("sound", "//snd/packed.wav"): (False, True),
            ("volume", "//vdb/smoke.0001.vdb"): (False, False),
            ("cache", "//cache/cube.mdd"): (False, False),
            ("cache", "//cache/cloth"): (False, False),
            ("cache", "//cache/fluid"): (False, False),
            ("text", "//light/spot.ies"): (False, False),
            ("text", "//note.txt"): (False, True),
        }
        assert told["libraries"] == ["//lib.blend"]
        assert "//tex/wood.png" in told["textures"]
        assert "//tex/pack.png" not in told["textures"]
        assert "partial" not in told


def test_each_scene_of_a_file_tells_its_own(pool: Workers, uses_scene: Path) -> None:
    told = facts(pool, uses_scene / "zstd.blend")
    first, second = sorted(told["scenes"], key=lambda one: str(one["name"]))
    assert (first["name"], first["frames"], first["fps"]) == ("Other", [101, 148], 48.0)
    assert (first["resolution"], first["output"], first["camera"]) == ([1998, 1080], "//out/other_", False)
    assert (second["name"], second["output"], second["camera"]) == ("Scene", "//out/main_", True)
    assert (told["scene"], told["output"], told["frames"]) == ("Scene", "//out/main_", [1, 250])


# Pictures


def test_a_photograph_tells_how_it_was_taken(pool: Workers, tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200))
    tags = image.getexif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Canon", "Canon EOS R6", 6
    part = tags.get_ifd(0x8769)
    part[0x9003], part[0x8827] = "2024:02:29 13:05:09", 400
    part[0x829A], part[0x829D], part[0x920A] = IFDRational(1, 250), IFDRational(28, 10), IFDRational(50)
    part[0xA433], part[0xA434] = "Sigma", "50mm F1.4"
    for name in ("photo.jpg", "photo.png", "photo.webp"):
        image.save(tmp_path / name, exif=tags)
        assert facts(pool, tmp_path / name) == {
            "size": [200, 400],  # as it is shown: it was taken sideways
            "mode": "RGB",
            "exif": {
                "camera": "Canon EOS R6", "lens": "Sigma 50mm F1.4", "date": "2024-02-29T13:05:09",
                "iso": 400, "exposure": 0.004, "aperture": 2.8, "focal_length": 50.0,
            },
        }, name  # fmt: skip


def test_exif_that_makes_no_sense_is_left_out() -> None:
    """Given times and rationals that no camera wrote, then nothing of them is told."""
    for date in (
        "0000:00:00 00:00:00", "2023:02:29 10:00:00", "2024:13:01 10:00:00", "9:9:9", "\0" * 19, 7, None,
        "1500:01:01 00:00:00", "2024:01:01 24:00:00", "    :  :     :  :  ", b"\xff" * 19,
    ):  # fmt: skip
        assert exif._date(date) == "", date
    for value in (IFDRational(1, 0), IFDRational(0, 0), IFDRational(-1, 3), float("nan"), "x", (1, 2), None):
        assert exif._number(value, 100) is None
    assert exif._number(IFDRational(2**32 - 1, 1), 100_000) is None
    assert [exif._whole(value) for value in (0, -4, 2**40, "400", None, (), (200, 400))] == [*[None] * 6, 200]
    assert exif._words("A\0B") == "A"
    assert exif._words("<b>\x1b[1m\n cam") == "<b> [1m cam"
    assert exif._words("é" * 500) == "é" * 120
    assert exif._camera("NIKON CORPORATION", "NIKON D850") == "NIKON D850"
    assert exif._camera("Apple", "iPhone 15") == "Apple iPhone 15"


def test_hostile_exif_costs_no_more_than_itself(pool: Workers, tmp_path: Path) -> None:
    """Tables that point into themselves, lengths beyond the end, a type that doesn't exist."""
    Image.new("RGB", (40, 20)).save(tmp_path / "plain.jpg")
    plain = (tmp_path / "plain.jpg").read_bytes()
    entry = struct.Struct("<HHII")
    tables = [
        entry.pack(0x8769, 4, 1, 8),  # the EXIF part is this very table
        entry.pack(0x8769, 4, 1, 0xFFFFFFF0),
        entry.pack(0x0110, 2, 0xFFFFFFFF, 8),
        entry.pack(0x829A, 5, 0x7FFFFFFF, 8),
        entry.pack(0x0110, 99, 1, 0),
    ]
    for number, table in enumerate(tables):
        tiff = b"II*\0" + struct.pack("<IH", 8, 1) + table + struct.pack("<I", 8)
        segment = b"Exif\0\0" + tiff
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
        assert facts(pool, path)["size"] == [40, 20]
    assert pool.restarts == 0


def test_pictures_that_only_renderers_read_tell_their_size(pool: Workers, tmp_path: Path) -> None:
    def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value

    channel = struct.Struct("<iB3xii").pack(1, 0, 1, 1)
    channels = b"".join(name + b"\0" + channel for name in (b"B", b"G", b"R")) + b"\0"
    exr = b"\x76\x2f\x31\x01\2\0\0\0" + attribute(b"channels", b"chlist", channels)
    exr += attribute(b"displayWindow", b"box2i", struct.pack("<4i", 0, 0, 1919, 1079)) + b"\0"
    (tmp_path / "a.exr").write_bytes(exr)
    assert facts(pool, tmp_path / "a.exr") == {"size": [1920, 1080], "mode": "RGB"}
    (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 512 +X 1024\n\2\2")
    assert facts(pool, tmp_path / "a.hdr") == {"size": [1024, 512], "mode": "RGB"}
    (tmp_path / "a.dpx").write_bytes(b"SDPX" + bytes(768) + struct.pack(">II", 2048, 858))
    assert facts(pool, tmp_path / "a.dpx") == {"size": [2048, 858]}
    (tmp_path / "a.sgi").write_bytes(struct.pack(">HBBHHHH", 474, 1, 1, 3, 64, 48, 3) + bytes(500))
    assert facts(pool, tmp_path / "a.sgi") == {"size": [64, 48]}
    (tmp_path / "wide.exr").write_bytes(exr.replace(struct.pack("<i", 1919), struct.pack("<i", -9)))
    assert ask(pool, tmp_path / "wide.exr", "facts").error == "damaged"
    (tmp_path / "a.cin").write_bytes(b"anything")
    assert facts(pool, tmp_path / "a.cin") == {}


# Films


def film(needs: Needs, path: Path, *more: str, size: str = "160x90", rate: str = "24") -> Path:
    command = [needs("ffmpeg"), "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}"]
    subprocess.run([*command, *more, "-t", "1.5", str(path)], check=True, timeout=50)
    return path


def test_a_film_tells_what_it_is_and_shows_a_picture(pool: Workers, tmp_path: Path, needs: Needs) -> None:
    sound = ("-f", "lavfi", "-i", "sine=440")
    path = film(needs, tmp_path / "a.mp4", *sound, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac")
    told = facts(pool, path)
    assert told == {"duration_s": 1.5, "rate": 24.0, "size": [160, 90], "codec": "h264", "audio": "aac"}
    answer = ask(pool, path)
    assert not answer.error, answer.data
    (tmp_path / "thumb").write_bytes(answer.content)
    with Image.open(tmp_path / "thumb") as image:
        assert image.size == (160, 90)
    path = film(needs, tmp_path / "b.mkv", "-c:v", "mpeg4", size="640x480", rate="30000/1001")
    told = facts(pool, path)
    assert (told["rate"], told["size"], told["codec"], told["audio"]) == (29.97, [640, 480], "mpeg4", "")
    assert ask(pool, path).content
    assert facts(pool, film(needs, tmp_path / "c.webm", "-c:v", "libvpx"))["codec"] == "vp8"
    assert facts(pool, film(needs, tmp_path / "d.avi", "-c:v", "mjpeg"))["codec"] == "mjpeg"


def test_without_ffprobe_an_mp4_tells_the_same(tmp_path: Path, needs: Needs) -> None:
    """Given films as ffprobe sees them, then our own reader says the same, or less, never another thing."""
    for name, more in (
        ("a.mp4", ("-f", "lavfi", "-i", "sine=440", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac")),
        ("b.mov", ("-c:v", "prores_ks")),
        ("c.mov", ("-c:v", "mjpeg")),
        ("d.mp4", ("-c:v", "mpeg4", "-movflags", "+faststart")),
        ("frag.mp4", ("-c:v", "mpeg4", "-movflags", "frag_keyframe+empty_moov")),
        ("turned.mp4", ("-c:v", "mpeg4", "-metadata:s:v", "rotate=90")),
    ):
        path = film(needs, tmp_path / name, *more, rate="25")
        request = {"op": "facts", "path": str(path), "kind": "film", "seconds": 20, "memory_mb": 512}
        with path.open("rb") as file:
            own = films.boxes(file)
            theirs = films.facts(file, request, time.monotonic() + 40)
        assert own.items() <= theirs.items(), name
        if name != "frag.mp4":
            assert own == theirs, name


def test_without_the_programs_a_film_still_has_facts(tmp_path: Path, needs: Needs, monkeypatch: Any) -> None:
    path = film(needs, tmp_path / "a.mp4", "-c:v", "mpeg4")
    monkeypatch.setattr(films.shutil, "which", lambda name: None)
    request = {"op": "facts", "path": str(path), "seconds": 20, "memory_mb": 512}
    told = unpacked(helper.film(request))
    assert told["facts"]["duration_s"] == 1.5
    assert unpacked(helper.film({**request, "op": "thumbnail"}))["error"] == "none"


def test_a_program_that_fails_hides_no_facts(tmp_path: Path, needs: Needs, monkeypatch: Any) -> None:
    path = film(needs, tmp_path / "a.mp4", "-c:v", "mpeg4")
    monkeypatch.setattr(films, "probe", lambda: "/bin/false")
    told = unpacked(helper.film({"op": "facts", "path": str(path), "seconds": 20, "memory_mb": 512}))
    assert told["facts"]["duration_s"] == 1.5
    path.write_bytes(b"no film at all")
    told = unpacked(helper.film({"op": "facts", "path": str(path), "seconds": 20, "memory_mb": 512}))
    assert (told["error"], told["why"]) == ("damaged", "no film is in it")


def test_a_playlist_in_a_film_s_clothes_opens_nothing(pool: Workers, tmp_path: Path, needs: Needs) -> None:
    """Given a playlist, a list of files and a reference under a film's name, then no other file is opened."""
    film(needs, tmp_path / "secret.mp4", "-c:v", "mpeg4")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n"
    for name, text in (
        ("hls.mp4", playlist),
        ("hls.mkv", playlist),
        ("list.mp4", f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n"),
        ("text.avi", "no film at all"),
    ):
        (tmp_path / name).write_text(text)
        for op in ("facts", "thumbnail"):
            answer = ask(pool, tmp_path / name, op)
            assert answer.error == "damaged", (name, answer.data)
            assert answer.data["why"] == "no film is in it"
            assert not answer.content


def test_a_film_that_takes_too_long_is_ended(tmp_path: Path, needs: Needs, monkeypatch: Any) -> None:
    """Given a program that hangs, and one that talks without end, when time is up, then both are gone."""
    path = film(needs, tmp_path / "a.mp4", "-c:v", "mpeg4")
    request = {"op": "facts", "path": str(path), "seconds": 1, "memory_mb": 512}
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*given: Any, **named: Any) -> Any:
        started.append(start(*given, **named))
        return started[-1]

    monkeypatch.setattr(films.subprocess, "Popen", noted)
    for script in ("exec sleep 100", "exec yes"):
        program = tmp_path / "ffprobe"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(films, "probe", lambda program=program: str(program))
        assert unpacked(helper.film(request))["error"] == "time"
        assert started.pop().returncode is not None


def unpacked(answer: bytes) -> dict[str, Any]:
    length = pipe.LENGTH.unpack_from(answer)[0]
    told: dict[str, Any] = json.loads(answer[pipe.LENGTH.size : pipe.LENGTH.size + length])
    return told


# Sequences


def test_a_sequence_tells_what_is_missing() -> None:
    def of(*numbers: int) -> dict[str, Any]:
        return sequences.facts([f"shot.{number:04d}.png" for number in numbers])

    assert of(1, 2, 3, 8, 9) == {"first": 1, "last": 9, "count": 5, "padding": 4, "missing": "4-7"}
    assert of(5) == {"first": 5, "last": 5, "count": 1, "padding": 4, "missing": ""}
    assert of(*range(10, 40))["missing"] == ""
    assert of(1, 3, 4, 7)["missing"] == "2,5-6"
    assert of() == {}
    assert sequences.facts(["a.99.png", "a.100.png"])["padding"] == 2
    assert "missing" not in of(1, 90_000_000)  # one stray number is no gap of millions
    assert kinds.kind("shot.@.png") == "sequence"
