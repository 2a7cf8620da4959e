"""What this computer is, told to the server once, and what a renderer uses. Anything unknown is left out."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
import uuid
from importlib import metadata
from typing import Any, Dict, Optional

from .config import Program


def describe() -> Dict[str, Any]:
    memory = total_memory_mb()
    facts: Dict[str, Any] = {
        "cores": os.cpu_count() or 1,
        "os": f"{platform.system()} {platform.release()}",
        "host": platform.node(),
    }
    if memory:
        facts["memory_mb"] = memory
    return facts


def mac() -> str:
    """The network card's address, to wake the computer with; empty where Python only made one up."""
    number = uuid.getnode()
    if number >> 40 & 1:
        return ""
    return ":".join(f"{number >> shift & 0xFF:02x}" for shift in range(40, -1, -8))


def total_memory_mb() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (ValueError, OSError, AttributeError):
        return 0


@functools.lru_cache(maxsize=None)
def blender_version(program: Program) -> str:
    """`3.4.1`; empty when it can't be learned."""
    try:
        if program.package:
            argv = [*program.argv, "-c", "from importlib.metadata import version; print(version('bpy'))"]
            if program.argv[0] == sys.executable:
                return metadata.version("bpy")
        else:
            argv = [*program.argv, "--version"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError, metadata.PackageNotFoundError):
        return ""
    found = re.search(rb"\d+\.\d+(\.\d+)?", done.stdout)
    return found.group().decode() if found else ""


def process_memory_mb(pid: int) -> Dict[str, int]:
    """{"now", "peak"} in MB; empty where there is no /proc."""
    found = {}
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    found["now"] = int(line.split()[1]) >> 10
                elif line.startswith("VmHWM:"):
                    found["peak"] = int(line.split()[1]) >> 10
    except (OSError, ValueError, IndexError):
        return {}
    return found


def oom_kills() -> Optional[int]:
    """How often this system has ended a process because its memory ran out; None where it doesn't tell."""
    try:
        with open("/proc/vmstat", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
