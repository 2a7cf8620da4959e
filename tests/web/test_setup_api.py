"""Setting up over the API and the page: who may, what each step answers, how a computer is added."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import House

from server.library.setup import computer_name
from server.web.session import CODE_FILE


def step(house: House, ident: str) -> Any:
    steps = house.browser("admin").get("/api/setup").data
    return next(one for one in steps if one["id"] == ident)


@pytest.mark.parametrize("user", ["", "student", "supervisor"])
def test_only_an_admin_sets_up(house: House, user: str) -> None:
    browser = house.browser(user)
    expected = 403 if user else 401
    assert browser.get("/api/setup").status == expected
    assert browser.post("/api/setup/people", {"list": "Eve, eve"}).status == expected
    assert not house.croft.services.people.known("eve")
    if user:
        assert browser.get("/setup").status == 403
    # The footer leads nobody there who may not go.
    assert b'href="/setup"' not in browser.get("/p/demo/home").body


def test_the_one_time_code_opens_the_page_and_then_only_a_password_does(house: House) -> None:
    stranger = house.browser()
    code = (house.config / CODE_FILE).read_text().split("\n")[0]
    assert b'href="/setup"' in stranger.get("/").body
    page = stranger.get(f"/setup?code={code}")
    assert page.status == 200
    assert f'value="{code}"' in page.body.decode()
    assert b"The folder for the films" not in page.body
    form = f"code={code}&next=/setup".encode()
    reply = stranger.ask("POST", "/sign-in", raw=form, kind="application/x-www-form-urlencoded")
    assert (reply.status, reply.headers["location"]) == (303, "/setup")
    assert b"The folder for the films" in stranger.get("/setup").body
    other = house.browser()
    assert other.get("/setup").headers["location"] == "/sign-in?next=/setup"
    assert b'href="/setup"' not in other.get("/").body
    house.croft.services.people.set_password("admin", "correct horse")
    assert step(house, "you")["state"] == "right"


def test_a_folder_that_is_wrong_is_not_chosen(house: House) -> None:
    admin = house.browser("admin")
    for path, said in (
        ("film", "Begin with a slash"),
        ("/nowhere/film", "There is no folder"),
        ("\0", "character"),
    ):
        reply = admin.post("/api/setup/pool", {"path": path})
        assert reply.status == 400
        assert said in reply.message
    assert "path" not in house.croft.services.settings.folder("shares")["data"]
    assert admin.post("/api/setup/nonsense", {}).status == 400


def test_a_folder_that_is_right_is_taken_by_a_start(house: House, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving folders to others needs root")
    film = tmp_path / "film"
    film.mkdir()
    os.chown(film, 0, 100)
    film.chmod(0o2775)
    services, asked = house.croft.services, []
    services.data_named = True
    admin = house.browser("admin")
    reply = admin.post("/api/setup/pool", {"path": str(film)})
    assert (reply.status, "started with --data" in reply.message) == (400, True)
    services.data_named, services.restart = False, lambda: asked.append(True)
    reply = admin.post("/api/setup/pool", {"path": str(film)})
    assert reply.status == 200, reply.message
    assert asked == [True]
    assert services.settings.folder("shares")["data"]["path"] == str(film)


def test_a_class_list_is_looked_through_added_and_taken_back(house: House) -> None:
    admin, people = house.browser("admin"), house.croft.services.people
    listed = "Ana Schmidt, ana\nMr Bo, bo, supervisor"
    reply = admin.post("/api/setup/people", {"list": listed, "look": "yes"})
    assert reply.message.startswith("Would add 2: Ana Schmidt (ana, student), Mr Bo (bo, supervisor).")
    assert not people.known("ana")
    reply = admin.post("/api/setup/people", {"list": "name,ident,role\nAna, ana\nCem, c e m\nDua, dua, boss"})
    assert reply.status == 400
    assert "Line 3: 'c e m' can't be an ident" in reply.message
    assert "Line 4: 'boss' isn't a role" in reply.message
    assert not people.known("ana")
    assert admin.post("/api/setup/people", {"list": "Eve, eve, admin"}).status == 403
    reply = admin.post("/api/setup/people", {"list": listed})
    assert reply.message == "Added 2 people."
    assert "1 student and 1 supervisor." in step(house, "people")["checks"][0]["text"]
    undo = reply.data["undo"]
    reply = admin.ask(undo["method"], undo["path"], {"remove": [*undo["body"]["remove"], "student"]})
    assert reply.message == "2 people are taken out again."
    assert not people.known("ana")
    assert people.known("student"), "only those of the list may be taken back"


def test_the_speed_is_told_and_stays_until_the_server_ends(house: House) -> None:
    assert step(house, "speed")["state"] == "todo"
    reply = house.browser("admin").post("/api/setup/speed", {})
    assert reply.status == 200
    assert "a class" in step(house, "speed")["checks"][0]["text"]


def test_samba_is_not_asked_with_odd_letters(house: House) -> None:
    admin = house.browser("admin")
    reply = admin.post("/api/setup/samba", {"student": "ana\npassword=x", "password": "x"})
    assert reply.status == 400
    assert admin.post("/api/setup/samba", {"student": "ana", "share": "../x"}).status == 400


# The line for a computer


def line(house: House) -> tuple[str, str]:
    """The line for Linux as the page shows it, and the token in it."""
    reply = house.browser("admin").post("/api/setup/nodes", {}, headers={"Host": "nas:8080"})
    assert reply.status == 200
    lines = dict(reply.data["lines"])
    text = lines["Linux and macOS, in a terminal"]
    assert lines["Windows, in PowerShell or cmd"] == text.replace("python3 ", "py ", 1)
    found = re.search(r"http://nas:8080/t/([^/]+)/join", text)
    assert found is not None
    return text, found[1]


def test_the_line_carries_a_fresh_key_that_opens_the_farm_alone(house: House) -> None:
    text, token = line(house)
    assert "$" not in text, "a shell would read something into it"
    stranger = house.browser()
    reply = stranger.get(f"/t/{token}/join", headers={"Host": "nas:8080"})
    assert reply.status == 200
    assert token in reply.body.decode()
    packed = zipfile.ZipFile(io.BytesIO(stranger.get(f"/t/{token}/node.zip").body))
    assert {"__main__.py", "join.py", "wire.py"} <= set(packed.namelist())
    assert stranger.get("/t/nonsense/join").status == 401
    assert stranger.get(f"/t/{token}/farm").status == 405
    person = house.croft.services.people.make_token(user="admin")
    assert stranger.get(f"/t/{person}/join").status == 403
    reply = stranger.get("/api/setup", headers={"Authorization": f"Bearer {token}"})
    assert reply.status == 403


def joined(
    house: House, home: Path, *words: str, host: str = "127.0.0.1:1"
) -> subprocess.CompletedProcess[str]:
    """What a computer does with the program that the line fetches."""
    _, token = line(house)
    script = house.browser().get(f"/t/{token}/join", headers={"Host": host}).body.decode()
    return subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; exec({script!r})", *words], cwd=home, capture_output=True,
        text=True, env={"HOME": str(home), "PATH": "/usr/bin"}, timeout=30, check=False,
    )  # fmt: skip


def test_a_computer_that_does_not_see_the_share_is_told(house: House, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "films").mkdir(parents=True)
    (home / "films" / ".croft-share.json").write_text('{"id": "another"}')
    done = joined(house, home, str(home / "films"))
    assert done.returncode == 1
    assert "doesn't see the folder of the films (data) yet" in done.stdout


def test_a_share_is_known_by_its_marker_wherever_it_is_mounted(house: House, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "mnt" / "nas").mkdir(parents=True)
    (home / "mnt" / "nas" / "film").symlink_to(house.data)
    done = joined(house, home, str(home / "mnt"))
    assert f"Found data at {home}/mnt/nas/film" in done.stdout
    # Nobody listens at that address; the next step says so.
    assert done.returncode == 1
    assert "couldn't be fetched" in done.stdout


def test_what_computers_say_of_the_share_is_shown(house: House) -> None:
    farm = house.croft.services.farm
    share = house.croft.services.store.share("data").id
    assert step(house, "nodes")["state"] == "todo"
    for name, marker in (("atom-1", share), ("atom-2", "another")):
        identity = {"id": "identity", "name": name, "version": "1", "protocol": 2, "provides": []}
        told = {"paths": {"data": marker}, "programs": {"blender": "3.4.1"}, "slots": [0]}
        farm.talk("*", [{**identity, **told}])
    checks = {check["state"]: check["text"] for check in step(house, "nodes")["checks"]}
    assert checks["right"] == "atom-1 answers, sees the same folder, and has blender 3.4.1."
    assert checks["wrong"] == "atom-2 answers, but its data is another folder than the server's."


# The test render


def test_a_test_render_is_submitted_told_and_not_started_twice(house: House) -> None:
    admin = house.browser("admin")
    assert step(house, "render")["state"] == "todo"
    reply = admin.post("/api/setup/render", {})
    assert reply.status == 200, reply.message
    jobs = house.croft.services.farm.jobs(project="croft-test")
    assert len(jobs) == 1
    assert step(house, "render")["checks"][0]["text"].startswith("0 of 4 frames are rendered")
    assert admin.post("/api/setup/render", {}).status == 409
    assert json.loads((house.data / "croft-test/project.json").read_text())["title"] == "Test render"
    house.croft.services.farm.cancel(jobs[0].id, "admin")
    assert step(house, "render")["state"] == "wrong"
    assert admin.post("/api/setup/render", {}).status == 200


def test_a_line_made_in_the_servers_own_terminal_names_the_server(house: House) -> None:
    services, admin = house.croft.services, house.browser("admin")
    local = {"Host": "127.0.0.1:8080"}
    for listens, expected in (("127.0.0.1", "127.0.0.1:8080"), ("0.0.0.0", f"{computer_name()}:8080")):
        services.listens = listens
        lines = admin.post("/api/setup/nodes", {}, headers=local).data["lines"]
        assert f"http://{expected}/t/" in lines[0][1]
    services.listens = "127.0.0.1"
    assert "only this machine reaches it" in json.dumps(step(house, "nodes"))


# Samba's address, and the backup


def test_what_students_call_the_folder_is_what_pages_offer(house: House) -> None:
    admin = house.browser("admin")
    assert admin.post("/api/setup/samba", {"called": "\\\\nas\\film"}).status == 200
    assert admin.post("/api/setup/samba", {"called": "two\nlines"}).status == 400
    assert "\\\\nas\\film\\demo" in house.browser("student").get("/p/demo/home").body.decode()


def test_a_restore_is_practised_while_the_page_is_answered(
    house: House, tmp_path: Path, needs: Callable[[str], str]
) -> None:
    needs("rsync")
    admin, target = house.browser("admin"), tmp_path / "backup"
    assert admin.post("/api/setup/backup", {}).status == 400
    assert admin.post("/api/setup/backup", {"path": "/nowhere"}).status == 400
    target.mkdir()
    assert admin.post("/api/setup/backup", {"path": str(target)}).status == 200
    assert house.croft.services.settings.get("backup") == {"path": str(target)}
    assert json.loads((house.config / "server.json").read_text())["site"] == "test", "the other keys stay"
    reply = admin.post("/api/setup/backup", {})
    assert reply.message.startswith("A file is backed up, lost and brought back")
    house.until(lambda: "came back whole" in json.dumps(step(house, "backup")))
