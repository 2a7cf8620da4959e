"""The API of uploads: begin, send chunk by chunk, correct, add. Everybody sees their own alone."""

from __future__ import annotations

import threading
from typing import Any

from server.disk.encoding import quote
from server.disk.errors import BadInput, Busy, NotFound
from server.disk.speech import count, say
from server.library.uploads import Misfit, Upload, limits
from server.library.uploads.staging import Chunk
from server.web.api.files import blank
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.pages import words
from server.web.requests import Answer, Call, Headers, number, page_of, read_body, too_large
from server.web.services import Services

CHUNK_MOST = 64 << 20  # whatever the configuration says: chunks are held in memory
CHUNKS_AT_ONCE = 16
CHUNK_WAIT_S = 10.0
SIZE_MOST = 1 << 50
OCTETS = "application/octet-stream"
CRC = {"type": "string", "pattern": "^[0-9a-f]{8}$"}
SHA = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
SEQUENCE = {"sequence": ({"type": "boolean"}, "true: all pictures of the same numbered sequence, too")}
SANDBOX = "sandbox; default-src 'none'; img-src 'self'"

_chunks = threading.BoundedSemaphore(CHUNKS_AT_ONCE)


def list_uploads(services: Services, call: Call) -> Answer:
    user = call.require("student")
    found = services.uploads.waiting(user, call.query.get("project", ""))
    rows, following = page_of(found, call.query)
    text = count("{n} of your files waits.", "{n} of your files wait.", len(found))
    return Answer(services.uploads.views(list(rows)), text, next=following, is_list=True)


def check_files(services: Services, call: Call) -> Answer:
    """Nothing is begun: a folder is looked over by its names and sizes."""
    settings = services.settings
    most = words.size_limit(int(settings.get("max_upload_bytes")))
    taken, left = limits.sort_out(settings, call.body["files"], most)
    said = count("{n} file can be sent.", "{n} files can be sent.", len(taken))
    return Answer({"taken": taken, "left": left}, said)


def begin_upload(services: Services, call: Call) -> Answer:
    upload = services.uploads.begin(call.require("student"), call.body)
    view = services.uploads.view(upload)
    return Answer(
        view, say("{name} can be sent.", name=view["name"]), 201, [("Location", f"/api/uploads/{upload.id}")]
    )


def show_upload(services: Services, call: Call) -> Answer:
    upload = services.uploads.one(call.require("student"), call.params["id"])
    view = services.uploads.view(upload)
    chunks = services.uploads.chunks(upload)
    view["chunks"] = parts(chunks)
    if call.query.get("there") == "true":
        there = services.uploads.there_chunks(upload)
        view["there_chunks"] = None if there is None else parts(there)
    return Answer(
        view, say("{offset:,} of {size:,} bytes are here.", offset=view["offset"], size=view["size"])
    )


def parts(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [{"at": one.at, "size": one.size, "crc32": f"{one.crc:08x}"} for one in chunks]


def send_chunk(services: Services, call: Call) -> Answer:
    """PUT /api/uploads/<id>?offset=…: held in memory until it is known to be whole and right."""
    user = call.require("student")
    upload = services.uploads.one(user, call.params["id"])
    at = number(call.query, "offset", 0, 0, SIZE_MOST)
    limit = min(CHUNK_MOST, 2 * int(services.settings.get("upload_chunk_bytes")))
    stated = str(call.environ.get("CONTENT_LENGTH") or "")
    if not stated:
        raise BadInput("Say how long this part is: Content-Length.", status=411)
    if stated.isdigit() and int(stated) > limit:
        raise too_large(limit)
    if not _chunks.acquire(timeout=CHUNK_WAIT_S):
        raise Busy("Many files are being uploaded just now. Try again in a moment.", path=upload.name)
    try:
        data = read_body(call.environ, limit)
        crc = call.query.get("crc32")
        upload = services.uploads.receive(
            upload, at, data, int(crc, 16) if crc else None, call.query.get("sha256", "")
        )
    except Misfit as error:
        return Answer({"offset": error.offset}, error.message, 409)
    finally:
        _chunks.release()
    offset = at + len(data)
    return Answer(
        {"offset": offset}, say("{offset:,} of {size:,} bytes are here.", offset=offset, size=upload.size)
    )


def change_upload(services: Services, call: Call) -> Answer:
    upload = services.uploads.one(call.require("student"), call.params["id"])
    view, count = change(services, call, upload, call.body)
    what = say("{count} pictures are", count=count) if count > 1 else say("{name} is", name=view["name"])
    return Answer(
        view,
        say("{what} back.", what=what)
        if call.body.get("removed") is False
        else say("{what} changed.", what=what),
    )


def remove_upload(services: Services, call: Call) -> Answer:
    upload = services.uploads.one(call.require("student"), call.params["id"])
    view, count = change(services, call, upload, {"removed": True})
    return Answer(
        view, say("{value} won’t be added.", value=f"{count} pictures" if count > 1 else view["name"])
    )


def change(
    services: Services, call: Call, upload: Upload, given: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """One upload's view after the change, or the first one's of its sequence; and how many were changed."""
    if call.query.get("sequence") != "true":
        return services.uploads.view(services.uploads.change(upload, given)), 1
    if "name" in given:
        raise BadInput("The pictures of a sequence can’t all have one name.", field="name")
    found = services.uploads.like(upload)
    for one in found:
        changed = services.uploads.change(one, given)
        upload = changed if one.id == upload.id else upload
    return services.uploads.view(upload), len(found)


def show_picture(services: Services, call: Call) -> Answer:
    user = call.require("student")
    try:
        data, form = services.uploads.picture(services.uploads.one(user, call.params["id"]))
    except NotFound:
        if call.header("sec-fetch-dest") != "image":
            raise
        return blank()  # added or removed since the page was drawn: no matter for a browser's console
    headers: Headers = [
        ("Content-Type", "image/jpeg" if form == "jpg" else "image/png"),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "private, max-age=3600"),
        ("Content-Security-Policy", SANDBOX),
    ]
    return Answer(headers=headers, body=[data])


def add_uploads(services: Services, call: Call) -> Answer:
    user = call.require("student")
    results: list[dict[str, Any]] = services.uploads.add(user, call.body["ids"])
    for one in results:
        one["url"] = page_of_file(services, one["address"]) if one["address"] else ""
    there = [one for one in results if one["ok"]]
    failed = len(results) - len(there)
    if len(results) == 1:
        text = str(results[0]["message"])
    elif failed:
        text = say(
            "{there} of {results} files were added; {failed} need you.",
            there=len(there),
            results=len(results),
            failed=failed,
        )
    else:
        text = count("{n} file was added.", "{n} files were added.", len(there))
    return Answer(results, text)


def page_of_file(services: Services, address: str) -> str:
    project = services.projects.of(address)
    return f"/p/{quote(project.ident)}/asset/{quote(project.inside(address))}" if project else ""


ROUTES = [
    Route("GET", "/api/uploads", list_uploads, "your files that wait to be sent or added", role="student",
          query={"project": (TEXT, "only this project's"), **PAGING}, listing=True, data=ref("Upload"),
          errors=(404,), tag="uploads"),
    Route("POST", "/api/uploads", begin_upload, "begin to upload a file", role="student",
          body=ref("NewUpload"), data=ref("Upload"), status=201, errors=(404, 409), tag="uploads"),
    Route("POST", "/api/uploads/add", add_uploads,
          "move uploads into place; each says by itself what came of it", role="student", body=ref("Adding"),
          data={"type": "array", "items": ref("Added")}, errors=(404, 409), tag="uploads"),
    Route("POST", "/api/uploads/check", check_files,
          "which files of a drop can be sent, and why not the others", role="student", body=ref("Drop"),
          body_limit=16 << 20, data=ref("SortedOut"), tag="uploads"),
    Route("GET", "/api/uploads/{id}", show_upload, "one upload, with what of it is here", role="student",
          query={"there": ({"type": "boolean"}, "true: the parts of the file of its name and size, too")},
          data=ref("Upload"), tag="uploads"),
    Route("PUT", "/api/uploads/{id}", send_chunk, "the next part; 409 says from where to go on",
          role="student", stream=OCTETS, data=ref("Received"), errors=(409, 411), tag="uploads",
          query={"offset": ({"type": "integer", "minimum": 0, "maximum": SIZE_MOST}, "where it begins"),
                 "crc32": (CRC, "CRC-32 of this part, as zlib and PNG have it"),
                 "sha256": (SHA, "SHA-256 of the whole file; with the last part, say")}),
    Route("PATCH", "/api/uploads/{id}", change_upload, "where it is to go, and as what", role="student",
          query=SEQUENCE, body=ref("UploadChange"), data=ref("Upload"), errors=(409,), tag="uploads"),
    Route("DELETE", "/api/uploads/{id}", remove_upload,
          'don\'t add it; {"removed": false} takes that back for a day', role="student", query=SEQUENCE,
          data=ref("Upload"), errors=(409,), tag="uploads"),
    Route("GET", "/api/uploads/{id}/picture", show_picture, "its picture, PNG or JPEG", role="student",
          media="image/png", tag="uploads"),
]  # fmt: skip
