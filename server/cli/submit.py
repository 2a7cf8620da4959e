"""`run.py submit FILE`: a job for a file, by its address or by its path on this machine.

Prints the job's id alone, so that a script can go on with it; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from server.cli import places
from server.cli.client import Client
from server.cli.session import running_server
from server.cli.terminal import Progress
from server.disk.errors import BadInput

ENDED = ("done", "failed", "cancelled")
LOOK_S = 0.5
AGNOSTIC = ("renderer", "step", "chunk_size", "xres", "yres", "camera", "out_path")


def run(options: argparse.Namespace) -> int:
    call, request = asked(options)
    with running_server(options) as server:
        made = server.post(call, request)
        ident = str(made["id"] if isinstance(made, dict) else made)
        print(ident, flush=True)
        if not options.wait:
            return 0
        job = follow(server, ident)
    failed = job["counts"].get("failed", 0)
    if job["state"] != "done":
        print(f"The job is {job['state']}; {failed} of {job['total']} failed.", file=sys.stderr)
    return 0 if job["state"] == "done" else 1


def asked(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Which call of the API it takes, and its body: the agnostic one where its own words were used."""
    address = address_of(options)
    given: dict[str, Any] = {name: value for name, value in vars(options).items() if value is not None}
    params = {name: given[name] for name in AGNOSTIC if name in given}
    more: dict[str, Any] = {name: given[name] for name in ("name", "priority") if name in given}
    if "key" in given:
        more["idempotency_key"] = given["key"]
    if not params and "user" not in given:
        plain: dict[str, Any] = {name: given[name] for name in ("frames", "output", "type") if name in given}
        return "/api/jobs", {"file": address, **plain, **more}
    if "output" in given:
        raise BadInput("--output can't stand with these: say --out-path instead.")
    if "type" in given and "renderer" in given:
        raise BadInput("--type and --renderer mean the same: leave one out.")
    params["renderer"] = given.get("renderer") or given.get("type")
    params |= {"scene_file": address, "frange": given.get("frames")}
    return "/api/new_job", {"params": params, "user": given.get("user"), **more}


def follow(server: Client, ident: str, timeout_s: float = float("inf")) -> dict[str, Any]:
    """The job once it has ended, or as it is after so long; its progress on one line meanwhile."""
    last = time.monotonic() + timeout_s
    with Progress() as progress:
        while True:
            job: dict[str, Any] = server.get(f"/api/jobs/{ident}")
            progress.show(job["counts"].get("done", 0), job["total"], told(job))
            if job["state"] in ENDED or time.monotonic() > last:
                return job
            time.sleep(LOOK_S)


def told(job: dict[str, Any]) -> str:
    """What there is to say besides the count."""
    words = [job["state"]]
    if job.get("seconds_per_task"):
        words.append(f"{job['seconds_per_task']:.2f} s a frame")
    if job["counts"].get("failed"):
        words.append(f"{job['counts']['failed']} failed")
    if job["state"] == "waiting" and job.get("why"):
        words.append(str(job["why"]))
    return ", ".join(words)


def address_of(options: argparse.Namespace, named: str = "") -> str:
    """The address of what the person named."""
    named = named or str(options.file)
    if "::" in named:
        return named
    path = Path(named).expanduser().absolute()
    roots = {"data": places.data_dir(options)}
    for ident, share in places.settings(options).folder("shares").items():
        if isinstance(share.get("path"), str):
            roots[ident] = Path(share["path"])
    for name, root in roots.items():
        for candidate in (path, path.resolve()):
            if candidate.is_relative_to(root):
                return f"{name}::{candidate.relative_to(root).as_posix()}"
    raise BadInput(f"{named} lies on no share of this server; the shares are {', '.join(roots)}.")
