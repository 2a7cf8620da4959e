"""`--check`: a little job on each machine over there, before anything is sent.

It renders the smallest picture there is, compares the shares' markers with the server's, and asks the server
from there. Prints a line a machine, and what is wrong; tells whether all is well. Which programs all that are
ready have is noted, so that no job is sent there which needs another.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set

from . import wire
from .config import Config
from .engine import Engine, EngineError, Item, Machine
from .marks import content
from .program import Program

LOOK_S = 0.2
LIST_S = 2.0
STATES_OVER = ("failed", "cancelled", "lost", "over", "done")
GRACE_S = 5.0  # for what a job wrote to be seen here


class Check:
    """One check of a whole place."""

    def __init__(
        self, config: Config, engine: Engine, program: Program, say: Callable[[str], None], wait_s: float
    ) -> None:
        self.config, self.engine, self.program = config, engine, program
        self._say, self._wait_s = say, wait_s
        self._id = secrets.token_hex(4)
        self._programs: List[Set[str]] = []  # of each machine that is ready

    def run(self) -> bool:
        """Whether every machine that takes work can do it."""
        well = self._server()
        try:
            machines = self.engine.machines() if self.engine.knows_machines else [Machine("", True, "")]
        except EngineError as error:
            self._say(f"{self.engine.title}: {error}")
            return False
        if not machines:
            self._say(f"{self.engine.title} knows no machine.")
            return False
        waiting: Dict[str, Path] = {}
        for number, machine in enumerate(machines):
            if not machine.usable:
                self._say(f"{machine.name}: {self.engine.title} gives it no work ({machine.why})")
                well = False
                continue
            try:
                waiting[machine.name or "a machine"] = self._submit(number, machine.name)
            except EngineError as error:
                self._say(f"{machine.name or self.engine.title}: {error}")
                well = False
        well = self._answers(waiting) and well
        if self._programs:
            self.program.note(sorted(set.intersection(*self._programs)))
        return well

    def _server(self) -> bool:
        """Asked from here, for the ids of its shares."""
        message = {"protocol": 2, "name": self.config.name, "check": True}
        try:
            answer = wire.ask(self.config.server, self.config.token, message)
        except (wire.Away, wire.Rejected) as error:
            self._say(f"here: {error}")
            return False
        shares: Any = answer.get("shares") if isinstance(answer, dict) else None
        self.program.configure(shares if isinstance(shares, dict) else {})
        return True

    def _submit(self, number: int, machine: str) -> Path:
        name = f"{self._id}-{number}"
        script = self.program.check(name)
        given = {
            "name": f"croft-check.{self.config.name}.{name}",
            "batch": f"check-{name}",
            "job": "check",
            "script": str(script),
        }
        self.engine.submit(1, given, self.engine.on_machine(machine) if machine else [])
        return self.program.folder / "checks" / f"{name}.json"

    def _answers(self, waiting: Dict[str, Path]) -> bool:
        well, end, list_at = True, time.monotonic() + self._wait_s, 0.0
        over: Dict[str, float] = {}
        items: Dict[str, Item] = {}
        while waiting and time.monotonic() < end:
            # A listing: over NFS it shows what a cached "not there" would hide.
            there = set(os.listdir(self.program.folder / "checks"))
            for machine, path in list(waiting.items()):
                told = content(path) if path.name in there else {}
                if told:
                    well = self._tell(machine, told) and well
                    del waiting[machine]
            now = time.monotonic()
            if self.engine.lists and now >= list_at:
                list_at = now + LIST_S
                items = self._listed() or items
                for machine, path in waiting.items():
                    item = items.get(path.stem)
                    if item is not None and item.state in STATES_OVER:
                        over.setdefault(machine, now)
            for machine in [name for name, at in over.items() if name in waiting and now - at > GRACE_S]:
                path = waiting.pop(machine)
                item, well = items[path.stem], False
                self._say(f"{machine}: {self._silent(path, item)}")
            time.sleep(LOOK_S)
        for machine, path in waiting.items():
            item = items.get(path.stem)
            state = f"; {self.engine.title} says: {item.state} {item.why}".rstrip() if item else ""
            self._say(f"{machine}: no answer within {self._wait_s:g} seconds{state}")
        self._clean_up(list(waiting.values()), items)
        return well and not waiting

    def _listed(self) -> Optional[Dict[str, Item]]:
        prefix = f"croft-check.{self.config.name}."
        try:
            return {item.name[len(prefix) :]: item for item in self.engine.list(prefix)}
        except EngineError:
            return None

    def _tell(self, machine: str, told: Dict[str, Any]) -> bool:
        wrong: List[str] = list(map(str, told.get("wrong") or []))
        seen = str(told.get("machine") or machine)
        shown = machine if machine != "a machine" else seen
        if wrong:
            for sentence in wrong:
                self._say(f"{shown}: {sentence}")
        else:
            self._programs.append({str(name) for name in told.get("programs") or []})
            self._say(f"{shown}: ready ({', '.join(map(str, told.get('right') or []))})")
        return not wrong

    def _silent(self, path: Path, item: Item) -> str:
        """Why a job that is over has written no answer."""
        logs = sorted((self.program.folder / "logs").glob(f"check-{path.stem}.*"))
        said = logs[0].read_text("utf-8", "replace").strip().splitlines() if logs else []
        if said:
            return f"the job failed: {said[-1][:300]}"
        return (
            f"the job {item.state} without a word: the folder {self.program.folder} "
            f"must be there under the same path, writable, with {self.config.python} to run it"
        )

    def _clean_up(self, silent: List[Path], items: Dict[str, Item]) -> None:
        """Jobs that nobody waits for any more are taken back; their files go."""
        ids = [(items[path.stem].id, items[path.stem].index) for path in silent if path.stem in items]
        try:
            if ids and self.engine.cancels:
                self.engine.cancel(ids, False)
        except EngineError:
            pass
        for folder in ("checks", "logs"):
            for path in (self.program.folder / folder).glob(f"*{self._id}*"):
                path.unlink(missing_ok=True)
