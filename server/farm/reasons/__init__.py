"""Why a job waits, and why a node was given what it was given: one sentence first, then all that counts.

Reads the board, the nodes and the scheduler; changes nothing. The sentence is cheap enough for a list of a
thousand jobs: what is the same for all jobs of one need is remembered for a moment.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from typing import Any

from server.disk.speech import count, say, together
from server.farm.committer.board import Board
from server.farm.committer.live import Ended, Live
from server.farm.jobs import inputs, states
from server.farm.jobs.job import Job
from server.farm.nodes import Node
from server.farm.nodes.node import NOT_OPEN
from server.farm.reasons import trouble
from server.farm.scheduler import Ahead, Need, misfit

REMEMBERED_S = 0.5  # how long it is remembered which nodes can serve a need
MOST_NODES = 1000  # that a list of reasons names
MOST_NEEDS = 1000
FREE = say("can do it, and has nothing else to do")

Reason = tuple[str, str]  # kind, text


class Reasons:
    """Made once; answers from what is in memory."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.elsewhere: Callable[[str], str] = lambda job: ""  # why one waits that isn't rendered here
        # Need -> as of which news of nodes, when, why nobody can serve it, whether somebody is idle.
        self._nobody: dict[Need, tuple[int, float, str, bool]] = {}

    # -- jobs -----------------------------------------------------------------------------------------

    def sentence(self, job: Live | Ended) -> str:
        """Why it is as it is; "" for one that is being rendered."""
        if isinstance(job, Ended):
            return str(job.result.get("why") or inputs.sentence(job.result.get("changed") or []))
        found = self._first(job)
        return found[1] if found is not None else ""

    def why(self, job: Live | Ended) -> dict[str, Any]:
        """`{"sentence", "reasons": [{"kind", "text"}], "nodes": [{"name", "text"}]}`."""
        if isinstance(job, Ended):
            said = self.sentence(job)
            return {
                "sentence": said or say("it is {state}", state=job.state),
                "reasons": [{"kind": job.state, "text": said}] if said else [],
                "nodes": [],
            }
        found = self._all(job)
        running = len({claim.node for claim in job.job.claims.values()})
        if running and job.state in states.OPEN:
            on = count(
                "it is being rendered on {n} computer", "it is being rendered on {n} computers", running
            )
            found.insert(0, ("running", on))
        if not found:
            found.append(("state", say("it is {state}", state=job.state)))
        waits = job.state not in states.ENDED
        return {
            "sentence": found[0][1],
            "reasons": [{"kind": kind, "text": text} for kind, text in found],
            "nodes": self._of_nodes(job) if waits else [],
        }

    def _first(self, live: Live) -> Reason | None:
        settled = self._settled(live) or self._awaits(live)
        if settled is not None or live.job.claims or live.job.state in states.ENDED:
            return settled
        return self._held(live) or self._limited(live) or self._nobody_can(live) or self._in_line(live)

    def _all(self, live: Live) -> list[Reason]:
        """Every reason that keeps it, or more of it, from being rendered; the first weighs most."""
        settled = self._settled(live) or self._awaits(live)
        if settled is not None:
            return [settled]
        if not live.job.counts["waiting"] or live.job.state in states.ENDED:
            return []
        found = [self._held(live), self._limited(live), self._nobody_can(live)]
        if not any(found):
            found.append(self._in_line(live))
        return [reason for reason in found if reason is not None]

    def _settled(self, live: Live) -> Reason | None:
        """Nothing of it is given out, however many nodes there are."""
        job, board = live.job, self._board
        if job.state == states.PAUSED:
            return "paused", job.why or (say("paused by {user}", user=job.by) if job.by else say("paused"))
        if job.state in states.ENDED:
            why = job.why or _ended_by(job) or inputs.sentence(live.changed)
            return (job.state, why) if why else None
        if not board.ours(job):
            return "elsewhere", say("it is rendered at {site}, not here", site=job.site)
        away = board.unready(job)
        if away:
            return "share", away
        if board.nodes.farm_paused:
            return "farm", say("the farm is paused")
        return None

    def _awaits(self, live: Live) -> Reason | None:
        """A licence or the like that was missing a moment ago."""
        board, troubles = self._board, live.job.troubles
        if not board.held(live):
            return None
        at = datetime.datetime.fromtimestamp(troubles.held_until, board.nodes.zone())
        why = troubles.held_why.rstrip(". ")
        return "licence", say("{why}: it is tried again at {at:%H:%M}", why=why, at=at)

    def _held(self, live: Live) -> Reason | None:
        """Something of its own has to come first."""
        board = self._board
        if board.contested(live.job):
            return "file", say("its file is being copied or moved: it begins when that is over")
        if not live.waiting.commandment:
            return "type", live.waiting.why
        waits = self._starts_later(live) or self._follows(live)
        if waits is not None:
            return waits
        if live.where in ("elsewhere", "nowhere") and (why := self.elsewhere(live.id)):
            return "place", why
        if live.rests_until > board.monotonic():
            return "disk", say("its disk did not answer: it is tried again in a moment")
        return None

    def _starts_later(self, live: Live) -> Reason | None:
        start = live.job.plan.start
        if start <= self._board.wall():
            return None
        zone = self._board.nodes.zone()
        when = datetime.datetime.fromtimestamp(start, zone)
        today = datetime.datetime.fromtimestamp(self._board.wall(), zone).date()
        days = (when.date() - today).days
        if days == 0:
            return "start", say("it starts today at {when:%H:%M}, as asked", when=when)
        if days == 1:
            return "start", say("it starts tomorrow at {when:%H:%M}, as asked", when=when)
        return "start", say("it starts on {when:%Y-%m-%d} at {when:%H:%M}, as asked", when=when)

    def _follows(self, live: Live) -> Reason | None:
        """What it waits for of other jobs, where nothing of it could be given out."""
        job = live.job
        if not job.held_back or any(job.ready):
            return None
        for after in job.plan.after:
            other = self._board.live.get(after.job) or self._board.ended.get(after.job)
            if other is None:
                gone = say(
                    "it waits for the job {job}, which is gone: cancel it, or let it go on", job=after.job
                )
                return "after", gone
            if other.state == states.DONE:
                continue
            name = other.record.get("name") or after.job
            how = _how_it_goes(other)
            if after.by == "frame":
                return "after", say("it waits for the same frames of {render}, {how}", render=name, how=how)
            return "after", say("it waits for {render}, {how}", render=name, how=how)
        return None

    def _limited(self, live: Live) -> Reason | None:
        ahead = self._board.line.ahead(live.job.id, live.works.index(live.waiting))
        kind, most = ahead.limit, ahead.most
        user, project = live.record.get("user"), live.record.get("project")
        if kind == "job":
            return "limit", _out(most)
        if kind == "user":
            return "limit", _out(most, str(user))
        if kind == "project":
            return "limit", _out(most, say("the project {project}", project=project))
        if kind:
            name = kind.removeprefix("licence ")
            return "licence", count(
                "the only licence of {program} is in use",
                "all {n} licences of {program} are in use",
                most,
                program=name,
            )
        return None

    def _nobody_can(self, live: Live) -> Reason | None:
        why, _ = self.capable(live.waiting.need)
        if not why and (live.stuck or live.job.troubles.needs_mb) and not live.job.claims:
            why = trouble.waiting_for(self._board, live)
        return ("nodes", why) if why else None

    def _in_line(self, live: Live) -> Reason:
        ahead = self._board.line.ahead(live.job.id, live.works.index(live.waiting))
        user = live.record.get("user") or say("nobody")
        if ahead.own:
            first = self._board.live.get(ahead.next)
            name = first.record.get("name") if first is not None else ""
            render, more = name or ahead.next, ahead.own - 1
            if not more:
                return "line", say("{user}'s {render} is before it", user=user, render=render)
            before = count(
                "{user}'s {render} and {n} more are before it",
                "{user}'s {render} and {n} more are before it",
                more, user=user, render=render,
            )  # fmt: skip
            return "line", before
        _, idle = self.capable(live.waiting.need)
        if idle:
            return "line", say("a computer will take it in a moment")
        return "line", _busy(ahead, str(live.record.get("project") or ""), user)

    def capable(self, need: Need) -> tuple[str, bool]:
        """Why no node can serve this need, "" where one can; and whether such a one has nothing to do."""
        board = self._board
        now = board.monotonic()
        news, since, why, idle = self._nobody.get(need, (-1, 0.0, "", False))
        if news != board.node_news or now - since > REMEMBERED_S:
            why, idle = self._look_for(need, now)
            if len(self._nobody) > MOST_NEEDS:
                self._nobody.clear()
            self._nobody[need] = (board.node_news, now, why, idle)
        return why, idle

    def _look_for(self, need: Need, now: float) -> tuple[str, bool]:
        heartbeat_s = self._board.nodes.heartbeat_s()
        nodes = [n for n in self._board.nodes.present() if n.state(now, heartbeat_s) not in NOT_OPEN]
        fitting = [node for node in nodes if not misfit(need, node.means)]
        able = [node for node in fitting if node.may_work(now, heartbeat_s)]
        if not able:
            asleep = _asleep([n for n in self._board.nodes.present() if not misfit(need, n.means)])
            if asleep:
                return asleep, False
            if not nodes:
                return say("no computer is on"), False
            if not fitting:
                return _misfits(need, nodes), False
            return _closed(fitting, now), False
        return "", any(len(node.held) < node.slots for node in able)

    def _of_nodes(self, live: Live) -> list[dict[str, str]]:
        """What each node has to say to this job."""
        now = self._board.monotonic()
        heartbeat_s = self._board.nodes.heartbeat_s()
        found = []
        barred = self._settled(live) or self._awaits(live) or self._held(live) or self._limited(live)
        kept = {
            told["node"]: say(
                "is kept from it until {time} UTC: {why}", time=told["until"][11:16], why=told["why"]
            )
            for told in trouble.avoided(self._board, live)
        }
        for node in self._board.nodes.all()[:MOST_NODES]:
            own = [claim for job_id, claim in list(node.held.values()) if job_id == live.job.id]
            text: str
            if own:
                text = say("renders it: {frames}", frames=_frames(live.job, [claim.task for claim in own]))
            elif node.state(now, heartbeat_s) in NOT_OPEN:
                text = node.power_words or say("is not running")
            else:
                cannot = misfit(live.waiting.need, node.means)
                text = (
                    say("can't: {why}", why=cannot)
                    if cannot
                    else kept.get(node.name) or self._free(node, now)
                )
                if barred and text == FREE:
                    text = say("could do it")
            found.append({"name": node.name, "text": text})
        return found

    def _free(self, node: Node, now: float) -> str:
        closed = node.closed(now)
        if closed:
            return closed
        if len(node.held) >= node.slots:
            return say("can do it, and is busy with {work}", work=self._busy_with(node))
        return FREE

    def _busy_with(self, node: Node) -> str:
        for job_id, _ in list(node.held.values()):
            live = self._board.live.get(job_id)
            if live is not None:
                user = live.record.get("user") or say("nobody")
                return say("{render} ({user})", render=live.record.get("name") or job_id, user=user)
        return say("other work")

    # -- nodes ----------------------------------------------------------------------------------------

    def why_node(self, node: Node) -> dict[str, Any]:
        """`{"sentence", "choices": […]}`: what it does or why not, and its newest choices with their why."""
        return {"sentence": self._node_sentence(node), "choices": self._choices(node)}

    def _node_sentence(self, node: Node) -> str:
        board, now = self._board, self._board.monotonic()
        heartbeat_s = board.nodes.heartbeat_s()
        if node.state(now, heartbeat_s) in NOT_OPEN:
            return say("it {does}", does=node.power_words) if node.power_words else say("it is not running")
        if board.nodes.farm_paused:
            return say("the farm is paused")
        closed = node.closed(now)
        if closed:
            return closed
        if node.held:
            return say("it renders {work}", work=self._busy_with(node))
        waiting = [need for need, _ in board.line.waiting()]
        if not waiting:
            return self._held_back() or say("no work waits")
        cannot = [why for need in dict.fromkeys(waiting) if (why := misfit(need, node.means))]
        if len(cannot) == len(set(waiting)):
            return say("it can do nothing of what waits: {why}", why=cannot[0])
        return say("it will be given work in a moment")

    def _held_back(self) -> str:
        """Why nothing is given out although work waits; "" where none does."""
        for live in list(self._board.live.values())[:MOST_NEEDS]:
            if live.job.state in states.OPEN and live.job.counts["waiting"]:
                for kind, why in self._all(live):
                    if kind != "line":
                        render = live.record.get("name") or live.id
                        return say(
                            "nothing that waits may begin now ({render}: {why})", render=render, why=why
                        )
        return ""

    def _choices(self, node: Node) -> list[dict[str, Any]]:
        found = []
        for chosen in self._board.choices.of(node.name):
            work = chosen.choice.work
            live = self._board.live.get(work.job)
            job = live or self._board.ended.get(work.job)
            record = job.record if job is not None else {}
            found.append(
                {
                    "at": chosen.at,
                    "job": work.job,
                    "stage": work.stage,
                    "n": chosen.task,
                    "frame": _frame_of(live, chosen.task),
                    "name": record.get("name") or work.job,
                    "project": work.project or None,
                    "user": work.user or None,
                    "kind": chosen.choice.kind,
                    "why": chosen.choice.why,
                }
            )
        return found


def _how_it_goes(job: Live | Ended) -> str:
    """What a job that others wait for does."""
    if isinstance(job, Ended) or job.state in states.ENDED:
        return say("which was cancelled") if job.state == states.CANCELLED else say("which failed")
    if job.state == states.PAUSED:
        return say("which is paused")
    counts = job.job.counts
    return count(
        "of which {done} of {n} is done",
        "of which {done} of {n} are done",
        job.job.total,
        done=counts["done"],
    )


def _frame_of(live: Live | None, task: int) -> Any:
    return live.job.task_frame(task) if live is not None and task < live.job.tasks else None


def _misfits(need: Need, nodes: list[Node]) -> str:
    """Why none of these nodes can do it: each lack once."""
    for names in (need.requires, need.programs):
        nowhere = sorted(
            n for n in names if not any(n in node.means.provides | node.means.programs for node in nodes)
        )
        if nowhere:
            return say("no computer here has {names}", names=", ".join(nowhere))
    lacks: dict[str, list[str]] = {}
    for node in nodes:
        lacks.setdefault(misfit(need, node.means), []).append(node.name)
    if len(lacks) == 1:
        return say("no computer can do it: {why}", why=next(iter(lacks)))
    said = [say("{name}: {why}", name=names[0], why=why) for why, names in list(lacks.items())[:3]]
    return say("no computer can do it: {why}", why=together(said, "; "))


def _asleep(fitting: list[Node]) -> str:
    """What becomes of those that could do it and are switched off; "" where none of them will be woken."""
    waking = [node.name for node in fitting if node.power_state == "waking"]
    if waking:
        if len(waking) == 1:
            return say("{computer} is being started for it", computer=waking[0])
        return count(
            "{computer} and {n} more are being started for it",
            "{computer} and {n} more are being started for it",
            len(waking) - 1,
            computer=waking[0],
        )
    off = [node for node in fitting if node.power_state == "off" and node.wishes.power.wake]
    if not off:
        return ""
    return say("the computers that can do it are switched off: they are woken as soon as they may")


def _closed(fitting: list[Node], now: float) -> str:
    """Why none of the nodes that could do it may: each reason once, the most frequent first."""
    if len(fitting) == 1:
        only = fitting[0]
        return say(
            "the only computer that can do it, {computer}, gets no work: {why}",
            computer=only.name,
            why=only.closed(now),
        )
    reasons = Counter(node.closed(now) for node in fitting)
    said = [say("{times} {why}", times=times, why=reason) for reason, times in reasons.most_common(3)]
    return say("no computer that can do it gets work now: {why}", why=together(said, "; "))


def _busy(ahead: Ahead, project: str, user: str) -> str:
    """Its owner's next, while all computers that can do it are busy."""
    have = [(project, ahead.project_in_use), *ahead.others[:3]]
    told = [say("{who} has {times}", who=name or say("no project"), times=times) for name, times in have]
    return say(
        "all computers that can do it are busy: {projects}; {user} has {times}",
        projects=together(told, ", "),
        user=user,
        times=ahead.user_in_use,
    )


def _out(most: int, who: str = "") -> str:
    return count(
        "{who} may have {n} frame out at once, and has it",
        "{who} may have {n} frames out at once, and has them",
        most,
        who=who or say("it"),
    )


def _frames(job: Job, tasks: list[int]) -> str:
    said = [job.words_for(task) for task in sorted(tasks)[:5]]
    return ", ".join([said[0], *(text.removeprefix("frame ") for text in said[1:])])


def _ended_by(job: Job) -> str:
    return say("cancelled by {user}", user=job.by) if job.state == states.CANCELLED and job.by else ""
