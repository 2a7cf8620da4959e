"""The API of setting up: the steps as they stand, and one call that tries or does what a step offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.disk.errors import BadInput, Forbidden
from server.disk.records import Change
from server.disk.speech import count, say, together
from server.library.setup import Step, classlist, computer_name
from server.library.setup.records import Check, worst
from server.web import join, trial
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

JOINED = "computers that joined by the line of /setup"
Act = Callable[[Services, Call], str]


def show_steps(services: Services, call: Call) -> Answer:
    steps = services.setup.steps()
    open_ = sum(step.state in ("todo", "wrong") for step in steps)
    text = (
        say("{open_} of {steps} steps are still to do.", open_=open_, steps=len(steps))
        if open_
        else say("Everything is set up.")
    )
    return Answer([view(step) for step in steps], text)


def try_step(services: Services, call: Call) -> Answer:
    ident = call.params["step"]
    if ident not in ACTS:
        services.setup.step(ident)  # an unknown one is told
        raise BadInput("There is nothing to try in this step.")
    undo = None
    said = ACTS[ident](services, call)
    if ident == "people" and call.body.get("list") and not call.body.get("look"):
        made = services.setup.last_made
        body = {"remove": made}
        undo = {"method": "POST", "path": "/api/setup/people", "body": body} if made else None
    return Answer({**view(services.setup.step(ident)), "undo": undo}, said)


def view(step: Step) -> dict[str, Any]:
    return {
        "id": step.ident,
        "title": step.title,
        "about": step.about,
        "state": step.state,
        "checks": [asdict(check) for check in step.checks],
        "lines": [list(pair) for pair in step.texts],
    }


def sentence(checks: Sequence[Check]) -> str:
    """The worst check's words."""
    state = worst(checks)
    found = next((check for check in checks if check.state == state), None)
    return f"{found.text} {found.mend} {found.command}".strip() if found else say("Nothing was found.")


# What each step does


def choose_folder(services: Services, call: Call) -> str:
    path = call.body.get("path") or ""
    if not path:
        return sentence(services.setup.look_at(services.setup.data))
    if "\0" in path:
        raise BadInput("A path can't hold that character.", field="path")
    if services.data_named:
        text = say(
            "Croft was started with --data {data}: change it there, and start Croft again.",
            data=services.setup.data,
        )
        raise BadInput(text)
    checks = services.setup.choose(Path(path))
    if worst(checks) == "wrong":
        raise BadInput(sentence(checks), field="path")
    if services.restart is None:
        return say("{path} is the folder for the films once Croft is started again.", path=path)
    services.restart()
    return say("{path} is the folder for the films. Croft starts again with it, some seconds.", path=path)


def try_samba(services: Services, call: Call) -> str:
    body = call.body
    if body.get("called"):
        services.setup.call_it(body["called"])
        return say("Pages call the folder {called} from now on.", called=body["called"].strip())
    for name in ("student", "password", "share"):
        if any(letter in body.get(name, "") for letter in "\0\r\n"):
            raise BadInput("That holds a character that can't be.", field=name)
    student = body.get("student", "")
    return sentence(services.setup.try_samba(student, body.get("password", ""), body.get("share", "")))


def add_people(services: Services, call: Call) -> str:
    setup, body = services.setup, call.body
    if body.get("remove"):
        gone = setup.take_back(body["remove"])
        return count("{n} person is taken out again.", "{n} people are taken out again.", len(gone))
    known = {project.ident: project.title for project in services.projects.list()}
    listed = setup.read_list(body.get("list", ""), known)
    if listed.faults:
        told = [say("Line {line}: {text}", line=line, text=text) for line, text in listed.faults[:20]]
        lines = together(told)
        raise BadInput("{lines} Nothing was changed.", lines=lines, field="list")
    if body.get("look"):
        there = len(listed.rows) - len(listed.fresh)
        names = ", ".join(f"{row.title} ({row.ident}, {row.role})" for row in listed.fresh[:50])
        said = say(
            "Would add {fresh}: {names}. {there} are there already.",
            fresh=len(listed.fresh),
            names=names or "nobody",
            there=there,
        )
        films = ", ".join(f"{title} ({ident})" for ident, title in listed.projects.items())
        return say("{said} Would make the projects {films}.", said=said, films=films) if films else said
    if any(row.role == "admin" for row in listed.fresh):
        raise Forbidden("An admin isn't made by a list: python3 run.py user add NAME --role admin.")

    def make_project(ident: str, title: str) -> None:
        services.projects.create(title, call.require("admin"), ident=ident)

    setup.last_made = classlist.carry_out(listed, services.people, make_project)
    services.events.notify([Change("people", ident) for ident in setup.last_made])
    said = count("Added {n} person.", "Added {n} people.", len(setup.last_made))
    if listed.projects:
        return f"{said} {count('{n} new project.', '{n} new projects.', len(listed.projects))}"
    return said


def make_line(services: Services, call: Call) -> str:
    base = base_of(services, call)
    ended = services.people.revoke_unused(JOINED)  # a key that nobody used is nobody's any more
    token = services.people.make_token(node="*", title=JOINED)
    services.setup.joining = join.lines(base, token)
    said = say("Here is the line: paste it on each computer that shall render.")
    return say("{said} The one before, which nobody used, is no good any more.", said=said) if ended else said


def render(services: Services, call: Call) -> str:
    assert call.user is not None
    trial.start_render(services, call.user)
    return say("The test render has begun.")


def measure(services: Services, call: Call) -> str:
    return sentence(services.setup.measure_speed())


def back_up(services: Services, call: Call) -> str:
    if call.body.get("path"):
        if "\0" in call.body["path"]:
            raise BadInput("A path can't hold that character.", field="path")
        return sentence(services.setup.choose_backup(Path(call.body["path"])))
    return sentence(services.setup.practise(aside=True))


ACTS: dict[str, Act] = {
    "pool": choose_folder,
    "samba": try_samba,
    "people": add_people,
    "nodes": make_line,
    "render": render,
    "speed": measure,
    "backup": back_up,
}


def base_of(services: Services, call: Call) -> str:
    """The server's address as this browser reaches it: so do the computers beside it."""
    host = call.header("host") or f"{services.settings.get('host')}:{services.settings.get('port')}"
    name, mark, port = host.rpartition(":")
    if trial.is_loopback(name if mark else host) and not trial.is_loopback(services.listens or "127."):
        host = computer_name() + mark + port  # asked from the terminal of this machine
    if not all(letter.isalnum() or letter in ".-:[]_" for letter in host):
        raise BadInput("This address can't be a server's.")
    return f"{call.scheme}://{host}"


ROUTES = [
    Route("GET", "/api/setup", show_steps, "the steps of setting up, and what each has found", role="admin",
          data=ref("SetupSteps"), tag="setup"),
    Route("POST", "/api/setup/{step}", try_step, "try or do what a step offers", role="admin",
          body=ref("SetupTry"), data=ref("SetupStep"), errors=(404, 409, 503, 507), tag="setup"),
]  # fmt: skip
