"""What a film tells: duration, rate, size, codec, sound, and a picture from it.

Runs in the helper process. ffprobe and ffmpeg, where they are installed, run as processes of their own with
limits, may open nothing but the one file (by its descriptor, so its name is nobody's option) and only by
the formats named here: a playlist in a film's clothes must not make them fetch other files. Without them
the boxes of an MP4 or QuickTime file are read. What isn't certain isn't told.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from server.disk.speech import say

FORMATS = "mov,matroska,avi,mpeg,mpegvideo,mpegts,ogg,mxf,asf,flv"
PROBE_BYTES = 1 << 20  # of ffprobe's answer
PICTURE_BYTES = 32 << 20  # of one frame as PNG
POSTER_AT = 1 / 3  # of the film: the first frames are often black
POSTER_LATEST_S = 20.0  # seeking far costs a film without an index its time
BOXES = 20_000
MOOV_BYTES = 64 << 20
CODECS = {  # sample descriptions of MP4 and QuickTime, as ffprobe calls them
    "avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4v": "mpeg4", "av01": "av1",
    "vp09": "vp9", "jpeg": "mjpeg", "apcn": "prores", "apch": "prores", "apcs": "prores", "apco": "prores",
    "ap4h": "prores", "mp4a": "aac", "ac-3": "ac3", "Opus": "opus", "fLaC": "flac",
}  # fmt: skip


class NoFilm(Exception):
    """There is no film in this file, or none that can be read. The message says why."""


class Late(Exception):
    """The program took too long or too much."""


def probe() -> str | None:
    """The program that reads films, where there is one."""
    return shutil.which("ffprobe")


def facts(file: BinaryIO, request: dict[str, Any], deadline: float) -> dict[str, Any]:
    """`duration_s` `rate` `size` [w, h] `codec` `audio` ('' where it has none), each only if it is known.

    By `probe`, which must be there. Raises Late, OSError, NoFilm.
    """
    command = [
        probe() or "ffprobe", "-v", "error", "-print_format", "json", "-show_format", "-show_streams",
        "-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-i",
    ]  # fmt: skip
    told = json.loads(run(command, (), file, request, deadline, PROBE_BYTES) or b"{}")
    return _of_probe(told if isinstance(told, dict) else {})


def poster(file: BinaryIO, duration_s: float, request: dict[str, Any], deadline: float) -> bytes:
    """A frame of the film as PNG, small; b'' if none can be had."""
    program = shutil.which("ffmpeg")
    if program is None:
        return b""
    width = int(request.get("width", 256))
    at = min(duration_s * POSTER_AT, POSTER_LATEST_S) if math.isfinite(duration_s) else 0.0
    for moment in (at, 0.0) if at else (0.0,):
        command = [
            program, "-v", "error", "-nostdin", "-threads", "1", "-protocol_whitelist", "file",
            "-format_whitelist", FORMATS, "-ss", f"{moment:.3f}", "-i",
        ]  # fmt: skip
        size = f"scale='min({width},iw)':'min({width},ih)':force_original_aspect_ratio=decrease"
        after = ("-map", "0:V:0", "-frames:v", "1", "-vf", size, "-threads", "1", "-c:v", "png",
                 "-f", "image2pipe", "-")  # fmt: skip
        if found := run(command, after, file, request, deadline, PICTURE_BYTES):
            return found
    return b""


def run(
    before: list[str],
    after: tuple[str, ...],
    file: BinaryIO,
    request: dict[str, Any],
    deadline: float,
    most_bytes: int,
) -> bytes:
    """What a program says of the open file, b'' if it fails. Late beyond the deadline or `most_bytes`."""
    memory = int(request["memory_mb"]) << 20
    seconds = math.ceil(request.get("cpu_seconds", request["seconds"]))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    os.lseek(file.fileno(), 0, os.SEEK_SET)

    process = subprocess.Popen(
        [*before, f"file:/proc/self/fd/{file.fileno()}", *after],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        pass_fds=(file.fileno(),), preexec_fn=limit, cwd="/",
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
    )  # fmt: skip
    assert process.stdout is not None
    parts: list[bytes] = []
    total = 0
    poll = select.poll()
    poll.register(process.stdout.fileno(), select.POLLIN)
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise Late(say("it took too long"))
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                break
            total += len(part)
            if total > most_bytes:
                raise Late(say("it says too much"))
            parts.append(part)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
        process.wait()
    if process.returncode == -signal.SIGXCPU or process.returncode == -signal.SIGKILL:
        raise Late(say("it took too long"))
    return b"".join(parts) if process.returncode == 0 else b""


def _of_probe(told: dict[str, Any]) -> dict[str, Any]:
    """Our words of ffprobe's answer. NoFilm if there is no picture in it."""
    streams = told.get("streams")
    streams = [one for one in streams if isinstance(one, dict)] if isinstance(streams, list) else []
    pictures = [
        one
        for one in streams
        if one.get("codec_type") == "video" and not (one.get("disposition") or {}).get("attached_pic")
    ]
    if not pictures:
        raise NoFilm(say("no film is in it"))
    picture = pictures[0]
    sounds = [one for one in streams if one.get("codec_type") == "audio"]
    found: dict[str, Any] = {}
    duration = _number((told.get("format") or {}).get("duration"))
    if duration is not None:
        found["duration_s"] = round(duration, 3)
    above, _, below = str(picture.get("avg_frame_rate", "")).partition("/")
    rate, base = _number(above), _number(below or "1")
    if rate and base:
        found["rate"] = round(rate / base, 3)
    size = [picture.get("width"), picture.get("height")]
    if all(isinstance(edge, int) and 0 < edge < 1 << 17 for edge in size):
        found["size"] = size[::-1] if _turned(picture) else size
    if isinstance(picture.get("codec_name"), str):
        found["codec"] = picture["codec_name"][:40]
    found["audio"] = str(sounds[0].get("codec_name") or "unknown")[:40] if sounds else ""
    return found


def _turned(picture: dict[str, Any]) -> bool:
    """Whether it is shown on its side, as a phone films it."""
    sides = picture.get("side_data_list")
    for one in sides if isinstance(sides, list) else []:
        angle = _number(one.get("rotation")) if isinstance(one, dict) else None
        if angle is not None:
            return angle % 180 == 90
        negative = _number(str(one.get("rotation", "")).lstrip("-")) if isinstance(one, dict) else None
        if negative is not None:
            return negative % 180 == 90
    return False


def _number(value: Any) -> float | None:
    """A number that is finite and above nothing, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


# Without ffprobe: the boxes of MP4 and QuickTime (ISO 14496-12).


def boxes(file: BinaryIO) -> dict[str, Any]:
    """The same facts from the `moov` box, as far as it says them. NoFilm if there is none."""
    size = os.fstat(file.fileno()).st_size
    for name, start, end in _outer(file, size):
        if name == b"moov":
            if end - start > MOOV_BYTES:
                raise NoFilm(say("its table of contents is too long"))
            file.seek(start)
            return _of_moov(file.read(end - start))
    raise NoFilm(say("no film is in it"))


def _outer(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    place = 0
    for _ in range(BOXES):
        if place + 8 > size:
            return
        file.seek(place)
        header = file.read(16)
        length, name = struct.unpack_from(">I4s", header)
        start = place + 8
        if length == 1 and len(header) == 16:
            length, start = struct.unpack_from(">Q", header, 8)[0], place + 16
        elif length == 0:
            length = size - place
        if length < start - place or place + length > size:
            return
        yield name, start, place + length
        place += length


def _inner(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes within a part of `data`: name, where their content starts and ends."""
    for _ in range(BOXES):
        if start + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, start)
        if length < 8 or start + length > end:
            return
        yield name, start + 8, start + length
        start += length


def _of_moov(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"audio": ""}
    for name, start, end in _inner(data, 0, len(data)):
        with contextlib.suppress(struct.error, IndexError, ZeroDivisionError, UnicodeDecodeError):
            if name == b"mvhd":
                long = data[start] == 1
                form, place = (">IQ", start + 20) if long else (">II", start + 12)
                scale, length = struct.unpack_from(form, data, place)
                if scale and 0 < length < (1 << 63 if long else 0xFFFFFFFF):
                    found["duration_s"] = round(length / scale, 3)
            elif name == b"trak":
                _track(data, start, end, found)
    if "codec" not in found:
        raise NoFilm(say("no film is in it"))
    return found


def _track(data: bytes, start: int, end: int, found: dict[str, Any]) -> None:
    """One track's share of the facts: the first picture's, and whether there is sound."""
    parts: dict[bytes, tuple[int, int]] = {}
    todo = [(start, end)]
    while todo:
        for name, inner, inner_end in _inner(data, *todo.pop()):
            if name in parts:
                continue
            parts[name] = (inner, inner_end)
            if name in (b"mdia", b"minf", b"stbl"):
                todo.append((inner, inner_end))
    if not {b"hdlr", b"stsd", b"mdhd"} <= parts.keys():
        return
    handler = data[parts[b"hdlr"][0] + 8 : parts[b"hdlr"][0] + 12]
    described = parts[b"stsd"][0] + 8
    fourcc = data[described + 4 : described + 8].decode("ascii").strip()
    codec = CODECS.get(fourcc, fourcc)
    if not codec.isalnum():
        return
    if handler == b"soun":
        found["audio"] = found["audio"] or codec
    if handler != b"vide" or "codec" in found:
        return
    found["codec"] = codec
    width, height = struct.unpack_from(">HH", data, described + 32)
    if width and height:
        header = parts[b"tkhd"][0]
        matrix = struct.unpack_from(">9i", data, header + (52 if data[header] == 1 else 40))
        found["size"] = [height, width] if matrix[0] == 0 and matrix[1] != 0 else [width, height]
    place = parts[b"mdhd"][0]
    (scale,) = struct.unpack_from(">I", data, place + (20 if data[place] == 1 else 12))
    if b"stts" in parts:
        place = parts[b"stts"][0]
        (count,) = struct.unpack_from(">I", data, place + 4)
        if count == 1:  # each frame as long as the others
            _, each = struct.unpack_from(">II", data, place + 8)
            if scale and each:
                found["rate"] = round(scale / each, 3)
