"""Who is in the team, what each of them does now, and who helps whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.library.tasks import Work
from server.web.languages import count, say
from server.web.pages import home, listing
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

FREE = 12  # tasks of nobody that are told


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/team`."""
    project = shell.project(ident)
    work = shell.services.tasks.of(project)
    people = members(shell, project, work)
    free = work.free()
    return shell.page(
        call,
        "team.html",
        title=say("Team of {project}", project=project.title),
        here="Team",
        project=project,
        under=project.address + "/",
        people=[member(shell, project, work, one) for one in people],
        summary=count("{n} person", "{n} people", len(people)),
        free=[home.line(shell, project, entry) for entry in free[:FREE]],
        more=max(0, len(free) - FREE),
        free_page=f"{listing.page_of(ident)}?owner=none&sort=-priority",
        may_take=call.user is not None and call.user.at_least("student"),
        may_people=call.user is not None and call.user.at_least("admin"),
    )


def members(shell: Shell, project: Project, work: Work) -> list[str]:
    """Who is of the project: those whom their files put into it, those who own or support something of it,
    and where nobody is put into any project, everybody who isn't a guest. By name."""
    users = {user.ident: user for user in shell.services.people.users() if not user.disabled}
    own = {ident for ident, user in users.items() if project.ident in user.projects}
    busy = {owner for owner in work.by_owner if owner in users}
    busy |= {one for owner in work.by_owner for one in helpers(work, owner) if one in users}
    open_to_all = {ident for ident, user in users.items() if not user.projects and user.role == "student"}
    found = own | busy | (open_to_all if not own else set())
    present = [one for one in found if users[one].role != "guest"]
    return sorted(present, key=lambda one: (shell.person(one)["title"].casefold(), one))


def helpers(work: Work, owner: str) -> tuple[str, ...]:
    """Who supports a person's first task."""
    first = work.primary(owner)
    return first.facts.support if first is not None and first.facts is not None else ()


def member(shell: Shell, project: Project, work: Work, ident: str) -> dict[str, Any]:
    """One person's card."""
    own = work.of(ident)
    return {
        "ident": ident,
        "roles": [role.title for role in project.roles if ident in role.people],
        "task": home.line(shell, project, own[0]) if own else None,
        "others": len(own) - 1 if own else 0,
        "all": f"{listing.page_of(project.ident)}?owner={quote(ident)}&sort=-priority",
        "helps": [home.line(shell, project, entry) for entry in work.to_support(ident)[: home.SUPPORT]],
    }
