"""`run.py demo`: everything that Croft is for, shown once, with nothing faked.

A server and one node of this machine on a share of their own under var/demo; Blender makes a small film;
it is copied onto the share as a student would; the server notices it; 24 frames are rendered and checked.
`--nodes N` shows a farm of N predictable nodes instead, for trainers and developers.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from server.cli import blender, examine
from server.cli.children import Child
from server.cli.client import CallFailed, Client, quote
from server.cli.places import CLONE
from server.cli.submit import follow
from server.disk.errors import CroftError
from server.disk.settings import Settings
from server.library.people import People

HOME = CLONE / "var" / "demo"  # or where --in says
FILM = "demo/shots/first-day.blend"
FRAMES = "1-24"
LONG_FRAMES = "1-1000"  # of the miniature farm, to watch
START_S = 60.0  # patience with each step, on a slow machine that does other things as well
RENDER_S = 900.0
LOOK_S = 0.1


def run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    home = Path(options.home or HOME).expanduser().resolve()
    if options.fresh and (home / "config" / "server.json").exists():  # a demo's folder, and no other
        shutil.rmtree(home)
    for folder in ("config", "data", "logs", "nodes"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing is left behind
    with ExitStack() as stack:
        lock = stack.enter_context((home / "demo.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CroftError(f"A demo runs in {home} already: end it, or choose another --in DIR.") from error
        demo = Demo(stack, home, options)
        if options.nodes:
            demo.miniature_farm(options.nodes)
        else:
            demo.film()
        say(f"All of it took {time.monotonic() - started:.0f} s.")
        if not options.exit:
            demo.stay()
    return 0


class Demo:
    """One run. What it starts ends with `stack`."""

    def __init__(self, stack: ExitStack, home: Path, options: argparse.Namespace) -> None:
        self.stack = stack
        self.home = home
        self.options = options
        self.children: list[Child] = []
        self.data = home / "data"
        self.people = People(Settings(home / "config"))

    # ---- the two shows

    def film(self) -> None:
        program = blender.find_or_install(self.configured_blender())
        say(f"Blender {blender.version(program)} at {program}")
        self.start_server()
        # A node takes Blender's Python package as such, without the wrapper that plays its command line.
        packaged = program == str(Path(sys.prefix) / "bin" / "blender")
        self.start_node("here", blender="bpy" if packaged else program, python=sys.executable)
        film = make_film(program, self.home)
        self.wait_for_nodes(1)
        address = self.copy_as_a_student_would(film, FILM)
        asset = self.wait_until_noticed(address)
        facts = asset["facts"]
        first, last = facts["frames"]
        say(f"The server noticed it: frames {first} to {last}, {facts['resolution'][0]} pixels wide.")
        job = self.render({"file": address, "frames": FRAMES})
        examine.render(self.client, self.data, job, asset)
        examine.pages(self.client, asset, job)
        examine.share(self.data, self.home / "config")
        say(f"24 frames are in {self.data / Path(job['folder'].partition('::')[2])}")
        say(examine.sentence(job))
        page = self.client.url + asset["url"]
        say(f"\nOpen {page}\nor {self.client.url}/p/demo/rendering and sign in as student.")

    def miniature_farm(self, nodes: int) -> None:
        self.start_server()
        self.start_node(*[f"n{number:02}" for number in range(1, nodes + 1)])
        self.wait_for_nodes(nodes)
        say(f"{nodes} nodes have introduced themselves.")
        pattern = self.home / "pattern.png"
        if not pattern.exists():
            draw_pattern(pattern)
        address = self.copy_as_a_student_would(pattern, "demo/shots/pattern.png")
        self.wait_until_noticed(address)
        job = self.render({"file": address, "frames": f"1-{nodes * 10}", "type": "test-pattern"})
        examine.render(self.client, self.data, job, None)
        say(examine.sentence(job))
        if not self.options.exit:
            request = {"file": address, "frames": LONG_FRAMES, "type": "test-pattern"}
            self.client.post("/api/jobs", {**request, "parameters": {"seconds": 2}})
            say(f"Submitted {LONG_FRAMES} too, 2 s each, so that there is something to look at.")
        say(f"\nOpen {self.client.url}/p/demo/rendering and sign in as student.")

    # ---- the steps

    def start_server(self) -> None:
        port = self.options.port if self.options.port is not None else free_port(8080)
        command = [sys.executable, str(CLONE / "run.py"), "serve", "--port", str(port)]
        command += ["--config", str(self.home / "config"), "--data", str(self.data)]
        server = self.start("server", command)
        line = server.wait_for_first_line(START_S)
        url = next((word.rstrip("/.") for word in line.split() if word.startswith("http://")), "")
        if not url:
            raise CroftError(f"The server didn't start: {server.last_words()}")
        self.client = Client(url, self.token(user="admin"))
        self.until(lambda: self.client.get("/api/projects"), "The server doesn't answer")
        say(f"The server listens at {url}")

    def start_node(self, *names: str, **more: str) -> None:
        """All these nodes in one process, each with its own configuration."""
        command = [sys.executable, str(CLONE / "node")]
        for name in names:
            config = self.home / "nodes" / f"{name}.json"
            told = {
                "name": name,
                "server": self.client.url,
                "token": self.token(node=name),
                "paths": {"data": str(self.data)},
                "processes": [0],
                **more,
            }
            config.write_text(json.dumps(told, indent=2))
            config.chmod(0o600)  # the token
            command += ["--config", str(config)]
        self.start("node", command)

    def wait_for_nodes(self, wanted: int) -> None:
        def here() -> bool:
            rows = self.client.get("/api/nodes", limit=1000)
            return sum(row["state"] in ("idle", "busy") for row in rows) >= wanted

        self.until(here, f"Not all of {wanted} nodes have introduced themselves")

    def copy_as_a_student_would(self, file: Path, inside: str) -> str:
        """A plain copy onto the share, over what may be there from the last time. Its address."""
        target = self.data / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        say(f"Copied {file.name} to {target.parent}")
        return f"data::{inside}"

    def wait_until_noticed(self, address: str) -> dict[str, Any]:
        """What the API says of the file once it has found it by itself and read it."""
        copied = (self.data / address.partition("::")[2]).stat()
        modified = datetime.datetime.fromtimestamp(copied.st_mtime, datetime.UTC)

        def noticed() -> dict[str, Any] | None:
            try:
                asset: dict[str, Any] = self.client.get(f"/api/assets/{quote(address)}")
            except CallFailed as error:
                if error.status == 404:
                    return None
                raise
            # Not what was there the last time, under the same name.
            told = datetime.datetime.fromisoformat(asset["modified"] or "1970-01-01T00:00:00Z")
            same = asset["size"] == copied.st_size and abs(told - modified) < datetime.timedelta(seconds=1)
            read = asset.get("facts") or asset["kind"] != "scene"
            return asset if asset["status"] == "ok" and same and read else None

        found: dict[str, Any] = self.until(noticed, "The server didn't notice the file")
        return found

    def render(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self.client.post("/api/jobs", request)
        say(f"Submitted {request['frames']} of {job['name']}:")
        job = follow(self.client, job["id"], RENDER_S)
        if job["state"] != "done":
            raise CroftError(f"The render is {job['state']}: {self.why(job)}")
        return job

    def stay(self) -> None:
        try:
            say("Press Ctrl-C to end.")
            while True:
                self.check_children()
                time.sleep(1)
        except KeyboardInterrupt:
            say("\nEnding …")

    # ---- helpers

    def start(self, name: str, command: list[str]) -> Child:
        child = self.stack.enter_context(Child(name, command, self.home / "logs" / f"{name}.log"))
        self.children.append(child)
        return child

    def token(self, *, user: str = "", node: str = "") -> str:
        """A token that ends with the demo."""
        token = self.people.make_token(user=user, node=node, title="run.py demo", lasts_s=7 * 24 * 3600)
        self.stack.callback(self.people.revoke, token.partition(".")[0])
        return token

    def until(self, look: Callable[[], Any], sentence: str) -> Any:
        """What `look` finds, once it finds something. It is asked again while the server isn't ready."""
        last = time.monotonic() + START_S
        trouble = ""
        while True:
            try:
                found = look()
                if found:
                    return found
            except CallFailed as error:
                if error.status not in (0, 401, 503):  # not up yet, token not read yet, share being read
                    raise
                trouble = " " + error.message
            self.check_children()
            if time.monotonic() > last:
                raise CroftError(f"{sentence} within {START_S:.0f} s.{trouble}")
            time.sleep(LOOK_S)

    def check_children(self) -> None:
        for child in self.children:
            if child.ended():
                raise CroftError(f"The {child.name} ended by itself: {child.last_words()}")

    def why(self, job: dict[str, Any]) -> str:
        """What is told of a job that isn't done: its first failed task's reason, or why it waits."""
        for task in self.client.get(f"/api/jobs/{job['id']}/tasks"):
            if task["state"] == "failed":
                return f"frame {task['frame']}: {task.get('reason') or 'no reason was given'}."
        return str(job.get("why") or f"it took longer than {RENDER_S:.0f} s.")

    def configured_blender(self) -> str:
        """What a person wrote into the node's configuration the last time."""
        try:
            return str(json.loads((self.home / "nodes" / "here.json").read_text()).get("blender") or "")
        except (OSError, ValueError, AttributeError):
            return ""


def make_film(program: str, home: Path) -> Path:
    """Let Blender make the scene, anew each time."""
    film = home / "first-day.blend"
    script = str(CLONE / "misc" / "demo_scene.py")
    command = [program, "--background", "--factory-startup", "--python-exit-code", "3", "--python", script]
    command += ["--", str(film)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=RENDER_S, check=False
    )
    if done.returncode or not film.exists():
        words = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CroftError(f"Blender didn't make the scene: {' '.join(words)}")
    say("Blender made a scene of 24 frames")
    return film


def draw_pattern(path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").resize((320, 180)).save(path)


def free_port(wanted: int) -> int:
    """The wanted port, or 0 for any where another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted


def say(text: str) -> None:
    print(text, flush=True)
