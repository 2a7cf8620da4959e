"""Taking a person's name out of all that Croft wrote, where that can be done, and saying where it can't.

Their account, picture and tokens go; their files are nobody's; versions, deletions, histories, notes and
renders say 'somebody'. What is written in lines (histories, journals) is rewritten in place, each line as
long as it was: other installations and a render's sum name places in them by their offset. What people wrote
themselves (names of files, descriptions, scenes), backups and other installations' own files are left, and
told. Doing it again is safe, and needed for what couldn't be reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.disk import encoding, files, paths
from server.disk.errors import BadInput, Conflict, CroftError
from server.disk.records import Change
from server.disk.speech import Said, count, key, say
from server.farm.committer.live import Ended
from server.farm.forgetting.without import (
    cleaned,
    line_without,
    plain_name,
    replaced,
    without_role,
    worked_on,
)
from server.farm.job_types.seal import fits, seal
from server.farm.jobs.record import JOURNAL, RECORD, RESULT
from server.farm.jobs.states import ENDED
from server.library.history.project_by_hand import doubt
from server.library.people import IDENT, SOMEONE

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.disk.store import Store
    from server.farm.farm import Farm
    from server.library.notes import Notes
    from server.library.people import People
    from server.library.projects import Projects

VERSION = re.compile(r"v\d+.*\.json")
MOST_BYTES = 64 << 20


@dataclass
class Forgotten:
    """What was done, counted, and what is left."""

    user: str
    files: int = 0
    histories: int = 0
    notes: int = 0
    renders: int = 0
    versions: int = 0
    tokens: int = 0
    credits: int = 0  # projects whose credits keep the name
    left: list[Said] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """For the API and the command line."""
        names = ("user", "files", "histories", "notes", "renders", "versions", "tokens", "credits", "left")
        return {name: getattr(self, name) for name in names}


class Forgetting:
    """`forget(ident)`, for whoever asked to be forgotten."""

    def __init__(
        self, store: Store, settings: Settings, people: People, projects: Projects, notes: Notes, farm: Farm
    ) -> None:
        self._store = store
        self._settings = settings
        self._people = people
        self._projects = projects
        self._notes = notes
        self._farm = farm

    def forget(self, ident: str, *, credit: bool | None = None) -> Forgotten:
        """Forget a person. `credit`: whether the credits keep their name; None: as they said.

        BadInput for what is no ident, Conflict while renders of theirs are under way, or where nobody could
        configure Croft any more. Who has no account any more can be forgotten too.
        """
        if not IDENT.fullmatch(ident.lower()) or ident == SOMEONE:
            raise BadInput("'{ident}' is nobody's name here.", ident=ident[:100])
        user = self._people.user(ident) if self._people.known(ident) else None
        self._check(ident)
        keep = user is not None and (user.credit if credit is None else credit)
        done = Forgotten(ident)
        self._roles(ident, plain_name(user.title) if keep and user else "", done)
        self._assets(ident, done)
        done.notes = self._notes.forget(ident)
        for share in self._store.shares:
            if self._store.away(share.name) or share.read_only:
                done.left.append(
                    say(
                        "The share {name} can't be written just now: forget them again when it can.",
                        name=share.name,
                    )
                )
                continue
            self._share(share, ident, done)
        self._jobs(ident)
        self._configuration(ident)
        done.tokens = len(self._people.revoke_user(ident))
        with contextlib.suppress(CroftError):
            self._people.photos.remove("users", ident)
        if user is not None:
            self._people.remove(ident)
        self._people.forget_removed(ident)
        self._store.looks.keep()
        done.left += self._always(user.title if user else ident)
        return done

    def _check(self, ident: str) -> None:
        """Conflict where it can't be done now; before anything is changed."""
        under_way = [job for job in self._farm.jobs(user=ident) if job.state not in ENDED]
        if under_way:
            text = count(
                "{n} render of theirs is under way: stop it, or wait until it is done.",
                "{n} renders of theirs are under way: stop them, or wait until they are done.",
                len(under_way),
            )
            raise Conflict(text)
        self._people.check_removable(ident)

    # What people see

    def _roles(self, ident: str, name: str, done: Forgotten) -> None:
        """The roles of each film: their plain name where they agreed to be named, else nothing."""
        for project in self._projects.list():
            address = paths.join(project.address, paths.PROJECT_FILE)
            with contextlib.suppress(CroftError):
                share = self._store.check_writable(address, take_in=False)
                with self._store.locks(share.name).hold(paths.lock_key(address)):
                    data = self._store.read_json(address)
                    worked = any(ident in worked_on(entry) for entry in self._entries(project.address))
                    roles = without_role(data.get("roles"), ident, name, worked)
                    if roles != data.get("roles") or self._named(address, ident):
                        doubt(self._store, address)
                    if roles != data.get("roles"):
                        self._store.write_json(address, {**data, "roles": roles})
                        doubt(self._store, address, self._projects.present(project)[1])
                        done.credits += bool(name)

    def _named(self, address: str, ident: str) -> bool:
        """Whether a film's own history names them."""
        found = paths.companion_of(self._store.path(address)).glob("history.*.jsonl")
        return any(encoding.dumps(ident) in _read(path) for path in found)

    def _entries(self, under: str = "") -> Iterator[Any]:
        index = self._store.index
        for entry in list(index.under(under + "/") if under else index.entries()):
            if entry.facts is not None:
                yield entry

    def _assets(self, ident: str, done: Forgotten) -> None:
        """The records of files: theirs are nobody's."""
        for entry in self._entries():
            if ident in worked_on(entry):
                try:
                    self._store.edit(entry.address, lambda data: cleaned(data, ident), who=SOMEONE)
                    done.files += 1
                except CroftError as error:
                    done.left.append(
                        say("{address} can't be changed: {why}", address=entry.address, why=error.message)
                    )

    # What lies in folders

    def _share(self, share: paths.Share, ident: str, done: Forgotten) -> None:
        mark = encoding.dumps(ident)
        own_alone = not self._store.sites.others(share)
        own = f"history.{paths.safe_name(self._store.site)}.jsonl"
        foreign = 0
        for path, file in own_files(share.root):
            raw = _read(path)
            if mark not in raw:
                continue
            if not own_alone and path.match("history.*.jsonl") and path.name != own:
                foreign += 1
                continue
            try:
                with self._lock(share, path, file):
                    self._rewrite(path, ident, done)
            except (CroftError, OSError) as error:
                why = error.message if isinstance(error, CroftError) else str(error)
                done.left.append(say("{path} can't be changed: {why}", path=path, why=why))
            if file:
                address = paths.address(share.name, Path(file).relative_to(share.root).as_posix())
                self._store.notify([Change("companion", address)])
        if foreign:
            done.left.append(
                count(
                    "{n} history is another installation's: have them forgotten there, too.",
                    "{n} histories are another installation's: have them forgotten there, too.",
                    foreign,
                )
            )

    def _lock(self, share: paths.Share, path: Path, file: str) -> contextlib.AbstractContextManager[Any]:
        """The lock under which Croft writes this file: the render's, else the file's that it tells of."""
        locks = self._store.locks(share.name)
        if path.name in (RECORD, JOURNAL, RESULT):
            return locks.hold(path.parent.name)
        inside = Path(file or path).relative_to(share.root).as_posix()
        return locks.hold(paths.lock_key(inside))

    def _rewrite(self, path: Path, ident: str, done: Forgotten) -> None:
        """One file without the name. Read again here, under its lock."""
        st = os.lstat(path)
        raw = _read(path)
        if path.suffix == ".jsonl":
            fresh = b"".join(line_without(line, ident) for line in raw.splitlines(keepends=True))
            done.histories += fresh != raw and path.name != JOURNAL
        else:
            try:
                data = encoding.loads(raw)
            except ValueError:
                return  # spoilt: it is told elsewhere, and stays as it is
            fresh = self._document(path, data, ident) or raw
            done.renders += fresh != raw and path.name == RECORD
            done.versions += fresh != raw and path.name not in (RECORD, RESULT)
        if fresh == raw:
            return
        files.write_atomic(path, fresh, disk=self._store.disk, mode=stat.S_IMODE(st.st_mode))
        if path.name == JOURNAL:
            self._sum(path.parent, fresh)

    def _document(self, path: Path, data: Any, ident: str) -> bytes:
        """A JSON file without the name; b'' where it isn't in it. A render's request is sealed anew."""
        fresh = replaced(data, ident, SOMEONE)
        if fresh == data:
            return b""
        if path.name == RECORD and isinstance(data, dict):
            secret = self._settings.secret("job-seal")
            if fits(secret, data):
                fresh["seal"] = seal(secret, fresh)
        return encoding.dumps(fresh, indent=True) + b"\n"

    def _sum(self, folder: Path, journal: bytes) -> None:
        """The sum of an ended render names its journal's hash: that of what it says now."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = encoding.loads(_read(folder / RESULT))
            told["journal"]["sha256"] = hashlib.sha256(journal).hexdigest()
            raw = encoding.dumps(told, indent=True) + b"\n"
            files.write_atomic(folder / RESULT, raw, disk=self._store.disk)

    def _jobs(self, ident: str) -> None:
        """What this process knows of their renders."""
        for job in self._farm.jobs(user=ident):
            job.record["user"] = SOMEONE
            if isinstance(job, Ended):
                job.result.update(replaced(job.result, ident, SOMEONE))
            elif job.job.by == ident:
                job.job.by = SOMEONE
            self._farm.board.tell("job", job.id)

    # The configuration

    def _configuration(self, ident: str) -> None:
        for kind in ("nodes", "projects"):
            for name, data in list(self._settings.folder(kind).items()):
                fresh = replaced(dict(data), ident, "")
                if fresh != data:
                    self._settings.write(kind, name, fresh)
        for name, data in list(self._settings.folder("tokens").items()):
            title = str(data.get("title") or "")
            if title.endswith(f" by {ident}"):  # of a computer's token: who admitted it
                self._settings.write("tokens", name, {**data, "title": title.removesuffix(ident) + SOMEONE})
        limits = dict(self._settings.get("limits"))
        users = limits.get("users")
        if isinstance(users, dict) and ident in users:
            limits["users"] = {name: most for name, most in users.items() if name != ident}
            self._settings.change(limits=limits)

    def _always(self, name: str) -> list[Said]:
        backups = key(
            "Backups keep {name} until they are thinned out: forget them again after restoring one."
        )
        return [
            say("What people wrote themselves stays: names of files, descriptions, words of notes, scenes."),
            say(backups, name=name),
            say("The server's and the renderers' logs may name them; files still belong to their login."),
        ]


def own_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file below that Croft wrote and that may name people, but for files' present records and notes;
    with the file that its companion folder is of, or ''."""
    for folder, names, found in os.walk(root):
        names[:] = [name for name in names if name not in (".croft-locks", "thumbs", "notes")]
        here = Path(folder)
        inside = here.relative_to(root).parts
        in_companion = paths.COMPANION in inside
        in_versions = in_companion and "versions" in inside[inside.index(paths.COMPANION) :]
        in_old = paths.OLD in inside
        there = set(found)
        file = ""
        if in_companion and inside[-1] != paths.COMPANION:
            at = inside.index(paths.COMPANION)
            file = str(root.joinpath(*inside[:at], inside[at + 1]))
        for name in found:
            if not name.endswith((".json", ".jsonl")):
                continue
            beside = name.removesuffix(".json") in there  # the record of what lies there
            kept = (in_companion and not in_versions) or ((in_versions or in_old) and beside)
            special = (in_versions and name == "version.json") or (in_old and name == "intent.json")
            version = paths.RENDER in inside and bool(VERSION.fullmatch(name))
            if kept or special or version:
                yield here / name, file


def _read(path: Path) -> bytes:
    try:
        return files.read_bounded(path, MOST_BYTES)[0]
    except OSError:
        return b""
