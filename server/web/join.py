"""What a new computer fetches to become a node: a small program and the node itself, by its token."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from server.disk.encoding import quote

if TYPE_CHECKING:
    from server.web.services import Services

NODE = Path(__file__).resolve().parents[2] / "node"
PYTHONS = (("Linux and macOS, in a terminal", "python3"), ("Windows, in PowerShell or cmd", "py"))


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
    """The folder node/ as it lies here."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(NODE.glob("*.py")):
            file.write(path, path.name)
    return packed.getvalue()
