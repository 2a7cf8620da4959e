"""What lies in the folder that both sides see: the node's program, its configuration, each batch's script.

The program is copied into a folder named by its content, so that nodes that run are never changed under
their feet. The configuration holds the token and is readable for this user alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence

from .config import Config, ConfigError
from .marks import content

HERE = Path(__file__).resolve().parent
OURS = ("server", "token", "single_use", "update", "name", "spool")  # keys of a node that are set here


class Program:
    """Made once at start; `script` for each batch."""

    def __init__(self, config: Config, index: str) -> None:
        self.folder = config.folder
        self._config, self._index = config, index
        for name in ("runs", "logs", "checks"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)
        self.home = self._copy()
        self.configure({})

    def configure(self, shares: Dict[str, str]) -> None:
        """Write what the nodes over there are told. `shares`: the server's, by their markers."""
        told: Dict[str, Any] = {"processes": [0], **self._config.node}
        told.update(
            server=self._config.node.get("server") or self._config.server,
            token=self._config.node.get("token") or self._config.token,
            provides=sorted({*self._config.provides, *self._config.node.get("provides", [])}),
            single_use=True,
            update=False,  # the program comes from here
        )
        told["paths"] = self._paths(told.get("paths"))
        for key in ("name", "spool"):
            told.pop(key, None)
        if shares:
            told["shares"] = shares
        fresh = self.folder / ".node.json.new"
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(told, file, indent=1)
        os.replace(fresh, self.folder / "node.json")

    def note(self, programs: List[str]) -> None:
        """What a check has found on every machine that is ready."""
        fresh = self.folder / ".checked.json.new"
        fresh.write_text(json.dumps({"programs": programs}), "utf-8")
        os.replace(fresh, self.folder / "checked.json")

    def means(self) -> Dict[str, Any]:
        """What the machines over there have, as far as is known: programs once they were tried."""
        found: Dict[str, Any] = {"paths": sorted(self._config.node["paths"])}
        programs = content(self.folder / "checked.json").get("programs")
        if isinstance(programs, list):
            found["programs"] = programs
        return found

    def sweep(self) -> None:
        """Older versions of the node's program go."""
        for path in self.folder.glob("program-*"):
            if path != self.home:
                shutil.rmtree(path, ignore_errors=True)

    def script(self, batch: str, labels: Sequence[str] = ()) -> Path:
        """What the engine is given to run. `labels`: what its machines have, since they were asked for so."""
        index = "${CROFT_INDEX:-${SLURM_ARRAY_TASK_ID:-${SGE_TASK_ID:-${PBS_ARRAY_INDEX:-1}}}}"
        provides = [part for label in labels for part in ("--provides", label)]
        if self._index:
            index = f"${{{self._index}:-{index}}}"
        return self._write(
            f"{batch}.sh", ["--prenode", self._config.name, "--batch", batch, *provides], index
        )

    def check(self, name: str) -> Path:
        """The same for a check, which answers in a file of this name."""
        answer = str(self.folder / "checks" / f"{name}.json")
        return self._write(f"check-{name}.sh", ["--check", answer], "")

    def _write(self, name: str, arguments: List[str], index: str) -> Path:
        path = self.folder / ("checks" if name.startswith("check-") else "runs") / name
        command = [self._config.python, str(self.home / "far.py"), "--folder", str(self.folder), *arguments]
        line = " ".join(shlex.quote(part) for part in command) + (f' --index "{index}"' if index else "")
        path.write_text(f"#!/bin/sh\nexec {line}\n", "utf-8")
        path.chmod(0o700)
        return path

    def _paths(self, told: Any) -> Any:
        """A node's paths are looked at from its own folder, which is another one over there."""
        if isinstance(told, dict):
            return {name: str(self._config.file.resolve().parent / str(root)) for name, root in told.items()}
        raise ConfigError('"node" must have "paths": {"data": "/mnt/film"}, as they are over there')

    def _copy(self) -> Path:
        """The node beside this folder and `far.py`, in a folder named by what they hold."""
        node = next(
            (path for path in (HERE.parent / "node", HERE / "node") if (path / "main.py").exists()), None
        )
        if node is None:
            raise ConfigError(f"the folder node/ must lie beside {HERE}: it is what runs over there")
        files = sorted(path for path in node.rglob("*.py") if not hidden(path.relative_to(node)))
        whole = hashlib.sha256()
        for path in [HERE / "far.py", *files]:
            whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        home = self.folder / f"program-{whole.hexdigest()[:12]}"
        if not home.exists():
            fresh = self.folder / f".program-{os.getpid()}"
            shutil.rmtree(fresh, ignore_errors=True)
            for path in files:
                target = fresh / "node" / path.relative_to(node)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            shutil.copyfile(HERE / "far.py", fresh / "far.py")
            os.replace(fresh, home)
        return home


def hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)
