"""What this computer is, told to the server once, and what a renderer uses. Anything unknown is left out."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional

from .config import Program
from .figures import read

VENDORS = {"0x1002": "AMD", "0x8086": "Intel"}  # PCI's numbers; NVIDIA's are told by its own driver


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


def gpus(root: Path = Path("/")) -> List[Dict[str, Any]]:
    """The GPUs, {"name", "memory_mb"} each, as NVIDIA's tool, its driver or the kernel tell of them."""
    found: List[Dict[str, Any]] = []
    tool = shutil.which("nvidia-smi") if root == Path("/") else None
    if tool is not None:
        query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(
                query, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True
            )
            for line in done.stdout.decode("utf-8", "replace").splitlines():
                name, _, memory = line.rpartition(",")
                found.append({"name": name.strip(), "memory_mb": int(memory)})
        except (OSError, ValueError, subprocess.SubprocessError):
            found.clear()
    if not found:
        for place in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
            model = re.search(r"^Model:\s*(.+)$", read(place), re.MULTILINE)
            found.append({"name": model[1].strip() if model else "NVIDIA GPU"})
    for card in sorted((root / "sys/class/drm").glob("card*/device")):
        vendor = VENDORS.get(read(card / "vendor").strip())
        memory = read(card / "mem_info_vram_total").strip()
        if vendor and card.parent.name[4:].isdigit():
            name = read(card / "product_name").strip() or f"{vendor} GPU"
            found.append({"name": name, **({"memory_mb": int(memory) >> 20} if memory.isdigit() else {})})
    return found


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
