"""New assets: a file from its type's template, a copy of one that is there, a composite of others' renders.

A file gets its name in one step and only where nothing has it, so that of two people who choose the same name
at the same moment one is told. Needs no Blender.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.speech import Said, say
from server.disk.store import Store

from ..assets import Assets, first_priority
from ..people import User, require
from ..projects import AssetSet, AssetType, Project, Projects
from . import dress, names, renders
from .dna import Damaged

TEMPLATE = "default.blend"  # of a type that has none
COMPOSITE = "composite.blend"
NAME_MOST, DESCRIPTION_MOST = 200, 20_000  # characters
PACKED_MOST = 128 << 20  # bytes of a template
OFFERED = 60  # files that a composite could load, shown to choose from
LOADS_MOST = 16  # as many as the composite has places for
TRIES = 1000  # numbers behind a made name
NOT_COPIED = frozenset({  # what a copy's record doesn't take over
    "uuid", "schema", "derived_from", "creator", "render_time", "time_spent", "rating", "protect",
    "statistics_since",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a new asset would go. `taken` where its name is in use already."""

    address: str
    path: str  # within the project
    taken: bool


class Creation:
    """Makes assets. Thread-safe; keeps nothing but what it was asked for last."""

    def __init__(self, store: Store, projects: Projects, assets: Assets) -> None:
        self._store = store
        self._projects = projects
        self._assets = assets
        self._loadable: dict[str, tuple[int, list[str]]] = {}  # project -> as of when, addresses

    def loadable(self, project: Project) -> list[str]:
        """Scenes that a composite could load, by name: the first of those that were rendered. Cheap while
        nothing of the project changes."""
        generation = self._store.index.generation_of(paths.top_of(project.address))
        kept = self._loadable.get(project.ident)
        if kept is None or kept[0] != generation:
            rendered = (
                entry.address
                for entry in self._assets.find(project.ident, "kind:scene")
                if entry.jobs and renders.rendered(self._store, entry.address)
            )
            kept = self._loadable[project.ident] = (generation, list(islice(rendered, OFFERED)))
        return kept[1]

    def plan(self, project: str, name: str, type: str, file_name: str = "") -> Plan:
        """Where an asset of that name would go. BadInput for a file name that can't be."""
        found = self._projects.get(project)
        kind = self._type(self._projects.set_of(found), type)
        if file_name.strip():
            path = names.given(file_name, kind.folder)
            address = self._address(found, path)
            return Plan(address, path, self._taken(address))
        stem = names.made(kind.pattern, name, kind.title, found.title)
        folder = f"{kind.folder.strip('/')}/" if kind.folder.strip("/") else ""
        for number in range(1, TRIES):
            path = f"{folder}{stem}{f'_{number}' if number > 1 else ''}{names.ENDING}"
            address = self._address(found, path)
            if not self._taken(address):
                return Plan(address, path, False)
        raise Conflict(too_many(stem), field="name")

    def create(
        self,
        project: str,
        name: str,
        type: str,
        description: str,
        user: User,
        *,
        file_name: str = "",
        owner: str | None = None,
        of: Iterable[str] = (),
    ) -> str:
        """A new asset from its type's template; its address.

        `of` names assets whose pictures a composite loads. Conflict where its file's name is taken, BadInput
        for what can't be, NotFound for a project or asset that isn't there.
        """
        require(user, "student")
        name, description = checked(name, description)
        found = self._projects.get(project)
        words = self._projects.set_of(found)
        kind = self._type(words, type)
        loads = list(dict.fromkeys(of))
        plan = self.plan(project, name, type, file_name)
        if plan.taken:
            raise Conflict(taken(plan.path), address=plan.address)
        fields = {
            "name": name, "description": description, "type": kind.ident,
            "owner": user.ident if owner is None else owner,
        }  # fmt: skip
        fields = self._assets.checked(plan.address, fields, user)
        content = self._content(found, words, kind, name, plan.address, loads)
        for more in range(TRIES):
            try:
                self._place(content, plan.address, user)
                break
            except Conflict:
                # Race: somebody took the name a moment ago. One that was made gets the next number.
                if file_name.strip() or more == TRIES - 1:
                    raise
                plan = self.plan(project, name, type)
                content = self._content(found, words, kind, name, plan.address, loads)
        start = self._start(found, words, kind)
        record = {**self._assets.first_record(plan.address, user.ident), **start, **fields}
        if loads:
            record["dependencies"] = [found.inside(address) for address in loads]
        self._record(plan.address, {**record, "creator": user.ident}, user)
        return plan.address

    def clone(self, address: str, user: User, name: str = "", file_name: str = "") -> str:
        """A copy of an asset's file under a new name, with a record of its own; its address.

        What people say of it is taken over, state and owner begin anew; renders and history stay behind.
        """
        require(user, "student")
        entry = self._assets.get(address)
        project = self._projects.of(address)
        if project is None or entry.stat is None or self._assets.kind(entry) == "sequence":
            raise BadInput(say("{name} can’t be copied.", name=paths.name_of(address)), address=address)
        view = self._assets.view(entry, project)
        name, _ = checked(name or f"{view['name']} copy", "")
        plan = self._beside(project, address, name, file_name)
        temporary = self._store.temporary(plan.address)
        try:
            files.copy_aside(self._store.path(address), temporary, disk=self._store.disk)
            self._store.place(temporary, plan.address, user.ident)
        except FileNotFoundError as error:
            raise NotFound(say("The file {address} is gone.", address=address), address=address) from error
        finally:
            temporary.unlink(missing_ok=True)
        try:
            old: Mapping[str, Any] = self._store.read(address).data
        except CroftError:
            old = {}
        kept = {key: value for key, value in old.items() if key not in NOT_COPIED}
        first = self._assets.first_record(plan.address, user.ident)
        fresh = {"name": name, "creator": user.ident, "owner": user.ident, "state": first["state"]}
        self._record(plan.address, {**first, **kept, **fresh}, user)
        return plan.address

    # Within

    def _type(self, words: AssetSet, ident: str) -> AssetType:
        kind = words.types.get(ident)
        if kind is None:
            known = ", ".join(one.ident for one in words.offered_types)
            said = say("'{type}' isn’t a type here. Known are {known}.", type=ident[:60], known=known)
            raise BadInput(said, field="type")
        return kind

    def _address(self, project: Project, path: str) -> str:
        address = paths.join(project.address, path)
        paths.parse(address)
        if len(paths.name_of(path).encode()) > paths.NAME_BYTES - len(".json"):
            raise BadInput(say("This file name is too long."), field="file")
        return address

    def _taken(self, address: str) -> bool:
        """Whether a file, a record without one, or a name that differs in its letters' case is there."""
        index = self._store.index
        if index.get(address) is not None:
            return True
        path = self._store.path(address)
        own = {path.name.casefold(), f"{path.name}.json".casefold()}
        try:
            with os.scandir(path.parent) as found:
                return any(one.name.casefold() in own for one in found)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            files.fail(error, path.parent)

    def _beside(self, project: Project, address: str, name: str, file_name: str) -> Plan:
        """Where a copy goes: into the folder of what it is a copy of."""
        folder = project.inside(paths.folder_of(address) + "/").strip("/")
        old = paths.name_of(address)
        ending = old[len(paths.stem_of(old)) :]
        if file_name.strip():
            given = file_name.strip()
            path = names.given(given if ending == names.ENDING else given + names.ENDING, folder)
            path = path if ending == names.ENDING else path.removesuffix(names.ENDING)
            if not path.lower().endswith(ending.lower()):
                path += ending
            made = self._address(project, path)
            if self._taken(made):
                raise Conflict(taken(path), address=made)
            return Plan(made, path, False)
        stem = names.made("{name}", name, "copy", project.title)
        for number in range(1, TRIES):
            path = f"{folder}/" if folder else ""
            path += f"{stem}{f'_{number}' if number > 1 else ''}{ending}"
            made = self._address(project, path)
            if not self._taken(made):
                return Plan(made, path, False)
        raise Conflict(too_many(stem), field="name")

    def _content(
        self, project: Project, words: AssetSet, kind: AssetType, name: str, address: str, loads: list[str]
    ) -> bytes:
        """The template's bytes with all that is to be set in them."""
        if len(loads) > LOADS_MOST:
            raise BadInput(say("A composite loads {n} renders at most.", n=LOADS_MOST), field="of")
        found = [renders.loaded(self._store, self._assets, one, address) for one in loads]
        stem = paths.own_stem(paths.name_of(address))
        wish = dress.Wish(
            name,
            words.engine,
            words.resolution,
            words.fps,
            kind.output.replace("{file}", stem).replace("{name}", stem),
            (min(one.first for one in found), max(one.last for one in found)) if found else None,
            tuple(found),
        )
        tried = [kind.template or f"{kind.ident}{names.ENDING}", *([COMPOSITE] if loads else []), TEMPLATE]
        for template in tried:
            path = self._projects.template(words, template)
            if path is None:
                continue
            try:
                scene = dress.opened(template_bytes(path))
                if dress.places(scene) >= len(loads):  # else Croft's own composite has places for them
                    return dress.dressed(scene, wish)
            except Damaged as error:
                said = say("The template {path} can’t be used: {why}. Tell an admin.", path=path, why=error)
                raise Conflict(said) from error
        raise Conflict(say("There is no template for {type}. Tell an admin.", type=kind.title))

    def _place(self, content: bytes, address: str, user: User) -> None:
        temporary = self._store.temporary(address)
        try:
            fd = self._store.disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, files.FILE_MODE)
            try:
                files.write_all(fd, content, self._store.disk)
            finally:
                self._store.disk.close(fd)
            self._store.place(temporary, address, user.ident)
        except OSError as error:
            files.fail(error, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def _start(self, project: Project, words: AssetSet, kind: AssetType) -> dict[str, Any]:
        """What a type says of its new assets, wherever they lie."""
        return {
            "state": kind.state if kind.state in words.states else words.default_state,
            "priority": first_priority(project, kind, words),
            "render": kind.render,
            "final": kind.final,
            **({"time_budget": kind.time_budget} if kind.time_budget else {}),
        }

    def _record(self, address: str, record: Mapping[str, Any], user: User) -> None:
        """What is said of it, on what Croft may have said by itself in the moment before."""
        said = {key: value for key, value in record.items() if key != "uuid"}
        self._store.edit(address, lambda data: {**(data or record), **said}, who=user.ident)


def taken(path: str) -> Said:
    """That a name is in use."""
    return say("{path} is there already. Choose another file name.", path=path)


def too_many(stem: str) -> Said:
    """That no number behind a name is free."""
    return say("There are {n} files called {name} already. Choose another name.", n=TRIES, name=stem)


def checked(name: str, description: str) -> tuple[str, str]:
    """Both as they are stored. BadInput."""
    name = " ".join(name.split())
    if not name:
        raise BadInput(say("Give it a name."), field="name")
    if len(name) > NAME_MOST:
        raise BadInput(say("The name is longer than {n} characters.", n=NAME_MOST), field="name")
    if len(description) > DESCRIPTION_MOST:
        said = say("The description is longer than {n} characters.", n=DESCRIPTION_MOST)
        raise BadInput(said, field="description")
    return name, description.strip()


def template_bytes(path: Path) -> bytes:
    """A template as it lies on the disk."""
    try:
        return files.read_bounded(path, PACKED_MOST)[0]
    except OSError as error:
        files.fail(error, path)
