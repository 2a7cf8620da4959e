"""The configuration: files in one folder, read again when they change.

`server.json` holds the keys of `KEYS`; the folders users, projects, nodes, shares, sets, job_types,
failure_rules, tokens and languages hold one JSON object a file, named by its ident. What is missing or
empty is filled with the embedded defaults once; what a person deleted afterwards stays deleted. An invalid
file keeps its last good content and is told as a problem.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from server.disk import files, mistakes
from server.disk.errors import BadInput, NotFound
from server.disk.records import Problem
from server.disk.speech import say

DEFAULTS = Path(__file__).resolve().parents[2] / "config"
KINDS = (
    "users", "projects", "nodes", "shares", "paths", "sets", "job_types", "failure_rules", "tokens",
    "languages",
)  # fmt: skip
SINGLES = ("where.json",)  # files beside server.json
STAYING = ("languages",)  # the defaults of these aren't copied: an update of Croft brings better ones
PRIVATE = ("users", "tokens")  # hashes of passwords and tokens: for the server's own user alone
LOOK_S = 1.0  # how often, at most, the disk is asked whether something changed
MAX_BYTES = 4 << 20
FILLED = ".filled.json"  # which defaults were put here once
IDENT = re.compile(r"[A-Za-z0-9@_][A-Za-z0-9@_.+-]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of server.json: what it holds, in which unit, and what it is for."""

    default: Any
    type: type
    unit: str
    sentence: str
    least: float | None = None


KEYS: dict[str, Key] = {
    "site": Key(
        "", str, "", "Name of this installation; where empty, a random one is kept in the file site."
    ),
    "title": Key("Croft", str, "", "What the pages call this installation."),
    "host": Key("127.0.0.1", str, "", "Address to listen on; 0.0.0.0 for every network."),
    "port": Key(8080, int, "", "Port to listen on; 0 takes a free one.", 0),
    "session_hours": Key(
        720.0,
        float,
        "hours",
        "How long somebody stays signed in; a school month, since it costs a tap.",
        0.01,
    ),
    "student_pins": Key(False, bool, "", "Whether each student has a PIN, chosen at the first tap."),
    "event_code": Key("", str, "", "What a browser must give once before it sees names; none: nothing."),
    "timezone": Key("UTC", str, "IANA name", "Zone of the times on pages and in schedules."),
    "threads": Key(
        8,
        int,
        "threads",
        "How many requests are answered at once, those of nodes, event streams and long downloads apart.",
        1,
    ),
    "event_streams": Key(128, int, "streams", "How many browsers may follow changes live at once.", 1),
    "max_body_bytes": Key(8 << 20, int, "bytes", "Longest body of a request, uploads apart.", 1024),
    "max_upload_bytes": Key(64 << 30, int, "bytes", "Largest file that can be uploaded.", 1024),
    "upload_kinds": Key([], list, "endings", "What can be uploaded; none: what studios make; *: everything."),
    "upload_chunk_bytes": Key(8 << 20, int, "bytes", "How much a browser sends at once.", 1 << 14),
    "upload_keep_days": Key(14.0, float, "days", "How long an upload waits to be added.", 0.01),
    "max_frames": Key(100_000, int, "frames", "Most tasks that one job may have.", 1),
    "settle_s": Key(1.0, float, "seconds", "How long a new file must be unchanged before it is used.", 0),
    "scan_every_s": Key(20.0, float, "seconds", "How often unwatched folders are looked at while in use.", 1),
    "backup": Key(
        {}, dict, "", "Where misc/backup copies to (path), how long it keeps what (keep), and late_minutes."
    ),
    "ignore": Key([], list, "globs", "Names that are never assets, besides the built-in ones."),
    "name_patterns": Key(
        ["{project}_{sequence}_{shot}_{task}_v{version}"],
        list,
        "patterns",
        "What files' names say; the first that fits counts. A set's own stand in its file as patterns.",
    ),
    "lease_s": Key(90.0, float, "seconds", "How long a node may be silent before its task is given away.", 1),
    "heartbeat_s": Key(10.0, float, "seconds", "How often a node reports while it renders.", 0.1),
    "joining": Key(True, bool, "", "Whether a computer without a token may ask to join; an admin admits it."),
    "wake_to": Key(
        ["255.255.255.255"], list, "addresses", "Where packets go that wake computers: broadcast addresses."
    ),
    "keep_free_gb": Key(
        20.0, float, "gigabytes", "Renders wait where less is free on the disk they go to; 0: never.", 0
    ),
    "keep_free_percent": Key(
        10.0, float, "percent", "Of a small disk this much is enough: the smaller of the two counts.", 0
    ),
    "prune": Key(
        {"keep_newest": 3, "unapproved_days": 14, "rejected_days": 2},
        dict,
        "",
        "Which renders run.py prune puts away; projects names other values for a project.",
    ),
    "retries": Key(3, int, "attempts", "How often a task is tried before it counts as failed.", 1),
    "timeout_times": Key(
        10.0,
        float,
        "times",
        "A task that takes so many times what is usual there and in its job is tried elsewhere.",
        0,
    ),
    "timeout_least_s": Key(120.0, float, "seconds", "No task is taken for too slow before that.", 0.1),
    "avoid_s": Key(
        3600.0, float, "seconds", "How long a node is kept from tasks and jobs that failed there.", 0
    ),
    "log_mb": Key(
        64.0, float, "megabytes", "Most that a job keeps of what its renderers said, packed.", 0.001
    ),
    "limits": Key(
        {},
        dict,
        "",
        "Most tasks at once: projects, users, licences (each a name and a number), users_each.",
    ),
    "thumbnail_workers": Key(1, int, "processes", "How many helpers read images and scenes at once.", 1),
    "thumbnail_seconds": Key(20.0, float, "seconds", "Longest time that one file's reading may take.", 1),
    "thumbnail_memory_mb": Key(1024, int, "megabytes", "Most memory of a helper that reads files.", 64),
    "log_level": Key("info", str, "", "How much is logged: debug, info, warning or error."),
}


class Settings:
    """The configuration folder. Safe for threads; what it returns must not be changed."""

    def __init__(
        self,
        config_dir: Path | str,
        defaults_dir: Path | str = DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
        disk: files.Os = files.REAL,
    ) -> None:
        self.folder_path = Path(config_dir)
        self._clock = clock
        self._disk = disk
        self._guard = threading.RLock()
        self._looked: dict[str, float] = {}
        self._seen: dict[str, tuple[int, int, int]] = {}  # path inside -> size, mtime, inode
        self._server: Mapping[str, Any] = {name: key.default for name, key in KEYS.items()}
        self._folders: dict[str, Mapping[str, dict[str, Any]]] = {k: MappingProxyType({}) for k in KINDS}
        self._singles: dict[str, Mapping[str, Any]] = {name: MappingProxyType({}) for name in SINGLES}
        self._problems: dict[str, Problem] = {}
        self._mistakes: tuple[Problem, ...] = ()  # as they were asked for last
        self._site = ""
        self.folder_path.mkdir(parents=True, exist_ok=True)
        self._fill(Path(defaults_dir))
        self._name_site()

    def get(self, key: str) -> Any:
        """The value of a key of server.json; its default where the file says nothing valid."""
        if key not in KEYS:
            raise KeyError(key)
        self._look("server.json", self._read_server)
        return self._server[key]

    def folder(self, kind: str) -> Mapping[str, dict[str, Any]]:
        """Ident -> content of each file of this kind. The same object until something changes."""
        if kind not in KINDS:
            raise KeyError(kind)
        self._look(kind, lambda: self._read_folder(kind))
        return self._folders[kind]

    def single(self, name: str) -> Mapping[str, Any]:
        """Content of a file beside server.json, such as where.json; nothing where there is no such file. The
        same object until it changes."""
        self._look(name, lambda: self._read_single(name))
        return self._singles[name]

    def look_again(self, kind: str) -> None:
        """Have the next question about this kind look at the disk, however young the last look is."""
        self._looked.pop(kind, None)

    def is_wrong(self, kind: str, ident: str) -> bool:
        """Whether a file of a kind couldn't be read at the last look: what it said before is used."""
        self.folder(kind)
        return f"{kind}/{ident}.json" in self._problems

    def write(self, kind: str, ident: str, data: Mapping[str, Any]) -> None:
        """Make or replace one file of a kind."""
        path = self._path(kind, ident)
        path.parent.mkdir(exist_ok=True)
        mode = 0o600 if kind in PRIVATE else files.FILE_MODE
        text = json.dumps(dict(data), indent=2, ensure_ascii=False) + "\n"
        with self._guard:
            files.write_atomic(path, text.encode("utf-8", "replace"), disk=self._disk, mode=mode)
            self._looked.pop(kind, None)

    def remove(self, kind: str, ident: str) -> None:
        """Delete one file of a kind; NotFound where there is none."""
        with self._guard:
            try:
                self._disk.unlink(self._path(kind, ident))
            except FileNotFoundError as error:
                raise NotFound("There is no {ident} in {kind}.", ident=ident, kind=kind) from error
            self._looked.pop(kind, None)

    def change(self, **keys: Any) -> None:
        """Set keys of server.json; what else stands there stays. BadInput for a value that can't be."""
        wrong = next((said for name, value in keys.items() if (said := check_value(name, value))), "")
        if wrong:
            raise BadInput(wrong)
        path = self.folder_path / "server.json"
        with self._guard:
            try:
                data = json.loads(files.read_bounded(path, MAX_BYTES)[0].decode("utf-8-sig") or "{}")
            except FileNotFoundError:
                data = {}
            except (OSError, ValueError, RecursionError) as error:
                raise BadInput(
                    "{path} can't be changed before it is mended: {why}.", path=path, why=error
                ) from error
            if not isinstance(data, dict):
                raise BadInput(
                    "{path} can't be changed before it is mended: it holds no object in braces.", path=path
                )
            text = json.dumps({**data, **keys}, indent=2, ensure_ascii=False) + "\n"
            files.write_atomic(path, text.encode("utf-8", "replace"), disk=self._disk)
            self._looked.pop("server.json", None)

    def secret(self, name: str = "secret") -> bytes:
        """32 random bytes that stay the same: made once, kept in a file that only this user reads."""
        path = self.folder_path / name
        with self._guard:
            try:
                raw = bytes.fromhex(path.read_text("ascii").strip())
                if len(raw) >= 16:
                    return raw
            except (OSError, ValueError):
                pass  # not there yet, or spoilt: sessions end, nothing else is lost
            fresh = secrets.token_bytes(32).hex().encode("ascii")
            if os.path.lexists(path):
                files.write_atomic(path, fresh, disk=self._disk, mode=0o600)
            else:
                fresh = files.write_once(path, fresh, disk=self._disk, mode=0o600)
            return bytes.fromhex(fresh.decode("ascii"))

    def problems(self) -> list[Problem]:
        """What is wrong with the configuration, newest look."""
        self.get("site")
        for name in SINGLES:
            self.single(name)
        for kind in KINDS:
            self.folder(kind)
        with self._guard:
            return [self._problems[key] for key in sorted(self._problems)]

    def mistakes(self) -> tuple[Problem, ...]:
        """As `problems`; the same object until they become others."""
        found = tuple(self.problems())
        if found != self._mistakes:
            self._mistakes = found
        return self._mistakes

    # Reading.

    def _look(self, what: str, read: Callable[[], None]) -> None:
        now = self._clock()
        looked = self._looked.get(what)
        if looked is not None and now - looked < LOOK_S:
            return
        with self._guard:
            looked = self._looked.get(what)
            if looked is None or now - looked >= LOOK_S:
                read()
                self._looked[what] = now

    def _read_server(self) -> None:
        found = self._changed("server.json")
        if found is None:
            return
        values = {name: key.default for name, key in KEYS.items()}
        data = self._parse("server.json", found)
        if data is None:
            return
        for name in [known for known in self._problems if known.startswith("server.json:")]:
            del self._problems[name]
        for name, value in data.items():
            if name.startswith("_") or name == "schema":
                continue  # a person's comment
            wrong = check_value(name, value)
            if wrong:
                self._tell(f"server.json: {name}", wrong, say("Correct it; the default is used until then."))
            else:
                values[name] = float(value) if KEYS[name].type is float else value
        values["site"] = values["site"] or self._site
        self._server = MappingProxyType(values)

    def _read_single(self, name: str) -> None:
        data: dict[str, Any] | None
        if (self.folder_path / name).exists():
            found = self._changed(name)
            data = self._parse(name, found) if found is not None else None
        else:
            data = {} if self._singles[name] else None
            self._seen.pop(name, None)
            self._problems.pop(name, None)
        if data is not None:
            self._singles[name] = MappingProxyType(data)

    def _read_folder(self, kind: str) -> None:
        folder = self.folder_path / kind
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
        except FileNotFoundError:
            names = []
        except OSError as error:
            self._tell(
                kind,
                say("The folder {folder} can't be read: {why}.", folder=folder, why=error.strerror),
                say("Give it its rights back."),
            )
            return
        old = self._folders[kind]
        new: dict[str, dict[str, Any]] = {}
        changed = False
        for name in names:
            ident = name.removesuffix(".json")
            if not IDENT.match(ident):
                continue
            inside = f"{kind}/{name}"
            found = self._changed(inside)
            data = self._parse(inside, found) if found is not None else None
            if data is not None:
                new[ident] = data
                changed = True
            elif ident in old:
                new[ident] = old[ident]  # unchanged, or broken: the last good one stays
        for inside in [i for i in self._seen if i.startswith(kind + "/") and i[len(kind) + 1 :] not in names]:
            del self._seen[inside]
            self._problems.pop(inside, None)
        if changed or new.keys() != old.keys():
            self._folders[kind] = MappingProxyType(new)

    def _changed(self, inside: str) -> bytes | None:
        """The file's bytes if its stat isn't what it was at the last look."""
        path = self.folder_path / inside
        try:
            st = os.stat(path)
            seen = (st.st_size, st.st_mtime_ns, st.st_ino)
            if self._seen.get(inside) == seen:
                return None
            raw, _ = files.read_bounded(path, MAX_BYTES)
        except OSError as error:
            self._seen.pop(inside, None)
            self._tell(
                inside,
                say("{path} can't be read: {why}.", path=path, why=error.strerror),
                say("Put it back or mend its rights."),
            )
            return None
        self._seen[inside] = seen
        return raw

    def _parse(self, inside: str, raw: bytes) -> dict[str, Any] | None:
        path = self.folder_path / inside
        wrong = mistakes.of_object(raw)
        if wrong is not None:
            text = say("The configuration file {path} isn't valid: {why}", path=path, why=wrong.text)
            if wrong.line:
                text = say(
                    "The configuration file {path} isn't valid, line {line}: {why}",
                    path=path, line=wrong.line, why=wrong.text,
                )  # fmt: skip
            mend = say("{mend} What it said before is used until then.", mend=wrong.mend)
            self._tell(inside, text, mend)
            return None
        self._problems.pop(inside, None)
        return dict(json.loads(raw.decode("utf-8-sig")))

    def _tell(self, key: str, text: str, mend: str) -> None:
        self._problems[key] = Problem(f"config:{key}", "config", key, text, mend)

    def _path(self, kind: str, ident: str) -> Path:
        if kind not in KINDS:
            raise BadInput("{kind} is not a kind of configuration.", kind=repr(kind))
        if not IDENT.match(ident):
            raise BadInput(
                "{ident} can't be an ident: use letters, digits, dots, dashes, underscores.",
                ident=repr(ident[:100]),
            )
        return self.folder_path / kind / f"{ident}.json"

    # Filling.

    def _fill(self, defaults: Path) -> None:
        record = self.folder_path / FILLED
        try:
            filled = set(json.loads(record.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            filled = set()
        before = set(filled)
        for inside in _defaults(defaults):
            path = self.folder_path / inside
            try:
                empty = path.stat().st_size == 0
            except OSError:
                empty = inside not in filled or "/" not in inside
            if empty:
                path.parent.mkdir(parents=True, exist_ok=True)
                mode = 0o600 if inside.partition("/")[0] in PRIVATE else files.FILE_MODE
                files.write_atomic(path, (defaults / inside).read_bytes(), disk=self._disk, mode=mode)
            filled.add(inside)
        if filled != before:
            text = json.dumps(sorted(filled), indent=0)
            files.write_atomic(record, text.encode("utf-8"), disk=self._disk)

    def _name_site(self) -> None:
        """Give this installation its name, where server.json has none. Several processes start at once."""
        path = self.folder_path / "site"
        try:
            kept = path.read_bytes()
        except OSError:
            kept = files.write_once(path, secrets.token_hex(3).encode("ascii"), disk=self._disk)
        self._site = kept.decode("utf-8", "replace").strip()
        if not IDENT.match(self._site):
            self._site = "here"
            mend = say("Delete it, and start Croft again.")
            self._tell("site", say("{path} holds no name for this installation.", path=path), mend)


def check_value(name: str, value: object) -> str:
    """What is wrong with a value of server.json; '' when nothing is."""
    key = KEYS.get(name)
    if key is None:
        return say("server.json: there is no key {name}.", name=repr(name))
    if key.type is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif key.type is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif key.type is list:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        fits = isinstance(value, key.type)
    if not fits:
        words = {
            int: say("a whole number"),
            float: say("a number"),
            str: "text",
            list: say("a list of texts"),
        }
        words[dict] = say("an object")
        return f"server.json: {name} must be {words.get(key.type, say('true or false'))}, not {value!r}."[
            :300
        ]
    if key.least is not None and isinstance(value, (int, float)) and value < key.least:
        return say(
            "server.json: {name} must be at least {least:g}, not {value}.",
            name=name,
            least=key.least,
            value=value,
        )
    return ""


def _defaults(folder: Path) -> Iterator[str]:
    """Every default file that is copied, as a path inside the configuration folder."""
    for path in sorted(folder.rglob("*.json")):
        inside = path.relative_to(folder)
        if inside.parts[0] not in STAYING:
            yield inside.as_posix()
