"""Takes a computer into the farm: what the one line of 'Computers that render' runs.

The server sends this file with a call of `main` at its end. It finds the share by its marker wherever it is
mounted here, fetches the node, writes its configuration, and starts it. Standard library, Python 3.9.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Set

MARKER = ".croft-share.json"
HOME = "croft-node"
PLACES = ("/mnt", "/media", "/Volumes", "/srv", "/run/media", "/net", "/data", "/home")
DEPTH = 3  # folders below a mount that are looked into
MOST_FOLDERS = 2000


def main(server: str, token: str, shares: Dict[str, str], hints: Dict[str, str], given: Sequence[str]) -> int:
    """0 once the node has ended; 1 with what is to be done first."""
    if sys.version_info < (3, 9):
        print("This computer's Python is %s; a node needs 3.9 or newer." % sys.version.split()[0])
        return 1
    found = find(shares, [Path(path) for path in given])
    missing = [name for name in shares if name not in found]
    if missing and not found:
        name = missing[0]
        hint = hints.get(name) or "the server's share"
        print(
            "This computer doesn't see the folder of the films (%s) yet. Mount %s, and paste the line again; "
            "where it isn't found, write its folder behind the line." % (name, hint)
        )
        return 1
    for name, root in sorted(found.items()):
        print("Found %s at %s: it is the same share as the server's." % (name, root))
    home = Path.home() / HOME
    try:
        fetch(server + "/t/" + token + "/node.zip", home)
    except (OSError, zipfile.BadZipFile) as error:
        print("The node couldn't be fetched from %s: %s." % (server, getattr(error, "reason", error)))
        return 1
    config = write_config(home / "config.json", server, token, found)
    print("The node is in %s; it starts now, and Ctrl-C ends it." % home)
    print("To start it again: %s %s" % (quoted(sys.executable), quoted(str(home))))
    sys.stdout.flush()
    command = [sys.executable, str(home), "--config", str(config)]
    if os.name == "posix":
        os.execv(sys.executable, command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 0


def find(shares: Dict[str, str], given: Sequence[Path]) -> Dict[str, Path]:
    """Where each share is mounted here: the folder whose marker holds its id."""
    wanted = {ident: name for name, ident in shares.items() if ident}
    found: Dict[str, Path] = {}
    for folder in candidates(given):
        name = wanted.get(marker_id(folder) or "")
        if name and name not in found:
            found[name] = folder
            if len(found) == len(wanted):
                break
    return found


def marker_id(folder: Path) -> Optional[str]:
    try:
        with open(folder / MARKER, encoding="utf-8-sig") as file:
            return str(json.loads(file.read(1 << 16))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def candidates(given: Sequence[Path]) -> Iterator[Path]:
    """Folders that may be a share's: what was named, every mount, and some folders below each."""
    level: List[Path] = [*given, *mounts()]
    seen: Set[str] = set()
    for _ in range(DEPTH):
        below: List[Path] = []
        for folder in level:
            if str(folder) in seen or len(seen) > MOST_FOLDERS:
                continue
            seen.add(str(folder))
            yield folder
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            shown = [folder / name for name in names if not name.startswith(".")]
            below += [path for path in shown if path.is_dir()]
        level = below


def mounts() -> List[Path]:
    """Where disks of other computers may be: drives on Windows, mounts elsewhere."""
    if os.name == "nt":
        return [Path(letter + ":\\") for letter in "ZYXWVUTSRQPONMLKJIHGFED"]
    found: List[Path] = []
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as table:
            for line in table:
                _, point, kind = line.split()[:3]
                if kind.startswith(("nfs", "cifs", "smb", "fuse", "9p", "virtiofs")):
                    found.append(Path(point.replace("\\040", " ")))
    except (OSError, ValueError):
        pass
    return [*found, *(Path(place) for place in PLACES)]


def fetch(url: str, home: Path) -> None:
    """Unpack the node, over the one that is there; its configuration stays."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        packed = zipfile.ZipFile(io.BytesIO(answer.read(64 << 20)))
    home.mkdir(parents=True, exist_ok=True)
    for name in packed.namelist():
        parts = name.split("/")
        if name.endswith(".py") and not any(part in ("", ".", "..") or "\\" in part for part in parts):
            target = home.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(name))
    # What an older version had as one file is a folder now.
    for path in home.glob("*.py"):
        if path.with_suffix("").is_dir():
            path.unlink()


def write_config(path: Path, server: str, token: str, shares: Dict[str, Path]) -> Path:
    """What a person wrote there besides stays."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        data = {}
    if not isinstance(data, dict):
        data = {}
    before = data.get("paths")
    paths = dict(before) if isinstance(before, dict) else {}
    paths.update((name, str(root)) for name, root in shares.items())
    data.update(server=server, token=token, paths=paths)
    fresh = path.with_name(".config.json.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
    os.replace(fresh, path)
    return path


def quoted(text: str) -> str:
    return '"' + text + '"' if " " in text else text
