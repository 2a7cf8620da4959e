"""From staging into place: one upload becomes a file of the project, with its sidecar and its render.

What is to happen is written into the upload's record before anything moves, so that it can be finished at
any later time, by any server: each step looks whether it was done. The file gets its name in one step that
never replaces another. Callers hold the upload's lock.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server.disk import files, moves, paths
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.records import utc_now
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..assets.listing import becomes_asset
from ..history import tell_upload
from ..projects import Projects
from .record import CHUNKS, CONTENT, Upload
from .shelf import Shelf
from .targets import Digests, Looks, There, address_of
from .views import frames_of, type_of

log = logging.getLogger(__name__)

Submit = Callable[[str, Mapping[str, Any]], str]  # who, request -> the job's id
# address, new content, who, comment, whether it may be taken (it lies on the same share) -> what was kept
Replace = Callable[[str, Path, str, str, bool], str]
COMMENT = say("Before a new version was dropped")  # of what the file was, kept


class Adder:
    """Moves uploads into place. `submit`, `rendering` and `replace` are given by those above."""

    def __init__(
        self, store: Store, projects: Projects, assets: Assets, shelf: Shelf, digests: Digests
    ) -> None:
        self._store = store
        self._projects = projects
        self._assets = assets
        self._shelf = shelf
        self._digests = digests
        self.replace: Replace | None = None
        self.submit: Submit | None = None
        self.rendering: Callable[[str], str] = lambda address: ""

    def add(self, upload: Upload, looks: Looks) -> dict[str, Any]:
        """Add it, or tell again what came of it. Conflict names what is in its way; nothing changed then."""
        if upload.added is None and not upload.data.get("adding"):
            upload = self._intend(upload, looks)
        return self.finish(upload)

    def finish(self, upload: Upload) -> dict[str, Any]:
        """Do what the record says is still to be done; what came of all of it."""
        if upload.added is None and upload.data.get("adding"):
            upload = self._move(upload, upload.data["adding"])
        if (upload.added or {}).get("render") == "wanted":
            upload = self._render(upload)
        added = upload.added or {}
        return {
            "id": upload.id,
            "ok": True,
            "message": str(added.get("message") or ""),
            "address": added.get("address"),
            "job": added.get("job") or None,
        }

    # Steps

    def _intend(self, upload: Upload, looks: Looks) -> Upload:
        """Decide, and write down what is to happen."""
        project = self._projects.get(upload.project)
        address = address_of(project, upload)
        if len(upload.name.encode()) > paths.NAME_BYTES - len(".json"):
            raise BadInput(
                "The name of {upload} … is too long: give it a shorter one.", upload=upload.name[:40]
            )
        self._store.check_writable(address)
        if not os.path.lexists(self._shelf.path(upload.place, CONTENT)):
            # Of a pool one disk may be away, while the record lies on another.
            raise NotFound(
                "What came of {upload} isn’t on the disk just now. Is a disk missing?", upload=upload.name
            )
        replaces = False
        looks.folders.pop(paths.folder_of(address), None)  # others were added since it was looked at
        there = looks.there(address)
        if there is not None:
            if self._same(upload, there):
                return self._left_out(upload, there)
            replaces = upload.data.get("choice") == "version" and self.replace is not None
            if there.folder or not replaces:
                raise Conflict(
                    "{there} is there already. Make yours a new version of it, give it another name, or "
                    "discard it.",
                    address=there.address,
                    there=there.name,
                )
            address = there.address
        adding = {
            "at": utc_now(),
            "address": address,
            "aside": f"{files.TEMPORARY}{secrets.token_hex(8)}",
            "replaces": replaces,
            "known": os.path.lexists(paths.sidecar_of(self._store.path(address))),
            "record": self._record(upload, address),
            "render": bool(upload.data.get("render")) and upload.kind == "scene",
        }
        return self._shelf.write(upload.place, {**upload.data, "adding": adding, "failed": ""})

    def _same(self, upload: Upload, there: There) -> bool:
        if there.folder or there.size != upload.size:
            return False
        self._digests.make(there.state)
        return bool(self._digests.same(upload, there))

    def _left_out(self, upload: Upload, there: There) -> Upload:
        """The same is there already: nothing is to be done."""
        said = say("The same is there already: {there} stays as it is.", there=there.name)
        added = {"at": utc_now(), "address": there.address, "message": said}
        upload = self._shelf.write(upload.place, {**upload.data, "added": added})
        self._clear(upload)
        return upload

    def _move(self, upload: Upload, adding: Mapping[str, Any]) -> Upload:
        """The file into its place, its sidecar beside it, and the record says so."""
        address = str(adding["address"])
        kept = ""
        try:
            if adding.get("replaces"):
                kept = self._put_over(upload, address)
            else:
                self._put(upload, address, str(adding["aside"]))
        except CroftError:
            # Somebody put a file of that name there a moment ago, the disk is full …: ours waits on, as it
            # was. Where it can't come back, the record keeps what is still to be done.
            self._take_back(upload, address, str(adding["aside"]))
            if os.path.lexists(self._shelf.path(upload.place, CONTENT)):
                self._shelf.write(upload.place, {**upload.data, "adding": None})
            raise
        self._make_sidecar(upload, address, adding)
        project = self._projects.get(upload.project).address
        tell_upload(self._store, address, upload.user, upload.size, project=project, kept=kept)
        where = paths.folder_of(address).partition("/")[2] or say("the project’s folder")
        name = paths.name_of(address)
        said = say("{name} is in {where}.", name=name, where=where)
        if adding.get("replaces"):
            said = say("{name} in {where} is the new version.", name=name, where=where)
        added = {
            "at": utc_now(),
            "address": address,
            "message": said,
            "render": "wanted" if adding.get("render") else "",
        }
        upload = self._shelf.write(upload.place, {**upload.data, "adding": None, "added": added})
        self._clear(upload)
        return upload

    def _put(self, upload: Upload, address: str, name: str) -> None:
        """Beside its place under a name that nobody has, then to its own in one step."""
        share = self._store.check_writable(address)
        content, target = self._shelf.path(upload.place, CONTENT), self._store.path(address)
        aside = target.with_name(name)
        if os.path.lexists(content):
            files.make_folders(target.parent, share.root, disk=self._store.disk)
            moves.resume(content, aside, root=share.root, branches=share.branches, disk=self._store.disk)
        if not os.path.lexists(aside):
            return  # a crash came after the move
        if os.path.lexists(target) and os.path.samefile(aside, target):
            self._store.disk.unlink(aside)  # a crash came between the two halves of the naming
            self._store.looks.at_whole(address)
            return
        self._store.place(aside, address, upload.user)

    def _put_over(self, upload: Upload, address: str) -> str:
        """New content for a file that is there, whose present bytes are kept first; as which save."""
        content = self._shelf.path(upload.place, CONTENT)
        if self.replace is None:
            raise Conflict(
                "{address} is there already. Give yours another name, or discard it.",
                address=paths.name_of(address),
            )
        if os.path.lexists(content):
            here = self._store.share(upload.place).name == self._store.share(address).name
            kept = self.replace(address, content, upload.user, COMMENT, here)
            self._store.looks.at_whole(address)
            return kept
        return ""

    def _take_back(self, upload: Upload, address: str, name: str) -> None:
        aside = self._store.path(address).with_name(name)
        if os.path.lexists(aside):
            share = self._store.share(upload.place)
            content = self._shelf.path(upload.place, CONTENT)
            moves.resume(aside, content, root=share.root, branches=share.branches, disk=self._store.disk)

    def _record(self, upload: Upload, address: str) -> dict[str, Any]:
        """The sidecar that it gets; {} for a file that is to be no asset."""
        project = self._projects.get(upload.project)
        chosen = type_of(upload, self._projects.set_of(project))
        if not chosen:
            return {}
        record = self._assets.first_record(address, upload.user)
        title = str(upload.data.get("title") or "").strip()
        return {**record, "type": chosen, "owner": upload.user, "name": title or record["name"]}

    def _make_sidecar(self, upload: Upload, address: str, adding: Mapping[str, Any]) -> None:
        ours = dict(adding.get("record") or {})
        if not ours:
            self._make_sequence(upload, address)
            return
        guessed = self._assets.first_record(address, upload.user)

        def make(data: dict[str, Any]) -> dict[str, Any]:
            if not data:
                return ours
            if adding.get("known"):  # it was an asset before: what people said of it stays
                return data if data.get("owner") else {**data, "owner": upload.user}
            # Race: the file was seen and taken in before we came to its sidecar. What people have said of it
            # since then stays; what was only guessed is ours to say.
            said = {key: ours[key] for key in ("name", "type") if data.get(key) == guessed.get(key)}
            return {**data, **said, "owner": upload.user, "creator": upload.user}

        try:
            self._store.edit(address, make, who=upload.user)
        except NotFound:
            log.info("%s was moved on before its sidecar was made", address)

    def _make_sequence(self, upload: Upload, address: str) -> None:
        """A frame that makes numbered pictures one asset: it is whose its frames are."""
        folder, name = paths.split(address)
        key = paths.sequence_key(name)
        place = paths.join(folder, key[0]) if key else ""
        entry = self._store.index.get(place) if place else None
        if entry is None or entry.stat is None or not becomes_asset(place):
            return

        def make(data: dict[str, Any]) -> dict[str, Any]:
            record = data or self._assets.first_record(place, upload.user)
            return record if record.get("owner") else {**record, "owner": upload.user}

        self._store.edit(place, make, who=upload.user)

    def _render(self, upload: Upload) -> Upload:
        """Have it rendered. Its file is there, whatever comes of this."""
        added = dict(upload.added or {})
        address = str(added["address"])
        try:
            job = self.rendering(address)
            if not job:
                if self.submit is None:
                    return upload
                self._store.looks.at_whole(address)
                request: dict[str, Any] = {"file": address}
                if frames := frames_of(upload.data.get("facts") or {}):
                    request["frames"] = frames
                job = self.submit(upload.user, request)
            added |= {
                "job": job,
                "render": "done",
                "message": say("{said} It waits to be rendered.", said=added["message"]),
            }
        except CroftError as error:
            said = say("{said} It isn’t rendered: {why}", said=added["message"], why=error.message)
            added |= {"render": "failed", "message": said}
        return self._shelf.write(upload.place, {**upload.data, "added": added})

    def _clear(self, upload: Upload) -> None:
        """What an added upload leaves: its record stays a day, for who asks again."""
        for name in (CHUNKS, CONTENT, str(upload.data.get("picture") or "")):
            path = self._shelf.path(upload.place, name)
            if name and os.path.lexists(path):
                try:
                    self._store.disk.unlink(path)
                except OSError as error:
                    log.warning("%s stays: %s", path, error)
