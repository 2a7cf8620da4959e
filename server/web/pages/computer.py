"""One computer: what it is, what it does and why, what it did last, and how people want it to work."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.speech import key
from server.disk.speech import say as say_later
from server.farm.nodes import schedule
from server.web.languages import say
from server.web.pages import computers, sheets, words
from server.web.pages.computers import GONE, button, change
from server.web.pages.shell import Shell
from server.web.requests import Call

LAST = 12  # tasks and choices that are shown
DAYS = {
    "mon": say_later("Mon"),
    "tue": say_later("Tue"),
    "wed": say_later("Wed"),
    "thu": say_later("Thu"),
    "fri": say_later("Fri"),
    "sat": say_later("Sat"),
    "sun": say_later("Sun"),
}
NIGHTS = [{"days": list(DAYS), "from": "20:00", "to": "07:00"}]
WEEKENDS = [
    {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "18:00", "to": "07:00"},
    {"days": ["sat", "sun"], "from": "00:00", "to": "00:00"},
]

View = Mapping[str, Any]


def page(shell: Shell, call: Call, name: str) -> bottle.HTTPResponse:
    """`/computers/<name>`."""
    farm, now, user = shell.services.farm, shell.now(), call.user
    view = farm.machines.one(name)
    supervisor = user is not None and user.at_least("supervisor")
    admin = user is not None and user.at_least("admin")
    row = computers.row(view, now)
    hours = schedule.read(view["schedule"])
    shown = hours.view()
    return shell.page(
        call,
        "computer.html",
        title=name,
        here="Computers",
        name=name,
        url=computers.api_of(name),
        view=view,
        row=row,
        sentence=sentence(shell, name),
        acts=acts(view, admin) if supervisor else [],
        doing=[computers.frame(one) for one in view["doing"]],
        last=[last(one, now) for one in farm.machines.recent(name)[:LAST]],
        choices=choices(shell, name, now),
        facts=facts(view, now),
        shares=shares(view),
        programs=programs(farm.machines.versions(name), now),
        may=supervisor,
        admin=admin,
        hours=[(one, json.dumps(shown[:n] + shown[n + 1 :])) for n, one in enumerate(shown)],
        hours_json=json.dumps(hours.view()),
        hours_words=hours.words(),
        week=week(hours),
        presets=presets(view),
        zone=str(shell.services.settings.get("timezone")),
        days=DAYS,
        tokens=[
            {**token, "made": words.when(token["created"], now)}
            for token in (shell.services.people.node_tokens(name) if admin else [])
        ],
    )


def sentence(shell: Shell, name: str) -> str:
    """What it does, or why nothing."""
    said = sheets.in_peoples_words(shell.services.farm.why_node(name)["sentence"])
    return words.capital(said) + ("" if said.endswith((".", "?")) else ".") if said else ""


def acts(view: View, admin: bool) -> list[dict[str, Any]]:
    """What can be done with it now, the first first."""
    name, state = str(view["name"]), str(view["state"])
    url = computers.api_of(name)
    found = [computers.act(view)]
    here = state not in GONE
    ours = not view.get("at")  # else its own server tells it
    if state == "sick":
        found.append(change(say("Pause"), url, "paused", True, False, name))
    if here and not view["paused"] and not view["draining"] and state != "leaving":
        found.append(change(say("Finish, then rest"), url, "draining", True, False, name))
    if (
        here
        and ours
        and state != "leaving"
        and view["protocol"] > 1
        and view.get("can_shutdown") is not False
    ):
        found.append(
            button(say("Switch it off"), f"POST {url}/shutdown", None, f"POST {url}/wake", None, name)
        )
    if here and ours and admin and view["behind"] and state != "updating":
        found.append(button(say("Update its program"), f"POST {url}/update", None, "", None, name))
    if admin and ours and not view["busy"]:
        found.append(button(say("Forget it"), f"DELETE {url}", None, f"POST {url}/remember", None, name))
    return [one for one in found if one]


def last(one: View, now: datetime.datetime) -> dict[str, Any]:
    """A task that it did or failed at."""
    project, job = str(one.get("project") or ""), str(one["job"])
    base = f"/p/{quote(project, safe='')}/job/{quote(job, safe='')}"
    reason = str(one.get("reason") or "")
    return {
        "at": words.when(one["at"], now),
        "text": computers.task(one),
        "url": f"{base}/frame/{one['n']}" if project else "",
        "state": ("failed", sheets.reason(reason) or say("Failed")) if reason else ("done", say("Done")),
    }


def choices(shell: Shell, name: str, now: datetime.datetime) -> list[dict[str, Any]]:
    """Why it was given what it was given, the newest first."""
    try:
        found = shell.services.farm.why_node(name)["choices"]
    except CroftError:
        return []
    return [
        {
            "at": words.when(one["at"], now),
            "text": say(
                "{render}, frame {frame}", render=one.get("name") or say("a render"), frame=one["frame"]
            )
            if isinstance(one.get("frame"), int)
            else str(one.get("name") or say("a render")),
            "why": str(one.get("why") or ""),
        }
        for one in found[:LAST]
    ]


def facts(view: View, now: datetime.datetime) -> list[tuple[str, str]]:
    """What it is and how it is, those that are known."""
    hardware, state = view.get("hardware") or {}, str(view["state"])
    here = state not in GONE
    gpus = [str(gpu.get("name")) for gpu in view.get("gpus") or []]
    told = sorted(view["programs"].items(), key=lambda pair: (pair[0] != "blender", pair[0]))
    programs = ", ".join(f"{name} {version}".strip() for name, version in told)
    found = [
        (say("Frames at once"), str(view["slots"])),
        (say("Has"), computers.hardware(view)),
        ("GPUs", ", ".join(gpus) if len(gpus) > 1 else ""),
        (say("System"), str(hardware.get("os") or "")),
        (say("Cores at work"), computers.load(view) if here else ""),
        (say("Memory free"), computers.memory(view) if here else ""),
        (say("Temperature"), computers.degrees(view) if here else ""),
        (say("Somebody at it"), say("yes") if here and view["at_keyboard"] else ""),
        (say("Renders with"), programs or (say("no renderer was found") if view["protocol"] > 1 else "")),
        (say("Can also do"), ", ".join(view["provides"])),
        (say("Network card"), str(view["power"]["mac"] or hardware.get("mac") or "")),
        (say("Last heard of"), say("now") if here else words.when(view.get("seen"), now) or say("never")),
        (say("Frames"), tally(view)),
        (say("A frame takes"), words.duration(view.get("pace"))),
        (
            say("Power saved"),
            words.duration(view["saved_hours"] * 3600) if view["saved_hours"] >= 0.1 else "",
        ),
        (say("Its server"), str(view.get("at") or "")),
        (say("Admitted by"), str(view["approved"])),
    ]
    return [(word, value) for word, value in found if value]


def chosen(one: View) -> str:
    """What it was given: 'sh010, frame 12'."""
    render = str(one.get("name") or say("a render"))
    if not isinstance(one.get("frame"), int):
        return render
    return say("{render}, frame {frame}", render=render, frame=one["frame"])


def tally(view: View) -> str:
    """How many frames it did since the server was started."""
    if not view["tasks"] and not view["failed"]:
        return ""
    done = words.number(view["tasks"], "done", "done")
    return f"{done}, {words.number(view['failed'], 'failed', 'failed')}" if view["failed"] else done


def shares(view: View) -> list[tuple[str, str]]:
    """Whether it sees the server's own files: glyph and sentence for each folder."""
    said = {
        "same": ("done", key("{share} is the same folder as the server’s: its marker says so.")),
        "other": (
            "needs",
            key(
                "{share} is another folder than the server’s. Mount the server’s share there and correct "
                "paths in its config.json; until then it gets nothing from it."
            ),
        ),
        "unproven": ("waiting", key("{share} has no marker there, so it can’t be proven to be the same.")),
    }
    return [
        (said[proof][0], say(said[proof][1], share=name)) for name, proof in sorted(view["shares"].items())
    ]


def programs(versions: list[tuple[float, str, str]], now: datetime.datetime) -> list[str]:
    """Which versions of its program have reported, the newest first."""
    return [
        f"{words.when(at, now)}: {version or say('unknown')}{f' ({build})' if build else ''}"
        for at, version, build in versions
    ]


def week(hours: schedule.Schedule) -> list[dict[str, Any]]:
    """The week as a sheet: a row for each day, a cell for each hour, and the same in words."""
    if not hours:
        return []
    rows = []
    for day, title in enumerate(DAYS.values()):
        cells = "".join("o" if _covers(hours, day, hour * 60 + 30) else "x" for hour in range(24))
        rows.append({"day": title, "cells": cells})
    return rows


def _covers(hours: schedule.Schedule, day: int, minute: int) -> bool:
    for window in hours.windows:
        if not window.crosses:
            if day in window.days and window.begins <= minute < window.ends:
                return True
        elif (day in window.days and minute >= window.begins) or (
            (day - 1) % 7 in window.days and minute < window.ends
        ):
            return True
    return False


def presets(view: View) -> list[dict[str, Any]]:
    """Hours that many want, as buttons."""
    url, was, name = computers.api_of(str(view["name"])), view["schedule"], str(view["name"])
    wanted: tuple[tuple[str, list[dict[str, Any]]], ...]
    wanted = ((say("Nights"), NIGHTS), (say("Nights and weekends"), WEEKENDS), (say("Always"), []))
    return [change(title, url, "schedule", hours, was, name) for title, hours in wanted if hours != was]
