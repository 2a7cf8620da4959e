"""A new job: checked, its scene copied, its version folder made, its folder written. Whole or not at all.

Checks come first and change nothing. The copy and its hash are made outside of every lock. What commits a
job is its `job.json`, written last; until then `intent.json` tells a later start what to take away.
"""

from __future__ import annotations

import datetime
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import BadContent, BadInput, Conflict, Forbidden, NotFound
from server.disk.journal import Journal
from server.disk.records import JobPlace
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm import frames as frame_ranges
from server.farm.job_types import JobType, JobTypes, alf
from server.farm.job_types.commands import harmless
from server.farm.job_types.seal import seal
from server.farm.jobs import facts, inputs, plan, snapshots
from server.farm.jobs import record as records
from server.library import versions
from server.library.people import rank

INTENT = "intent.json"
MAX_RETRIES = 100
_KNOWN = frozenset(
    {
        *("file", "frames", "output", "type", "priority", "order", "retries", "requires", "parameters"),
        *("options", "name", "description", "project", "paused", "out_path", *plan.KEYS),
    }
)

ProjectOf = Callable[[str], tuple[str, int] | None]  # address -> project's ident and render priority


def new_id(now: datetime.datetime, tail: str = "") -> str:
    """`20261121-201500-3fa9c1`. `tail`: digits to end in, by which it is found again."""
    return f"{now:%Y%m%d-%H%M%S}-{tail[:6] or secrets.token_hex(3)}"


class Submitter:
    """Makes jobs. Safe for many threads at once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        types: JobTypes,
        project_of: ProjectOf,
        wall: Callable[[], float],
        disk: files.Os = files.REAL,
        siblings: snapshots.SiblingsOf = lambda address: [],
        known: Callable[[str], bool] = lambda job: False,
        uses: inputs.UsesOf = lambda address: (),
    ) -> None:
        """`siblings`: the other jobs of a file, whose snapshots may hold the same bytes. `known`: whether
        there is a job of this id. `uses`: which files a scene names, itself and through its libraries."""
        self._settings = settings
        self._store = store
        self._types = types
        self._project_of = project_of
        self._wall = wall
        self._disk = disk
        self._siblings = siblings
        self._uses = uses
        self._known = known

    def check(self, user: str, request: Mapping[str, Any], role: str = "admin") -> dict[str, Any]:
        """The record of the job that this request asks for; raises what is wrong, and changes nothing.
        `role` is what its user may do."""
        if not isinstance(request, Mapping):
            raise BadInput('A job is asked for with an object such as {"file": …, "frames": "1-24"}.')
        address = request.get("file")
        if not isinstance(address, str) or not address:
            raise BadInput("Say which file to render: file is missing.")
        path = self._file(address, request)
        project = self._project_of(address)
        if project is None:
            raise NotFound("{address} lies in no project.", address=address)
        asked = request.get("project")
        if asked not in (None, "", project[0]):
            raise NotFound(
                "{address} lies in the project {project}, not in {asked}.",
                address=address,
                project=project[0],
                asked=repr(str(asked)[:60]),
            )
        job_type = self._type(request, paths.name_of(address))
        if rank(role) < rank(job_type.role):
            who = "an admin" if job_type.role == "admin" else f"a {job_type.role}"
            raise Forbidden(
                "{job_type} is for {who} to submit.", role=job_type.role, job_type=job_type.title, who=who
            )
        if "\\" in paths.folder_of(address) and path.suffix.casefold() == ".blend":
            raise BadContent(
                "Blender takes the backslash in this folder's name for the end of one, and finds nothing: "
                "rename the folder.",
                path=str(path),
            )
        try:
            job_type.check_file(path)
        except OSError as error:
            raise BadContent(
                "{address} can't be read: {why}.", address=address, why=error.strerror
            ) from error
        given = request.get("parameters") or request.get("options") or {}
        if not isinstance(given, Mapping):
            raise BadInput("parameters must be an object.")
        if not isinstance(request.get("paused", False), bool):
            raise BadInput("paused must be true or false.")
        for key in request:
            if key not in _KNOWN and key not in job_type.parameters:
                raise BadInput("A job has no {key}.", key=repr(str(key)[:60]))
        given = {**{k: v for k, v in request.items() if k in job_type.parameters}, **given}
        parameters = job_type.check_parameters(given)
        frames = self._frames(request, path, job_type, address)
        output = self._output(request, address, path, parameters, job_type)
        if output not in job_type.outputs:
            raise BadInput(
                "output must be one of {outputs}, not {output}.",
                outputs=", ".join(job_type.outputs),
                output=repr(str(output)[:40]),
            )
        order = request.get("order") or _usual_order(path, job_type)
        if order not in frame_ranges.ORDERS:
            raise BadInput(
                "order must be one of {orders}, not {order}.",
                orders=", ".join(frame_ranges.ORDERS),
                order=repr(str(order)[:40]),
            )
        name = paths.name_of(address)
        lists = None
        if job_type.frames == "file":
            frames, lists = self._listed(job_type, path, address)
        planned = job_type.plan(parameters, len(frames), output, paths.own_stem(name), lists)
        if lists and len(encoding.dumps(planned)) > records.MAX_RECORD_BYTES // 2:
            raise BadContent("{name} lists more than one job may hold: split it.", name=name)
        more = {"writes": self._writes(address, path, parameters)} if output == "scene" else {}
        return {
            **more,
            "schema": records.SCHEMA,
            "type": job_type.ident,
            "file": address,
            "project": project[0],
            "user": user,
            "frames": str(frames),
            "total": sum(stage["tasks"] for stage in planned if not stage.get("optional")),
            "stages": planned,
            "fps": _fps_of_scene(path),
            "order": order,
            "output": output,
            "priority": self._priority(request, address),
            "retries": _whole(request, "retries", int(self._settings.get("retries")), 1, MAX_RETRIES),
            "requires": sorted(job_type.requires | set(_texts(request, "requires"))),
            "name": str(request.get("name") or encoding.shown(paths.stem_of(name)))[:200],
            "base": job_type.name.replace("{stem}", paths.own_stem(name)),
            "timeout_s": job_type.timeout_s,
            "description": str(request.get("description") or "")[:1000],
            "silence_s": job_type.silence_s,
            "parameters": parameters,
            **plan.check(request, self._known, self._wall(), self._settings.get("timezone")),
            "site": self._settings.get("site"),
            "begin": "paused" if request.get("paused") else "waiting",
        }

    def make(self, record: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Write the job that `check` gave: its whole record, and the address of its folder."""
        address: str = record["file"]
        now = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        tail = str((record.get("asked") or {}).get("key", ""))
        record = {**record, "id": new_id(now, tail), "created": _stamp(now)}
        share = self._store.share(paths.parse(address)[0])
        scene = self._store.path(address)
        folder_address = paths.job_folder(address, record["id"])
        folder = share.root / paths.parse(folder_address)[1]
        snapshot = scene.with_name(paths.snapshot_name(scene.name, record["id"]))
        record["snapshot"] = snapshot.name
        version = ""
        try:
            files.make_folders(folder, share.root, disk=self._disk)
            files.write_atomic(folder / INTENT, encoding.dumps({"snapshot": snapshot.name}), disk=self._disk)
            known = inputs.Files(scene.parent, self._store.shares)
            has = self._store.index.get
            record["inputs"] = inputs.look(scene, address, known, self._uses, lambda a: has(a) is not None)
            # What runs programs has a copy of its own: anybody may write what other jobs say of theirs.
            siblings = [] if _runs_programs(record) else self._siblings(address)
            record["source"] = snapshots.take(scene, snapshot, siblings, self._disk)
            caches = snapshots.take_caches(scene.name, snapshot, folder, siblings, self._disk)
            if caches:
                record["caches"] = caches
            if record["output"] == "version":
                version = self._make_version(address, record)
                record["version"] = version
                record["folder"] = f"{paths.RENDER}/{paths.own_stem(scene.name)}/{version}"
            record["seal"] = seal(self._settings.secret("job-seal"), record)
            self._begin_journal(folder, record)
            files.write_atomic(
                folder / records.RECORD,
                encoding.dumps(record, indent=True) + b"\n",
                disk=self._disk,
            )
        except BaseException:
            self._take_back(folder, snapshot)
            if version:
                versions.unmake(self._store, address, version)
            raise
        try:
            self._disk.unlink(folder / INTENT)
        except OSError:
            pass  # job.json says that it counts no more
        return record, folder_address

    # -- checking -------------------------------------------------------------------------------------

    def _file(self, address: str, request: Mapping[str, Any]) -> Path:
        share, inside = paths.parse(address)
        self._store.share(share)
        entry = self._store.index.get(address) if inside else None
        if entry is None:
            raise NotFound("There is no file {address}.", address=address)
        if entry.status == "missing":
            raise NotFound("{address} is missing: only what is known of it is still there.", address=address)
        self._type(request, paths.name_of(address))
        if entry.arriving:
            raise Conflict("{address} is still arriving. Try again in a moment.", address=address)
        path = self._store.path(address)
        if not path.is_file():
            raise NotFound("There is no file {address}.", address=address)
        return path

    def _type(self, request: Mapping[str, Any], name: str) -> JobType:
        asked = request.get("type")
        if not asked:
            return self._types.for_file(name)
        job_type = self._types.get(asked)
        if not job_type.takes(name):
            raise BadContent(
                "{name} can't be used for {job_type}: it takes {suffixes}.",
                name=name,
                job_type=job_type.title,
                suffixes=", ".join(job_type.suffixes),
            )
        return job_type

    def _frames(
        self, request: Mapping[str, Any], path: Path, job_type: JobType, address: str
    ) -> frame_ranges.Frames:
        """What is asked for, else what people say of the file, else the scene's own range."""
        asked = request.get("frames")
        if job_type.frames == "file" and asked in (None, ""):
            asked = 1
        if asked is None or asked == "":
            scene = (request.get("parameters") or {}).get("scene")
            span = facts.of(path).frames(scene)
            entry = self._store.index.get(address) if not scene else None
            if entry is not None and entry.facts is not None:
                span = facts.said(span, entry.facts.start, entry.facts.end)
            if span is None:
                raise BadInput('Say which frames to render, like "1-24".')
            asked = f"{span[0]}-{span[1]}" if span[0] != span[1] else str(span[0])
        frames = frame_ranges.parse(asked, int(self._settings.get("max_frames")))
        if job_type.frames == "one" and len(frames) > 1:
            if request.get("frames") not in (None, ""):
                raise BadInput(
                    "{job_type} is made of one frame: say which.", field="frames", job_type=job_type.title
                )
            frames = frame_ranges.parse(frames[0])
        return frames

    def _output(
        self,
        request: Mapping[str, Any],
        address: str,
        path: Path,
        parameters: Mapping[str, Any],
        job_type: JobType,
    ) -> Any:
        """What is asked for, and what puts the frames where they are asked for."""
        asked = request.get("out_path")
        if asked in (None, ""):
            return request.get("output", job_type.outputs[0])
        if not isinstance(asked, str):
            raise BadInput("out_path must be a text.")
        found = facts.output_for(self._store, address, asked, self._writes(address, path, parameters))
        if not found or request.get("output", found) != found:
            raise BadInput(
                "Frames can't go to {path}: each render of this file gets a new folder in {folder}. Leave "
                "out_path out, say that folder, or set the output path in the scene itself and say that.",
                path=repr(asked[:200]),
                folder=facts.renders_of(address),
            )
        return found

    def _writes(self, address: str, path: Path, parameters: Mapping[str, Any]) -> str:
        """The address of the folder that the scene itself writes to, as far as that is known."""
        raw = facts.of(path).scene(parameters.get("scene")).get("output")
        return facts.output_folder(self._store, address, raw) if isinstance(raw, str) else ""

    def _listed(
        self, job_type: JobType, path: Path, address: str
    ) -> tuple[frame_ranges.Frames, list[list[list[list[str]]]]]:
        """The commands that a job file lists, level by level, and the frames that they are for."""
        share = self._store.share(paths.parse(address)[0])
        allowed = {program for stage in job_type.stages for program in stage.allow}
        raw, _ = files.read_bounded(path, alf.MAX_BYTES)
        levels = alf.stages(alf.read(raw.decode("utf-8", "replace")))
        root = str(share.root).rstrip("/") + "/"
        numbers = [unit.frame for unit in max(levels, key=len)]
        known = [number for number in numbers if number is not None]
        framed = len(set(known)) == len(numbers)
        lists = []
        for level in levels:
            units = sorted(level, key=lambda unit: unit.frame or 0) if framed else level
            told = [(c for c in unit.commands if not unit.tidies or c[0] in allowed) for unit in units]
            commands = [[_argv(c, allowed, root, share.name) for c in own] for own in told]
            if any(commands):
                lists.append(commands)
        return frame_ranges.of(sorted(known)) if framed else frame_ranges.parse(1), lists

    def _priority(self, request: Mapping[str, Any], address: str) -> int:
        entry = self._store.index.get(address)
        default = entry.facts.priority if entry is not None and entry.facts is not None else 0
        return _whole(request, "priority", default if 1 <= default <= 5 else 3, 1, 5)

    # -- making ---------------------------------------------------------------------------------------

    def _make_version(self, address: str, record: Mapping[str, Any]) -> str:
        kept = {key: record[key] for key in ("type", "file", "user", "created", "frames")}
        told = {**kept, "job": record["id"], "source_hash": record["source"]["sha256"], "outputs": []}
        return versions.make(self._store, address, told)[0]

    def _begin_journal(self, folder: Path, record: Mapping[str, Any]) -> None:
        journal = Journal(folder / records.JOURNAL, self._disk)
        try:
            event = {"at": record["created"], "event": "state", "to": record["begin"], "by": record["user"]}
            journal.append([event])
            journal.sync()
        finally:
            journal.close()

    def _take_back(self, folder: Path, snapshot: Path) -> None:
        snapshots.drop(snapshot, self._disk)
        shutil.rmtree(folder, ignore_errors=True)
        for parent in list(folder.parents)[:3]:  # jobs, the companion, .croft, where this was the first
            with suppress(OSError):  # other things lie there
                parent.rmdir()


def clean_up(store: Store, place: JobPlace, disk: files.Os = files.REAL) -> bool:
    """Take away what a submission left that never became a job. True when there was something."""
    folder = store.path(place.folder)
    if (folder / records.RECORD).exists():
        return False
    try:
        name = encoding.loads(files.read_bounded(folder / INTENT, 65536)[0])["snapshot"]
    except (OSError, ValueError, KeyError, TypeError):
        name = ""  # it fell before it had made anything
    if isinstance(name, str) and "/" not in name and f".{folder.name}." in name + ".":
        snapshots.drop(store.path(place.address).with_name(name), disk)
    versions.unmake_of(store, place.address, folder.name)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _usual_order(path: Path, job_type: JobType) -> str:
    """`spread` where each frame can be rendered without those before it, as far as that is known."""
    if "blender" not in job_type.programs:
        return "linear"
    return "spread" if facts.of(path).told.get("simulated") is False else "linear"


def _fps_of_scene(path: Path) -> float | None:
    """Frames a second."""
    found = facts.of(path).told.get("fps")
    return float(found) if isinstance(found, (int, float)) and 0 < found <= 1000 else None


def _argv(argv: list[str], allowed: set[str], root: str, share: str) -> list[str]:
    """A command as it is kept: only of programs that the type allows, paths on the share as addresses."""
    if os.path.basename(argv[0]) not in allowed:
        known = ", ".join(sorted(allowed))
        raise BadContent(
            "The job file runs {argv}: this kind of job runs {known} alone.",
            argv=repr(argv[0][:60]),
            known=known,
        )
    plain = [re.sub(r"%D\((.*)\)", r"\1", part) for part in argv]
    return [
        os.path.basename(plain[0]),
        *(f"{share}::{part[len(root) :]}" if part.startswith(root) else part for part in plain[1:]),
    ]


def _runs_programs(record: Mapping[str, Any]) -> bool:
    return any(stage["per"] == "list" or not harmless(stage["commands"]) for stage in record["stages"])


def _whole(request: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = request.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(
            "{key} must be a whole number from {least} to {most}, not {value}.",
            key=key,
            least=least,
            most=most,
            value=repr(str(value)[:40]),
        )
    return value


def _texts(request: Mapping[str, Any], key: str) -> list[str]:
    value = request.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and len(item) <= 100 for item in value):
        raise BadInput("{key} must be a list of texts.", key=key)
    return value


def _stamp(now: datetime.datetime) -> str:
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
