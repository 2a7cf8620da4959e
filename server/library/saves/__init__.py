"""Earlier saves of a file: checkpoints, deletions, published versions, what renders were made of, backups.

Makes checkpoints and versions, lists all there is, and brings any of it back: in place, once the present
content was kept, or beside the file under a free name. What people said of the file stays as it is unless
they ask for it. Other rooms register further sources (see `Source`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from server.disk import checkpoints, deletions, files, intents, paths
from server.disk.errors import BadInput, Conflict, Forbidden, NotFound
from server.disk.records import Stat
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets, tells_of
from ..assets.fields import FIELDS, SUPERVISORS
from ..assets.listing import becomes_asset
from ..people import User, require
from ..projects import Projects
from ..protection import Protection
from ..publishing import Finding, Validations
from . import frozen, publication, rendered
from .kept import Kept, size_of
from .naming import beside_name, files_of, label, renamed
from .olds import Olds
from .publication import Published, Refused
from .records import Deleted, Restored, Save, Source, save_of

__all__ = ["Deleted", "Published", "Refused", "Restored", "Save", "Saves", "Source"]

COMMENT_CHARACTERS = 2000


class Saves:
    """Thread-safe. Ids are unique for one file, not beyond."""

    def __init__(
        self,
        store: Store,
        projects: Projects,
        assets: Assets,
        protection: Protection,
        validations: Validations | None = None,
    ) -> None:
        self._store = store
        self._projects = projects
        self._assets = assets
        self._protection = protection
        self.validations = validations or Validations(store, projects, assets)
        protection.holds = lambda address, hashed: frozen.holding(store, address, hashed)
        self._kept = Kept(store)
        self._olds = Olds(store)
        self.sources: list[Source] = []

    def settle(self) -> None:
        """At a start: take away what a crash left of versions that were being published."""
        frozen.settle_all(self._store)

    # Making

    def checkpoint(self, address: str, user: User, comment: str = "") -> str:
        """Keep the present content; the save's id."""
        self._may(address, user)
        folder = self._store.checkpoint(address, user.ident, _checked(comment), self._known(address))
        return paths.name_of(folder)

    def publish(
        self, address: str, user: User, comment: str = "", despite: bool | Collection[str] = ()
    ) -> Published:
        """Freeze the present content as the next version, unless the last one holds it already. Refused
        where the checks find what stops it, or a warning that `despite` doesn't name by its id."""
        self._may(address, user, over=True)
        done = publication.publish(
            self._store,
            self.validations,
            address,
            user.ident,
            _checked(comment),
            despite,
            self._known(address),
        )
        if not done.made:
            return done
        locked = self._protection.published(address, done.record["version"], done.record["hash"], user)
        return Published(done.record, protected=locked)

    def findings(self, address: str) -> Sequence[Finding]:
        """What the checks find in the present content."""
        return self.validations.look(address, frozen.look(self._store, address)).findings

    def replace(
        self, address: str, source: Path, user: User, comment: str = "", *, take: bool = False
    ) -> str:
        """Give a file that is there other content; the id of the save that the present one became.

        `take`: the source, on the same share, is moved here, else copied. The sidecar stays.
        """
        self._may(address, user, over=True)
        return self._replace(address, {paths.name_of(address): source}, user, comment, take=take)

    # Finding

    def list_for(self, address: str, user: User | None) -> Sequence[Save]:
        """As `list`, without what this person may not bring back."""
        return self.list(address, [source for source in self.sources if _lets(source, address, user)])

    def list(self, address: str, sources: Sequence[Source] | None = None) -> Sequence[Save]:
        """What a file, or one that is missing, can be brought back to; newest first."""
        paths.parse(address)
        found = [
            save_of(
                paths.name_of(intent.aside),
                "checkpoint" if intent.data["what"] == checkpoints.WHAT else "deleted",
                {**intent.data, "size": size_of(intent)},
            )
            for intent in self._kept.of(address)
        ]
        versions = frozen.listed(self._store, address)
        copies = (record for record in versions if not record.get("in_place"))
        found += [save_of(str(record["version"]), "version", record) for record in copies]
        found += [save for save, _ in self._renders(address)]
        for source in self.sources if sources is None else sources:
            found += source.list(address)
        return sorted(found, key=lambda save: (save.at, save.id), reverse=True)

    def versions(self, address: str) -> Sequence[dict[str, Any]]:
        """The published versions, newest first."""
        self._assets.get(address)
        return frozen.listed(self._store, address)

    def approve(
        self,
        address: str,
        version: str,
        user: User,
        approved: bool,
        rejected: bool = False,
        comment: str = "",
    ) -> dict[str, Any]:
        """What somebody says of a published version who may."""
        if not self._projects.may_approve(self._projects.of(address), self._store.index.get(address), user):
            raise Forbidden(say("Only those may approve whom the project names: ask a supervisor."))
        return frozen.approve(
            self._store, address, version, user.ident, approved, rejected, _checked(comment)
        )

    def open(self, address: str, id: str, user: User | None = None) -> dict[str, Path]:
        """The content of a save, by the names that its files had. NotFound; Forbidden to this user."""
        if intents.is_ident(id):
            for intent in self._kept.of(address):
                if paths.name_of(intent.aside) == id:
                    return checkpoints.content_of(intent)
        elif paths.version_number(id) is not None:
            content = frozen.content(self._store, address, id)
            there = frozen.listed(self._store, address)
            if any(record["version"] == id and record.get("in_place") for record in there):
                raise Conflict(
                    "{id} was published where it lies, without a copy: there is nothing to bring back.",
                    address=address, id=id,
                )  # fmt: skip
            return content
        elif id.startswith(rendered.RENDER):
            name = id.removeprefix(rendered.RENDER)
            if paths.version_number(name) is not None:
                return {paths.name_of(address): rendered.source(self._store, address, name)}
            found = rendered.snapshot(self._store, address, name) if "/" not in name else None
            if found is not None:
                return {paths.name_of(address): found[1]}
        else:
            for source in self.sources:
                if any(save.id == id for save in source.list(address)):
                    if user is not None:
                        source.check(address, user)
                    return files_of(source.open(address, id), paths.name_of(address))
        raise NotFound(
            "{name} has no earlier save {id}.",
            address=address,
            name=paths.name_of(address),
            id=id[:80],
        )

    def deleted(self, project: str, folder: str = "") -> Sequence[Deleted]:
        """Deletions in a project (or of one folder alone) that can be undone, newest first."""
        found = self._projects.get(project)
        folders = [folder] if folder else self._olds.below(found.address)
        rows = [row for one in folders for row in self.deleted_in(one)]
        return sorted(rows, key=lambda row: (row.at, row.folder), reverse=True)

    def deleted_in(self, folder: str) -> Iterator[Deleted]:
        """Deletions of one folder that can be undone."""
        share, inside = paths.parse(folder)
        for intent in self._kept.within(share, paths.join(inside, paths.OLD)):
            if intent.data["what"] in deletions.WHAT and not intent.data.get("restored"):
                yield Deleted(
                    paths.address(share, intent.aside),
                    paths.address(share, intent.inside),
                    "record" if intent.data["what"] == "forget" else "file",
                    str(intent.data.get("at", "")),
                    str(intent.data.get("who", "")),
                    size_of(intent),
                )

    def folders_with_old(self, folder: str) -> Iterator[str]:
        """The folders below this one, itself included, where something was deleted or kept."""
        return self._olds.below(folder)

    # Bringing back

    def restore(
        self,
        address: str,
        id: str,
        user: User,
        *,
        beside: bool = False,
        record: bool = False,
        guarded: bool = True,
    ) -> Restored:
        """Bring a save back: in place, its present content kept first; or `beside` it, under a free name.

        `record`: what people had said of it then comes back, too. Works for a file that is missing. Not
        `guarded`: over a protected file, too.
        """
        self._may(address, user, over=guarded and not beside)
        try:
            return self._restore(address, id, user, beside, record)
        except NotFound:
            # Race: a render ended, its snapshot lies in another place now. One that is gone is gone again.
            return self._restore(address, id, user, beside, record)

    def _restore(self, address: str, id: str, user: User, beside: bool, record: bool) -> Restored:
        found = self.open(address, id, user)
        if not found:
            raise NotFound("Nothing is left of this save.", address=address)
        if beside:
            return Restored(self._beside(address, id, found, user), "", True)
        entry = self._store.index.get(address)
        missing = entry is not None and entry.stat is None
        told = say("before {label} was brought back", label=label(id))
        kept = self._replace(address, renamed(found, paths.name_of(address)), user, told)
        self._store.tell(address, user.ident, {"restored": id, "kept": kept})
        if record:
            self._bring_record(address, id, user)
        return Restored(address, kept, was_missing=missing and not kept)

    def put_away(self, address: str, user: User) -> str:
        """Let a file be missing again, whose record stays; the address of the folder in `old/`."""
        self._may(address, user, over=True)
        self._assets.get(address)
        return self._store.delete(address, user.ident, "away")

    def bring_back(self, folder: str, user: User) -> str:
        """Undo a deletion; the file's address. Conflict where a file of its name is there again."""
        require(user, "student")
        return self._store.bring_back(folder, user.ident)

    def forget(self, address: str, user: User) -> str:
        """Put away what is known of a file that is gone; the address of the folder in `old/`.

        Also of a file that is there, if it doesn't become an asset by itself: it is a file again.
        """
        self._may(address, user, over=True)
        entry = self._assets.get(address)
        if entry.stat is not None and becomes_asset(address):
            raise BadInput(
                "{name} is there: delete it instead.", address=address, name=paths.name_of(address)
            )
        return self._store.forget(address, user.ident)

    # Within

    def _may(self, address: str, user: User, over: bool = False) -> None:
        require(user, "student")
        if self._projects.of(address) is None or paths.name_of(address) == paths.PROJECT_FILE:
            raise BadInput("{address} isn't a file of a project.", address=address)
        if over:
            self._assets.check_protection(address, user)

    def _known(self, address: str) -> Callable[[Stat], str]:
        def known(stat: Stat) -> str:
            said = self._assets.file_record(address)
            return str(said.get("hash") or "") if tells_of(said, stat) else ""

        return known

    def _replace(
        self, address: str, new: dict[str, Path], user: User, comment: str, *, take: bool = False
    ) -> str:
        folder = self._store.replace(
            address, new, user.ident, _checked(comment), take=take, known=self._known(address)
        )
        return paths.name_of(folder) if folder else ""

    def _beside(self, address: str, id: str, found: dict[str, Path], user: User) -> str:
        """In the same folder, so that its `//` paths lead where they did."""
        store = self._store
        folder, name = paths.split(address)
        for number in range(1, 1000):
            free = beside_name(name, label(id) if number == 1 else f"{label(id)} {number}")
            new = paths.join(folder, free)
            if not any(os.path.lexists(store.path(paths.join(folder, n))) for n in renamed(found, free)):
                break
        for frame, source in renamed(found, free).items():
            place = paths.join(folder, frame)
            aside = store.temporary(place)
            try:
                files.copy_aside(source, aside, disk=store.disk)
                os.utime(aside)
                store.place(aside, place, user.ident)
            finally:
                aside.unlink(missing_ok=True)
        entry = store.index.get(address)
        told: dict[str, Any] = {}
        if entry is not None and entry.facts is not None and entry.facts.uuid:
            told["derived_from"] = entry.facts.uuid
        if id.startswith(rendered.RENDER):
            told["render"] = False  # a scene to look at once more is no further shot of the film
        if told:
            # Race: it may have been taken in as a new asset already.
            store.edit(
                new,
                lambda data: {**(data or self._assets.first_record(new, user.ident)), **told},
                who=user.ident,
            )
        return new

    def _bring_record(self, address: str, id: str, user: User) -> None:
        """What people had said of the file when this was saved."""
        share = paths.parse(address)[0]
        said: dict[str, Any] = {}
        if intents.is_ident(id):
            for intent in self._kept.of(address):
                if paths.name_of(intent.aside) == id:
                    beside = paths.sidecar_of(paths.name_of(str(intent.data["inside"])))
                    said = self._store.read_json(paths.address(share, paths.join(intent.aside, beside)))
        elif paths.version_number(id) is not None:
            folder = paths.join(paths.companion_of(address), "versions", id)
            record = self._store.read_json(paths.join(folder, frozen.RECORD))
            beside = paths.sidecar_of(str(record.get("name") or paths.name_of(address)))
            said = self._store.read_json(paths.join(folder, beside))
        closed = () if user.at_least("supervisor") else SUPERVISORS
        fields = {key: value for key, value in said.items() if key in FIELDS and key not in closed}
        if fields:
            self._store.edit(address, fields, who=user.ident)

    def _renders(self, address: str) -> Iterator[tuple[Save, Path]]:
        """The snapshots that renders were made of."""
        for job, (record, path) in rendered.snapshots(self._store, address):
            try:
                size = path.stat().st_size
            except OSError:
                continue  # Race: its render was put away.
            source = record.get("source")
            known = source.get("sha256") if isinstance(source, dict) else None
            hashed = f"sha256:{known}" if known else ""
            at, who = str(record.get("created") or ""), str(record.get("user") or "")
            version = str(record.get("version") or "")
            yield Save(rendered.RENDER + job, "render", at, who, version, size, hashed), path


def _lets(source: Source, address: str, user: User | None) -> bool:
    try:
        source.check(address, user)
    except Forbidden:
        return False
    return True


def _checked(comment: str) -> str:
    if len(comment) > COMMENT_CHARACTERS:
        raise BadInput(
            "The comment is longer than {comment_characters} characters.",
            field="comment",
            comment_characters=COMMENT_CHARACTERS,
        )
    return comment.strip()
