"""Job types over the API, and the agnostic submission's parameters."""

from __future__ import annotations

import pytest
from house import House


def test_the_types_of_a_file_with_their_settings(house: House) -> None:
    student = house.browser("student")
    rows = student.get("/api/job_types?file=data::demo/shots/sh010.blend").data
    assert [row["id"] for row in rows][:3] == ["blender-frames", "blender-tiles", "blender-video"]
    chunk = next(one for one in rows[0]["settings"] if one["name"] == "chunk_size")
    assert (chunk["type"], chunk["least"], chunk["default"]) == ("whole", 1, None)
    formats = next(one for one in rows[0]["settings"] if one["name"] == "format")["choices"]
    assert formats[0] == {"value": None, "title": "as the scene says"}
    assert [stage["name"] for stage in rows[0]["stages"]] == ["render", "preview"]
    assert len(student.get("/api/job_types").data) >= 6


@pytest.mark.parametrize("path", ["/new_job", "/api/new_job"])
def test_the_agnostic_parameters_mean_what_they_say(house: House, path: str) -> None:
    address = house.scene()
    student = house.browser("student")
    params = {"scene_file": address, "frange": "1-20", "step": 2, "chunk_size": 4, "xres": 64, "yres": 36,
              "camera": "Camera", "renderer": "cycles"}  # fmt: skip
    reply = student.post(path, {"name": "quick", "params": params})
    assert reply.status == 201, reply.message
    job = student.get(f"/api/jobs/{reply.data}").data
    assert (job["frames"], job["total"], job["stages"][0]["per"]) == ("1-19x2", 3, "chunk")
    rows = student.get(f"/api/jobs/{reply.data}/tasks").data
    assert [row["frames"] for row in rows] == [[1, 7], [9, 15], [17, 19]]
    one = student.get(f"/api/jobs/{reply.data}/tasks/1")
    assert one.message == "Frames 9 to 15 are waiting."
    (film,) = student.get(f"/api/jobs/{reply.data}/tasks?stage=preview").data
    assert (film["n"], film["frames"]) == (3, [1, 19])
