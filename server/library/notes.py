"""What people say of a file: one note a file, never changed, so that copies of a share come together by
themselves. `notes/<time>-<user>-<id>.json` in the file's companion."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import BadInput, CroftError
from server.disk.store import Store

from .assets import Assets
from .people import User, require

SCHEMA = 1
FOLDER = "notes"
TEXT_MOST = 20_000  # characters
NOTE_BYTES = 1 << 20


class Notes:
    """Thread-safe."""

    def __init__(
        self, store: Store, assets: Assets, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._assets = assets
        self._now = now

    def list(self, address: str) -> Sequence[dict[str, Any]]:
        """All notes on a file, of every site, newest first. One that can't be read is passed over."""
        self._assets.get(address)
        folder = paths.companion_of(self._store.path(address)) / FOLDER
        found = []
        try:
            names = os.listdir(folder)
        except OSError:
            return []
        for name in names:
            if not name.endswith(".json") or name[0] == ".":
                continue
            try:
                said = sidecar.parse(files.read_bounded(folder / name, NOTE_BYTES)[0], folder / name)
            except (CroftError, OSError):
                continue
            found.append({
                "id": name.removesuffix(".json"),
                "at": str(said.get("at", "")),
                "who": str(said.get("who", "")),
                "text": str(said.get("text", "")),
            })  # fmt: skip
        return sorted(found, key=lambda note: (note["at"], note["id"]), reverse=True)

    def add(self, address: str, text: str, user: User) -> dict[str, Any]:
        """Say something of a file; the note."""
        require(user, "student")
        self._assets.get(address)
        share, path = self._store.for_people(address)
        if not text.strip():
            raise BadInput("The note is empty.", field="text")
        if len(text) > TEXT_MOST:
            raise BadInput(f"A note has at most {TEXT_MOST} characters.", field="text")
        now = self._now()
        ident = f"{now:%Y%m%dT%H%M%SZ}-{paths.safe_name(user.ident)}-{secrets.token_hex(3)}"
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        folder = paths.companion_of(path) / FOLDER
        files.make_folders(folder, share.root, disk=self._store.disk)
        raw = sidecar.dump({"schema": SCHEMA, "at": at, "who": user.ident, "text": text})
        files.write_once(folder / f"{ident}.json", raw, disk=self._store.disk)
        self._store.refresh(address)
        return {"id": ident, "at": at, "who": user.ident, "text": text}
