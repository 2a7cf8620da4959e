"""Image sequences that are published where they lie: not a byte is copied.

Such a version stands in the companion like any other, `in_place`, with a manifest of its frames' sizes and
times beside its record. Nothing keeps the frames from being changed, so it is told what became of them: of a
whole folder at once for the command line, of one version for its page, which never waits for it (a thread
compares, and keeps what it found until the sequence changes).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from server.disk import faults, files, paths, sidecar
from server.disk.errors import BadInput, Broken, Conflict, CroftError, NotFound, ShareAway
from server.disk.follower import Follower
from server.disk.records import Change, Stat, utc_now
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..media import kinds
from ..people import User, require
from ..projects import Projects
from ..protection import folders
from ..saves import begun, frozen
from . import finding, manifest
from .finding import Sequence
from .manifest import Difference
from .rows import Folder, Row

__all__ = ["Difference", "Folder", "InPlace", "Row"]

log = logging.getLogger(__name__)

NICE = 10
KEPT = 2000  # assets whose comparison is remembered
UNSEEN_S = 60.0  # a sequence that the index doesn't know is compared again after so long
COMMENT_CHARACTERS = 2000
ARRIVING = say("It is still being written. Ask again in a moment.")


@dataclass(frozen=True, slots=True)
class _Compared:
    of: Stat | None  # the state of the sequence as the index knew it
    differences: Mapping[str, Difference]  # by version
    at: float


class InPlace(Follower):
    """Thread-safe."""

    def __init__(
        self,
        store: Store,
        projects: Projects,
        assets: Assets,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, "in-place", NICE)
        self._projects = projects
        self._assets = assets
        self._clock = clock
        self._wall = wall
        self._known: OrderedDict[str, _Compared] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._doing = False
        self.changed: Callable[[str], None] = lambda address: None  # a page may say more now

    # Finding

    def look(self, folder: str) -> Folder:
        """The sequences of a folder, each with what became of it since it was published. NotFound, BadInput.

        Takes a stat for each frame: for who is about to publish, not for a page.
        """
        share, inside = self._place(folder)
        found = finding.content(self._store.share(share), inside, self._globs())
        rows = [self._row(paths.join(folder, sequence.key), sequence) for sequence in found.sequences]
        below = [paths.join(folder, name) for name in found.folders if name != paths.RENDER]
        renders = paths.join(folder, paths.RENDER) if paths.RENDER in found.folders else ""
        return Folder(folder, rows, below, renders, found.others, found.links)

    def differences(self, address: str) -> dict[str, Difference]:
        """What became of the frames of each version of an asset that lies where it is. One listing and a stat
        for each frame. NotFound for the asset."""
        self._assets.get(address)
        found: dict[str, Difference] = {}
        now: dict[str, finding.Frames] = {}
        for record in self._records(address):
            # `check` tells of a manifest that is gone or can't be read.
            with contextlib.suppress(BadInput, Broken, NotFound):
                place = _sequence_of(address, record)
                if place not in now:
                    share, inside = self._place(place)
                    there = finding.one(self._store.share(share), inside, self._globs())
                    now[place] = there.frames if there is not None else {}
                found[record["version"]] = manifest.compare(self._manifest(address, record), now[place])
        return found

    def known(self, address: str) -> Mapping[str, Difference] | None:
        """As `differences`, but what was found last, without looking; None where that isn't known. Where it
        may be another by now it is found out in the background, and `changed` is told."""
        known, now = self._known.get(address), self._state(address)
        stale = known is None or known.of != now or (now is None and self._clock() - known.at > UNSEEN_S)
        entry = self._store.index.get(address)
        if stale and entry is not None and not entry.arriving:  # while it is written each look shows another
            with self._condition:
                self._wanted[address] = None
                self._condition.notify_all()
        return known.differences if known is not None else None

    # Publishing

    def publish(self, address: str, user: User, comment: str = "") -> tuple[str, dict[str, Any], bool]:
        """Register the sequence of this address as the next version: whose it is, its record, and whether
        that was made just now (not where the newest one in place is the same, frame by frame)."""
        require(user, "student")
        if len(comment) > COMMENT_CHARACTERS:
            raise BadInput(
                "The comment is longer than {comment_characters} characters.",
                field="comment", comment_characters=COMMENT_CHARACTERS,
            )  # fmt: skip
        share, inside = self._place(address)
        sequence = finding.one(self._store.share(share), inside, self._globs())
        if sequence is None:
            raise NotFound("There is no image sequence {name}.", address=address, name=paths.name_of(address))
        asset, why = self._asset(address, sequence)
        if why:
            raise Conflict(why, address=address)
        if asset == address:
            self._assets.check_protection(asset, user)
        self._take_in(asset, user)
        record, made = self._register(asset, address, sequence, user.ident, comment.strip())
        if made:
            folders.close(self._store, asset)
            self._store.tell(
                asset, user.ident, {"published": record["version"], "comment": record["comment"]}
            )
        return asset, record, made

    def goes_on(self, address: str) -> bool:
        """Whether this sequence's newest version lies where it is: so will the next, uncopied."""
        newest = next(iter(frozen.listed(self._store, address)), {})
        return bool(newest.get("in_place")) and _sequence_of(address, newest) == address

    # Within

    def _place(self, address: str) -> tuple[str, str]:
        """Share and inside of what people may publish from. BadInput, NotFound, ShareAway."""
        share, inside = paths.parse(address)
        self._store.share(share)
        if self._store.away(share):
            raise ShareAway("The share {share} isn’t mounted just now.", share=share)
        lost = self._store.scanner(share).lister.lost_branches()
        if lost:  # frames that lie there would seem to be gone
            raise ShareAway("A disk of the pool isn’t mounted: {lost}.", share=share, lost=", ".join(lost))
        globs = self._globs()
        for part in inside.split("/") if inside else ():
            if paths.is_ignored(part, globs):
                raise BadInput("What lies in {part} isn’t looked at: it can’t be published.", part=part)
        return share, inside

    def _globs(self) -> tuple[str, ...]:
        return tuple(self._store.settings.get("ignore"))

    def _row(self, address: str, sequence: Sequence) -> Row:
        asset, why = self._asset(address, sequence)
        row = Row(address, asset, sequence.facts, len(sequence.frames), sequence.size, why=why)
        row = replace(row, arriving=why is ARRIVING)
        newest = self._newest(asset, address) if asset else None
        if newest is None:
            return row
        with contextlib.suppress(CroftError):
            difference = manifest.compare(self._manifest(asset, newest), sequence.frames)
            return replace(
                row, version=newest["version"], at=str(newest.get("at") or ""), difference=difference
            )
        return row  # its manifest is gone: as if it had never been published

    def _asset(self, address: str, sequence: Sequence) -> tuple[str, str]:
        """Whose version a sequence is: its own, below `render` that of the file it was rendered from. And why
        it can't be one just now."""
        asset = address
        inside = paths.parse(address)[1].split("/")
        if paths.RENDER in inside[:-1]:
            asset = self._rendered_from(address, inside.index(paths.RENDER), sequence.key)
            if not asset:
                return "", say(
                    "What lies in a folder {render} belongs to the file that it was rendered from, and there "
                    "is none of that name. Move it to another folder.", render=paths.RENDER,
                )  # fmt: skip
        if self._projects.of(asset) is None:
            return "", say("It lies in no project.")
        if not faults.fits_a_record(sequence.key):
            return "", say("Its name is so long that no record fits beside it.")
        if len(sequence.frames) > finding.FRAMES_MOST:
            return "", say("It has more than {most:,} frames.", most=finding.FRAMES_MOST)
        return asset, ARRIVING if self._is_arriving(address, sequence) else ""

    def _rendered_from(self, address: str, at: int, key: str) -> str:
        share, inside = paths.parse(address)
        parts = inside.split("/")
        folder = paths.address(share, "/".join(parts[:at]))
        stem = parts[at + 1] if len(parts) > at + 2 else key.rpartition("@")[0].rstrip("._- ")
        found = [
            entry.address
            for entry in self._store.index.folder(folder)
            if entry.facts is not None and paths.own_stem(paths.name_of(entry.address)) == stem
        ]
        scenes = [one for one in found if kinds.kind(paths.name_of(one)) == "scene"]
        return (scenes or found)[0] if len(scenes or found) == 1 else ""

    def _is_arriving(self, address: str, sequence: Sequence) -> bool:
        age_s = self._wall() - sequence.changed_ns / 1e9
        if 0 <= age_s < float(self._store.settings.get("settle_s")):
            return True
        entry = self._store.index.get(address)
        same = entry is not None and entry.stat is not None and entry.stat.size == sequence.size
        return entry is not None and same and entry.arriving

    def _take_in(self, asset: str, user: User) -> None:
        """A sequence that isn't tracked yet becomes an asset."""
        entry = self._store.index.get(asset)
        if entry is None:
            self._store.refresh(asset)  # Race: it was copied there a moment ago
            entry = self._assets.get(asset)
        if entry.facts is None and not entry.broken:

            def make(data: dict[str, Any]) -> dict[str, Any]:
                return data or self._assets.first_record(asset, user.ident)  # Race: it was taken in meanwhile

            self._store.edit(asset, make, who=user.ident)

    def _register(
        self, asset: str, address: str, sequence: Sequence, who: str, comment: str
    ) -> tuple[dict[str, Any], bool]:
        """The version's record, unless the newest one in place is the same already."""
        share, path = self._store.for_people(asset)
        folder, disk, mode = frozen.folder_of(path), self._store.disk, frozen.RECORD_MODE
        with (
            self._store.locks(share.name).hold(frozen.lock_of(asset)),
            begun.noted(self._store, share, asset),
        ):
            newest = self._newest(asset, address)
            if newest is not None:
                with contextlib.suppress(CroftError):
                    if not manifest.compare(self._manifest(asset, newest), sequence.frames):
                        return newest, False
            files.make_folders(folder.parent, share.root, disk=disk)
            files.make_folders(folder, share.root, disk=disk, mode=files.OWN_MODE)
            begun.sweep_asides(folder)
            name = paths.version_folder(frozen.highest(folder) + 1, self._store.sites.suffix(share))
            record = {
                "schema": frozen.SCHEMA, "version": name, "at": utc_now(), "who": who, "comment": comment,
                "name": path.name, "size": sequence.size, "hash": sequence.hash, "in_place": True,
                "files": manifest.NAME, "sequence": _inside(asset, address), **_facts(sequence),
                "approved": False,
            }  # fmt: skip
            aside = begun.aside(folder)  # under a version's name there is only a whole one
            try:
                files.make_folders(aside, share.root, disk=disk, mode=files.OWN_MODE)
                files.write_atomic(
                    aside / manifest.NAME, manifest.dump(sequence.key, sequence.frames), disk=disk, mode=mode
                )
                files.write_atomic(aside / frozen.RECORD, sidecar.dump(record), disk=disk, mode=mode)
                disk.rename(aside, folder / name)
                files.sync_folder(folder, disk)
            except OSError as error:
                _drop(aside)
                files.fail(error, folder / name)
            except BaseException:
                _drop(aside)
                raise
        return record, True

    def _records(self, asset: str) -> list[dict[str, Any]]:
        """The versions of an asset that lie where they are, newest first."""
        return [record for record in frozen.listed(self._store, asset) if record.get("in_place")]

    def _newest(self, asset: str, address: str) -> dict[str, Any] | None:
        """The newest version that is this sequence."""
        same = (record for record in self._records(asset) if _sequence_of(asset, record) == address)
        return next(same, None)

    def _manifest(self, asset: str, record: Mapping[str, Any]) -> finding.Frames:
        place = paths.join(paths.companion_of(asset), "versions", str(record["version"]), manifest.NAME)
        return manifest.frames_of(self._store.read_json(place), place)

    def _state(self, address: str) -> Stat | None:
        """What the index knows of a sequence; None of what lies in `render`."""
        entry = self._store.index.get(address)
        sequence = entry is not None and kinds.kind(paths.name_of(address)) == "sequence"
        return entry.stat if entry is not None and sequence else None

    # The thread

    def _on_changes(self, changes: list[Change]) -> None:
        """Pages ask anew."""

    def _has_work(self) -> bool:
        return bool(self._wanted) or self._doing

    def _work(self) -> None:
        while True:
            with self._condition:
                self._doing = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                address = self._wanted.popitem(last=False)[0]
                self._doing = True
            try:
                self._compare(address)
            except CroftError as error:
                log.debug("%s can't be compared: %s", address, error.message)
            except Exception:
                self.faults += 1
                log.exception("%s can't be compared", address)

    def _compare(self, address: str) -> None:
        state = self._state(address)
        found = self.differences(address)
        before = self._known.get(address)
        self._known[address] = _Compared(state, found, self._clock())
        with contextlib.suppress(KeyError):  # Race: it is dropped by nobody else, but cheap to be sure
            self._known.move_to_end(address)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        if before is None or before.differences != found:
            self.changed(address)


def _facts(sequence: Sequence) -> dict[str, Any]:
    facts = sequence.facts
    return {
        "frames": facts.get("count", 0), "first": facts.get("first"), "last": facts.get("last"),
        "missing": facts.get("missing", ""),
    }  # fmt: skip


def _inside(asset: str, address: str) -> str:
    """Where the sequence lies, from the asset's folder; '' for the asset itself, however it is renamed."""
    if address == asset:
        return ""
    return paths.parse(address)[1].removeprefix(paths.parse(paths.folder_of(asset))[1]).removeprefix("/")


def _sequence_of(asset: str, record: Mapping[str, Any]) -> str:
    """The address of the sequence that a version is."""
    inside = record.get("sequence")
    return paths.join(paths.folder_of(asset), inside) if isinstance(inside, str) and inside else asset


def _drop(aside: Path) -> None:
    shutil.rmtree(aside, ignore_errors=True)
