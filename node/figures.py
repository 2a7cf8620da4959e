"""What changes on this computer from minute to minute: its load, free memory, temperature.

Told with each heartbeat. What can't be read is left out; `root` lets tests show another computer's files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

PROCESSOR = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp")
LEAST_C, MOST_C = 1.0, 150.0  # what a sensor that isn't there says lies outside


def figures(root: Path = Path("/")) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    load, memory, heat = load_now(root), memory_free_mb(root), temperature_c(root)
    if load is not None:
        found["load"] = load
    if memory is not None:
        found["memory_free_mb"] = memory
    if heat is not None:
        found["temperature_c"] = heat
    return found


def load_now(root: Path = Path("/")) -> Optional[float]:
    """How many processes wanted a processor in the last minute, on average."""
    if root == Path("/"):
        try:
            return round(os.getloadavg()[0], 2)
        except (OSError, AttributeError):
            return None
    try:
        return float(read(root / "proc/loadavg").split()[0])
    except (ValueError, IndexError):
        return None


def memory_free_mb(root: Path = Path("/")) -> Optional[int]:
    """What a new program could have."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", read(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) >> 10 if found else None


def temperature_c(root: Path = Path("/")) -> Optional[float]:
    """The hottest that a sensor of the processor says; any sensor's, where none says what it is of."""
    known: List[float] = []
    other: List[float] = []
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        put(known if read(zone / "type").strip() in PROCESSOR else other, zone / "temp")
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        is_processor = read(chip / "name").strip() in PROCESSOR
        for sensor in sorted(chip.glob("temp*_input")):
            put(known if is_processor else other, sensor)
    return max(known or other, default=None)


def put(into: List[float], path: Path) -> None:
    try:
        degrees = int(read(path)) / 1000
    except ValueError:
        return
    if LEAST_C <= degrees <= MOST_C:
        into.append(round(degrees, 1))


def read(path: Path) -> str:
    """A small file of the system; empty where it isn't there or won't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
