"""What the farm adds to setting up: which computers answered and what they see, and a small test render.

The render is a project of its own, `croft-test`; whether it went well is told from its jobs, nothing is kept.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.disk.errors import Conflict, CroftError
from server.disk.speech import count, say
from server.library.setup.records import Check, note, right, todo, wrong

if TYPE_CHECKING:
    from server.farm.farm import Farm
    from server.library.people import User
    from server.web.services import Services

SCENE = Path(__file__).resolve().parents[2] / "misc" / "test_scene.blend"
PROJECT = "croft-test"
INSIDE = f"{PROJECT}/test.blend"
FRAMES = "1-4"
ARRIVES_S = 20.0
OPEN = ("waiting", "running", "paused")


def told(farm: Farm, listens: str = "") -> dict[str, list[Check]]:
    """The checks of the two steps that only a running farm knows of."""
    alone = []
    if listens and is_loopback(listens):
        text = say("Croft listens at {listens}, so only this machine reaches it.", listens=listens)
        alone.append(note(text, say("Start it with --host 0.0.0.0, as the unit of the service does.")))
    return {"nodes": [*computers(farm.machines.all()), *alone], "render": rendered(farm)}


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def computers(nodes: list[dict[str, Any]]) -> list[Check]:
    """Each computer that answered, and whether it sees the same share: by the marker's id."""
    checks = []
    for node in nodes:
        name, programs = node["name"], node.get("programs") or {}
        if node["state"] == "away":
            mend = say("Is it switched on, and its node started?")
            checks.append(note(say("{name} was there, and is away now.", name=name), mend))
        elif node["wrong_shares"]:
            shares = ", ".join(node["wrong_shares"])
            text = say(
                "{name} answers, but its {shares} is another folder than the server's.",
                name=name,
                shares=shares,
            )
            checks.append(wrong(text, say("Mount the server's share there, and paste the line again.")))
        elif node["protocol"] < 2:
            checks.append(
                note(say("{name} answers (a node of RFAM's, which can't prove what it sees).", name=name))
            )
        elif "blender" not in programs:
            text = say("{name} answers and sees the same folder, but has no Blender.", name=name)
            checks.append(
                note(text, say("Install it there, or name it in the node's config.json as 'blender'."))
            )
        else:
            told = sorted(programs.items(), key=lambda pair: (pair[0] != "blender", pair[0]))
            having = ", ".join(f"{program} {version}".strip() for program, version in told)
            checks.append(
                right(
                    say("{name} answers, sees the same folder, and has {having}.", name=name, having=having)
                )
            )
    if not any(check.state == "right" for check in checks):
        text = say("No computer that could render has answered yet.")
        checks.append(todo(text, say("Paste the line below on each.")))
    return checks


def rendered(farm: Farm) -> list[Check]:
    """How the newest test render went."""
    jobs = sorted(farm.jobs(project=PROJECT), key=lambda job: job.id)
    if not jobs:
        return [todo(say("Nothing was rendered for a test yet."), say("Start one below; it takes seconds."))]
    view = farm.view(jobs[-1])
    counts, (tasks, _) = view["counts"], farm.tasks(view["id"], limit=100)
    if view["state"] == "done":
        names = ", ".join(sorted({str(task["node"]) for task in tasks if task.get("node")}))
        said = count(
            "{n} frame was rendered by {computers}: {folder}",
                "{n} frames were rendered by {computers}: {folder}",
            counts["done"], computers=names or say("the farm"), folder=view["folder"],
        )  # fmt: skip
        return [right(said)]
    if view["state"] in OPEN:
        done, why = counts["done"], view.get("why")
        said = count(
            "{done} of {n} frame is rendered", "{done} of {n} frames are rendered", view["total"], done=done
        )
        return [todo(say("{said}: {why}", said=said, why=why) if why else said)]
    reasons = [str(task.get("reason") or "") for task in tasks if task["state"] == "failed"]
    reason = reasons[0] if reasons and reasons[0] else say("no reason was given")
    return [
        wrong(
            say("The test render is {state}: {reason}", state=view["state"], reason=reason),
            say("Mend it, then start another below."),
        )
    ]


def start_render(services: Services, user: User, wait: Callable[[float], None] = time.sleep) -> str:
    """Put the small scene on the share and submit it; its job's id. Conflict while one runs."""
    if any(job.state in OPEN for job in services.farm.jobs(project=PROJECT)):
        raise Conflict("A test render is at it already.")
    share = services.store.mounts.writable("data::").name
    address, project = f"{share}::{INSIDE}", f"{share}::{PROJECT}/project.json"
    if not os.path.exists(services.store.path(project)):
        said = {"title": "Test render", "description": "From setting up. The folder may be deleted."}
        services.store.write_json(project, said)
        services.store.refresh(project)
    if not os.path.exists(services.store.path(address)):
        aside = services.store.temporary(address)
        shutil.copyfile(SCENE, aside)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        services.store.place(aside, address, user.ident)
    services.store.refresh(address)
    last = time.monotonic() + ARRIVES_S
    while True:
        try:
            return str(services.farm.submit(user, {"file": address, "frames": FRAMES}).id)
        except CroftError:
            # Not known yet, or still arriving: a copy is given a moment to be whole.
            if time.monotonic() > last:
                raise
            wait(0.1)
