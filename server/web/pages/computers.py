"""The computers that render: who is there, who wants to join, what each is doing and why not."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import bottle

from server.disk.encoding import quote
from server.disk.speech import say as say_later
from server.farm.farm.powering import WENT
from server.web import languages, requests
from server.web.languages import count, say
from server.web.pages import listing, words
from server.web.pages.shell import Shell
from server.web.requests import Call

ROWS = 200
DOING = 4  # frames of one computer that a row names
GONE = ("away", "off", "waking")
KINDS = {  # what the filters are called, and which states they show; in the order of the page
    "rendering": (say_later("Rendering ‹just now›"), ("busy",)),
    "free": (say_later("Free"), ("idle",)),
    "look": (say_later("Need a look"), ("sick",)),
    "paused": (say_later("Paused"), ("paused", "draining", "hours", "used", "updating", "leaving")),
    "off": (say_later("Off or away"), GONE),
}
FIRST = {"sick": 0, "busy": 1, "idle": 2, "updating": 3, "leaving": 3, "draining": 3, "paused": 4}
PLAIN = ("idle", "busy", "away", "off")  # states that need no reason

View = Mapping[str, Any]


def page(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """`/computers`."""
    farm, now = shell.services.farm, shell.now()
    views = sorted(
        farm.machines.all(), key=lambda view: (FIRST.get(view["state"], 5), view["name"].casefold())
    )
    user = call.user
    supervisor = user is not None and user.at_least("supervisor")
    admin = user is not None and user.at_least("admin")
    wanted = call.query.get("show", "")
    states = KINDS[wanted][1] if wanted in KINDS else ()
    chosen = [view for view in views if not states or view["state"] in states]
    start = requests.number(call.query, "from", 0, 0, 10**9)
    shown = [row(view, now, supervisor) for view in chosen[start : start + ROWS]]
    return shell.page(
        call,
        "computers.html",
        title=say("Computers"),
        here="Computers",
        figure=figure(views),
        summary=summary(views, farm.powering.saved_hours()),
        asking=[asking(one, now) for one in farm.machines.asking()] if supervisor else [],
        filters=filters(views, wanted),
        rows=[one for one in shown if not one["once"]],
        once=[one for one in shown if one["once"]],
        more=f"?show={wanted}&from={start + ROWS}" if start + ROWS < len(chosen) else "",
        any=bool(views),
        farm_paused=farm.machines.paused,
        may_farm=supervisor,
        admin=admin,
        joining=bool(shell.services.settings.get("joining")),
    )


def figure(views: Sequence[View]) -> str:
    """The one figure of the page."""
    here = sum(1 for view in views if view["state"] not in GONE)
    busy = sum(1 for view in views if view["state"] == "busy")
    if not here:
        return say("No computer is on") if views else say("No computers yet")
    if busy:
        return count("{busy:,} of {n} rendering", "{busy:,} of {n} rendering", here, busy=busy)
    return words.number(here, "computer on", "computers on")


def summary(views: Sequence[View], saved_hours: float = 0.0) -> str:
    """The rest in one sentence, also for those who hear the page."""
    # One that was lent for a while and has ended is nobody's to miss.
    states = Counter(view["state"] for view in views if view["state"] != "away" or not view["single_use"])
    number = words.number
    said = [
        (states["idle"], number(states["idle"], "free", "free")),
        (states["sick"], number(states["sick"], "needs a look", "need a look")),
        (paused := states["paused"] + states["draining"], number(paused, "paused", "paused")),
        (
            busy := states["hours"] + states["used"],
            number(busy, "not for the farm just now", "not for the farm just now"),
        ),
        (states["waking"], number(states["waking"], "starting", "starting")),
        (states["off"], number(states["off"], "switched off", "switched off")),
        (states["away"], number(states["away"], "away", "away")),
    ]
    parts = [text for n, text in said if n]
    if saved_hours >= 1:
        parts.append(number(round(saved_hours), "hour of power saved", "hours of power saved"))
    return " · ".join(parts)


def filters(views: Sequence[View], wanted: str) -> list[dict[str, Any]]:
    """Links that show some of many, with their count."""
    found: list[dict[str, Any]] = [
        {"title": say("All ‹computers›"), "url": "/computers", "count": len(views), "here": not wanted}
    ]
    for kind, (title, states) in KINDS.items():
        count = sum(1 for view in views if view["state"] in states)
        if count or kind == wanted:
            found.append(
                {"title": title, "url": f"/computers?show={kind}", "count": count, "here": kind == wanted}
            )
    return found if len(found) > 2 else []


def asking(one: View, now: datetime.datetime) -> dict[str, Any]:
    """A computer that wants to join."""
    return {
        "key": listing.key(str(one["code"])),
        "name": one["name"],
        "code": one["code"],
        "with_": hardware(one),
        "address": one["address"],
        "since": words.when(one["since"], now),
        "replaces": one["replaces"],
        "url": "/api/farm/joining/" + quote(str(one["code"]), safe=""),
    }


def row(view: View, now: datetime.datetime, may: bool = False) -> dict[str, Any]:
    """A computer in words."""
    state = str(view["state"])
    frames = [frame(one) for one in view.get("doing") or []]
    return {
        "key": listing.key(str(view["name"])),
        "name": view["name"],
        "page": page_of(str(view["name"])),
        "once": bool(view.get("single_use")),
        "state": words.NODE_STATES.get(state, ("waiting", state)),
        "why": why(view),
        "notes": notes(view),
        "doing": frames[:DOING],
        "others": max(0, len(frames) - DOING),
        "slots": say("{busy} of {all}", busy=view["busy"], all=view["slots"]) if state not in GONE else "",
        "load": load(view) if state not in GONE else "",
        "memory": memory(view) if state not in GONE else "",
        "temperature": degrees(view) if state not in GONE else "",
        "groups": ", ".join([*(view.get("groups") or []), *filter(None, [view.get("prenode"), at(view)])]),
        "seen": say("now") if state not in GONE else words.when(view.get("seen"), now) or say("never"),
        "act": act(view) if may else None,
    }


def at(view: View) -> str:
    """With which server it talks, where that isn't this one."""
    return say("at {server}", server=view["at"]) if view.get("at") else ""


def page_of(name: str) -> str:
    """The address of a computer's page."""
    return "/computers/" + quote(name, safe="")


def api_of(name: str) -> str:
    return "/api/nodes/" + quote(name, safe="")


def frame(one: View) -> dict[str, Any]:
    """What it renders, with its page."""
    project = str(one.get("project") or "")
    return {
        "text": task(one),
        "url": f"/p/{quote(project, safe='')}/job/{quote(str(one['job']), safe='')}" if project else "",
        "percent": round(100 * float(one.get("progress") or 0.0)),
    }


def task(one: View) -> str:
    """'sh010, frame 12'."""
    words = languages.known(str(one.get("words") or "")) or say("a frame")
    return f"{one.get('name') or say('a render')}, {words}"


def why(view: View) -> str:
    """Why it gets no work, where its state doesn't say it."""
    state = str(view["state"])
    if state in ("off", "waking", "leaving") or (state == "away" and view.get("power_words")):
        said = str(view.get("power_words") or "")
        return "" if said == WENT else languages.known(said.removeprefix("is "))
    said = str(view.get("closed") or "")
    if state in PLAIN or not said:
        return ""
    for kind in ("paused ", "sick: ", "draining: "):
        said = said.removeprefix(kind)
    if state == "hours":
        return languages.known(said.partition("(")[2].rstrip(")"))
    plain = said in ("paused", "somebody is working at it", "being brought up to date")
    return "" if plain else languages.known(said)


def notes(view: View) -> list[tuple[str, str]]:
    """What an admin should know besides: glyph and sentence."""
    found = []
    if view.get("wrong_shares"):
        names = ", ".join(view["wrong_shares"])
        found.append(
            ("needs", say("Its folder {names} isn’t the server’s: mount the same one there.", names=names))
        )
    if view.get("clash"):
        found.append(("needs", say("Two computers have this name: give one of them another.")))
    if view.get("update_said"):
        found.append(("needs", say("It could not be updated: {why}", why=view["update_said"])))
    elif view.get("behind") and view["state"] != "updating":
        found.append(("waiting", say("Its program is older than the server’s.")))
    return found


def hardware(view: View) -> str:
    """'8 cores, 32 GB, 2 GPUs'."""
    found = view.get("hardware") or {}
    said = [words.number(int(found["cores"]), "core")] if isinstance(found.get("cores"), int) else []
    if isinstance(found.get("memory_mb"), (int, float)):
        said.append(gigabytes(found["memory_mb"]))
    gpus = view.get("gpus") or []
    if gpus:
        said.append(str(gpus[0].get("name")) if len(gpus) == 1 else words.number(len(gpus), "GPU"))
    return ", ".join(said)


def load(view: View) -> str:
    """'3.2 of 8': how many cores are at work."""
    found, cores = view.get("load"), (view.get("hardware") or {}).get("cores")
    if found is None:
        return ""
    busy = words.figure(found, 1)
    return say("{busy} of {all}", busy=busy, all=cores) if isinstance(cores, int) else busy


def memory(view: View) -> str:
    """'12 of 32 GB free'."""
    free, total = view.get("memory_free_mb"), (view.get("hardware") or {}).get("memory_mb")
    if free is None:
        return ""
    if not isinstance(total, (int, float)):
        return gigabytes(free)
    return say("{free} of {all}", free=words.figure(free / 1024, 0), all=gigabytes(total))


def gigabytes(megabytes: float) -> str:
    if megabytes >= 1024:
        return say("{n} GB", n=words.figure(megabytes / 1024, 0))
    return say("{n} MB", n=words.figure(megabytes, 0))


def degrees(view: View) -> str:
    found = view.get("temperature_c")
    return f"{found:.0f} °C" if found is not None else ""


def act(view: View) -> dict[str, Any] | None:
    """The one thing to do with it from the list: as its state is."""
    url, state, name = api_of(str(view["name"])), str(view["state"]), str(view["name"])
    if state == "off" or (state == "away" and view["power"]["wake"]):
        return button(say("Wake"), f"POST {url}/wake", None, "", None, name)
    if state == "leaving":
        return button(say("Keep it on"), f"POST {url}/wake", None, f"POST {url}/shutdown", None, name)
    if state == "sick":
        return button(say("Let it try again"), f"POST {url}/forgive", {}, "", None, name)
    if view.get("draining"):
        return change(say("Go on"), url, "draining", False, True, name)
    if view.get("paused"):
        return change(say("Go on"), url, "paused", False, True, name)
    if state in ("away", "waking"):
        return None
    if state == "sick":
        return button(say("Let it try again now"), f"POST {url}/forgive", None, "", None, name)
    return change(say("Pause"), url, "paused", True, False, name)


def change(label: str, url: str, key: str, to: Any, back: Any, name: str) -> dict[str, Any]:
    """A button that changes one thing about a computer."""
    return button(label, f"PATCH {url}", {key: to}, f"PATCH {url}", {key: back}, name)


def button(label: str, do: str, body: Any, undo: str, undo_body: Any, name: str) -> dict[str, Any]:
    """What templates make a button of."""
    return {
        "label": label,
        "name": name,
        "act": do,
        "body": "" if body is None else json.dumps(body),
        "undo": undo,
        "undo_body": "" if undo_body is None else json.dumps(undo_body),
    }
