"""Builds Croft from a configuration folder and a data folder: opens the shares, wires the rooms together."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from server.disk.errors import CroftError
from server.disk.records import Change
from server.disk.settings import SINGLES, Settings
from server.disk.store import Store, configured_shares
from server.disk.watcher import Watcher
from server.farm.farm import Farm
from server.farm.forgetting import Forgetting
from server.farm.jobs.states import ENDED
from server.farm.pruning import Pruning
from server.library.assets import Assets
from server.library.backups import Backups
from server.library.copies import Copies
from server.library.creation import Creation
from server.library.credits import Credits
from server.library.dependencies import Dependencies
from server.library.history import History, of_render
from server.library.in_place import InPlace
from server.library.ingest import Ingest
from server.library.meant import Meant
from server.library.media import Media, ending
from server.library.notes import Notes, Seen
from server.library.people import People
from server.library.problems import Problems
from server.library.problems.mending import Mending
from server.library.problems.which import Which
from server.library.projects import Projects
from server.library.protection import Protection
from server.library.publishing import Validations
from server.library.saves import Saves
from server.library.setup import Setup
from server.library.sites import Sites
from server.library.tasks import Tasks
from server.library.uploads import Uploads
from server.library.versions.judged import Judged
from server.web import join, trial
from server.web.answers import Answers
from server.web.api.files import drop_unfinished
from server.web.events import Events
from server.web.following import Following
from server.web.languages import Languages
from server.web.reel import Reels
from server.web.services import Services
from server.web.session import Sessions
from server.web.static import Static

log = logging.getLogger(__name__)

CLONE = Path(__file__).resolve().parents[2]
READING_S = 1.5  # that a submission waits for what was saved a moment ago to be read


class Croft:
    """A running Croft: `.wsgi` answers, `.services` are its rooms, `.close()` ends every thread."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.wsgi = Answers(services)
        self._closed = False

    def close(self) -> None:
        """Stop: streams first, then the farm, then the disk. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        rooms = self.services
        for close in (
            rooms.following.close, rooms.events.close, drop_unfinished, rooms.history.close,
            rooms.uploads.close, rooms.in_place.close,
            rooms.problems.close, rooms.notes.close, rooms.sites.close, rooms.copies.close,
            rooms.protection.close,
            rooms.dependencies.close, rooms.farm.close, rooms.ingest.close, rooms.media.close,
            rooms.store.close,
        ):  # fmt: skip
            try:
                close()
            except Exception:
                log.exception("A room didn't close; the others do.")


def build(
    config_dir: Path | str,
    data_dir: Path | str | None,
    only: str = "",
    clock: Callable[[], float] = time.time,
) -> Croft:
    """Open the configuration and the shares, and wire the rooms together, lowest first."""
    config = Path(config_dir)
    settings = Settings(config)
    store = Store(settings, configured_shares(settings, data_dir))
    Watcher(store, complete=ending)
    people = People(settings)
    projects = Projects(settings, store)
    media = Media(store, settings, cache=config / "cache")
    dependencies = Dependencies(store, projects)
    assets = Assets(store, projects, people, hopeless=media.hopeless, dependencies=dependencies)
    ingest = Ingest(store, projects, assets, media)
    protection = Protection(store, projects, people, assets)
    validations = Validations(store, projects, assets, media, dependencies)
    saves = Saves(store, projects, assets, protection, validations)
    creation = Creation(store, projects, assets)
    in_place = InPlace(store, projects, assets)
    backups = Backups(settings, store, clock)
    saves.sources.append(backups)
    copies = Copies(store, projects, assets, saves)
    judged = Judged(store)
    store.open()
    saves.settle()
    projects.prepare()
    # Nodes don't speak to a server of pages alone: to it they would all seem to be off.
    farm = Farm(settings, store, projects, uses=dependencies.deep, reading_s=READING_S, power=only != "pages")
    farm.machines.offer(join.program())
    uploads = Uploads(store, settings, projects, assets, media)
    problems = Problems(store)
    mending = Mending(store, projects, assets)
    Which(store, mending)
    sites = Sites(store, people, saves, mending)
    notes = Notes(store, assets, people, Seen(config / "seen"))
    for room in (
        people, projects, ingest, copies, protection, farm.health, uploads, backups, dependencies, sites,
        validations,
    ):  # fmt: skip
        problems.add(room.problems)

    def watched() -> None:
        store.someone_is_active()
        problems.wake()

    events = Events(int(settings.get("event_streams")), watched=watched)
    store.subscribe(lambda changes: events.notify([one for one in changes if one.kind != "companion"]))
    farm.subscribe(lambda changes: tell_of_frames(changes, media, events))
    media.subscribe(lambda address: events.notify([Change("thumbnail", address)]))
    history = History(store, projects, saves, whose=people.of_uid)
    history.changed = lambda files: events.notify([Change("history", address) for address in files])
    ingest.start()
    copies.start()
    protection.start()
    in_place.start()
    sites.start()
    notes.start()
    dependencies.spoilt = lambda address: ingest.ask([address])
    dependencies.start()
    problems.start()
    uploads.adder.replace = lambda file, content, who, said, take: saves.replace(
        file, content, people.user(who), said, take=take
    )
    uploads.start(
        submit=lambda who, request: str(farm.view(farm.submit(who, request))["id"]),
        rendering=lambda file: next((job.id for job in farm.jobs(file=file) if job.state not in ENDED), ""),
    )
    if only != "farm":
        history.start()
        remember_renders(history, farm)
    changing = ("projects", "sets", "nodes", "job_types", "failure_rules")
    following = Following(
        events,
        {
            "people": (
                lambda: settings.folder("users"),
                *(partial(people.photos.urls, kind) for kind in ("users", "projects")),
            ),
            "config": [
                settings.mistakes,
                *(partial(settings.single, name) for name in SINGLES),
                *(partial(settings.folder, kind) for kind in changing),
            ],
        },
        changed=problems.look_again,
    )
    following.start()
    croft = Croft(
        Services(
            config_dir=config,
            settings=settings,
            store=store,
            people=people,
            projects=projects,
            assets=assets,
            media=media,
            ingest=ingest,
            creation=creation,
            saves=saves,
            protection=protection,
            meant=Meant(store, assets, protection, creation, saves),
            in_place=in_place,
            backups=backups,
            copies=copies,
            sites=sites,
            notes=notes,
            dependencies=dependencies,
            history=history,
            credits=Credits(settings, assets, projects),
            tasks=Tasks(assets, projects, dependencies),
            problems=problems,
            mending=mending,
            uploads=uploads,
            farm=farm,
            following=following,
            forgetting=Forgetting(store, settings, people, projects, notes, farm),
            reels=Reels(store, assets, farm, judged),
            judged=judged,
            pruning=Pruning(settings, store, projects, dependencies, notes, farm),
            sessions=Sessions(config, settings, people),
            events=events,
            languages=Languages(settings),
            static=Static(CLONE / "templates" / "static", config / "static"),
            setup=Setup(
                settings,
                people,
                store.share("data").root,
                told=lambda: trial.told(farm, croft.services.listens),
                done=lambda: events.notify([Change("share", "data")]),
            ),
            clock=clock,
            only=only,
        )
    )
    return croft


def tell_of_frames(changes: list[Change], media: Media, events: Events) -> None:
    """Browsers hear of jobs and nodes; a frame that arrived gets its thumbnail, which they hear of then."""
    told = []
    for change in changes:
        if change.kind == "frame":
            media.request(change.id)
        else:
            told.append(change)
    events.notify(told)


def remember_renders(history: History, farm: Farm) -> None:
    """The history tells who had what rendered, as the farm knows it."""
    known: dict[str, tuple[str, str]] = {}

    def put(job: Any) -> None:
        who = str(job.record.get("user") or "")
        if known.get(job.id) != (job.address, who):
            known[job.id] = (job.address, who)
            history.put(f"job:{job.id}", [of_render(job.id, job.address, job.record)])

    def changed(changes: list[Change]) -> None:
        for job_id in {change.id for change in changes if change.kind == "job"}:
            try:
                put(farm.job(job_id))
            except CroftError:
                if known.pop(job_id, None) is not None:
                    history.put(f"job:{job_id}", [])

    farm.subscribe(changed)
    history.renders = lambda file: [
        of_render(job.id, job.address, job.record) for job in farm.jobs(file=file)
    ]
    for job in farm.jobs():
        put(job)


def application() -> Any:
    """For other WSGI servers: `CROFT_CONFIG=… CROFT_DATA=… gunicorn 'server.web.app:application()'`."""
    config = os.environ.get("CROFT_CONFIG") or str(CLONE / "var" / "config")
    data = os.environ.get("CROFT_DATA") or str(CLONE / "var" / "data")
    croft = build(config, data, only=os.environ.get("CROFT_ONLY", ""))
    atexit.register(croft.close)
    return croft.wsgi
