"""The demo's check of its own work: frames whole on the disk, thumbnails served, statistics that add up.

Everything is looked at from outside, on the share and through the API. CroftError with one sentence for
the first thing that isn't as it should be.
"""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from server.cli.client import CallFailed, Client, quote
from server.disk import check
from server.disk.errors import CroftError
from server.disk.mounts import configured_shares
from server.disk.settings import Settings

PICTURE_S = 30.0  # how long a thumbnail may take


def render(client: Client, data: Path, job: dict[str, Any], asset: dict[str, Any] | None) -> None:
    """A finished job: its tasks, its frames, their thumbnails, its sums."""
    tasks = client.all(f"/api/jobs/{job['id']}/tasks")
    statistics(job, tasks)
    folder = data / job["folder"].partition("::")[2]
    expected = tuple(asset["facts"]["resolution"]) if asset else None
    frames(folder, len(tasks), expected)
    thumbnails(client, tasks)
    if asset:
        newest = client.get(f"/api/assets/{quote(asset['address'])}")["jobs"][:1]
        require(newest == [job["id"]], "The asset doesn't name its newest job.")


def statistics(job: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
    total = job["total"]
    require(len(tasks) == total, f"The job has {total} tasks, but {len(tasks)} are listed.")
    require(sum(job["counts"].values()) == total, f"The counts {job['counts']} don't add up to {total}.")
    require(job["counts"].get("done") == total, f"Only {job['counts'].get('done')} of {total} are done.")
    require(job["progress"] == 1, f"All is done, yet the progress is {job['progress']}.")
    seconds = [task["seconds"] or 0 for task in tasks]
    require(min(seconds) > 0, "A task took no time.")
    mean = job["seconds_per_task"] or 0
    require(
        abs(mean * total - sum(seconds)) <= 0.02 * sum(seconds) + 0.01 * total,
        f"The tasks took {sum(seconds):.2f} s, yet {mean:.2f} s each on average are told.",
    )


def frames(folder: Path, count: int, size: tuple[int, ...] | None) -> None:
    """The version's folder holds exactly the frames, each whole, and nothing half-done."""
    found = sorted(path for path in folder.iterdir() if path.is_file())
    left = [path.name for path in found if path.name.startswith(".")]
    require(not left, f"{folder} still holds {', '.join(left[:3])}.")
    require(len(found) == count, f"{folder} holds {len(found)} frames instead of {count}.")
    for path in found:
        try:
            with Image.open(path) as image:
                image.load()  # to the last byte
                require(size is None or image.size == size, f"{path} has {image.size} pixels, not {size}.")
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise CroftError(f"{path} isn't whole: {error}.") from error


def thumbnails(client: Client, tasks: list[dict[str, Any]]) -> None:
    for task in tasks:
        require(bool(task["thumbnail"]), f"Frame {task['frame']} has no thumbnail.")
        kind, raw = picture(client, task["thumbnail"])
        require(kind.startswith("image/") and len(raw) > 0, f"Frame {task['frame']}'s thumbnail is {kind}.")


def picture(client: Client, path: str) -> tuple[str, bytes]:
    """A thumbnail; waited for while the server says that it isn't made yet."""
    last = time.monotonic() + PICTURE_S
    while True:
        try:
            return client.fetch(path)
        except CallFailed as error:
            if error.status != 503 or time.monotonic() > last:
                raise
            time.sleep(0.1)


def pages(client: Client, asset: dict[str, Any], job: dict[str, Any]) -> None:
    shown = [("/p/demo/assets", asset), (asset["url"], asset), ("/p/demo/rendering", job)]
    for path, what in shown:
        kind, raw = client.fetch(path)
        there = kind.startswith("text/html") and html.escape(what["name"]).encode() in raw
        require(there, f"The page {path} doesn't show {what['name']}.")


def share(data: Path, config: Path) -> None:
    """What `run.py check` finds: nothing may be at fault after a render."""
    for problem in check.check(configured_shares(Settings(config), data)):
        require(problem.kind in check.NOTES, f"run.py check tells of {problem.address}: {problem.text}")


def sentence(job: dict[str, Any]) -> str:
    """What a person wants to know of a finished render."""
    mean = job["seconds_per_task"]
    return f"{job['total']} frames, {mean:.2f} s each; every frame whole, every thumbnail served, sums right."


def require(fact: bool, sentence: str) -> None:
    if not fact:
        raise CroftError(sentence)
