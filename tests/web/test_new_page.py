"""New files and projects over the API and the pages that offer them."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from urllib.parse import urlencode

from house import House

from server.library.media import blend, scenes

NASTY = (
    '<script>alert(1)</script>', '"quoted" \'twice\'', "{{ 7 * 7 }}", "{name} {} %s", "\u202eright\u200fleft",
    "Ünïcödé 日本語", "a" * 10_000,
)  # fmt: skip

FIELDS = ("title", "description", "licence")


def page(house: House, path: str, user: str = "student") -> str:
    reply = house.browser(user).get(path)
    assert reply.status == 200, reply.body[:300]
    return reply.body.decode()


def test_the_page_makes_a_file_without_scripts(house: House) -> None:
    """Given a browser without scripts, when the form is sent as it stands, then the file is there, whole."""
    student = house.browser()
    student.sign_in("student")
    text = student.get("/p/demo/new").body.decode()
    form = text[text.index('data-names="') :].partition("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    body = {**{name: unescape(value) for name, value in fields.items()}, "name": "Fox runs", "type": "shot",
            "description": "Quick.", "file": "", "owner": "none"}  # fmt: skip
    reply = student.ask("POST", "/do", raw=urlencode(body).encode(), kind="application/x-www-form-urlencoded")
    assert (reply.status, reply.headers["location"]) == (303, "/p/demo/asset/shots/fox_runs.blend")
    record = json.loads((house.data / "demo/shots/fox_runs.blend.json").read_text())
    assert (record["name"], record["description"], record["owner"]) == ("Fox runs", "Quick.", "")
    told = scenes.facts(blend.read(io.BytesIO((house.data / "demo/shots/fox_runs.blend").read_bytes())))
    assert (told["scene"], told["resolution"]) == ("Fox runs", [1920, 1080])


def test_a_new_file_is_told_whole_and_can_be_taken_back(house: House) -> None:
    student = house.browser("student")
    asked = {"project": "demo", "name": "Box", "type": "prop"}
    where = student.get("/api/projects/demo/file_name?name=Box&type=prop")
    assert (where.data["path"], where.data["taken"]) == ("props/box.blend", False)
    made = student.post("/api/assets", asked)
    assert made.status == 201
    assert (made.data["address"], made.data["type"]) == ("data::demo/props/box.blend", "prop")
    assert student.get("/api/projects/demo/file_name?name=Box&type=prop&file=box").data["taken"]
    assert student.post("/api/assets", {**asked, "file": "box"}).status == 409
    assert student.post("/api/assets", {**asked, "type": "nothing"}).status == 400
    assert student.post("/api/assets", {"name": "Box"}).status == 400
    assert house.browser().post("/api/assets", asked).status == 401
    undo = made.data["undo"]
    assert student.ask(undo["method"], undo["path"], undo["body"]).status == 200
    assert not (house.data / "demo/props/box.blend").exists()


def test_every_field_takes_whatever_people_type(house: House) -> None:
    """Then it is stored as it was typed, or refused with a sentence; and no page is hurt by it."""
    for nasty in NASTY:
        type_into_everything(house, nasty)


def type_into_everything(house: House, nasty: str) -> None:
    student, boss = house.browser("student"), house.browser("admin")
    answers = [
        student.post("/api/assets", {"project": "demo", "name": nasty, "type": "shot", "description": nasty}),
        student.post("/api/assets", {"project": "demo", "name": "x", "type": "shot", "file": nasty}),
        student.post("/api/assets", {"project": "demo", "name": "x", "type": "shot", "of": [nasty]}),
        *(student.patch("/api/projects/demo", {field: nasty}) for field in FIELDS),
        student.post("/api/projects/demo/roles", {"title": nasty, "people": [nasty[:100]]}),
        student.post("/api/projects/demo/external", {"name": nasty, "origin": nasty, "author": nasty}),
        boss.post("/api/projects", {"title": nasty}),
        boss.patch("/api/projects/demo", {"set": nasty}),
        student.get("/api/projects/demo/file_name?" + urlencode(dict.fromkeys(("name", "file"), nasty))),
    ]
    for answer in answers:
        assert answer.status in (200, 201, 400, 404, 409, 413), answer.body[:200]
        assert answer.message
    if nasty != NASTY[-1]:
        assert student.get("/api/projects/demo").data["title"] == nasty
    for path in ("/p/demo/new", "/p/demo/project", "/p/demo/credits", "/p/demo/assets"):
        text = page(house, path)
        assert "<script>alert" not in text
        assert "49" not in re.sub(r"[0-9a-f]{8,}", "", text.partition("<h1>")[2].partition("</h1>")[0])
    assert "<script>alert" not in page(house, "/admin/projects", "admin")


def test_the_project_page_saves_fields_and_changes_roles(house: House) -> None:
    student = house.browser("student")
    text = page(house, "/p/demo/project")
    assert 'data-edit="/api/projects/demo"' in text
    etag = student.get("/api/projects/demo").data["etag"]
    first = student.patch("/api/projects/demo", {"title": "Foxes"}, headers={"If-Match": f'"{etag}"'})
    assert (first.status, first.data["title"]) == (200, "Foxes")
    stale = student.patch("/api/projects/demo", {"title": "Wolves"}, headers={"If-Match": f'"{etag}"'})
    assert (stale.status, stale.data["title"]) == (412, "Foxes")
    assert student.patch("/api/projects/demo", {"set": "2k-cycles"}).status == 403
    role = student.post("/api/projects/demo/roles", {"title": "Noises", "people": ["student"]}).data
    url = f"/api/projects/demo/roles/{role['id']}"
    assert student.patch(url, {"add": "supervisor"}).data["people"] == ["student", "supervisor"]
    gone = student.ask("DELETE", url)
    assert "Noises" not in page(house, "/p/demo/project")
    undo = gone.data["undo"]
    assert student.ask(undo["method"], undo["path"], undo["body"]).status == 201
    text = page(house, "/p/demo/project")
    assert text.index("Noises") < text.index("Supervisor<")
    history = house.croft.services.store.history("data::demo/project.json")
    assert ["Demo", "Foxes"] in [event["fields"].get("title") for event in history if "fields" in event]


def test_guests_look_and_change_nothing(house: House) -> None:
    (house.config / "users/gast.json").write_text('{"title": "Gast", "role": "guest"}')
    house.croft.services.settings.look_again("users")
    guest = house.browser("gast")
    assert "disabled" in guest.get("/p/demo/project").body.decode()
    assert guest.get("/p/demo/new").status == 403
    assert guest.patch("/api/projects/demo", {"title": "x"}).status == 403
    assert guest.get("/admin/projects").status == 403


def test_admins_make_projects(house: House) -> None:
    admin = house.browser("admin")
    made = admin.post("/api/projects", {"title": "Blue Team", "set": "2k-eevee"})
    assert (made.status, made.data["id"], made.data["set"]) == (201, "blue_team", "2k-eevee")
    assert (house.data / "blue_team/shots").is_dir()
    assert admin.post("/api/projects", {"title": "Blue team"}).status == 409
    assert house.browser("supervisor").post("/api/projects", {"title": "Mine"}).status == 403
    text = page(house, "/admin/projects", "admin")
    assert "Blue Team" in text
    assert "2K Scope (2048 × 858), EEVEE" in text
    sets = admin.get("/api/sets").data
    assert {"full-hd-cycles", "full-hd-eevee", "2k-cycles", "2k-eevee"} <= {one["id"] for one in sets}


def test_the_new_comp_page_knows_what_was_chosen(house: House) -> None:
    asked = {"project": "demo", "name": "Sh", "type": "shot"}
    shot = house.browser("student").post("/api/assets", asked).data
    text = page(house, "/p/demo/new?" + urlencode([("of", shot["address"]), ("of", "data::demo/none.blend")]))
    assert f'name="of.0" value="{shot["address"]}"' in text
    assert 'value="prop"' not in text
