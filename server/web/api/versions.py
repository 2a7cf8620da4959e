"""The API of versions: which there are, published or rendered, and what is said of them.

Renders that nobody has approved are listed where they are asked for. Who may approve is the project's word.
"""

from __future__ import annotations

import contextlib
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, CroftError, Forbidden, NotFound
from server.disk.records import Change
from server.disk.speech import count, say
from server.farm.farm.judging import was_stopped
from server.library import versions
from server.web.api.saves import RENDERED, named, quoted, undo, version_view
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services

Record = dict[str, Any]


def list_versions(services: Services, call: Call) -> Answer:
    address, asked = call.params["address"], call.query
    services.assets.get(address)
    every = asked.get("unapproved", "") in ("1", "true")
    published: list[Record] = []
    rendered: list[Record] = []
    if asked.get("kind") != "render":
        published = [version_view(record, "published") for record in services.saves.versions(address)]
    if asked.get("kind") != "published":
        rendered = rows_of(services, address)
    shown = [row for row in rendered if every or row["approved"]]
    rows, following = page_of([*published, *shown], asked)
    text = say("{published} published, {rendered} rendered.", published=len(published), rendered=len(shown))
    if len(shown) < len(rendered):
        text = count(
            "{published} published, {rendered} approved; ?unapproved=1 lists {n} more render.",
            "{published} published, {rendered} approved; ?unapproved=1 lists {n} more renders.",
            len(rendered) - len(shown), published=len(published), rendered=len(shown),
        )  # fmt: skip
    return Answer(rows, text, next=following, is_list=True)


def rows_of(services: Services, address: str) -> list[Record]:
    """The rendered versions, the newest first; `current` is the one that the link leads to."""
    found = [version_view(record, "render") for record in versions.listed(services.store, address)]
    stands = versions.current(services.store, address)
    return [{**so_far(services, row), **row, "current": row["version"] == stands} for row in found]


def so_far(services: Services, row: Record) -> Record:
    """What the farm knows of a version that is being rendered; its record says it at the end."""
    if "statistics" in row or not row.get("job"):
        return {}
    with contextlib.suppress(CroftError):
        view = services.farm.view(str(row["job"]))
        told = {key: view[key] for key in ("seconds", "peak_memory_mb", "nodes")}
        return {"state": view["state"], "statistics": {"frames_done": view["counts"]["done"], **told}}
    return {}


def judge(services: Services, call: Call) -> Answer:
    """Approve, reject, or neither any more."""
    address, ident, body = call.params["address"], call.params["version"], call.body
    approved, rejected = bool(body.get("approved")), bool(body.get("rejected"))
    if not body.keys() & {"approved", "rejected"}:
        raise BadInput(say("Say approved, or rejected: true or false."), field="approved")
    user, entry = call.require("student"), services.assets.get(address)
    if not services.projects.may_approve(services.projects.of(address), entry, user):
        raise Forbidden(say("Only those may approve whom the project names: ask a supervisor."))
    name = ident.removeprefix(RENDERED)
    if paths.version_number(name) is None or name.endswith(".json"):
        raise NotFound("{named} has no version {ident}.", named=named(address), ident=ident[:40])
    comment = str(body.get("comment") or "")
    published = {str(one["version"]): one for one in services.saves.versions(address)}
    if name in published and not ident.startswith(RENDERED):
        kind, known = "published", published
        said = services.saves.approve(address, name, user, approved, rejected, comment)
    else:
        kind = "render"
        known = {str(one["version"]): one for one in versions.listed(services.store, address)}
        said = services.farm.judge(address, name, user.ident, approved, rejected, comment)
        services.store.notify([Change("asset", address)])
    record = version_view({**said, "version": name}, kind)
    told = {"approved": record["id"], "on": approved, "comment": comment[:300]}
    services.store.tell(address, user.ident, {**told, **({"rejected": True} if rejected else {})})
    file, n = paths.name_of(address), paths.version_said(name)
    text = words(record, file, n)
    if approved and kind == "render" and stopped(services, record):
        text = say(
            "Version {n} of {file} is approved. The frames that were still to come are stopped.",
            n=n,
            file=file,
        )
    return Answer({**record, "undo": back(address, name, record["id"], known, approved)}, text)


def stopped(services: Services, record: Record) -> bool:
    """Whether its approval ended its render."""
    return was_stopped(services.farm.board, str(record.get("job") or ""), record["version"])


def back(address: str, name: str, ident: str, known: dict[str, Record], approved: bool) -> Record:
    """The call that takes a word back: the one before it counts again."""
    prefix, was = ident.removesuffix(name), known.get(name) or {}
    other = next((one for one in known if approved and one != name and known[one].get("approved")), name)
    was = known.get(other) or was
    body: Record = {"approved": bool(was.get("approved")), "rejected": bool(was.get("rejected"))}
    comment = was.get("approved_comment" if not prefix else "comment")
    if comment:
        body["comment"] = str(comment)
    return undo("PATCH", f"/api/assets/{quoted(address)}/versions/{quote(prefix + other, safe='')}", body)


def prune(services: Services, call: Call) -> Answer:
    """What the policy would put away; with `yes` it is done."""
    user, yes = call.require("admin"), bool(call.body.get("yes"))
    rows = services.pruning.plan(call.body.get("project") or "")
    going = [row for row in rows if row.goes]
    if yes:
        going = [row for row in going if services.pruning.put_away(row, user.ident)]
        services.store.notify([Change("asset", address) for address in {row.address for row in going}])
    data = {
        "rows": [row.view() for row in going],
        "kept": [row.view() for row in rows if not row.goes],
        "bytes": sum(row.bytes for row in going),
        "done": yes,
    }
    if yes:
        return Answer(data, count("{n} version is put away.", "{n} versions are put away.", len(going)))
    return Answer(
        data, count("{n} version would be put away.", "{n} versions would be put away.", len(going))
    )


def words(record: Record, file: str, n: int | str) -> str:
    if record["approved"]:
        return say("Version {n} of {file} is approved.", n=n, file=file)
    if record.get("rejected"):
        return say("Version {n} of {file} is rejected.", n=n, file=file)
    return say("Version {n} of {file} is not approved any more.", n=n, file=file)


ASSET = "/api/assets/{address}"
ASKED: dict[str, Any] = {
    "unapproved": (
        {"type": "string", "enum": ["1", "true", "0", "false"]},
        "1: renders that nobody has approved, too",
    ),
    "kind": ({"type": "string", "enum": ["published", "render"]}, "only these"),
}
ROUTES = [
    Route("GET", ASSET + "/versions", list_versions,
          "published versions, and the approved one of its renders, or all of those; newest first",
          query={**ASKED, **PAGING}, listing=True, data=ref("Version"), errors=(409,), tag="saves"),
    Route("PATCH", ASSET + "/versions/{version}", judge,
          "approve a version, reject it, or take that back", role="student", body=ref("Approval"),
          data=ref("Version"), errors=(409,), tag="saves"),
    Route("POST", "/api/prune", prune, "renders that nobody needs any more: which they are, or put them away",
          role="admin", body=ref("Prune"), data=ref("Pruned"), errors=(404, 409), tag="saves"),
]  # fmt: skip
