"""Files that change places: each record follows its file, whenever Croft looks, and whoever of it looks.

The watcher's rounds are made by hand, so that every rename comes at a chosen moment of them: before it takes
what it heard, between that and the look, before records are carried, and after. Nothing waits for a clock.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid as uuids
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.disk import carry, paths
from server.disk.carry import CROFT
from server.disk.entries import Entries
from server.disk.paths import Share
from server.disk.records import Change
from server.disk.settings import Settings
from server.disk.store import Store
from server.disk.watcher import Watcher
from tests.disk.live import write

Act = Callable[[Path], None]
MOMENTS = int(os.environ.get("CROFT_MOMENTS", "0"))  # more of them than there's time for in every run
PASS_S = 1.0  # more than what went is waited for


class ByHand(Watcher):
    """A watcher without its thread."""

    def start(self) -> None:
        pass


@dataclass
class Stage:
    """A store whose watcher looks when it is told to; at each moment of its rounds something may happen."""

    store: Store
    watcher: ByHand
    root: Path
    skew: list[float]
    plan: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    moments: int = 0
    looked_at: Sequence[Path] = ()  # by others, at every moment
    takes_in: bool = False  # whether what is new gets a record, as soon as somebody hears of it

    def moment(self) -> None:
        """Something of Croft's may be overtaken here."""
        self.moments += 1
        while self.plan and self.plan[0][0] <= self.moments:
            self.plan.pop(0)[1]()
        for path in self.looked_at:
            self.store.refresh(self.store.share("data").address(path))

    def round(self) -> None:
        assert self.watcher.hearing.wait_for_all(self.watcher._clock() + 30)
        self.moment()
        self.watcher._work()
        self.moment()

    def rest(self) -> None:
        """Rounds until nothing is left to do and nothing left to happen."""
        while True:
            self.round()
            self.skew[0] += PASS_S
            assert self.watcher.hearing.wait_for_all(self.watcher._clock() + 30)
            if not self.plan and self.watcher._is_at_rest():
                return

    def heard(self, changes: list[Change]) -> None:
        for change in changes if self.takes_in else []:
            entry = self.store.index.get(change.id) if change.kind == "asset" else None
            if entry is not None and entry.stat is not None and entry.facts is None and not entry.broken:
                made = {"schema": 1, "uuid": str(uuids.uuid4()), "type": "", "description": ""}
                self.store.edit(entry.address, lambda data, made=made: {**made, **data}, who=CROFT)  # type: ignore[misc]


@contextmanager
def stage(root: Path, config: Path, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    config.mkdir(exist_ok=True)
    (config / "server.json").write_text(json.dumps({"settle_s": 0.05, "scan_every_s": 1000.0}))
    root.mkdir(exist_ok=True)
    store = Store(Settings(config), [Share("data", root)])
    skew = [0.0]
    watcher = ByHand(store, clock=lambda: time.monotonic() + skew[0], contest_s=1000.0)
    made = Stage(store, watcher, root, skew)

    def before(where: Any, name: str) -> None:
        """A moment before each call of this."""
        real = getattr(where, name)

        def call(*args: Any, **options: Any) -> Any:
            made.moment()
            return real(*args, **options)

        patch.setattr(where, name, call)

    for name in ("_look_at_delayed", "_take", "_look_now"):
        before(watcher, name)
    for name in ("carry", "rotate"):
        before(carry, name)
    store.subscribe(made.heard)
    store.open()
    try:
        yield made
    finally:
        store.close()


def scene(at: Stage, home: Path, *names: str, made: bool = False) -> None:
    """Assets, each with something said of it. `made`: their files are there already."""
    for name in names if not made else ():
        write(home / name, f"BLENDER-v304 {name} of {home.name}" + "." * len(name))
    at.rest()
    for name in names:
        address = at.store.share("data").address(home / name)
        at.store.edit(address, {"uuid": f"{home.name}/{name}", "description": name}, who="ana")
        write(paths.companion_of(home / name) / "notes" / f"{name.replace('/', '|')}.json", "{}")
    at.rest()


def seen(at: Stage, home: Path) -> dict[str, str]:
    """Whose sidecar, note and history each file has; and what else is known in this folder."""
    found = {}
    for entry in at.store.index.under(at.store.share("data").address(home)):
        path = at.store.path(entry.address)
        facts = entry.facts
        notes = (paths.companion_of(path) / "notes").glob("*.json")
        fields = [event["fields"] for event in at.store.history(entry.address)]
        said = {
            facts.description if facts else "nothing",
            *(note.stem.replace("|", "/") for note in notes),
            *(change["description"][1] for change in fields if "uuid" in change),
        }
        name = str(path.relative_to(home))
        found[name] = "+".join(sorted(said - {""})) + ("" if entry.status == "ok" else f" ({entry.status})")
    return found


def mv(old: str, new: str) -> Act:
    return lambda home: os.rename(home / old, home / new)


def save(name: str) -> Act:
    """As Blender does: written aside, renamed over."""

    def act(home: Path) -> None:
        write(home / f"{name}@", f"BLENDER-v304 {name} of {home.name}, saved")
        os.replace(home / f"{name}@", home / name)

    return act


def swap(*names: str) -> list[Act]:
    """Each gets the name of the one before, the first that of the last, by way of another name."""
    aside = "x" + os.path.splitext(names[0])[1]
    return [mv(old, new) for old, new in zip([*names, aside], [aside, *names], strict=True)]


def with_all_that_is_known(old: str, new: str) -> Act:
    """Somebody takes sidecar and companion along, as far as Croft hasn't brought them already."""

    def act(home: Path) -> None:
        for part in ("{}", "{}.json", ".croft/{}"):
            if os.path.lexists(home / part.format(old)):
                os.rename(home / part.format(old), home / part.format(new))

    return act


TWO = {"a.blend": "z.blend", "z.blend": "a.blend"}


@dataclass
class Play:
    names: tuple[str, ...]
    acts: list[Act]
    expect: dict[str, str]
    moments: int  # in which they may happen
    before: Act | None = None  # and Croft has looked since


PLAYS = {
    "swap": Play(("a.blend", "z.blend"), swap("a.blend", "z.blend"), TWO, 5),
    "swap with all": Play(
        ("a.blend", "z.blend"),
        [
            with_all_that_is_known("a.blend", "x.blend"),
            with_all_that_is_known("z.blend", "a.blend"),
            with_all_that_is_known("x.blend", "z.blend"),
        ],
        TWO,
        3,
    ),
    "ring": Play(
        ("a.blend", "b.blend", "c.blend"),
        swap("a.blend", "b.blend", "c.blend"),
        {"a.blend": "b.blend", "b.blend": "c.blend", "c.blend": "a.blend"},
        3,
    ),
    "saved before": Play(
        ("a.blend", "z.blend"), swap("a.blend", "z.blend"), TWO, 3, before=save("z.blend")
    ),
    "folders": Play(
        ("g/a.blend", "g/b.blend", "h/a.blend", "h/c.blend"),
        swap("g", "h"),
        {
            "g/a.blend": "h/a.blend", "g/c.blend": "h/c.blend",
            "h/a.blend": "g/a.blend", "h/b.blend": "g/b.blend",
        },
        3,
    ),
}  # fmt: skip


def played(at: Stage, home: Path, acts: Sequence[Act], when: Sequence[int]) -> dict[str, str]:
    at.moments = 0
    at.plan = [(n, lambda act=act: act(home)) for n, act in zip(when, acts, strict=True)]  # type: ignore[misc]
    at.rest()
    at.looked_at = ()
    return seen(at, home)


def every(count: int, moments: int) -> list[tuple[int, ...]]:
    """All ways in which so many things may happen, one after the other, in the first of the moments."""
    return list(itertools.combinations_with_replacement(range(moments), count))


@pytest.mark.parametrize("others", ["alone", "looking", "taking in"])
@pytest.mark.parametrize("name", PLAYS)
def test_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, others: str) -> None:
    play = PLAYS[name]
    wrong = {}
    with stage(tmp_path / "share", tmp_path / "config", monkeypatch) as at:
        at.takes_in = others == "taking in"
        for when in every(len(play.acts), MOMENTS or play.moments):
            home = at.root / "p" / "-".join(map(str, when))
            scene(at, home, *play.names)
            if others == "looking":
                at.looked_at = [home / place for place in {*play.names, *play.expect, "x.blend"}]
            if play.before is not None:
                play.before(home)
                at.rest()
            if (found := played(at, home, play.acts, when)) != play.expect:
                wrong[when] = found
    assert not wrong, f"{len(wrong)} wrong, the first: {list(wrong.items())[:3]}"


@pytest.mark.parametrize("policy", ["mfs", "epmfs"])
def test_on_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Callable[[str], Any], policy: str
) -> None:
    """Through the mount, as Samba does it; while a page looks, too."""
    with stage(pool(policy).root, tmp_path / "config", monkeypatch) as at:
        for n, when in enumerate([(0, 0, 0), (0, 4, 4), (0, 5, 5), (0, 9, 12), (0, 7, 7), (0, 7, 12)]):
            home = at.root / "p" / str(n)
            scene(at, home, "a.blend", "z.blend")
            at.looked_at = [home / name for name in ("a.blend", "x.blend", "z.blend")] if n % 2 else []
            assert played(at, home, swap("a.blend", "z.blend"), when) == TWO, when


@pytest.mark.parametrize("name", PLAYS)
def test_while_the_server_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    play = PLAYS[name]
    root, config = tmp_path / "share", tmp_path / "config"
    home = root / "p"
    with stage(root, config, monkeypatch) as at:
        scene(at, home, *play.names)
    for act in play.acts:
        act(home)
    with stage(root, config, monkeypatch) as at:
        at.rest()
        assert seen(at, home) == play.expect


def test_what_was_known_before_a_crash_takes_no_record_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, config = tmp_path / "share", tmp_path / "config"
    home = root / "p"
    with stage(root, config, monkeypatch) as at:
        scene(at, home, "a.blend", "z.blend")
        at.store.looks.keep()
        assert played(at, home, swap("a.blend", "z.blend"), (0, 0, 0)) == TWO
        monkeypatch.setattr(at.store.looks, "keep", lambda: None)
    with stage(root, config, monkeypatch) as at:
        at.rest()
        assert seen(at, home) == TWO


def test_two_disks_that_number_their_files_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Callable[[str], Any]
) -> None:
    """Each disk of a pool counts its inodes for itself: the same number may be another file."""
    made = pool("mfs")
    first, second = made.branches[:2]
    home = made.root / "p"
    with stage(made.root, tmp_path / "config", monkeypatch) as at:
        for branch, name in ((first, "a.blend"), (second, "z.blend")):
            write(branch / "p" / name, f"BLENDER-v304 {name} of p" + "." * len(name))
        while (first / "p/a.blend").stat().st_ino != (second / "p/z.blend").stat().st_ino:
            behind = min((first / "p/a.blend", second / "p/z.blend"), key=lambda path: path.stat().st_ino)
            again = behind.with_name("again")
            again.write_bytes(behind.read_bytes())
            again.replace(behind)
        scene(at, home, "a.blend", "z.blend", made=True)
        assert played(at, home, swap("a.blend", "z.blend"), (0, 0, 0)) == TWO
    for act in swap("a.blend", "z.blend"):
        act(home)
    with stage(made.root, tmp_path / "config", monkeypatch) as at:
        at.rest()
        assert seen(at, home) == {name: name for name in TWO}


def test_a_row_moved_on_while_off_and_a_disk_that_fails_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, config = tmp_path / "share", tmp_path / "config"
    home = root / "p"
    with stage(root, config, monkeypatch) as at:
        scene(at, home, "a.blend", "b.blend")
    mv("b.blend", "c.blend")(home)
    mv("a.blend", "b.blend")(home)
    real, failed = carry.rotate, []

    def rotate(*args: Any) -> None:
        if len(failed) < 2:
            failed.append(args)
            raise OSError("busy")
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(carry, "rotate", rotate)
        patch.setattr(Entries, "_arriving", lambda *_: False)  # they have come to rest long ago
        with stage(root, config, patch) as at:
            at.rest()
            assert len(failed) == 2
            assert seen(at, home) == {"b.blend": "a.blend", "c.blend": "b.blend"}
