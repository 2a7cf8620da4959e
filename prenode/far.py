"""What runs on a machine over there: one node, with its configuration in a folder of its own.

Copied beside the node into the folder that both sides see. `<run>.begun` is written there when it starts and
touched while it lives, `<run>.ended` when it ends: so the prenode knows what became of it, whatever the
scheduler tells. The token comes out of `node.json` in that folder, never from a command line.
`--check` starts nothing: it tries the renderer, the shares and the server, and writes what it found.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

HERE = Path(__file__).resolve().parent
BEAT_S = 20.0  # how often it shows that it lives
LOOK_S = 0.5  # how often it looks whether the node has ended, or is to
TOLD_S = 1.0  # for the node to have heard by itself that it is to end
IDLE = 75  # the node's exit code where it has delivered nothing
RENDER_S = 180.0
# The smallest render there is: enough to see that Blender and all its libraries are there.
TRY = (
    "import bpy, sys; s = bpy.context.scene; s.render.engine = 'CYCLES'; s.cycles.samples = 1; "
    "s.cycles.use_denoising = False; s.render.resolution_x = s.render.resolution_y = 16; "
    "s.render.resolution_percentage = 100; s.render.image_settings.file_format = 'PNG'; "
    "s.render.filepath = sys.argv[-1]; bpy.ops.render.render(write_still=True)"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="far", description="Runs one node for a prenode.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prenode", default="")
    parser.add_argument("--batch", default="")
    parser.add_argument("--index", default="1")
    parser.add_argument("--check", default="", metavar="FILE")
    parser.add_argument("--provides", action="append", default=[], metavar="LABEL")
    options = parser.parse_args()
    if options.check:
        return check(options.folder, Path(options.check))
    index = int(options.index) if options.index.isdigit() else 1  # Grid Engine says "undefined"
    return Far(options.folder, options.prenode, f"{options.batch}.{index}", options.provides).run()


class Far:
    """One run."""

    def __init__(self, folder: Path, prenode: str, run: str, labels: List[str]) -> None:
        self.folder, self.prenode, self.name, self.labels = folder, prenode, run, labels
        self.host = socket.gethostname().partition(".")[0] or "node"
        self._told = threading.Event()  # to end, from outside
        self._stopping = threading.Event()  # the node knows, and gives its claims back
        self._last = ""
        self._process: Optional["subprocess.Popen[bytes]"] = None

    def run(self) -> int:
        """The exit code for the scheduler: 0 unless something is wrong."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._told.set())
        marks = self.folder / "runs"
        begun = marks / f"{self.name}.begun"
        write(begun, {"host": self.host, "pid": os.getpid(), "at": time.time()})
        home = Path(tempfile.mkdtemp(prefix="croft-run-"))  # 0700
        try:
            code = self._render(home, begun)
        except (OSError, ValueError) as error:
            code, self._last = 1, str(error)
        finally:
            shutil.rmtree(home, ignore_errors=True)
        told = self._told.is_set()
        write(
            marks / f"{self.name}.ended",
            {"host": self.host, "code": code, "told": told, "why": self._last[-300:], "at": time.time()},
        )
        return 0 if code == IDLE else abs(code)

    def _render(self, home: Path, begun: Path) -> int:
        told = json.loads((self.folder / "node.json").read_text("utf-8"))
        config = home / "config.json"
        provides = sorted({*told.get("provides", []), *self.labels})
        named = {"name": f"{self.host}-{self.name}", "spool": "spool", "provides": provides}
        private(config, {**told, **named})
        environment = {**os.environ, "CROFT_PRENODE": self.prenode, "CROFT_RUN": self.name}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "node"), "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        stop, beat_at, told_at = begun.with_suffix(".stop"), time.monotonic(), float("inf")
        while True:
            try:
                code = self._process.wait(LOOK_S)
                break
            except subprocess.TimeoutExpired:
                pass
            if stop.exists():
                self._told.set()
            if self._told.is_set():
                told_at = min(told_at, time.monotonic())
            # Slurm tells every process of a job, others only this one; a node that is told twice breaks off.
            if time.monotonic() - told_at > TOLD_S and not self._stopping.is_set():
                self._stopping.set()
                self._process.terminate()  # it gives its claims back
            if time.monotonic() - beat_at > BEAT_S:
                beat_at = time.monotonic()
                touch(begun)
        reader.join(5)
        return code

    def _read(self) -> None:
        """The node's words go where the scheduler keeps them; the last are kept for the farm."""
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").strip()
            self._last = re.sub(r"^\d\d:\d\d:\d\d ", "", text) or self._last
            if "stopping: " in text:
                self._stopping.set()
            print(text, file=sys.stderr, flush=True)


# ---- the check


def check(folder: Path, answer: Path) -> int:
    """Tries everything that a node needs here. 0 where nothing is wrong."""
    wrong: List[str] = []
    right: List[str] = []
    programs: List[str] = []
    machine = socket.gethostname().partition(".")[0]
    try:
        told = json.loads((folder / "node.json").read_text("utf-8"))
        look(told, right, wrong, programs)
    except Exception as error:  # whatever it is, somebody has to hear of it
        wrong.append(f"the check failed: {error}")
    write(answer, {"machine": machine, "right": right, "wrong": wrong, "programs": programs})
    return 1 if wrong else 0


def look(told: Dict[str, Any], right: List[str], wrong: List[str], programs: List[str]) -> None:
    if sys.version_info < (3, 9):
        wrong.append("Python is {}.{}: 3.9 or newer is needed".format(*sys.version_info[:2]))
        return
    sys.path.insert(0, str(HERE))
    config, hardware = importlib.import_module("node.config"), importlib.import_module("node.hardware")

    home = Path(tempfile.mkdtemp(prefix="croft-check-"))
    try:
        private(home / "config.json", told)
        try:
            settings = config.load(home / "config.json")
            program = config.find_blender(settings)
        except config.ConfigError as error:
            wrong.append(str(error))
            return
        look_at_shares(settings, told, wrong, right)
        programs += sorted({*settings.programs, *(["blender"] if program else [])})
        if program is None:
            wrong.append('there is no Blender: name it in "node": {"blender": "/opt/blender/blender"}')
        elif program.package:
            right.append(f"Blender as a Python package, {hardware.blender_version(program)}")
        else:
            renders(program.argv[0], home, right, wrong)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def look_at_shares(settings: Any, told: Dict[str, Any], wrong: List[str], right: List[str]) -> None:
    """The server's own shares, by the ids on their markers."""
    theirs = told.get("shares") or {}
    here = settings.mounted()
    for name in sorted({*theirs, *settings.shares}):
        root = settings.shares.get(name)
        if root is None:
            wrong.append(f'the share {name} has no path: name it in "node": {{"paths": …}}')
        elif name not in here:
            wrong.append(f"the share {name} isn't at {root}: no marker is there; is it mounted?")
        elif theirs.get(name) not in (None, here[name]):
            wrong.append(f"{root} is another share than the server's {name}: its marker has another id")
        else:
            right.append(f"{name} at {root}")
    reach(settings, wrong, right)


def reach(settings: Any, wrong: List[str], right: List[str]) -> None:
    """Whether the server answers from here, to this token. Asks for nothing, says nothing of this machine."""
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for url, token in settings.servers:
        shown = url.partition("/t/")[0]
        request = urllib.request.Request(
            url + "/potential",
            b'{"protocol": 2, "name": "check", "check": true}',
            {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
        )
        try:
            with opener.open(request, timeout=30):
                right.append(f"the server at {shown}")
        except urllib.error.HTTPError as error:
            with error:
                wrong.append(f"the server at {shown} answers {error.code}: is its token right?")
        except OSError as error:
            wrong.append(f"the server at {shown} can't be reached: {getattr(error, 'reason', error)}")


def renders(blender: str, home: Path, right: List[str], wrong: List[str]) -> None:
    picture = home / "try.png"
    command = [blender, "-b", "--factory-startup", "--python-expr", TRY, "--", str(picture)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RENDER_S,
            check=False,
            cwd=str(home),
        )
    except subprocess.TimeoutExpired:
        wrong.append(f"{blender} rendered no picture within {RENDER_S:g} seconds")
        return
    except OSError as error:
        wrong.append(f"{blender} can't be run: {error.strerror}")
        return
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()
    if picture.is_file() and picture.stat().st_size:
        right.append(next((line for line in said if line.startswith("Blender ")), "Blender")[:60])
    else:
        told = [line for line in said if "rror" in line] or said[-1:] or ["it said nothing"]
        wrong.append(f"{blender} rendered no picture: {told[-1][:200]}")


# ---- files


def write(path: Path, content: Dict[str, Any]) -> None:
    """Whole or not at all; without a folder there is nobody to tell."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        print(f"far: {path} can't be written: {error}", file=sys.stderr)


def private(path: Path, content: Dict[str, Any]) -> None:
    content = {key: value for key, value in content.items() if key != "shares"}
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())
