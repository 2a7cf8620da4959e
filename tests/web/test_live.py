"""Every page follows what happens: whatever changes a page is of a kind that the page listens to."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from house import Browser, House

from server.disk.records import Change

PROJECT = [
    "home",
    "assets",
    "assets?view=thumbs",
    "shots",
    "team",
    "project",
    "credits",
    "rendering",
    "problems",
]
PROJECT += ["history", "notes", "search?q=fox", "statistics", "deleted", "new", "drop"]
PROJECT += ["asset/shots/sh010.blend", "asset/textures/fur.png", "render/shots/sh010.blend"]
ABOVE = ["/", "/rendering", "/problems", "/history", "/notes", "/search?q=fox", "/statistics", "/computers"]
ABOVE += ["/computers/atlas", "/admin", "/admin/users", "/admin/users/student", "/admin/projects"]
ABOVE += ["/admin/configuration", "/me"]
PAGES = [*ABOVE, *(f"/p/demo/{page}" for page in PROJECT)]
OF_FILES = ("asset", "uses", "note", "history")  # as live.js has it
OF_ITSELF = ("/admin",)  # shows how full the disks are just now
MAIN = re.compile(r'<main id="main"([^>]*)>')
SHOT = "data::demo/shots/sh010.blend"
NODE = {
    "id": "identity", "name": "atlas", "version": "1", "provides": [], "protocol": 2, "slots": 1, "paths": {},
    "hardware": {"cores": 2, "memory_mb": 4096, "os": "Linux", "host": "atlas"}, "mac": "", "programs": {},
}  # fmt: skip


def heard(attributes: dict[str, str], change: Change) -> bool:
    """Whether live.js, on a page whose main has these attributes, looks again for this change."""
    kind, ident = change.kind, change.id
    if kind not in attributes.get("live", "").split():
        return False
    if kind in OF_FILES and attributes.get("under"):
        return ident.startswith(attributes["under"])
    if kind in OF_FILES and attributes.get("address"):
        return ident == attributes["address"]
    if kind == "upload":
        return ident.startswith(attributes.get("mine", "?"))
    if kind == "job" and "jobs" in attributes:
        return ident in attributes["jobs"].split()
    return True


def studio(house: House) -> Browser:
    """Two files, a texture and a computer; the admin's browser."""
    house.asset("demo/shots/sh010.blend", type="shot", owner="student", description="A fox.", render=True)
    house.asset("demo/characters/fox.blend", type="character", owner="student")
    house.make("demo/textures/fur.png", b"\x89PNG\r\n\x1a\n")
    token = house.croft.services.people.make_token(node="*")
    assert Browser(house.croft.wsgi, token).post("/farm", [NODE]).status == 200
    return house.browser("admin")


def every_page(admin: Browser) -> dict[str, str]:
    """What each page shows now."""
    found = {}
    for page in PAGES:
        reply = admin.get(page + ("&" if "?" in page else "?") + "part=1")
        assert reply.status == 200, (page, reply.status)
        found[page] = reply.body.decode()
    return found


def test_no_page_has_two_things_of_one_name(house: House) -> None:
    """A second `id` takes a button, a label or a style from the first, such as the list of keys' own."""
    admin = studio(house)
    for page in [*PAGES, "/setup", "/sign-in"]:
        ids = re.findall(r'\sid="([^"]*)"', admin.get(page).body.decode())
        assert len(ids) > 5, page
        assert [one for one, n in Counter(ids).items() if n > 1] == [], page


def edit(house: House, admin: Browser) -> None:
    admin.patch(f"/api/assets/{SHOT}", {"name": "Foxes meet", "state": "us", "priority": 5, "rating": 4})


def render(house: House, admin: Browser) -> None:
    admin.post("/api/jobs", {"file": SHOT, "frames": "1-3", "type": "test-pattern"})


def rename_a_person(house: House, admin: Browser) -> None:
    admin.patch("/api/users/student", {"title": "Zoë"})


def rename_the_project(house: House, admin: Browser) -> None:
    admin.patch("/api/projects/demo", {"title": "Foxes", "description": "They meet."})


def write_a_note(house: House, admin: Browser) -> None:
    admin.post(f"/api/assets/{SHOT}/notes", {"text": "Lovely fox @admin"})


def add_a_file(house: House, admin: Browser) -> None:
    house.scene("demo/shots/fox020.blend")


def delete_a_file(house: House, admin: Browser) -> None:
    admin.ask("DELETE", "/api/assets/data::demo/characters/fox.blend", {})


def pause_the_farm(house: House, admin: Browser) -> None:
    admin.post("/api/farm/pause", {})


def pause_a_computer(house: House, admin: Browser) -> None:
    admin.patch("/api/nodes/atlas", {"paused": True})


def begin_an_upload(house: House, admin: Browser) -> None:
    admin.post("/api/uploads", {"project": "demo", "name": "new.blend", "size": 9})


def break_the_configuration(house: House, admin: Browser) -> None:
    (house.config / "users" / "student.json").write_text("{ not json")
    house.croft.services.settings.look_again("users")
    house.croft.services.events.notify(house.croft.services.following.look())


CHANGES: list[Callable[[House, Browser], Any]] = [
    edit, render, rename_a_person, rename_the_project, write_a_note, add_a_file, delete_a_file,
    pause_the_farm, pause_a_computer, begin_an_upload, break_the_configuration,
]  # fmt: skip


def test_what_changes_a_page_is_heard_there(house: House) -> None:
    """Given every page, when something happens, then each one that shows it is told of it."""
    told: list[Change] = []
    events = house.croft.services.events
    real = events.notify

    def notify(changes: Iterable[Change]) -> None:
        known = list(changes)
        told.extend(known)
        real(known)

    events.notify = notify  # type: ignore[method-assign]
    admin = studio(house)
    every_page(admin)
    for change in CHANGES:
        before = every_page(admin)
        told.clear()
        change(house, admin)
        # What is worked out aside shows, and is told of, a moment later.
        house.until(lambda: told and every_page(admin) != before)  # noqa: B023
        end = time.monotonic() + 6
        while wrong := deaf(before, every_page(admin), told):
            kinds = sorted({one.kind for one in told})
            assert time.monotonic() < end, f"{change.__name__} told of {kinds}; deaf are {wrong}"


def deaf(before: dict[str, str], after: dict[str, str], told: list[Change]) -> list[str]:
    """The pages that have changed, and hear of none of what was told."""
    found = []
    for page in before:
        if before[page] == after[page] or page in OF_ITSELF:
            continue
        match = MAIN.search(after[page])
        attributes = dict(re.findall(r'data-(\w+)="([^"]*)"', match[1] if match else ""))
        if not any(heard(attributes, one) for one in told):
            found.append(f"{page} ({attributes.get('live', 'listens to nothing')})")
    return found


def test_every_page_names_what_it_listens_to(house: House) -> None:
    for page, text in every_page(studio(house)).items():
        match = MAIN.search(text)
        assert match, page
        assert "data-live=" in match[1], page
