"""Everything that answers a request, in one bundle that `app` fills and pages, API and wire take.

Knows no HTTP beyond the present bottle request; does nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bottle

from server.web.requests import Call

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.disk.store import Store
    from server.farm.farm import Farm
    from server.farm.forgetting import Forgetting
    from server.farm.pruning import Pruning
    from server.library.assets import Assets
    from server.library.backups import Backups
    from server.library.copies import Copies
    from server.library.creation import Creation
    from server.library.credits import Credits
    from server.library.dependencies import Dependencies
    from server.library.history import History
    from server.library.in_place import InPlace
    from server.library.ingest import Ingest
    from server.library.meant import Meant
    from server.library.media import Media
    from server.library.notes import Notes
    from server.library.people import People
    from server.library.problems import Problems
    from server.library.problems.mending import Mending
    from server.library.projects import Projects
    from server.library.protection import Protection
    from server.library.saves import Saves
    from server.library.setup import Setup
    from server.library.sites import Sites
    from server.library.tasks import Tasks
    from server.library.uploads import Uploads
    from server.library.versions.judged import Judged
    from server.web.events import Events
    from server.web.following import Following
    from server.web.languages import Languages
    from server.web.reel import Reels
    from server.web.session import Sessions
    from server.web.static import Static


@dataclass(slots=True)
class Counts:
    """Figures for /metrics. Plain additions: a lost one among threads does no harm."""

    requests: int = 0
    errors: int = 0  # answers of 500
    started: float = field(default_factory=time.time)
    by_status: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Services:
    """The rooms below, wired together."""

    config_dir: Path
    settings: Settings
    store: Store
    people: People
    projects: Projects
    assets: Assets
    media: Media
    ingest: Ingest
    creation: Creation
    saves: Saves
    protection: Protection
    meant: Meant
    in_place: InPlace
    backups: Backups
    copies: Copies
    sites: Sites
    notes: Notes
    dependencies: Dependencies
    history: History
    tasks: Tasks
    credits: Credits
    problems: Problems
    mending: Mending
    uploads: Uploads
    farm: Farm
    following: Following
    forgetting: Forgetting
    judged: Judged
    pruning: Pruning
    reels: Reels
    sessions: Sessions
    events: Events
    languages: Languages
    static: Static
    setup: Setup
    counts: Counts = field(default_factory=Counts)
    clock: Callable[[], float] = time.time
    only: str = ""  # "farm" or "pages" where a process serves one of them alone
    data_named: bool = False  # the command line says where the share `data` lies
    listens: str = ""  # the address that this process listens on, where it is known
    restart: Callable[[], None] | None = None  # begin anew with the configuration as it is then

    def call(self) -> Call:
        """The present request of a bottle route, with its user."""
        environ = bottle.request.environ
        call = environ.get("croft.call")
        if call is None:
            call = environ["croft.call"] = Call(environ)
            self.sessions.identify(call)
        assert isinstance(call, Call)
        return call
