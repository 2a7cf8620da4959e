"""Uploads: files that people drop onto a page, from the first byte until they lie where they belong.

Each person's wait in a folder of their own, on the project's share, hidden: nobody else sees or changes
them. They come in chunks that count once they are flushed, so any break is gone on from. What was read from
them is shown, their person corrects it, and `add` moves them into place: never over a file that is there,
and finished at the next start where a crash came between. Any number of servers may work on one share.
"""

from __future__ import annotations

import datetime
import secrets
import shutil
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from server.disk import files, paths
from server.disk.errors import BadInput, Conflict, CroftError, DiskFull, NotFound
from server.disk.records import Change, Problem, utc_now
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..copies.naming import originals
from ..media import Media
from ..people import User
from ..projects import Project, Projects
from . import limits, staging, views
from .adding import Adder, Submit
from .reading import Reader
from .record import CONTENT, IDENT, SCHEMA, Upload
from .shelf import Shelf
from .targets import Digests, Looks, address_of
from .tidy import Tidy

__all__ = ["Misfit", "Upload", "Uploads", "limits"]

ROOM_LEFT = 64 << 20  # bytes that an upload leaves for others
PICTURES = ("picture.jpg", "picture.png")
PICTURE_BYTES = 8 << 20
KNOWN_BY = ("project", "dropped", "size", "modified")  # a file that is dropped once more


class Misfit(Conflict):
    """A chunk that doesn't fit. Facts: `offset`, where to go on."""


class Uploads:
    """Everything about uploads. Thread-safe, and safe beside other servers."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        projects: Projects,
        assets: Assets,
        media: Media,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._projects = projects
        self._wall = wall
        self._shelf = shelf = Shelf(store, projects)
        self._digests = Digests(lambda: int(settings.get("upload_chunk_bytes")))
        self.adder = Adder(store, projects, assets, shelf, self._digests)
        self.reader = Reader(
            store, media, shelf, self._digests, self._begin_again, self._tell, lambda: self.tidy.sweep()
        )
        self.tidy = Tidy(store, settings, shelf, self.adder, wall, self.reader.ask, self._tell)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self, submit: Submit, rendering: Callable[[str], str]) -> None:
        """Finish what a crash interrupted, read what wasn't, clean up. `submit` asks for a render;
        `rendering` gives the job that renders a file already."""
        self.adder.submit, self.adder.rendering = submit, rendering
        self.tidy.sweep()
        self.reader.start()
        self._unsubscribe = self._store.subscribe(self._changed)

    def close(self) -> None:
        self._unsubscribe()
        self.reader.close()

    # Looking

    def waiting(self, user: User, project: str = "") -> list[Upload]:
        """What a person has waiting, oldest first in each project."""
        if project:
            self._projects.get(project)
        found = [upload for upload in self._shelf.of(user.ident) if upload.open]
        return [upload for upload in found if project in ("", upload.project)]

    def added(self, user: User, project: str) -> Sequence[Upload]:
        """What a person has added of late, the newest first."""
        mine = self._shelf.of(user.ident)
        found = [upload for upload in mine if upload.added and upload.project == project]
        return sorted(found, key=lambda upload: str((upload.added or {}).get("at")), reverse=True)

    def one(self, user: User, ident: str) -> Upload:
        """One of this person's uploads; NotFound for everything else, other people's too."""
        if IDENT.fullmatch(ident):
            for project in self._projects.list():
                place = paths.join(paths.uploads_folder(project.address, user.ident), ident)
                if (upload := self._shelf.load(place)) is not None:
                    return upload
        raise NotFound("You have no upload {ident}. Drop the file once more.", ident=ident[:60])

    def like(self, upload: Upload) -> Sequence[Upload]:
        """All of the same person that are one numbered sequence with this one, itself among them."""

        def place(one: Upload) -> tuple[str, str, str, bool]:
            return one.project, one.folder, (one.numbered or (one.name,))[0], bool(one.data.get("removed"))

        mine = self._shelf.of(upload.user)
        return [one for one in mine if one.added is None and place(one) == place(upload)]

    def chunks(self, upload: Upload) -> list[staging.Chunk]:
        """What of it is on the disk for sure, piece by piece."""
        return self._shelf.chunks(upload)

    def views(self, found: Iterable[Upload]) -> list[dict[str, Any]]:
        """Uploads as the API shows them; each folder is looked at once."""
        looks = Looks(self._store)
        return [self._view(upload, looks) for upload in found]

    def view(self, upload: Upload) -> dict[str, Any]:
        return self._view(upload, Looks(self._store))

    def picture(self, upload: Upload) -> tuple[bytes, str]:
        """The thumbnail and its form (jpg, png); NotFound while there is none."""
        name = str(upload.data.get("picture") or "")
        if name in PICTURES:
            try:
                data, _ = files.read_bounded(self._shelf.path(upload.place, name), PICTURE_BYTES)
                return data, name[-3:]
            except OSError:
                pass  # added or removed since
        raise NotFound("There is no picture of this file.")

    def problems(self) -> list[Problem]:
        """What waits for its person too long."""
        return self.tidy.problems()

    # Receiving

    def begin(self, user: User, given: Mapping[str, Any]) -> Upload:
        """A new upload, or the one that this file was begun as already.

        BadInput, BadContent and TooLarge as `limits` has them, DiskFull where there is no room for it.
        """
        project = self._projects.get(str(given["project"]))
        share = self._store.check_writable(project.address)
        folder = limits.check_folder(self._settings, given.get("path") or "")
        name = limits.check_name(self._settings, given["name"])
        size = int(given["size"])
        limits.check_size(self._settings, name, size)
        data = {
            "schema": SCHEMA,
            "user": user.ident,
            "project": project.ident,
            "folder": folder,
            "name": name,
            "dropped": str(given.get("dropped") or given["name"]),
            "size": size,
            "modified": given.get("modified"),
            "hash": given.get("hash") or "",
            "title": title_of(str(given["name"]), name),
            "created": utc_now(),
        }
        waiting = [upload for upload in self._shelf.of(user.ident) if upload.open]
        for upload in waiting:
            same = all(upload.data.get(key) == data[key] for key in KNOWN_BY)
            # One that is here as a whole may be wanted in another folder, too.
            if same and not upload.data.get("expired") and (not upload.read or upload.folder == folder):
                return upload
        if len(waiting) >= limits.WAITING_MOST:
            most = f"{limits.WAITING_MOST:,}"
            raise Conflict("{most} of your files wait already: add or remove some of them first.", most=most)
        free = shutil.disk_usage(share.root).free
        if size > free - ROOM_LEFT:
            text = say(
                "There is no room for {name}: it has {size:,} bytes, and only {free:,} are free.",
                name=name[:80],
                size=size,
                free=free,
            )
            raise DiskFull(text, path=str(share.root))
        now = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        ident = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(5)}"
        place = paths.join(paths.uploads_folder(project.address, user.ident), ident)
        files.make_folders(self._shelf.path(place), share.root, disk=self._store.disk)
        upload = self._shelf.write(place, data)
        if not size:  # here as a whole at once
            self._shelf.path(place, CONTENT).touch()
            self.reader.ask(upload)
        self._tell(upload)
        return upload

    def receive(self, upload: Upload, at: int, data: bytes, crc: int | None, digest: str = "") -> Upload:
        """Take a chunk: on the disk when this returns. Misfit says where to go on instead.

        A repeated chunk is taken as done. `digest` is the sender's SHA-256 of the whole file.
        """
        chunk = staging.Chunk(at, len(data), zlib.crc32(data))
        if crc is not None and chunk.crc != crc:
            offset = staging.offset_of(self.chunks(upload))
            raise Misfit("This part came damaged. Send it again.", offset=offset)
        self._store.check_writable(upload.place)
        with self._shelf.hold(upload.place):
            upload = self._shelf.must(upload.place)
            check_open(upload)
            there = self.chunks(upload)
            end = staging.offset_of(there)
            if chunk in there:
                return upload
            if at != end:
                raise Misfit("{offset:,} bytes of this file are here: go on from there.", offset=end)
            if chunk.end > upload.size:
                text = say("The file was said to have {size:,} bytes; this is more.", size=upload.size)
                raise BadInput(text, field="offset")
            if digest and digest != upload.data.get("hash"):
                upload = self._shelf.write(upload.place, {**upload.data, "hash": digest})
            if data:
                staging.append(self._shelf.path(upload.place), chunk, data, self._store.disk)
        if chunk.end == upload.size:
            self.reader.ask(upload)
            self._tell(upload)
        return upload

    # Correcting

    def change(self, upload: Upload, given: Mapping[str, Any]) -> Upload:
        """Where it is to go, what it is called, what it is, whether it is rendered, what of one there."""
        changes = self._checked(upload, given)
        with self._shelf.hold(upload.place):
            upload = self._shelf.must(upload.place)
            if upload.added is not None:
                check_open(upload)
            upload = self._shelf.write(upload.place, {**upload.data, **changes})
        if given.get("removed") is False:
            self.reader.ask(upload)
        self._tell(upload)
        return upload

    def _checked(self, upload: Upload, given: Mapping[str, Any]) -> dict[str, Any]:
        changes = {key: given[key] for key in ("type", "title", "render", "choice", "hash") if key in given}
        if "project" in given:
            changes["project"] = self._projects.get(given["project"]).ident
        if "path" in given:
            changes["folder"] = limits.check_folder(self._settings, given["path"])
        if "name" in given:
            changes["name"] = self._new_name(upload, given["name"])
        if given.get("type"):
            words = self._projects.set_of(self._project(changes.get("project", upload.project)))
            if given["type"] not in words.types:
                known = ", ".join(words.types)
                raise BadInput(
                    "{type} is no type here. Known are {known}.",
                    field="type",
                    type=repr(given["type"][:60]),
                    known=known,
                )
        if given.get("render") and upload.kind != "scene":
            raise BadInput(
                "{upload} is no scene: there is nothing to render.", field="render", upload=upload.name
            )
        if "removed" in given:
            changes["removed"] = utc_now() if given["removed"] else ""
        if {"folder", "name", "project"} & changes.keys():
            changes.setdefault("choice", "")  # it was said of another file
            if "name" in changes and changes["name"] != upload.name:
                changes.setdefault("title", "")
        changes["failed"] = ""
        return changes

    def _new_name(self, upload: Upload, name: str) -> str:
        """The name that a person means: its ending stays, whether or not they type it."""
        ending = upload.name[len(paths.stem_of(upload.name)) :]
        return limits.check_name(
            self._settings, name if name.lower().endswith(ending.lower()) else name.strip() + ending
        )

    def add(self, user: User, idents: Iterable[str]) -> list[dict[str, Any]]:
        """Move uploads into place; what came of each, in their order. What was added stays added."""
        results = []
        looks = Looks(self._store)
        for ident in idents:
            try:
                results.append(self._add(self.one(user, ident), looks))
            except CroftError as error:
                kept = {"id": ident, "ok": False, "message": error.message, "address": None, "job": None}
                results.append(kept)
        return results

    def _add(self, upload: Upload, looks: Looks) -> dict[str, Any]:
        with self._shelf.hold(upload.place):
            upload = self._shelf.must(upload.place)
            if upload.added is None and not upload.data.get("adding"):
                check_open(upload)
                if not upload.read:
                    raise Conflict("{upload} isn’t here as a whole yet.", upload=upload.name)
                if upload.data.get("cut"):
                    raise Conflict(views.why(upload))
            try:
                result = self.adder.add(upload, looks)
            except CroftError as error:
                upload = self._shelf.must(upload.place)
                if not isinstance(error, Conflict):  # what is in its way shows by itself, and may go
                    self._shelf.write(upload.place, {**upload.data, "failed": error.message})
                raise
            finally:
                self._tell(upload)
        return result

    # Within

    def _view(self, upload: Upload, looks: Looks) -> dict[str, Any]:
        project = self._project(upload.project)
        offset = upload.size if upload.read else staging.offset_of(self.chunks(upload))
        view = views.view(upload, project, self._projects.set_of(project), offset)
        if view["state"] == "checking":  # the server that took its last part may be gone
            self.reader.ask(upload)
        there = looks.there(view["address"]) if project is not None and upload.open else None
        if there is not None:
            same = self._digests.same(upload, there)
            if same is None and upload.digest:
                self.reader.compare(there.state, upload)
            view["there"] = views.there(there, same, looks.free(view["address"]), self._store.index)
        elif project is not None and upload.open:
            view["copy_of"] = self._original(view["address"], looks)
        return view

    def there_chunks(self, upload: Upload) -> list[staging.Chunk] | None:
        """The parts of the file of the same size that is there already: none of another, None while they are
        being read."""
        project = self._project(upload.project)
        there = Looks(self._store).there(address_of(project, upload)) if project is not None else None
        if there is None or there.folder or there.size != upload.size:
            return []
        found = self._digests.parts(there.state)
        if found is None:
            self.reader.compare(there.state, upload)
        return found

    def _original(self, address: str, looks: Looks) -> str | None:
        """The file beside it that its name makes it a copy of: `hero.blend` of `hero (1).blend`."""
        folder, name = paths.split(address)
        for other in originals(name):
            there = looks.there(paths.join(folder, other))
            if there is not None and not there.folder:
                return there.name
        return None

    def _begin_again(self, place: str, why: str) -> None:
        with self._shelf.hold(place):
            upload = self._shelf.must(place)
            staging.begin_again(self._shelf.path(place), self._store.disk)
            self._shelf.write(place, {**upload.data, "hash": "", "sha256": "", "why": why})
        self._tell(upload)

    def _project(self, ident: str) -> Project | None:
        try:
            return self._projects.get(ident)
        except NotFound:
            return None

    def _changed(self, changes: list[Change]) -> None:
        if any(change.kind == "share" for change in changes):
            self.reader.sweep_soon()  # it came back: what was interrupted there is finished

    def _tell(self, upload: Upload) -> None:
        self._store.notify([Change("upload", f"{upload.user}/{upload.id}")])


def title_of(given: str, name: str) -> str:
    """What the asset is called where its file can't be called so; '' where it can."""
    given = unicodedata.normalize("NFC", given)
    return "" if given == name else paths.stem_of(given)


def check_open(upload: Upload) -> None:
    """Conflict for what can't be gone on with."""
    if upload.added is not None:
        raise Conflict("{upload} was added already.", upload=upload.name)
    if upload.data.get("expired"):
        raise Conflict("{upload} waited too long and was taken away. Drop it once more.", upload=upload.name)
    if upload.data.get("removed"):
        raise Conflict("{upload} was removed. Undo that first.", upload=upload.name)
