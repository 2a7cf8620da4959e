"""The API of jobs: submitting, listing, changing and ending them, their tasks.

Also the short paths that studios' own tools expect; how those submit is `new_job`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.disk.encoding import quote
from server.disk.errors import BadInput, Forbidden
from server.disk.speech import count, say, together
from server.farm import frames
from server.farm.farm import Job
from server.library.people import User
from server.web.api.schema import JOB_STATES, TASK_STATES
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, number, page_of
from server.web.services import Services

FILTERS = {
    "project": (TEXT, "only this project's"),
    "state": ({"type": "string", "enum": JOB_STATES}, "only jobs in this state"),
    "user": (TEXT, "only this person's"),
    "file": (TEXT, "only jobs of this file, by its address"),
}
KEY_MOST = 200  # characters of an idempotency key
IDEMPOTENT = {"Idempotency-Key": "asked again with the same key, the answer is the same job, for a week"}
TASK_FILTERS = {
    "state": ({"type": "string", "enum": TASK_STATES}, "only tasks in this state"),
    "stage": (TEXT, "only this stage's; optional ones, like the preview, are told only so"),
}


def list_jobs(services: Services, call: Call) -> Answer:
    found, rows, following = asked_for(services, call)
    return Answer(
        services.farm.rows(rows), count("{n} job.", "{n} jobs.", len(found)), next=following, is_list=True
    )


def list_jobs_plain(services: Services, call: Call) -> Answer:
    found, rows, following = asked_for(services, call)
    views = [plain(services.farm.view(job)) for job in rows]
    return Answer(views, count("{n} job.", "{n} jobs.", len(found)), next=following, is_list=True)


def asked_for(services: Services, call: Call) -> tuple[list[Job], Sequence[Job], str | None]:
    """All jobs that a request means, those of its page, and where the next begins."""
    query = call.query
    found = services.farm.jobs(**{name: query.get(name, "") for name in FILTERS})
    rows, following = page_of(found, query)
    return found, rows, following


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A job's row under the names that farm tools of other houses know, too."""
    return {**row, "jobID": row["id"], "jobs-status": row["state"]}


def submit_job(services: Services, call: Call) -> Answer:
    user = call.require("student")
    view = submit(services, user, dict(call.body), call.header("idempotency-key"))
    location = ("Location", f"/api/jobs/{view['id']}")
    return Answer(view, said(view), 201, [location])


def said(view: dict[str, Any]) -> str:
    """What a new job waits for, and what it lacks: to be known before it is rendered."""
    warnings = view["warnings"]
    n = (
        len(frames.parse(view["frames"], 10**9)) if view.get("frames") else view["total"]
    )  # a task may be several
    text = count(
        "{name} waits for a computer: {n} frame.", "{name} waits for a computer: {n} frames.",
        n, name=view["name"],
    )  # fmt: skip
    if not warnings:
        return text
    more = count("And {n} more like this.", "And {n} more like this.", max(0, len(warnings) - 1))
    but = say("But: {warning}", warning=warnings[0])
    return together([text, but, more if len(warnings) > 1 else ""])


def check_job(services: Services, call: Call) -> Answer:
    user = call.require("student")
    request = {key: value for key, value in dict(call.body).items() if value is not None}
    request.pop("idempotency_key", None)
    found = services.farm.check(user, request, wait=True)
    if not found["notices"]:
        return Answer(found, say("All is well."))
    return Answer(found, found["notices"][0]["text"])


def submit(
    services: Services, user: User, request: dict[str, Any], key: str = "", owner: str = ""
) -> dict[str, Any]:
    """A new job, `owner`'s if not one's own; or that which was made when the same was asked before by this
    idempotency key, which may stand in the request."""
    request = {key: value for key, value in request.items() if value is not None}
    key = request.pop("idempotency_key", "") or key
    if len(key) > KEY_MOST:
        raise BadInput("Idempotency-Key is longer than {most} characters.", most=KEY_MOST)
    priority = request.get("priority")
    if priority is not None and not user.at_least("supervisor"):
        address = str(request.get("file", ""))
        usual = usual_priority(services, address)
        if priority > usual:
            raise Forbidden("Only a supervisor may set a priority above {usual}. Leave it out.", usual=usual)
    job = services.farm.submit(owner or user.ident, request, role=user.role, key=key)
    view: dict[str, Any] = services.farm.view(job)
    return view


def usual_priority(services: Services, address: str) -> int:
    entry = services.store.index.get(address)
    project = services.projects.of(address) if entry else None
    own = entry.facts.priority if entry and entry.facts else 0
    return max(own, project.render_priority if project else 3)


def show_job(services: Services, call: Call) -> Answer:
    view = services.farm.view(services.farm.job(call.params["id"]))
    return Answer(view, say("{name} is {state}.", name=view["name"], state=view["state"]))


def list_inputs(services: Services, call: Call) -> Answer:
    found = services.farm.inputs(call.params["id"])
    rows, following = page_of(found, call.query)
    return Answer(rows, count("{n} file.", "{n} files.", len(found)), next=following, is_list=True)


def change_job(services: Services, call: Call) -> Answer:
    ident, body = call.params["id"], call.body
    user = allowed(services, call)
    farm, said = services.farm, list[str]()
    priority = body.get("priority")
    if priority is not None and not user.at_least("supervisor"):
        raise Forbidden("Only a supervisor may set a job's priority.")
    if priority is not None:
        farm.set_priority(ident, priority, user.ident)
        said.append(say("Its priority is {priority} now.", priority=priority))
    plan = {key: body[key] for key in ("nodes_most", "start_after", "after") if key in body}
    if plan:
        farm.set_plan(ident, plan, user.ident)
        said.append(say("Noted."))
    if "requeue" in body:
        farm.requeue(ident, body["requeue"], user.ident)
        said.append(say("The frames are waiting again."))
    if body.get("paused") is True:
        farm.pause_job(ident, user.ident)
        said.append(say("It is paused: frames that render now are finished."))
    elif body.get("paused") is False:
        farm.resume_job(ident, user.ident)
        said.append(say("It goes on."))
    return Answer(farm.view(farm.job(ident)), together(said))


def cancel_job(services: Services, call: Call) -> Answer:
    user = allowed(services, call)
    services.farm.cancel(call.params["id"], user.ident)
    view = services.farm.view(services.farm.job(call.params["id"]))
    return Answer(view, say("Stopped {name}.", name=view["name"]))


def allowed(services: Services, call: Call) -> User:
    """The user, if the job is theirs or they are a supervisor."""
    user = call.require("student")
    view = services.farm.view(services.farm.job(call.params["id"]))
    if view.get("user") != user.ident and not user.at_least("supervisor"):
        raise Forbidden(
            "This render is {user}'s: ask them, or a supervisor.", user=view.get("user") or "somebody"
        )
    return user


def list_tasks(services: Services, call: Call) -> Answer:
    start = number(call.query, "cursor", 0, 0, 10**9)
    limit = number(call.query, "limit", 100, 1, 1000)
    ident = call.params["id"]
    query = call.query
    found, total = services.farm.tasks(ident, start, limit, query.get("state", ""), query.get("stage", ""))
    rows = [with_urls(ident, task) for task in found]
    following = str(start + limit) if start + limit < total else None
    return Answer(rows, count("{n} frame.", "{n} frames.", total), next=following, is_list=True)


def with_urls(ident: str, task: dict[str, Any]) -> dict[str, Any]:
    """A task as the farm tells it, its picture and log as URLs."""
    image = task.get("image") if task["state"] == "done" else None
    place = quote(image, safe="/:@") if image else ""
    return {
        **task,
        "address": image,
        "image": f"/files/{place}" if image else None,
        "thumbnail": f"/thumb/{place}?w=256" if image else None,
        "log": f"/api/jobs/{ident}/tasks/{task['n']}/log" if task.get("log") else None,
    }


def show_task(services: Services, call: Call) -> Answer:
    ident = call.params["id"]
    task = with_urls(ident, services.farm.task(ident, int(call.params["n"])))
    frames = task.get("frames")
    said = (
        say("Frames {frames} to {frames2} are", frames=frames[0], frames2=frames[1])
        if frames
        else say("Frame {frame} is", frame=task.get("frame"))
    )
    return Answer(task, f"{said} {task['state']}.")


ROUTES = [
    Route("GET", "/api/jobs", list_jobs, "jobs, newest first", query={**FILTERS, **PAGING}, listing=True,
          data=ref("Job"), errors=(404,), tag="jobs"),
    Route("POST", "/api/jobs", submit_job, "submit a render", role="student", body=ref("JobRequest"),
          data=ref("Job"), status=201, errors=(404, 409, 415), headers=IDEMPOTENT, tag="jobs"),
    Route("POST", "/api/jobs/check", check_job, "what to know before a render is submitted; changes nothing",
          role="student", body=ref("JobRequest"), data=ref("JobCheck"), errors=(404,), tag="jobs"),
    Route("GET", "/api/jobs/{id}", show_job, "one job", data=ref("Job"), tag="jobs"),
    Route("GET", "/api/jobs/{id}/inputs", list_inputs, "the files that a job is rendered from, with hashes",
          query=PAGING, listing=True, data=ref("JobInput"), errors=(409,), tag="jobs"),
    Route("PATCH", "/api/jobs/{id}", change_job, "pause, resume, set the priority, try frames again",
          role="student", body=ref("JobChange"), data=ref("Job"), errors=(409,), tag="jobs"),
    Route("DELETE", "/api/jobs/{id}", cancel_job, "stop a job; what is rendered stays", role="student",
          data=ref("Job"), errors=(409,), tag="jobs"),
    Route("GET", "/api/jobs/{id}/tasks", list_tasks, "a job's tasks", query={**TASK_FILTERS, **PAGING},
          listing=True, data=ref("Task"), errors=(409,), tag="jobs"),
    Route("GET", "/api/jobs/{id}/tasks/{n}", show_task, "one task", data=ref("Task"), errors=(409,),
          tag="jobs"),
    Route("GET", "/api/jobs/", list_jobs_plain, "the same, for tools that end it in a slash",
          query={**FILTERS, **PAGING}, listing=True, data=ref("Job"), errors=(404,), tag="jobs"),
    Route("GET", "/jobs", list_jobs_plain, "jobs, with jobID and jobs-status too",
          query={**FILTERS, **PAGING}, listing=True, data=ref("Job"), errors=(404,), tag="jobs"),
    Route("DELETE", "/jobs/{id}", cancel_job, "stop a job", role="student", data=ref("Job"), errors=(409,),
          tag="jobs"),
]  # fmt: skip
