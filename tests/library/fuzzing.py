"""Spoils real files, thousands of times, and has the bounded helper read each; a process of its own.

    python -m tests.library.fuzzing SEED COUNT FILE…

Prints one JSON object: how many were read, how each ended, the most memory that a reading took (MB), the
longest time (s), and every answer that breaks the rules, with the bytes to make it again.
"""

from __future__ import annotations

import base64
import json
import math
import os
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from server.library.media import ends, helper, kinds, pipe

SECONDS, MEMORY_MB = 5, 512
ERRORS = {"", "none", "damaged", "memory", "time"}
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 0x7FFF, 0xFFFF, 1 << 24)


def spoilt(source: bytes, chance: random.Random) -> bytes:
    """The file with a few bytes, numbers or stretches changed, or cut, as disks, networks and jokers do."""
    data = bytearray(source)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        way = chance.randrange(8)
        # Where it hurts most: at the beginning, else anywhere.
        reach = len(data) if chance.random() < 0.5 else min(len(data), 2048)
        at = chance.randrange(max(1, reach))
        if way == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif way == 1 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif way == 2 and len(data) > 8:
            order = chance.choice("<>")
            struct.pack_into(order + "i", data, min(at, len(data) - 4), chance.choice(NUMBERS))
        elif way == 3:
            del data[chance.randrange(max(1, len(data))) :]
        elif way == 4:
            del data[at : at + chance.choice((1, 4, 100, 5000))]
        elif way == 5:
            length = chance.choice((1, 16, 512, 8192))
            data[at:at] = data[chance.randrange(max(1, len(data))) :][:length]
        elif way == 6:
            length = min(chance.choice((4, 64, 4096)), max(0, len(data) - at))
            data[at : at + length] = bytes(length)
        else:
            data[at:at] = chance.randbytes(chance.choice((1, 3, 64)))
    return bytes(data)


def sound(value: Any, depth: int = 0) -> bool:
    """Whether facts are what JSON and people can take: bounded, finite, no text without end."""
    if depth > 6:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and sound(one, depth + 1) for key, one in value.items())
    if isinstance(value, list):
        return all(sound(one, depth + 1) for one in value)
    if isinstance(value, str):
        return len(value) <= 5000
    return value is None or isinstance(value, (bool, int)) or math.isfinite(value)


def judged(op: str, answer: bytes) -> tuple[str, str]:
    """How an answer ended, and what is wrong with it ('' if nothing is)."""
    size = pipe.LENGTH.size
    if len(answer) < size or len(answer) != size + sum(pipe.LENGTH.unpack_from(answer)):
        return "?", "the answer's lengths don't fit"
    told = json.loads(answer[size : size + pipe.LENGTH.unpack_from(answer)[0]])
    error = told.get("error", "")
    if error not in ERRORS:
        return error, f"it ended with {error}: {told.get('why')}"
    why = told.get("why", "")
    if error and (len(why) < 12 or "/tmp" in why or "Traceback" in why or not why.isprintable()):
        return error, f"no sentence: {why!r}"
    if op == "facts" and not error and not sound(told.get("facts")):
        return error, f"odd facts: {told.get('facts')}"
    return error, ""


def main() -> None:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    sources = [(Path(name).name, Path(name).read_bytes()) for name in sys.argv[3:]]
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    ended: dict[str, int] = {}
    wrong: list[dict[str, str]] = []
    slowest = (0.0, "")
    helper._warm()
    for number in range(count):
        name, source = sources[number % len(sources)]
        data = spoilt(source, chance)
        path = folder / name
        path.write_bytes(data)
        op = chance.choice(("facts", "facts", "thumbnail"))
        request = {
            "op": op, "path": str(path), "kind": kinds.kind(name), "width": 256, "seconds": SECONDS,
            "cpu_seconds": SECONDS, "memory_mb": MEMORY_MB,
        }  # fmt: skip
        begun = time.monotonic()
        try:
            ends.complete(path)
            ends.complete(path, thorough=True)
            taken = time.monotonic() - begun
            answer = helper.film(request) if request["kind"] == "film" else helper.bounded(request)
            error, fault = judged(op, answer)
        except Exception as failure:  # the rule is that nothing escapes
            error, fault = "?", f"{type(failure).__name__} escaped: {failure}"
            taken = time.monotonic() - begun
        slowest = max(slowest, (time.monotonic() - begun, f"{name} {op} {error}"))
        if taken > SECONDS:
            fault = fault or f"its end was looked for {taken:.1f} s"
        key = f"{path.suffix[1:]} {error or 'read'}"
        ended[key] = ended.get(key, 0) + 1
        if fault:
            again = base64.b64encode(data[:200_000]).decode()
            wrong.append({"name": name, "op": op, "why": fault, "bytes": again})
        path.unlink()
    os.rmdir(folder)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    # Not ru_maxrss of its own: that begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text().split()
    own = int(status[status.index("VmHWM:") + 1]) // 1024
    print(json.dumps({"read": count, "ended": ended, "memory_mb": most, "own_mb": own, "slowest": slowest,
                      "wrong": wrong}))  # fmt: skip


if __name__ == "__main__":
    main()
