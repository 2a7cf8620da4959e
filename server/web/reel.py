"""The film of a project: its shots in order, and which pictures stand for each of them.

A shot shows its approved render, else the newest that has frames; one without any is a gap, which is shown as
such. A reel is one state of the film: every frame of it has a number, so that the pages can play it as one.
The newest few are kept, so that who watches one sees it to its end while others render on. Costs a look at
each job and shot of the project; disks are asked for approvals alone, once in a while and after a change.
"""

from __future__ import annotations

import datetime
import hashlib
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.disk import paths
from server.disk.errors import CroftError, NotFound
from server.disk.records import Entry
from server.disk.speech import say
from server.farm import frames as frame_ranges
from server.farm.committer.live import Ended
from server.farm.jobs.states import ENDED
from server.library import tasks

if TYPE_CHECKING:
    from server.disk.store import Store
    from server.farm.farm import Farm
    from server.library.assets import Assets
    from server.library.projects import Project
    from server.library.versions.judged import Judged

SHOT = "shot"  # where a set has such a type, other renders (a turntable, say) aren't of the film
GAP_S = 2.0  # how long a shot without a picture lasts where nobody says its frames
FPS = 24.0
SETTLED_S = 10.0  # what a disk has had for so long, the index knows
REELS_KEPT = 32
FRAMES_MOST = 10**7
GAP_MOST = 100_000  # frames of a shot by people's word

Job = Any  # of the farm: in memory, or its sum


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot in the film. `first` is the number of its first frame, from 0 on; `job` is '' for a gap."""

    entry: Entry
    name: str
    first: int
    count: int
    job: str = ""
    approved: bool = False

    @property
    def is_gap(self) -> bool:
        return not self.job


@dataclass(frozen=True, slots=True)
class Reel:
    """A film as it is at one moment."""

    tag: str
    shots: tuple[Shot, ...]
    total: int

    def at(self, n: int) -> Shot | None:
        """The shot that a frame is of."""
        if not 0 <= n < self.total:
            return None
        return self.shots[bisect_right([shot.first for shot in self.shots], n) - 1]


class Reels:
    """`of(project)` makes the present one. Thread-safe."""

    def __init__(
        self,
        store: Store,
        assets: Assets,
        farm: Farm,
        judged: Judged,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._assets = assets
        self._farm = farm
        self._judged = judged
        self._wall = wall
        self._lock = threading.Lock()
        self._rendered: dict[str, tuple[object, list[Entry]]] = {}  # of which files, and which of them
        self._reels: OrderedDict[tuple[str, str], Reel] = OrderedDict()

    def of(self, project: Project) -> Reel:
        """The film as it is now."""
        renders = self._renders(project)
        shots: list[Shot] = []
        first = 0
        for entry in self.shots(project):
            shot = self._shot(entry, renders.get(entry.address, []), first)
            shots.append(shot)
            first += shot.count
        said = "\n".join(f"{shot.entry.address} {shot.count} {shot.job}" for shot in shots)
        tag = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        reel = Reel(tag, tuple(shots), first)
        with self._lock:
            self._reels[project.ident, tag] = reel
            self._reels.move_to_end((project.ident, tag))
            if len(self._reels) > REELS_KEPT:
                self._reels.popitem(last=False)
        return reel

    def kept(self, project: Project, tag: str) -> Reel:
        """A film that somebody watches. NotFound where it is too long ago."""
        reel = self._reels.get((project.ident, tag)) or self.of(project)
        if reel.tag != tag:
            raise NotFound(say("The film has changed since. Load its page again."))
        return reel

    def shots(self, project: Project) -> list[Entry]:
        """What the film is made of, in order: by name, so that 2 comes before 10."""
        return film_of(self.rendered(project))

    def rendered(self, project: Project) -> list[Entry]:
        """Every asset of the project that is meant to be rendered, in the film's order."""
        everything = self._assets.find(project.ident)
        kept = self._rendered.get(project.ident)
        if kept is None or kept[0] is not everything:
            found = [one for one in everything if one.facts is not None and one.facts.render and one.stat]
            kept = self._rendered[project.ident] = (everything, found)
        return kept[1]

    def records(self, reel: Reel, start: int, limit: int) -> list[dict[str, Any]]:
        """What is there of so many frames from `start` on: number, path of the picture, job and its task."""
        found: list[dict[str, Any]] = []
        end = min(reel.total, start + limit)
        n = start
        while n < end:
            shot = reel.at(n)
            if shot is None:
                break
            low, high = n - shot.first, min(end - shot.first, shot.count)
            if shot.is_gap:
                found += [
                    {"n": shot.first + at, "shot": shot, "path": "", "task": 0} for at in range(low, high)
                ]
            else:
                found += self._records_of(shot, low, high)
            n = shot.first + shot.count
        return found

    def _records_of(self, shot: Shot, low: int, high: int) -> list[dict[str, Any]]:
        try:
            told, _ = self._farm.records(shot.job, low, high - low)
        except (CroftError, OSError):  # Race: the render was deleted meanwhile.
            return []
        return [
            {**one, "n": shot.first + one["n"], "shot": shot}
            for one in told
            if one["path"] and low <= one["n"] < high
        ]

    # Within

    def _renders(self, project: Project) -> dict[str, list[Job]]:
        """Each file's renders that have pictures, the newest first. Versions that were deleted have none."""
        found: dict[str, list[Job]] = {}
        for job in self._farm.jobs(project=project.ident):
            if not (job.record.get("folder") and done_of(job)):
                continue
            if job.record.get("version") not in self._versions(job.address) and self._is_settled(job):
                continue
            found.setdefault(job.address, []).append(job)
        return found

    def _is_settled(self, job: Job) -> bool:
        """Whether a render ended so long ago that the index surely knows its version."""
        if job.state not in ENDED:
            return False
        text = job.result.get("ended") if isinstance(job, Ended) else job.job.ended
        try:
            ended = datetime.datetime.fromisoformat(str(text)).timestamp()
        except ValueError:
            return True
        return self._wall() - ended > SETTLED_S

    def _versions(self, address: str) -> tuple[str, ...]:
        return self._store.index.versions(paths.render_folder(address))

    def _shot(self, entry: Entry, jobs: list[Job], first: int) -> Shot:
        name = tasks.name_of(entry)
        approved = self._judged.approved(entry.address) if jobs else ""
        chosen = next((job for job in jobs if approved and job.record.get("version") == approved), None)
        for job in [chosen, *jobs] if chosen is not None else jobs:
            text = str(job.record.get("frames") or "")
            try:
                count = len(frame_ranges.parse(text, max_frames=FRAMES_MOST))
            except CroftError:
                continue
            if count:
                return Shot(entry, name, first, count, job.id, job is chosen)
        return Shot(entry, name, first, gap(entry))


def film_of(rendered: list[Entry]) -> list[Entry]:
    """Of all that is rendered, what the film is made of: the shots, where anything is one."""
    shots = [entry for entry in rendered if entry.facts is not None and entry.facts.type == SHOT]
    return shots or rendered


def done_of(job: Job) -> int:
    """How many frames of a render are there."""
    counts = job.result.get("counts") if isinstance(job, Ended) else job.job.counts
    return int((counts or {}).get("done") or 0)


def gap(entry: Entry) -> int:
    """How many frames a shot without a picture lasts."""
    facts = entry.facts
    if facts is not None and facts.start is not None and facts.end is not None:
        return min(max(1, facts.end - facts.start + 1), GAP_MOST)
    return round(GAP_S * FPS)
