"""What nobody came back for: interrupted additions are finished, old uploads go, and it is told.

An upload that waits longer than `upload_keep_days` loses its bytes and leaves a note for its person, which
stays as long again; what was added or removed is forgotten after a day.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import Any

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.records import Problem, utc_now
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store

from . import staging
from .adding import Adder
from .record import Upload
from .shelf import Shelf

log = logging.getLogger(__name__)

DAY_S = 24 * 3600.0


class Tidy:
    """Looks after the uploads of everybody. `sweep` may be called by several servers at once."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        shelf: Shelf,
        adder: Adder,
        wall: Callable[[], float],
        ask: Callable[[Upload], None],
        tell: Callable[[Upload], None],
    ) -> None:
        self._store, self._settings, self._shelf, self._adder = store, settings, shelf, adder
        self._wall, self._ask, self._tell = wall, ask, tell
        self._found: list[Problem] = []

    def sweep(self) -> None:
        """Look at every upload once."""
        old: dict[tuple[str, str], list[Upload]] = {}
        for upload in self._shelf.everybody():
            try:
                if self._look(upload):
                    old.setdefault((upload.project, upload.user), []).append(upload)
            except CroftError as error:
                log.info("upload %s isn't tidied: %s", upload.place, error.message)
            except Exception:
                log.exception("upload %s can't be tidied", upload.place)
        self._found = [self._problem(*whose, found) for whose, found in sorted(old.items())]

    def problems(self) -> list[Problem]:
        """Uploads that have waited for their person for more than half of their days."""
        return list(self._found)

    def _look(self, upload: Upload) -> bool:
        """Whether it will go soon."""
        added: Any = upload.added or {}
        if (upload.data.get("adding") and not added) or added.get("render") == "wanted":
            with self._shelf.try_hold(upload.place) as held:
                if held is not None:  # else the server that is at it finishes it
                    log.info("finishing the addition of %s", upload.name)
                    self._adder.finish(self._shelf.must(upload.place))
            self._tell(upload)
            return False
        keep_s = float(self._settings.get("upload_keep_days")) * DAY_S
        age_s = self._wall() - self._shelf.touched(upload)
        over = not upload.open or bool(upload.data.get("expired"))
        if age_s > (keep_s if upload.open else min(keep_s, DAY_S)):
            with self._shelf.hold(upload.place):
                self._forget(upload) if over else self._expire(upload)
            self._tell(upload)
            return False
        if not over and not upload.read:
            self._ask(upload)
        return not over and age_s > keep_s / 2

    def _forget(self, upload: Upload) -> None:
        shutil.rmtree(self._shelf.path(upload.place), ignore_errors=True)

    def _expire(self, upload: Upload) -> None:
        log.info("upload %s of %s was never added: its bytes go", upload.name, upload.user)
        gone = {"expired": utc_now(), "sha256": "", "picture": ""}
        self._shelf.write(upload.place, {**upload.data, **gone})
        staging.begin_again(self._shelf.path(upload.place), self._store.disk)

    def _problem(self, project: str, person: str, found: list[Upload]) -> Problem:
        days = float(self._settings.get("upload_keep_days"))
        size = sum(upload.size for upload in found) / 1e6
        names = ", ".join(upload.name for upload in found[:3]) + (" …" if len(found) > 3 else "")
        count = say("a file") if len(found) == 1 else say("{found} files", found=len(found))
        return Problem(
            f"uploads:{project}:{person}",
            "upload",
            paths.folder_of(paths.file_of_companion(found[0].place)),
            say(
                "{person} dropped {count} for {project} ({names}, {size:,.0f} MB) and hasn’t added "
                "them since.",
                person=person,
                count=count,
                project=project,
                names=names,
                size=size,
            ),
            say(
                "{person} adds or removes them on the page Drop. After {days:g} days they go by themselves.",
                person=person,
                days=days,
            ),
            severity="note",
        )
