"""The OpenAPI document is true: every call is asked with what it says, and answers as it says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from house import QUICK, House
from hypothesis import HealthCheck, seed, settings

from server.web import api
from server.web.api.table import Route
from server.web.app import build

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import CHECKS
    from schemathesis.generation import GenerationMode

EXAMPLES = 12  # of each call: a minute on two cores would be too long for every commit


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "config").mkdir()
    (folder / "config" / "server.json").write_text(QUICK)
    croft = build(folder / "config", folder / "data")
    house = House(croft, folder / "config", folder / "data")
    for n in range(3):
        house.asset(f"demo/shots/s{n}.blend")
    yield house
    croft.close()


@pytest.fixture(scope="module")
def operations(shared_house: House) -> dict[str, Any]:
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", shared_house.croft.wsgi)
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


@pytest.fixture(scope="module")
def token(shared_house: House) -> str:
    return shared_house.croft.services.people.make_token(user="admin")


@pytest.fixture(scope="module")
def there(shared_house: House) -> dict[str, Any]:
    """Parameters of paths that name something."""
    address = shared_house.scene("demo/shots/real.blend")
    request = {"file": address, "frames": "1-5", "type": "test-pattern"}
    made = shared_house.browser("admin").post("/api/jobs", request)
    assert made.status == 201, made.body
    note = shared_house.browser("admin").post(f"/api/assets/{address}/notes", {"text": "- a", "todo": "*"})
    shared_house.croft.services.farm.talk(
        "*", [{"id": "identity", "name": "n1", "version": "1", "provides": []}]
    )
    return {
        "address": address,
        "id": made.data["id"],
        "n": 0,
        "name": "n1",
        "code": "ABC-DEF",
        "token": "nobody",
        "user": "student",
        "project": "demo",
        "step": "people",
        "note": note.data["id"],
    }


# The stream has no end: its own tests read it.
ROUTES = [route for route in api.ROUTES if route.path != "/api/events"]
TAKING = [route for route in ROUTES if route.query or route.body or route.stream or "{" in route.path]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def ask_all(operation: Any, mode: GenerationMode, token: str, **given: Any) -> None:
    @seed(7)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode, **given))
    def ask(case: Any) -> None:
        # What a schema can't say (a file that isn't there, a step without a range) is a 400 of ours.
        excluded = [CHECKS.get_one("positive_data_acceptance")]
        if not has_wrong_input(operation, case):
            excluded.append(CHECKS.get_one("negative_data_rejection"))
        headers = {"Authorization": f"Bearer {token}"}
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    ask()


def has_wrong_input(operation: Any, case: Any) -> bool:
    """Whether something that we read is wrong: not headers, nor queries that are empty or unknown."""
    wrong = {place.value for place, part in case.meta.components.items() if part.mode.is_negative}
    known = {parameter.name for parameter in operation.query}
    query = case.query or {}
    return bool(wrong & {"query", "body"}) and set(query) <= known and all(query.values())


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_right_requests_get_the_answers_that_are_described(
    operations: dict[str, Any], token: str, route: Route
) -> None:
    ask_all(operations[name(route)], GenerationMode.POSITIVE, token)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", [route for route in TAKING if "{" in route.path], ids=name)
def test_things_that_are_there_answer_as_described(
    operations: dict[str, Any], token: str, there: dict[str, Any], route: Route, mode: GenerationMode
) -> None:
    known = {key: value for key, value in there.items() if "{" + key + "}" in route.path}
    ask_all(operations[name(route)], mode, token, path_parameters=known)


@pytest.mark.parametrize("route", TAKING, ids=name)
def test_wrong_requests_are_refused_as_described(
    operations: dict[str, Any], token: str, route: Route
) -> None:
    ask_all(operations[name(route)], GenerationMode.NEGATIVE, token)


def test_the_document_lists_every_route(house: House) -> None:
    paths = house.browser().get("/api/openapi.json").json["paths"]
    for route in house.croft.wsgi.table.routes:
        assert route.method.lower() in paths[route.path], route
    listed = {(method, path) for path, found in paths.items() for method in found}
    assert len(listed) == len(house.croft.wsgi.table.routes)


def test_the_readable_page_names_every_call(house: House) -> None:
    text = house.browser().get("/api/docs").body.decode()
    for route in house.croft.wsgi.table.routes:
        assert f"{route.method} {route.path}" in text
    assert "<script" not in text


def test_operations_have_names_of_their_own(house: House) -> None:
    paths = house.browser().get("/api/openapi.json").json["paths"]
    names = [operation["operationId"] for found in paths.values() for operation in found.values()]
    assert len(names) == len(set(names))
