"""What a new computer fetches to become a node: a small program and the node itself, by its token."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from server.disk.encoding import quote
from server.disk.speech import say

if TYPE_CHECKING:
    from server.web.services import Services

NODE = Path(__file__).resolve().parents[2] / "node"
PYTHONS = ((say("Linux and macOS, in a terminal"), "python3"), (say("Windows, in PowerShell or cmd"), "py"))


def lines(base: str, token: str) -> list[tuple[str, str]]:
    """The line to paste, for each kind of computer."""
    url = f"{base}/t/{quote(token)}/join"
    code = f"import sys,urllib.request as u; exec(u.urlopen('{url}').read())"
    return [(where, f'{python} -c "{code}"') for where, python in PYTHONS]


def script(services: Services, base: str, token: str) -> bytes:
    """node/join.py with a call of its `main` for this server."""
    shares = {share.name: share.id for share in services.store.shares if share.id}
    people = services.settings.folder("shares")
    hints = {name: str(people.get(name, {}).get("people") or "") for name in shares}
    call = ", ".join(json.dumps(value) for value in (base, token, shares, hints))
    text = (NODE / "join.py").read_text("utf-8")
    return f"{text}\n\nsys.exit(main({call}, sys.argv[1:]))\n".encode()


def archive() -> bytes:
    """The folder node/ as it lies here. The same files make the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for inside, path in _files():
            entry = zipfile.ZipInfo(inside, (2000, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, path.read_bytes())
    return packed.getvalue()


def build() -> str:
    """What tells these files from others: twelve digits."""
    summed = hashlib.sha256()
    for inside, path in _files():
        summed.update(inside.encode() + b"\0" + path.read_bytes() + b"\0")
    return summed.hexdigest()[:12]


def program() -> dict[str, str]:
    """What a node is told that is to bring itself up to date."""
    found = re.search(r'VERSION = "([^"]+)"', (NODE / "__init__.py").read_text("utf-8"))
    return {
        "version": found[1] if found else "",
        "build": build(),
        "url": "/node.zip",
        "sha256": hashlib.sha256(archive()).hexdigest(),
    }


def _files() -> list[tuple[str, Path]]:
    found = ((path.relative_to(NODE).as_posix(), path) for path in NODE.rglob("*.py"))
    return sorted(pair for pair in found if "__pycache__" not in pair[0])
