"""The API of image sequences that are published where they lie, and of what became of them since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from server.disk.encoding import shown
from server.disk.speech import count
from server.library.in_place import Folder
from server.web.api.saves import published_in_place
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services

NAMED = 5  # of what is left out


def list_sequences(services: Services, call: Call) -> Answer:
    found = services.in_place.look(call.query.get("folder", ""))
    return Answer(view(found), count("{n} image sequence.", "{n} image sequences.", len(found.rows)))


def publish_sequence(services: Services, call: Call) -> Answer:
    asset, record, made = services.in_place.publish(
        call.body["address"], call.require("student"), call.body.get("comment") or ""
    )
    told = published_in_place(call.body["address"], record, made)
    return replace(told, data={"asset": asset, "version": told.data, "made": made}, status=200)


def list_version_changes(services: Services, call: Call) -> Answer:
    found = services.in_place.differences(call.params["address"])
    rows = [{"version": version, "changes": one.view()} for version, one in found.items()]
    part, following = page_of(rows, call.query)
    told = count("{n} version lies where it is.", "{n} versions lie where they are.", len(rows))
    return Answer(part, told, next=following, is_list=True)


def view(found: Folder) -> dict[str, Any]:
    return {
        "folder": found.address,
        "sequences": [row.view() for row in found.rows],
        "folders": found.folders,
        "renders": found.renders,
        "others": len(found.others),
        "others_named": [shown(name) for name in found.others[:NAMED]],
        "links": [shown(name) for name in found.links[:NAMED]],
    }


ROUTES = [
    Route("GET", "/api/sequences", list_sequences,
          "the image sequences of a folder, and whether they are published",
          role="student", query={"folder": (TEXT, "its address: share::path/inside")},
          data=ref("SequenceFolder"), errors=(404, 503), tag="saves"),
    Route("POST", "/api/sequences", publish_sequence,
          "publish an image sequence where it lies; its last version where nothing changed since",
          role="student", body=ref("PublishSequence"), data=ref("PublishedSequence"), errors=(404, 409),
          tag="saves"),
    Route("GET", "/api/assets/{address}/versions/changes", list_version_changes,
          "what became of the frames of versions that lie where they are", role="student", query=PAGING,
          listing=True, data=ref("VersionChanges"), errors=(409, 503), tag="saves"),
]  # fmt: skip
