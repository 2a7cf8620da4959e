"""The helper process: looks into files that nobody vouches for, within limits.

Started as `python -m server.library.media.helper`. Reads requests from standard input and answers on
standard output: a length, a JSON object, then the thumbnail's bytes. Each request is done in a fork with
limits of memory, processor time, wall time and of what it may write (nothing but a file in memory), so a
decompression bomb, an endless loop or a crash in a decoder costs that fork and no more. The process ends
with its standard input.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
import resource
import select
import signal
import stat
import sys
import time
import traceback
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from server.disk.speech import say
from server.library.media import blend, exif, films, images, kinds, scenes
from server.library.media.pipe import ANSWER_BYTES, LENGTH, pack

NICE = 10
UNTIL = 0.7  # of a request's time, after which a huge scene tells what was found until then
NO_PICTURE = say("no picture could be made of this film")
GRACE_S = 1  # of processor time, between SIGXCPU and SIGKILL


def main() -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library that prints must not spoil an answer
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _warm()
    while True:
        header = _read(0, LENGTH.size)
        if header is None:
            return
        body = _read(0, LENGTH.unpack(header)[0])
        if body is None:
            return
        request = json.loads(body)
        answers.write(film(request) if _kind(request) == "film" else bounded(request))


def bounded(request: dict[str, Any], content: bytes | None = None) -> bytes:
    """The answer to one request, made in a fork; an `error` of `time`, `memory` or `crash` if that failed.

    `request`: op (`thumbnail`, `facts`, `square`), path, kind (of what it is; else its name says), width
    (pixels), seconds, cpu_seconds, memory_mb. `content`: what to read in place of the file at `path`.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(request, writer, content)
    os.close(writer)
    deadline = time.monotonic() + float(request["seconds"])
    answer, late = _collect(reader, deadline)
    os.close(reader)
    if late:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if late or os.WIFSIGNALED(status):
        killed_by = 0 if late else os.WTERMSIG(status)
        if late or killed_by == signal.SIGXCPU:
            return pack(
                {"error": "time", "why": say("it took more than {seconds:g} s", seconds=request["seconds"])}
            )
        return pack(
            {"error": "crash", "why": say("the decoder ended with signal {killed_by}", killed_by=killed_by)}
        )
    if len(answer) < LENGTH.size or len(answer) != LENGTH.size + sum(LENGTH.unpack_from(answer)):
        return pack(
            {
                "error": "memory",
                "why": say("it takes more than {memory_mb} MB", memory_mb=request["memory_mb"]),
            }
        )
    return answer


def _child(request: dict[str, Any], writer: int, content: bytes | None) -> None:
    """Does the work and ends the process, whatever happens."""
    try:
        # Nothing of the parent's is for a decoder of hostile files: neither its pipes nor their numbers.
        os.dup2(writer, 3)
        writer = 3
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        seconds = math.ceil(request.get("cpu_seconds", request["seconds"]))
        memory = int(request["memory_mb"]) << 20
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + GRACE_S))
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))  # of the file in memory
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        try:
            answer = work(request, memory) if content is None else _picture(request, memory, content)
        except MemoryError:
            answer = pack(
                {
                    "error": "memory",
                    "why": say("it takes more than {memory_mb} MB", memory_mb=request["memory_mb"]),
                }
            )
        except RecursionError:
            answer = pack({"error": "damaged", "why": say("it is nested too deeply")})
        except FileNotFoundError:
            answer = pack({"error": "gone", "why": say("it is no longer there")})
        except Exception as error:  # malformed input escapes from the libraries as anything at all
            answer = pack({"error": "damaged", "why": in_words(error)})
        with os.fdopen(writer, "wb") as out:
            out.write(answer)
        os._exit(0)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc(limit=3)
        os._exit(1)


def film(request: dict[str, Any]) -> bytes:
    """The answer for a film: its programs are processes of their own, so no fork is needed around them."""
    deadline = time.monotonic() + float(request["seconds"])
    try:
        with opened(request["path"]) as file:
            told = _told(file)
            if films.probe() is None:
                if request["op"] == "facts":
                    return bounded(request)
                found: dict[str, Any] = {}
            else:
                found = films.facts(file, request, deadline)
            if request["op"] == "facts":
                told["facts"] = found
            picture = films.poster(file, found.get("duration_s", 0.0), request, deadline)
    except FileNotFoundError:
        return pack({"error": "gone", "why": say("it is no longer there")})
    except films.NoFilm:
        # Or the program itself doesn't run here: what the file's own header says is true all the same.
        return bounded({**request, "op": "facts", "kind": "film"})
    except films.Late as error:
        return pack({"error": "time", "why": str(error)})
    except Exception as error:  # as in a fork: whatever the programs' answer is
        return pack({"error": "damaged", "why": in_words(error)})
    if not picture:
        return pack({**told, **({"format": ""} if "facts" in told else {"error": "none", "why": NO_PICTURE})})
    answer = bounded({**request, "op": "thumbnail", "kind": "image"}, picture)
    lengths = LENGTH.unpack_from(answer)
    made = json.loads(answer[LENGTH.size : LENGTH.size + lengths[0]])
    if made.get("error") and "facts" in told:
        return pack({**told, "format": ""})
    return pack({**made, **told}, answer[LENGTH.size + lengths[0] :])


def work(request: dict[str, Any], memory: int) -> bytes:
    """One request, unbounded: only for a process that may be lost. Raises anything."""
    file = opened(request["path"])
    until = time.monotonic() + float(request.get("seconds", 1)) * UNTIL
    told = _told(file)
    kind, width = _kind(request), int(request.get("width", 256))
    if request["op"] == "square":
        return pack({**told, "format": "jpg"}, images.square(file, width, memory // 2))
    content, form = b"", ""
    if kind == "scene":
        found = blend.read(file, preview_only=request["op"] == "thumbnail", until=until)
        if found.preview is not None:
            content, form, _ = images.from_rows(*found.preview, width)
        elif request["op"] == "thumbnail":
            return pack({**told, "error": "none", "why": say("it has no embedded preview")})
        if request["op"] == "facts":
            told["facts"] = facts_of(found)
    elif kind == "film":
        told["facts"] = films.boxes(file)
    elif request["op"] == "facts":
        told["facts"] = exif.of_header(file)
        if not told["facts"]:
            if kinds.suffix(request["path"]) in kinds.NODE_ONLY:
                return pack({**told, "facts": {}, "format": ""})
            told["facts"] = images.facts(file)
            with contextlib.suppress(Exception):  # damaged further on: its facts are known all the same
                content, form, _ = images.thumbnail(file, width, memory // 2)
    else:
        content, form, told["pixels"] = images.thumbnail(file, width, memory // 2)
    told["format"] = form
    return pack(told, content)


def _picture(request: dict[str, Any], memory: int, content: bytes) -> bytes:
    """The thumbnail of a picture that is in memory."""
    found, form, _ = images.thumbnail(io.BytesIO(content), int(request.get("width", 256)), memory // 2)
    return pack({"format": form}, found)


def opened(path: str) -> BinaryIO:
    """The file, if it is one. FileNotFoundError, ValueError and other OSErrors if not."""
    # Race: the name may be a link or a pipe by now; neither is followed nor waited for.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise blend.Damaged(say("it is no regular file"))
    return file


def in_words(error: Exception) -> str:
    """What is wrong with a file, in a sentence; the libraries' own words stand behind ours."""
    if isinstance(error, (blend.Damaged, images.TooBig, films.NoFilm)):
        return str(error)
    if type(error).__name__ == "UnidentifiedImageError":
        return say("it isn't a picture of a kind that can be read here")
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, (zlib.error, EOFError, gzip.BadGzipFile, zstandard.ZstdError)):
        return say("it is damaged: it can't be unpacked ({detail})", detail=detail)
    return say("it is damaged ({detail})", detail=detail)


def _kind(request: dict[str, Any]) -> str:
    return str(request.get("kind") or kinds.kind(Path(request["path"]).name))


def _told(file: BinaryIO) -> dict[str, Any]:
    """Which state of the file an answer tells of."""
    status = os.fstat(file.fileno())
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def facts_of(found: blend.Blend) -> dict[str, Any]:
    """The facts; where blender-asset-tracer stumbles over them, the few that stand apart."""
    try:
        return scenes.facts(found)
    except MemoryError:
        raise
    except Exception as error:  # it raises struct.error, IndexError, KeyError and more on malformed files
        found.whole, found.why = False, in_words(error)
        return scenes.facts(found)


def _warm() -> None:
    """Load once what every fork needs: 110 ms that a fork then doesn't spend."""
    import blender_asset_tracer.blendfile  # noqa: F401
    from PIL import Image

    Image.init()


def _collect(reader: int, deadline: float) -> tuple[bytes, bool]:
    """What the fork wrote, and whether it was late or wrote too much."""
    parts: list[bytes] = []
    total = 0
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return b"", True
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts), False
        total += len(part)
        if total > ANSWER_BYTES:
            return b"", True
        parts.append(part)


def _read(source: int, size: int) -> bytes | None:
    """Exactly `size` bytes, or None at the end."""
    parts: list[bytes] = []
    while size > 0:
        part = os.read(source, size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
    sys.exit(0)
