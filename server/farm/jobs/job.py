"""One job in memory: what was asked for, and columns of what its journal says. No files, no clock, no locks.

Only the fold (`fold.py`) changes it, line by line. Tasks are columns (a byte of state, a number of attempt,
milliseconds, a node), not objects: 100,000 of them cost about three megabytes, and the next one that is
ready is found by `bytearray.find`. What its attempts took is in `usage`, what went wrong with them in
`troubles`, what its tasks made in the columns that `outputs.py` reads.
"""

from __future__ import annotations

from array import array
from typing import Any, Protocol

from server.farm.jobs import plan as plans
from server.farm.jobs import states
from server.farm.jobs.attempts import Claim
from server.farm.jobs.tasks import CLAIMED, DONE, FAILED, WAITING, Tasks
from server.farm.jobs.troubles import Troubles
from server.farm.jobs.usage import Usage

Event = dict[str, Any]


class Listener(Protocol):
    """Is told when claims come and go, to keep its own maps by node."""

    def claimed(self, job: Job, claim: Claim) -> None: ...
    def unclaimed(self, job: Job, claim: Claim) -> None: ...


class Job(Tasks):
    """A job's request (`record`, never changed) and all that its journal says of it."""

    def __init__(self, record: dict[str, Any], address: str, folder: str) -> None:
        super().__init__(record)
        self.record = record
        self.id: str = record["id"]
        self.address = address  # of the asset it belongs to
        self.folder = folder  # address of the job's own folder
        self.home = address.rpartition("/")[0]  # the folder of its snapshot and its frames
        self.share = address.partition("::")[0]
        self.retries = int(record.get("retries", 3))
        self.output: str = record.get("output", "version")
        self.requires: frozenset[str] = frozenset(record.get("requires") or ())
        self.listener: Listener | None = None
        self.claims: dict[int, Claim] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all that the journal said."""
        for task in list(self.claims):
            self.drop_claim(task)
        self.reset_tasks()
        tasks = self.tasks
        self.state = states.WAITING
        self.why = ""
        self.by = ""
        self.priority = int(self.record.get("priority", 3))
        self.plan = plans.read(self.record)
        self.site = str(self.record.get("site", ""))  # the installation that runs it
        self.latest = array("I", bytes(4 * tasks))  # number and random part of the newest attempt
        self.superseded = bytearray(tasks)  # 1: the newest attempt counts no more, and no other is out yet
        self.redone = bytearray(tasks)  # 1: asked for again once it was done, so old outputs lie about
        self.milliseconds = array("I", bytes(4 * tasks))  # of done tasks
        self.worker = array("H", bytes(2 * tasks))  # of done tasks, an index into `node_names`
        self.done_at = array("I", bytes(4 * tasks))  # of done tasks, seconds since the epoch
        self.memory = array("I", bytes(4 * tasks))  # of done tasks, the most they had, in MB
        self.node_names: list[str] = []
        self.node_index: dict[str, int] = {}
        self.usage = Usage()
        self.troubles = Troubles(self.retries)
        self.failures = self.troubles.failures
        self.strikes = 0  # tasks failed for good since one was done or a person said resume
        # What was made (`outputs.py`).
        self.sizes = array("Q", bytes(8 * tasks))  # of done tasks' outputs, in bytes
        self.output_bytes = 0
        self.names: dict[int, str] = {}  # outputs of done tasks that aren't called as the job says
        self.suffixes = [""] * len(self.stages)  # of their outputs: known from the first
        self.videos: dict[int, str] = {}  # done tasks that made a video -> what its name ends in
        self.frame_names: dict[int, str] = {}  # of a chunk's frames, the same by their place among all
        # Of a job in chunks: which of its frames lie there, the milliseconds and bytes of each.
        many = len(self.frames) if self.chunked is not None else 0
        self.there = bytearray(many)
        self.frame_milliseconds = array("I", bytes(4 * many))
        self.frame_sizes = array("Q", bytes(8 * many))
        # How far it is.
        self.left_out: dict[int, str] = {}  # stage -> why tasks of it were skipped
        self.started = ""
        self.ended = ""
        self.last_done = ""
        self.last_task = -1  # that was done
        self.changes: list[Event] = []  # files that it is rendered from and that changed meanwhile
        self.events = 0
        self.revived: tuple[int, Event] | None = None  # the last event that it went on by after its end
        self.bad = 0  # lines that made no sense

    def drop_claim(self, task: int) -> None:
        """A claim is out no more."""
        claim = self.claims.pop(task, None)
        if claim is not None and self.listener is not None:
            self.listener.unclaimed(self, claim)

    # -- questions ------------------------------------------------------------------------------------

    def may_finish(self, task: int, code: int) -> bool:
        """Is this the newest attempt at a task that isn't done? One that expired may still come in,
        as long as nobody else was given the task, and nobody asked for it again."""
        return (
            0 <= task < self.tasks
            and self.latest[task] == code
            and not self.superseded[task]
            and self.cells[task] in (CLAIMED, WAITING, FAILED)
            and self.state not in states.ENDED
        )

    def was_accepted(self, task: int, code: int) -> bool:
        """Is this the attempt whose result the task has?"""
        return 0 <= task < self.tasks and self.latest[task] == code and self.cells[task] == DONE

    def held(self, task: int, code: int) -> Claim | None:
        """The claim that is out under this code."""
        claim = self.claims.get(task)
        return claim if claim is not None and claim.code == code else None

    def done_by(self, task: int) -> str:
        """The node that a done task was done by."""
        return self.node_names[self.worker[task]]

    @property
    def open(self) -> bool:
        """Tasks of it may be given out."""
        return self.state in states.OPEN and any(self.ready)

    @property
    def finished(self) -> bool:
        """Nothing is left that can be done: what still waits does so for what has failed."""
        return not self.claims and not any(self.ready) and not self.held_back
