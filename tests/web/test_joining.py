"""How a computer without a token becomes one of the farm: it asks, an admin compares the code and admits."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from house import Browser, House, Reply

from server.farm.nodes import waiting


class Computer:
    """One that asks to join."""

    def __init__(self, house: House, name: str, address: str = "192.168.7.20") -> None:
        self.browser = Browser(house.croft.wsgi)
        self.browser.address = address
        self.told: dict[str, Any] = {
            "name": name,
            "secret": secrets.token_hex(32),
            "hardware": {"cores": 8, "memory_mb": 32768, "host": name},
            "version": "1",
        }

    def ask(self, **more: Any) -> Reply:
        return self.browser.post("/register", {**self.told, **more})


@pytest.fixture
def admin(house: House) -> Browser:
    return house.browser("admin")


def decide(admin: Browser, reply: Reply, do: str) -> Reply:
    return admin.post(f"/api/farm/joining/{reply.data['code']}", {"do": do})


def test_a_computer_is_admitted_and_gets_a_token_of_its_own(house: House, admin: Browser) -> None:
    # Given a computer without a token that asks…
    pc = Computer(house, "pc07")
    first = pc.ask()
    assert (first.status, first.data["state"]) == (202, "waiting")
    assert first.data["code"] in first.message
    assert "token" not in first.data
    # …it stands in the list with its code, hardware and address, and is no node yet.
    (one,) = admin.get("/api/farm/joining").data
    assert (one["name"], one["code"], one["address"]) == ("pc07", first.data["code"], "192.168.7.20")
    assert one["hardware"]["cores"] == 8
    assert pc.told["secret"] not in admin.get("/api/farm/joining").body.decode()
    assert admin.get("/api/nodes/pc07").status == 404
    # When an admin admits it, it gets its token with its next ask, and the same when that answer was lost.
    assert decide(admin, first, "admit").data["state"] == "admitted"
    given = pc.ask().data
    assert given == pc.ask().data
    hello = [{"id": "identity", "name": "pc07", "protocol": 2}, {"id": "info"}]
    assert Browser(house.croft.wsgi, given["token"]).post("/farm", hello).status == 200
    # Then it is one of the farm's, the token is good for its name alone, and the page knows who let it in.
    assert admin.get("/api/nodes/pc07").data["approved"] == "admin"
    other = [{"id": "identity", "name": "pc08"}]
    assert Browser(house.croft.wsgi, given["token"]).post("/farm", other).status == 403
    assert admin.get("/api/farm/joining").data == []


def test_nobody_gets_anothers_token(house: House, admin: Browser) -> None:
    pc, thief = Computer(house, "pc07"), Computer(house, "pc07", "192.168.7.66")
    first = pc.ask()
    assert thief.ask().status == 409  # somebody of that name asks already
    decide(admin, first, "admit")
    reply = thief.ask()
    assert (reply.status, "token" in reply.json["message"]) == (409, False)
    assert "token" in pc.ask().data
    # A code can't be chosen: it follows from the secret.
    assert Computer(house, "pc09").ask(code=first.data["code"]).data["code"] != first.data["code"]


def test_one_that_was_renamed_meanwhile_asks_anew(house: House, admin: Browser) -> None:
    pc = Computer(house, "pc07")
    decide(admin, pc.ask(), "admit")
    renamed = pc.ask(name="pc08")
    assert (renamed.data["state"], renamed.data["name"]) == ("waiting", "pc08")
    assert [one["name"] for one in admin.get("/api/farm/joining").data] == ["pc08"]


def test_who_may_decide(house: House, admin: Browser) -> None:
    first = Computer(house, "pc07").ask()
    for user, status in (("student", 403), ("supervisor", 403)):
        assert decide(house.browser(user), first, "admit").status == status
        assert house.browser(user).get("/api/farm/joining").status == status
    assert decide(Browser(house.croft.wsgi), first, "admit").status == 401
    assert admin.post("/api/farm/joining/NO-ONE", {"do": "admit"}).status == 404


def test_refused_admitted_and_taken_back(house: House, admin: Browser) -> None:
    pc = Computer(house, "pc07")
    first = pc.ask()
    decide(admin, first, "refuse")
    refused = pc.ask()
    assert (refused.status, "refused" in refused.message) == (403, True)
    decide(admin, first, "wait")
    assert pc.ask().data["state"] == "waiting"
    decide(admin, first, "admit")
    token = pc.ask().data["token"]
    # Taking an admission back revokes the token that was given meanwhile.
    decide(admin, first, "wait")
    assert Browser(house.croft.wsgi, token).post("/farm", [{"id": "identity", "name": "pc07"}]).status == 401
    assert pc.ask().data["state"] == "waiting"


def test_names_that_are_taken(house: House, admin: Browser) -> None:
    people = house.croft.services.people
    old = people.make_token(node="pc07")
    assert Browser(house.croft.wsgi, old).post("/farm", [{"id": "identity", "name": "pc07"}]).status == 200
    reply = Computer(house, "PC07").ask()
    assert (reply.status, "another name" in reply.message) == (409, True)
    # One that is away may be replaced: it is said so, and the old token ends.
    node = house.croft.services.farm.machines._nodes.get("pc07")
    node.left = True
    fresh = Computer(house, "pc07")
    first = fresh.ask()
    assert admin.get("/api/farm/joining").data[0]["replaces"] is True
    decide(admin, first, "admit")
    assert Browser(house.croft.wsgi, old).post("/farm", [{"id": "identity", "name": "pc07"}]).status == 401
    assert "token" in fresh.ask().data


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "short"},
        {"secret": None},
        {"secret": "x" * 201},
        {"name": ""},
        {"name": 7},
        {"name": "a/b"},
        {"name": "*"},
        {"name": " pc"},
        {"name": "a\nb"},
        {"name": "waiting"},
    ],
)
def test_nonsense_is_refused(house: House, change: dict[str, Any]) -> None:
    assert Computer(house, "pc07").ask(**change).status == 400
    assert house.croft.services.farm.machines.asking() == []


def test_many_and_hasty_ones_are_held_off(house: House) -> None:
    for n in range(waiting.MOST_OF_ONE):
        assert Computer(house, f"pc{n:03}").ask().status == 202
    assert Computer(house, "one-more").ask().status == 503
    assert Computer(house, "elsewhere", "192.168.7.21").ask().status == 202
    # One that asks without a pause is told to wait; another address isn't.
    hasty = Computer(house, "hasty", "192.168.7.22")
    seen = {hasty.ask().status for _ in range(waiting.ASKS_A_MINUTE + 1)}
    assert seen == {202, 429}
    assert Computer(house, "patient", "192.168.7.23").ask().status == 202


def test_asking_can_be_switched_off(house: House) -> None:
    house.croft.services.settings.change(joining=False)
    reply = Computer(house, "pc07").ask()
    assert (reply.status, "token" in reply.message) == (404, True)


def test_tokens_are_revoked_and_computers_forgotten_and_both_taken_back(house: House, admin: Browser) -> None:
    token = house.croft.services.people.make_token(node="old-name", title="by hand")
    node, hello = Browser(house.croft.wsgi, token), [{"id": "identity", "name": "old-name", "protocol": 2}]
    assert node.post("/farm", hello).status == 200
    admin.patch("/api/nodes/old-name", {"groups": ["lab"]})
    (known,) = admin.get("/api/nodes/old-name/tokens").data
    assert known["title"] == "by hand"
    assert "hash" not in known
    assert admin.ask("DELETE", f"/api/nodes/old-name/tokens/{known['id']}").status == 200
    assert node.post("/farm", hello).status == 401
    admin.post(f"/api/nodes/old-name/tokens/{known['id']}")
    assert node.post("/farm", hello).status == 200
    # Forgotten: gone with its settings, its token refused; and all of it back with Undo.
    assert admin.ask("DELETE", "/api/nodes/old-name").status == 200
    assert admin.get("/api/nodes/old-name").status == 404
    assert node.post("/farm", hello).status == 401
    assert admin.post("/api/nodes/old-name/remember").data["groups"] == ["lab"]
    assert node.post("/farm", hello).status == 200
    assert admin.post("/api/nodes/old-name/remember").status == 404


def test_another_line_leaves_no_unused_key_behind(house: House, admin: Browser) -> None:
    people = house.croft.services.people
    for _ in range(3):
        reply = admin.post("/api/setup/nodes", {})
        assert reply.status == 200
    (token,) = lines_of(people)
    assert "no good any more" in reply.message
    # Once a computer has used a line it stays, whatever lines are made later.
    line = house.croft.services.setup.joining[0][1]
    secret = line.partition("/t/")[2].partition("/join")[0]
    hello = [{"id": "identity", "name": "pc07"}]
    assert Browser(house.croft.wsgi).post(f"/t/{secret}/farm", hello).status == 200
    admin.post("/api/setup/nodes", {})
    assert len(lines_of(people)) == 2
    assert Browser(house.croft.wsgi).post(f"/t/{secret}/farm", hello).status == 200
    assert token["id"] in {one["id"] for one in lines_of(people)}


def lines_of(people: Any) -> list[dict[str, Any]]:
    return [token for token in people.tokens() if token["node"] == "*"]


@pytest.mark.parametrize(
    "identity",
    [
        {"name": "old", "provides": ["gpu"], "version": 3},  # RFAM's
        {"name": "odd name & <b>", "protocol": 2, "hardware": {"cores": "many", "memory_mb": None}},
        {"name": "new", "protocol": 2, "paths": {"data": "another", "x": ""}, "gpus": ["A", {"name": "B"}]},
        {"name": "used", "protocol": 2, "at_keyboard": True, "load": "high", "single_use": True},
    ],
    ids=lambda identity: str(identity["name"]),
)
def test_pages_of_computers_that_say_little_or_nonsense(
    house: House, admin: Browser, identity: dict[str, Any]
) -> None:
    token = house.croft.services.people.make_token(node="*")
    hello = [{"id": "identity", **identity}, {"id": "info", "temperature_c": "hot", "load": -1}]
    assert Browser(house.croft.wsgi, token).post("/farm", hello).status == 200
    for page in ("/computers", f"/computers/{identity['name']}"):
        reply = admin.get(page)
        assert reply.status == 200, reply.body[:2000]
        assert b"<b>" not in reply.body
