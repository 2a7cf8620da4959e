"""How the farm fares: what a person should know of it and mend, what holds up renders, figures for /metrics.

Looks at what is in memory, changes nothing; each kind of trouble is told where somebody could see to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from server.disk.records import Problem
from server.disk.speech import say
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.keeper import Keeper
from server.farm.committer.live import Live
from server.farm.farm.places import Places
from server.farm.farm.powering import Powering
from server.farm.farm.rows import Rows
from server.farm.jobs import states


class Health:
    """Made once by the farm."""

    def __init__(
        self,
        board: Board,
        committer: Committer,
        keeper: Keeper,
        places: Places,
        powering: Powering,
        rows: Rows,
    ) -> None:
        self._board = board
        self._committer = committer
        self._keeper = keeper
        self._places = places
        self._powering = powering
        self._rows = rows

    def held_up(self) -> dict[str, str]:
        """Of each project what holds up its renders, or some: their disk is nearly full."""
        board = self._board
        found: dict[str, str] = {}
        for live in self._short_of_room():
            project = str(live.record.get("project") or "")
            if project not in found:
                found[project] = say("Renders wait: {why}.", why=board.room.why(board.writes(live.job)))
        return found

    def metrics(self) -> dict[str, float]:
        """Figures for /metrics."""
        board = self._board
        lives, ended = list(board.live.values()), list(board.ended.values())
        found: dict[str, float] = {
            "commits_total": self._committer.commits,
            "faults_total": self._committer.faults + self._keeper.faults,
            "jobs_in_line": len(board.line),
            "refused_results_total": board.refused,
            "refused_reports_total": board.refused_reports,
            "claims": sum(len(live.job.claims) for live in lives),
            "tasks_done": sum(live.job.counts["done"] for live in lives)
            + sum(job.result.get("counts", {}).get("done", 0) for job in ended),
        }
        job_states = Counter([*(live.state for live in lives), *(job.state for job in ended)])
        for state in states.STATES:
            found[f"jobs_{state}"] = job_states[state]
        now, heartbeat_s = board.monotonic(), board.nodes.heartbeat_s()
        for state, count in Counter(n.state(now, heartbeat_s) for n in board.nodes.present()).items():
            found[f"nodes_{state}"] = count
        return found

    # -- problems -------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        """What a person should know."""
        return [
            *self._unshown(),
            *self._configuration(),
            *self._places.problems(),
            *self._board.room.problems(self._board.writes(live.job) for live in self._short_of_room()),
            *self._journals(),
            *self._nodes(),
        ]

    def _unshown(self) -> Iterator[Problem]:
        """Jobs that are here and yet can't be read, or have no row."""
        board = self._board
        wrong = {
            ident: why
            for ident, why in list(self._rows.wrong.items())
            if ident in board.live or ident in board.ended
        }
        for job_id, why in sorted({**wrong, **board.broken}.items()):
            text = say("The job {job} is not shown: {why}", job=job_id, why=why)
            mend = say("Put its folder back from a backup, or delete it.")
            yield Problem(f"job:{job_id}", "job", job_id, text, mend)

    def _configuration(self) -> Iterator[Problem]:
        board = self._board
        for why in board.wrong_limits:
            text = say("server.json: {why}", why=why)
            yield Problem("config:limits", "config", "server.json", text, say("Correct it there."))
        board.types.all()  # as they are now
        for ident, why in sorted(board.types.wrong.items()):
            mend = say("Correct the file; what it said before is used until then.")
            yield Problem(f"job-type:{ident}", "config", ident, why, mend)
        for ident, why in sorted(board.rules.wrong.items()):
            yield Problem(f"failure-rules:{ident}", "config", ident, why, say("Correct it in its folder."))
        for ident, why in sorted(board.nodes.wrong.items()):
            text = say(
                "In the configuration file nodes/{ident}.json something makes no sense: {why}",
                ident=ident,
                why=why,
            )
            yield Problem(f"node-file:{ident}", "config", ident, text, say("Correct it; the rest counts."))

    def _journals(self) -> Iterator[Problem]:
        """What jobs' journals say that can't be right."""
        for live in list(self._board.live.values()):
            job = live.job
            if live.place.bad or job.bad:
                text = say(
                    "{bad} lines of the journal of job {id} make no sense and are passed over. What "
                    "they said is lost, the rest counts.",
                    bad=live.place.bad + job.bad,
                    id=job.id,
                )
                mend = say("Nothing needs to be done; frames that are missing can be rendered again.")
                yield Problem(f"journal:{job.id}", "job", job.address, text, mend)
            if job.why.startswith("restored"):
                text = say("The job {id} was put back from a backup, to an earlier state.", id=job.id)
                mend = say("Look at its frames, then resume or cancel it.")
                yield Problem(f"restored:{job.id}", "job", job.address, text, mend)

    def _nodes(self) -> Iterator[Problem]:
        for node in self._powering.lost():
            text = say("The node {node} {did}.", node=node.name, did=node.power_words.partition(";")[0])
            mend = say("Look whether it has power and its cable, and whether Wake-on-LAN is on in its BIOS.")
            yield Problem(f"lost:{node.name}", "node", node.name, text, mend)
        for node in self._board.nodes.present():
            if node.means.wrong_shares:
                text = say(
                    "The node {node} has other data than this server under the name {names}.",
                    node=node.name,
                    names=", ".join(sorted(node.means.wrong_shares)),
                )
                mend = say("Correct the paths in its config.json; until then it gets no task there.")
                yield Problem(f"node:{node.name}", "node", node.name, text, mend)

    def _short_of_room(self) -> list[Live]:
        """Open jobs that wait for room on their disk."""
        board = self._board
        opened = [live for live in list(board.live.values()) if live.job.open]
        return [live for live in opened if board.room.low(board.writes(live.job))]
