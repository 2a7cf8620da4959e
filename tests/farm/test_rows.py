"""Long lists of jobs: rows are kept, and yet tell the truth."""

from __future__ import annotations

from typing import Any

from farm_kit import SCENE, World

from server.disk import encoding
from server.farm.farm import Farm
from server.farm.farm.rows import FEWEST, NODES, Rows, shortened


def ids_and_states(farm: Farm, rows: Rows) -> dict[str, str]:
    found = encoding.loads(encoding.dumps(rows.of(farm.jobs())))
    return {row["id"]: row["state"] for row in found}


def test_a_row_is_made_anew_where_its_job_changed_and_the_oldest_of_the_others(world: World) -> None:
    farm = world.open()
    jobs = [farm.submit("anna", {"file": SCENE, "frames": "1-4"}).id for _ in range(FEWEST + 12)]
    made: list[str] = []
    time = [0.0]

    def view(job: Any) -> dict[str, Any]:
        made.append(job.id)
        time[0] += 1.0  # a row takes longer than all the patience there is
        return farm.view(job)

    rows = Rows(view, lambda: time[0])
    assert set(ids_and_states(farm, rows)) == set(jobs)
    assert sorted(made) == sorted(jobs)
    seen: set[str] = set()
    for _ in range(len(jobs)):
        made.clear()
        ids_and_states(farm, rows)
        assert len(made) == FEWEST  # nothing happened to any
        seen.update(made)
    assert seen == set(jobs)  # and none is forgotten
    farm.cancel(jobs[3], "anna")
    made.clear()
    assert ids_and_states(farm, rows)[jobs[3]] == "cancelled"
    assert jobs[3] in made


def test_a_row_is_as_long_whatever_the_farms_size() -> None:
    nodes = {f"n{number}": {"done": number} for number in range(500)}
    found = shortened({"id": "j", "nodes": nodes})
    assert (len(found["nodes"]), found["more_nodes"]) == (NODES, 500 - NODES)
    assert "n499" in found["nodes"]
    few = {"id": "j", "nodes": {"n1": {"done": 3}}}
    assert shortened(few) is few
