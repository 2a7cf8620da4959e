"""What people say of files, asked over WSGI: notes, marks, things to do, whom they concern."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import QUICK, Browser, House

from server.library.people import SOMEONE
from server.web.app import build

SHOT = "demo/shots/sh010.blend"
NASTY = (
    '<img src=x onerror="alert(1)"> {{ 7 * 7 }} {% raw %} {who} {0} %s %(a)s'
    " \u202etxt.exe\u202c '\"><b> &lt; "
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "config/users").mkdir(parents=True)
    (folder / "config/server.json").write_text(QUICK)
    for ident, title in (("ana", "Ana"), ("ben", "Ben"), ("cleo", "Cleo")):
        (folder / f"config/users/{ident}.json").write_text(json.dumps({"title": title, "role": "student"}))
    croft = build(folder / "config", folder / "data")
    yield House(croft, folder / "config", folder / "data")
    croft.close()


@pytest.fixture
def shot(shared: House) -> Iterator[str]:
    """A shot of Ana's, of which nothing was said yet; nor has anybody read anything."""
    address = shared.asset(SHOT, owner="ana")
    yield address
    shutil.rmtree(shared.data / "demo")
    shutil.rmtree(shared.config / "seen", ignore_errors=True)
    shared.croft.services.store.rescan()
    shared.croft.services.notes.wait()


def api(address: str) -> str:
    return f"/api/assets/{address}/notes"


def say(browser: Browser, address: str, text: str = "longer hold", **more: Any) -> dict[str, Any]:
    reply = browser.post(api(address), {"text": text, **more})
    assert reply.status == 201, reply.body
    found: dict[str, Any] = reply.data
    return found


def take_back(browser: Browser, data: dict[str, Any]) -> dict[str, Any]:
    undo = data["undo"]
    reply = browser.ask(undo["method"], undo["path"], undo["body"])
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.data
    return found


def files(house: House) -> list[Path]:
    return sorted((house.data / "demo/shots/.croft/sh010.blend/notes").glob("*.json"))


def test_a_note_is_one_file_that_is_never_changed(shared: House, shot: str) -> None:
    ana, ben = shared.browser("ana"), shared.browser("ben")
    note = say(ben, shot, "- longer hold\n- the ear pops", frame=34, version="v002", todo="ana")
    (path,) = files(shared)
    first = path.read_bytes()
    assert path.name == "{}-ben-{}.json".format(*note["id"].split("-"))
    assert json.loads(first)["text"] == "- longer hold\n- the ear pops"
    tick = note["ticks"][0]["key"]
    done = ana.patch(f"{api(shot)}/{note['id']}", {"ticks": {tick: True}})
    assert (done.status, done.message) == (200, "That is done.")
    assert [t["done"] for t in done.data["ticks"]] == [True, False]
    assert path.read_bytes() == first
    (other,) = [p for p in files(shared) if p != path]
    assert "-ana-" in other.name
    assert [t["done"] for t in take_back(ana, done.data)["ticks"]] == [False, False]
    for one in note["ticks"]:
        last = ana.patch(f"{api(shot)}/{note['id']}", {"ticks": {one["key"]: True}})
    assert last.message == "All of it is done."
    assert shared.croft.services.notes.open_count(shot) == 0


def test_its_author_changes_it_others_answer_supervisors_delete(shared: House, shot: str) -> None:
    ana, ben, boss = shared.browser("ana"), shared.browser("ben"), shared.browser("supervisor")
    note = say(ben, shot, "too dark")
    path = f"{api(shot)}/{note['id']}"
    assert ana.patch(path, {"text": "not dark"}).status == 403
    assert ana.ask("DELETE", path).status == 403
    changed = ben.patch(path, {"text": "far too dark", "frame": "12"}).data
    assert (changed["text"], changed["frame"], bool(changed["edited"])) == ("far too dark", 12, True)
    before = take_back(ben, changed)
    assert (before["text"], before["frame"]) == ("too dark", None)
    answer = say(ana, shot, "better now?", reply_to=note["id"])
    again = say(ben, shot, "yes", reply_to=answer["id"])
    assert again["reply_to"] == note["id"]
    assert "Answers “too dark”" in ana.get("/notes?show=all").body.decode()
    gone = boss.ask("DELETE", path).data
    assert [one["text"] for one in ana.get(api(shot)).data] == ["yes", "better now?"]
    assert "This note was deleted." in ana.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert ana.patch(path, {"resolved": True}).status == 404
    take_back(boss, gone)
    solved = ana.patch(path, {"resolved": True})
    assert (solved.message, solved.data["resolved_by"], solved.data["open"]) == (
        "The note is resolved.",
        "ana",
        False,
    )
    assert take_back(ana, solved.data)["open"]
    assert ben.patch(path, {"text": ""}).status == 400


def test_the_later_word_counts_whatever_the_clocks_say(shared: House, shot: str) -> None:
    ben = shared.browser("ben")
    note = say(ben, shot)
    folder = files(shared)[0].parent
    ahead = {
        "schema": 1,
        "at": "2999-01-01T00:00:00.000Z",
        "who": "cleo",
        "of": note["id"],
        "set": {"resolved": True},
    }
    (folder / "29990101T000000Z-cleo-abcdef.json").write_text(json.dumps(ahead))
    shared.until(lambda: not ben.get(api(shot)).data[0]["open"])
    assert ben.patch(f"{api(shot)}/{note['id']}", {"resolved": False}).data["open"]
    assert ben.get(api(shot)).data[0]["open"]


def test_a_note_that_is_copied_back_shows_again(shared: House, shot: str, tmp_path: Path) -> None:
    ben = shared.browser("ben")
    say(ben, shot, "the first")
    say(ben, shot, "the second")
    folder = files(shared)[0].parent
    shutil.copytree(folder, tmp_path / "backup")
    files(shared)[0].unlink()
    shared.until(lambda: len(ben.get(api(shot)).data) == 1)
    shutil.rmtree(folder)
    shared.until(lambda: not ben.get(api(shot)).data)
    assert shared.croft.services.notes.open_count(shot) == 0
    shutil.copytree(tmp_path / "backup", folder)
    shared.until(lambda: len(ben.get(api(shot)).data) == 2)
    shared.until(lambda: shared.croft.services.notes.open_count(shot) == 2)
    spoilt = files(shared)[0]
    spoilt.write_text("{")
    shared.until(lambda: len(ben.get(api(shot)).data) == 1)
    spoilt.write_bytes((tmp_path / "backup" / spoilt.name).read_bytes())
    shared.until(lambda: len(ben.get(api(shot)).data) == 2)


def test_what_concerns_whom(shared: House, shot: str) -> None:
    ana, ben, cleo = (shared.browser(ident) for ident in ("ana", "ben", "cleo"))

    def bell(browser: Browser) -> list[tuple[str, str, bool]]:
        return [(one["text"], one["why"], one["read"]) for one in browser.get("/api/notes?show=mine").data]

    first = say(ben, shot, "too dark, @cleo")
    say(ana, shot, "better now?", reply_to=first["id"])
    say(ben, shot, "new sky", todo="cleo")
    say(ana, shot, "mine to do", todo="*")
    say(ana, shot, "mail to ana@ben.example is nobody's")
    assert bell(ana) == [("new sky", "mine", False), ("too dark, @cleo", "mine", False)]
    assert bell(ben) == [("better now?", "reply", False)]
    assert bell(cleo) == [("new sky", "todo", False), ("too dark, @cleo", "mention", False)]
    assert [one["text"] for one in ana.get("/api/notes?show=todo").data] == ["mine to do"]
    assert [one["text"] for one in cleo.get("/api/notes?show=todo&project=demo&q=SKY").data] == ["new sky"]
    shared.croft.services.store.edit(shot, {"owner": "cleo"}, who="test")
    shared.croft.services.notes.wait()
    assert bell(ana) == []
    assert cleo.get("/api/notes/unread").data == {"unread": 5}
    assert cleo.post("/api/notes/read", {"ids": [first["id"], "nothing"]}).data == {"unread": 4}
    seen = shared.config / "seen/cleo.json"
    before = seen.stat().st_mtime_ns
    assert cleo.post("/api/notes/read", {"ids": [first["id"]]}).message == "There was nothing new."
    assert seen.stat().st_mtime_ns == before
    assert cleo.post("/api/notes/read").data == {"unread": 0}
    assert {read for _, _, read in bell(cleo)} == {True}
    assert ana.get("/api/notes?show=open").data[0]["open"]


def test_marks_fit_the_picture_at_any_size(shared: House, shot: str) -> None:
    ben = shared.browser("ben")
    drawn = {"aspect": 2, "lines": [[0.1, 0.2, 0.30001, 0.4], [2, -1], []]}
    note = say(ben, shot, "", marks=json.dumps(drawn))
    assert note["marks"] == {"aspect": 2.0, "lines": [[0.1, 0.2, 0.3, 0.4], [1.0, 0.0]]}
    ring = say(ben, shot, "here", where="top left")["marks"]
    assert len(ring["lines"]) == 1
    assert max(ring["lines"][0]) < 0.34
    for wrong in ("{", {"lines": [[1]]}, {"lines": [["a", 1]]}, {"lines": 3}, {"lines": [[0, 0]] * 201}):
        reply = ben.post(api(shot), {"text": "x", "marks": wrong})
        assert reply.status == 400, reply.body
        assert reply.message.endswith((".", "second one."))
    assert ben.post(api(shot), {"text": "x", "where": "behind me"}).status == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text": " \n"}, "The note is empty: write something, or draw on the picture."),
        ({"text": "x" * 10_001}, "A note has at most 10,000 characters."),
        ({"text": "x", "frame": "twelve"}, "A frame is a whole number, not twelve."),
        ({"text": "x", "version": "../v1"}, "A version is called v001, v002 …, not ../v1."),
        ({"text": "x", "todo": "nobody"}, "There is nobody named nobody."),
    ],
)
def test_wrong_input_gets_a_sentence_and_changes_nothing(
    shared: House, shot: str, body: Any, said: str
) -> None:
    reply = shared.browser("ben").post(api(shot), body)
    assert (reply.status, reply.message) == (400, said)
    assert files(shared) == []


def test_a_folder_may_be_called_notes(shared: House, shot: str) -> None:
    address = shared.asset("demo/notes/plan.blend", owner="ana")
    ana = shared.browser("ana")
    assert ana.get(f"/api/assets/{address}").data["owner"] == "ana"
    assert ana.patch(f"/api/assets/{address}", {"description": "x"}).status == 200
    note = say(ana, address)
    assert ana.patch(f"{api(address)}/{note['id']}", {"resolved": True}).status == 200


def test_a_forgotten_person_is_in_no_note(shared: House, shot: str) -> None:
    ana, ben = shared.browser("ana"), shared.browser("ben")
    note = say(ana, shot, "@ben, look; ben@home", todo="ben")
    ben.patch(f"{api(shot)}/{note['id']}", {"ticks": {"all": True}})
    say(ben, shot, "mine, ben's")
    ben.post("/api/notes/read")
    assert shared.croft.services.notes.forget("ben") == 3
    texts = {one["text"]: one for one in ana.get(api(shot)).data}
    assert set(texts) == {f"@{SOMEONE}, look; ben@home", "mine, ben's"}
    assert (texts["mine, ben's"]["who"], texts[f"@{SOMEONE}, look; ben@home"]["todo"]) == (SOMEONE, "*")
    assert texts[f"@{SOMEONE}, look; ben@home"]["ticks"][0]["done"]
    assert not any("-ben-" in path.name or '"ben"' in path.read_text() for path in files(shared))
    assert not (shared.config / "seen/ben.json").exists()


def test_nobody_says_anything_without_being_somebody(shared: House, shot: str) -> None:
    assert shared.browser().post(api(shot), {"text": "x"}).status == 401
    assert shared.browser().get("/api/notes").status == 401
    assert shared.browser("ben").post(api("data::demo/shots/none.blend"), {"text": "x"}).status == 404
    assert shared.browser("ben").post(api("data::demo/.croft/x/y.json"), {"text": "x"}).status in (400, 404)


PAGES = ["/p/demo/asset/shots/sh010.blend", "/notes?show=all", "/p/demo/notes?show=open", "/search?q=hostile"]


@pytest.mark.parametrize("page", PAGES)
def test_what_was_said_is_text_on_every_page(shared: House, shot: str, page: str) -> None:
    say(shared.browser("ben"), shot, f"hostile {NASTY}\n- {NASTY}", todo="ana", where="top left")
    text = shared.browser("ana").get(page).body.decode()
    assert "hostile &lt;img src=x onerror=&#34;alert(1)&#34;&gt; {{ 7 * 7 }} {% raw %} {who} {0} %s" in text
    assert "<img src=x" not in text
    assert "<b> &lt;" not in text


def test_the_longest_note_and_a_name_full_of_marks(shared: House, shot: str) -> None:
    address = shared.asset("demo/shots/a<b> {{ 1 }} 'x' \u202e.blend", owner="ana")
    note = say(shared.browser("ben"), address, "- x\n" * 2500, todo="*")
    assert len(note["ticks"]) == 1
    assert say(shared.browser("ben"), address, "x" * 10_000)["open"]
    for page in ("/notes?show=mine", "/p/demo/assets"):
        text = shared.browser("ana").get(page).body.decode()
        assert "<b> {{" not in text
        assert "{{ 1 }}" in text


def test_a_note_is_read_where_it_is_seen_and_counted_in_the_list(shared: House, shot: str) -> None:
    ana, ben = shared.browser("ana"), shared.browser("ben")
    say(ben, shot, "look")
    assert "1 open note" in ana.get("/p/demo/assets").body.decode()
    page = "/p/demo/asset/shots/sh010.blend"
    ana.get(f"{page}?part=1")
    assert ana.get("/api/notes/unread").data["unread"] == 1  # a page that follows by itself isn't looked at
    assert "New" in ana.get(page).body.decode()
    assert ana.get("/api/notes/unread").data["unread"] == 0
    written = (shared.config / "seen/ana.json").stat().st_mtime_ns
    ana.get(page)
    assert (shared.config / "seen/ana.json").stat().st_mtime_ns == written
    ben.patch(f"{api(shot)}/{ben.get(api(shot)).data[0]['id']}", {"resolved": True})
    assert "open note" not in ana.get("/p/demo/assets").body.decode()
