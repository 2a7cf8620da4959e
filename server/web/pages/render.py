"""The page that asks for a render with all that can be set: drawn from the job type's own settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths, speech
from server.disk.encoding import quote
from server.disk.errors import CroftError, NotFound
from server.disk.speech import say as say_later
from server.web import forms
from server.web.languages import known, say, told
from server.web.pages import about, cards
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.farm.job_types import JobType
    from server.farm.job_types.settings import Setting

Thing = dict[str, Any]

ORDERS = (
    ("", say_later("as suits the scene")),
    ("spread", say_later("first, last, middle, then in between")),
    ("linear", say_later("one after the other")),
)
OUTPUTS = {
    "version": say_later("a new version, in a folder of its own"),
    "scene": say_later("where the scene itself says"),
}
PER = {
    "frame": say_later("each frame by itself"),
    "chunk": say_later("several frames at a time"),
    "tile": say_later("in parts that several computers render"),
    "once": say_later("in one piece"),
    "list": say_later("each by itself"),
}
OTHERS = 50  # open renders that it may wait for


def page(shell: Shell, call: Call, ident: str, path: str) -> bottle.HTTPResponse:
    """`/p/<project>/render/<path>`, with `?type=` for another kind than the usual."""
    services = shell.services
    project = shell.project(ident)
    a = services.assets.one(f"{project.address}/{path}")
    user = call.user
    name = paths.name_of(a["address"])
    # What takes any file is for those who look after the farm.
    types = [
        one
        for one in services.farm.types.that_take(name)
        if user is not None and user.at_least(one.role if one.suffixes else "supervisor")
    ]
    types = [one for one in types if user is not None and user.at_least(one.role)]
    if not types:
        raise NotFound("{name} is no file that you can have rendered.", name=name)
    asked = call.query.get("type") or types[0].ident
    job_type = next((one for one in types if one.ident == asked), types[0])
    here = f"/p/{quote(ident, safe='')}/render/{quote(path, safe='/')}"
    first, last = about.span(a) or ("", "")
    return shell.page(
        call,
        "render.html",
        title=say("Render {name}", name=name),
        here="Files",
        project=project,
        a=a,
        name=name,
        back=f"/p/{quote(ident, safe='')}/asset/{quote(path, safe='/')}",
        action=here,
        kinds=[{"ident": one.ident, "title": known(one.title), "chosen": one is job_type} for one in types],
        kind=job_type,
        base=json.dumps({"file": a["address"]}),
        notices=notices(shell, call, {"file": a["address"], "type": job_type.ident}),
        jobs=f"/p/{quote(ident, safe='')}/job/",
        frames=_as_text(first, last) if job_type.frames == "range" else str(first),
        settings=[field(setting) for setting in job_type.settings.values() if not setting.advanced],
        advanced=[field(setting) for setting in job_type.settings.values() if setting.advanced],
        stages=stages(job_type),
        orders=ORDERS,
        outputs=[(output, OUTPUTS[output]) for output in job_type.outputs],
        others=others(shell, ident),
        groups=sorted({group for node in services.farm.machines.all() for group in node["groups"]}),
        priorities=cards.priorities(shell, project)
        if user is not None and user.at_least("supervisor")
        else [],
        picture=(a["thumbnail"] or "").replace("w=256", "w=1024"),
    )


def others(shell: Shell, ident: str) -> list[tuple[str, str]]:
    """The open renders of the project that this one can wait for, whole or frame by frame: value, words."""
    opened = [job for job in shell.services.farm.jobs(project=ident) if job.state in cards.OPEN]
    found = []
    for view in [shell.services.farm.view(job) for job in opened[:OTHERS]]:
        name = str(view["name"])
        found.append((_after(view["id"], "all"), name))
        if int(view["total"]) > 1:
            found.append((_after(view["id"], "frame"), say("{render}, frame by frame", render=name)))
    return found


def _after(job: str, by: str) -> str:
    return json.dumps([{"job": job, "by": by}])


def notices(shell: Shell, call: Call, base: Thing) -> list[Thing]:
    """What to know before it is asked for, as the form has it: its fields stand in the page's address."""
    user = call.require("guest")
    asked = forms.pairs_of(call.environ.get("QUERY_STRING", ""))
    body = forms.body_of([(name, value) for name, value in asked if name != "part"], {}, {})
    try:
        told = {**body, **base}
        found = shell.services.farm.check(user, {key: one for key, one in told.items() if one is not None})
    except CroftError as error:
        return [{"severity": "error", "text": error.message}]
    total = int(found.get("total") or 0)
    count = [{"severity": "note", "text": speech.count("{n} frame.", "{n} frames.", total)}] if total else []
    return [*count, *found["notices"]]


def _as_text(first: Any, last: Any) -> str:
    return str(first) if first == last else f"{first}-{last}"


def field(setting: Setting) -> Thing:
    """One setting as the form shows it."""
    default = setting.default
    if setting.type == "arguments":
        default = " ".join(default or ())
    return {
        "name": setting.name,
        "type": setting.type,
        "title": ", ".join(known(text) for text in (setting.title, setting.unit) if text),
        "help": known(setting.help),
        "value": "" if default is None else default,
        "kind": ":text" if default is None else "",
        "choices": [
            {"value": json.dumps(value), "title": known(str(title)), "chosen": value == default}
            for value, title in zip(setting.choices, setting.labels, strict=True)
        ],
        "least": setting.least,
        "most": setting.most,
        "needed": default is None and None not in setting.choices and setting.type == "arguments",
    }


def stages(job_type: JobType) -> list[Thing]:
    """What it will make, in order."""
    found = []
    titles = {stage.name: known(stage.title) for stage in job_type.stages}
    for stage in job_type.stages:
        after = [
            say("after “{step}” of the same frame", step=titles[one["stage"]])
            if one["by"] == "frame"
            else say("after all of “{step}”", step=titles[one["stage"]])
            for one in stage.after
        ]
        chunked = stage.per == "chunk" and isinstance(stage.chunk, int) and stage.chunk > 1
        how = PER["chunk" if chunked else "frame" if stage.per == "chunk" else stage.per]
        if stage.optional:
            after.append(say("left out where no computer can do it"))
        found.append(
            {
                "title": known(stage.title),
                "how": ", ".join([told(how), *after]),
            }
        )
    return found
