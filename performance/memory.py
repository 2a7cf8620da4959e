"""How much memory the server takes with 100,000 assets, and what that is for each asset.

Beside it a server on a share of ten assets: the difference is what assets cost. Each asset has its sidecar
and companion folder; the film is listed and searched meanwhile, as people do. Prints one JSON line; `ratio`
is the resident memory over the promised 400 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from performance.assets_page import film, server  # noqa: E402
from performance.freshness import make_token  # noqa: E402

REACH_MB = 400
PAGES = ("/p/demo/assets", "/p/demo/assets?q=shot", "/api/assets?project=demo&q=prop&limit=50", "/healthz")


def processes(top: int) -> list[int]:
    """A process and all that it started."""
    found = [top]
    for pid in found:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def servers() -> list[int]:
    """The processes that this script has started and that are Python."""
    return processes(os.getpid())[1:]


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def companions(root: Path) -> None:
    """Each asset has been read: its companion folder holds what its content told."""
    for path in [path for path in root.rglob("*.blend") if ".croft" not in path.parts]:
        st = path.stat()
        folder = path.parent / ".croft" / path.name
        folder.mkdir(parents=True)
        record = {"schema": 1, "size": st.st_size, "mtime_ns": st.st_mtime_ns, "facts": {}, "hash": ""}
        (folder / "file.json").write_text(json.dumps(record))


def measure(root: Path, count: int) -> dict[str, float]:
    """Megabytes of the server, and of its helpers."""
    film(root / "data", count)
    companions(root / "data")
    with server(root) as url:
        headers = {"Authorization": f"Bearer {make_token(root)}"}
        for page in PAGES * 3:
            with urllib.request.urlopen(urllib.request.Request(url + page, headers=headers)) as answer:
                body = answer.read()
                if page == PAGES[0] and f"{count:,} files".encode() not in body:
                    raise SystemExit(f"{page} doesn't show {count} files.")
        sizes = sorted(((resident_mb(pid), resident_mb(pid, "VmHWM")) for pid in servers()), reverse=True)
        return {
            "server": sizes[0][0],
            "peak": sizes[0][1],
            "helpers": sum(size for size, _ in sizes[1:]),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="croft-memory-") as folder:
        small = measure(Path(folder) / "small", 10)
        large = measure(Path(folder) / "large", chosen.assets)
        result = {
            "script": "memory",
            "ratio": round(large["server"] / REACH_MB, 2),
            "absolute": {
                "server": f"{large['server']:.0f} MB",
                "peak": f"{large['peak']:.0f} MB",
                "helpers": f"{large['helpers']:.0f} MB",
                "with 10 assets": f"{small['server']:.0f} MB",
                "an asset": f"{(large['server'] - small['server']) * 1024 / chosen.assets:.2f} KB",
            },
            "reach": f"at most {REACH_MB} MB",
        }
        print(json.dumps(result), flush=True)  # removing the film takes a while
    return 0


if __name__ == "__main__":
    sys.exit(main())
