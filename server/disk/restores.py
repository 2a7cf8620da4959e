"""Putting a file, a folder or a share back from a backup, while servers and people are at work.

The copy is made beside its place under a hidden name, and takes that place by a rename once it is whole;
what was there before goes to `old/<utc>-<id>/`, whole. Written down first, so that a start finishes what a
crash interrupted. Copies with rsync: owners, access lists and links are what the backup has.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.disk import deletions, files, intents, moves, paths, probes
from server.disk.errors import BadInput, Conflict, CroftError, DiskError, DiskFull, NotFound
from server.disk.intents import Intent
from server.disk.locks import Locks
from server.disk.paths import Share

log = logging.getLogger("croft.restores")

WHAT = "restore"
TRIES = 5  # a folder that comes into being again while it is swapped (Croft made one, a student did)
SHOWN = 40  # characters of a name in the hidden one
_SNAPSHOT = re.compile(r"\..+\.(\d{8}-\d{6}-[0-9a-f]{6})(?:\.[^.]*)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    inside: str
    files: int
    aside: str  # where what was there lies now, inside the share; '' where nothing was
    newer: tuple[str, ...] = ()  # files that the backup didn't have: they lie aside, too


def restore(
    share: Share, locks: Locks, backup: Path, inside: str, who: str, disk: files.Os = files.REAL
) -> Restored:
    """Put back what `backup`, the share's copy in a tree, has at `inside`: a folder as a whole, a file (or
    sequence) with its sidecar and companion. NotFound where it has none."""
    path, source = share.path(inside), backup / inside
    intent = intents.new(share, inside, WHAT, who, disk, names={}, copied=False)
    own = [name for name in deletions.belongings(source) if os.path.lexists(source.parent / name)]
    if source.is_dir() and not source.is_symlink():
        own = [source.name]
    if not own or own == [f"{paths.COMPANION}/{source.name}"]:
        raise NotFound("The backup has no {inside}.", path=str(source), inside=inside)
    ident = paths.name_of(intent.aside)
    # The companion first: when the file shows up, all that is known of it is there.
    there = [] if source.is_dir() else deletions.belongings(path)
    names = sorted({*own, *(name for name in there if os.path.lexists(path.parent / name))})
    intent.data["swaps"] = {name: [_hidden(name, ident, "restoring"), name in own] for name in names}
    files.make_folders(path.parent, share.root, disk=disk)
    intent.begin()
    try:
        count = sum(_copy(source.parent / name, intent.home / intent.data["swaps"][name][0]) for name in own)
        if path.is_dir():
            _carry_snapshots(path, intent.home / intent.data["swaps"][path.name][0])
        os.sync()
        newer = tuple(_only_in(path, source)) if path.is_dir() else ()
    except BaseException:
        _take_back(intent)
        raise
    with locks.hold(paths.lock_key(inside)) as held:
        held.check()
        intent.write(copied=True)
        finish(intent)
    return Restored(inside, count, intent.aside if intent.data["names"] else "", newer)


def restore_share(share: Share, locks: Locks, backup: Path, who: str) -> Iterator[Restored]:
    """Put back all that a backup has of a share, one thing at its top after the other. What it doesn't have
    stays as it is."""
    for name in sorted(os.listdir(backup)):
        if name not in (paths.SHARE_MARKER, paths.LOCKS, paths.OLD):
            yield restore(share, locks, backup, name, who)


def refill(share: Share, backup: Path) -> Restored:
    """Put a whole share onto an empty disk. The marker comes last: until then the share is away."""
    there = [name for name in os.listdir(share.root) if name != "lost+found"]
    if there:
        raise Conflict(
            "{root} has no {share_marker}, but isn't empty ({there} lies there): is the right disk mounted?",
            path=str(share.root),
            root=share.root,
            share_marker=paths.SHARE_MARKER,
            there=sorted(there)[0],
        )
    if probes.read_marker(backup) is None:
        raise NotFound(
            "The backup {backup} has no {share_marker}.", backup=backup, share_marker=paths.SHARE_MARKER
        )
    count = _rsync(f"{backup}/", f"{share.root}/", f"--exclude=/{paths.SHARE_MARKER}")
    os.sync()
    _rsync(str(backup / paths.SHARE_MARKER), f"{share.root}/")
    return Restored("", count, "")


def finish(intent: Intent) -> None:
    """After the copy was made, or a crash: swap what isn't swapped yet, put aside what was there."""
    home = intent.home
    swaps = intent.data["swaps"]
    ident = paths.name_of(intent.aside)
    for name, (hidden, _) in swaps.items():
        # Students can write where it lies: a name must not lead elsewhere, nor the hidden one to a file.
        if not intents.is_belonging(name) or hidden != _hidden(name, ident, "restoring"):
            raise BadInput(
                "{aside} names {hidden}, which is none of Croft's own.",
                aside=intent.aside,
                hidden=repr(str(hidden)[:100]),
            )
    if not intent.data["copied"]:
        _take_back(intent)
        return
    try:
        for name, (hidden, wanted) in swaps.items():
            _swap(intent, home / name, home / hidden, bool(wanted))
        files.sync_folder(home, intent.disk)
    except OSError as error:
        files.fail(error, home)
    for name in swaps:
        _put_aside(intent, name)
    kept = [_kept(name, number) for name in swaps for number in range(TRIES)]
    there = {name: intent.folder / name for name in kept if os.path.lexists(intent.folder / name)}
    intent.data["names"] = {name: intents.identity(path) for name, path in there.items()}
    intent.data.pop("swaps")
    if intent.data["names"]:
        intent.end()
    else:
        intent.withdraw()


def _swap(intent: Intent, path: Path, hidden: Path, wanted: bool) -> None:
    """The hidden copy gets its name, what bears it another. Done already where the copy isn't there."""
    for number in range(TRIES):
        if wanted and not os.path.lexists(hidden):
            return
        if os.path.lexists(path):
            replaced = _replaced(path, intent, number)
            if os.path.lexists(replaced):
                if not wanted:
                    return  # a crash came after; what is there now came later
                continue
            intent.disk.rename(path, replaced)
        if not wanted:
            return
        try:
            if hidden.is_dir() and not hidden.is_symlink():
                intent.disk.rename(hidden, path)
            else:
                moves.place(hidden, path, disk=intent.disk)
            return
        except OSError as error:
            # Race: somebody made a folder of that name again, and put something into it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        except Conflict:
            continue  # Race: somebody saved a file of that name. It goes aside as well.
    raise Conflict("{path} comes back again and again. Try again in a moment.", path=str(path))


def _put_aside(intent: Intent, name: str) -> None:
    """What bore this name before lies in `old/` from now on."""
    share, path = intent.share, intent.home / name
    for number in range(TRIES):
        replaced = _replaced(path, intent, number)
        if not os.path.lexists(replaced):
            continue  # there was nothing, or it was moved before a crash
        target = intent.folder / _kept(name, number)
        files.make_folders(target.parent, share.root, disk=intent.disk)
        moves.resume(replaced, target, root=share.root, branches=share.branches, disk=intent.disk)


def _take_back(intent: Intent) -> None:
    """Delete the copy: as if nothing had begun."""
    try:
        for hidden, _ in intent.data["swaps"].values():
            path = intent.home / hidden
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
        intent.withdraw()
    except (CroftError, OSError) as error:
        log.warning("%s can't be taken back now, a start will: %s", intent.aside, error)


def _hidden(name: str, ident: str, ending: str) -> str:
    folder, last = paths.split(name)
    if len(last) > SHOWN:
        # A file and its sidecar, or a sequence's frames, may differ in their ends alone.
        last = f"{last[:SHOWN]}.{hashlib.blake2b(os.fsencode(last), digest_size=8).hexdigest()}"
    return paths.join(folder, f".{last}.{ident}.{ending}")


def _kept(name: str, number: int) -> str:
    """What it is called in `old/`; a second one of that name, which came while it was swapped, a number."""
    return f"{name}.{number}" if number else name


def _replaced(path: Path, intent: Intent, number: int) -> Path:
    ending = f"replaced{number or ''}"
    return path.with_name(_hidden(path.name, paths.name_of(intent.aside), ending))


def _copy(source: Path, target: Path) -> int:
    """A copy under a hidden name; how many files."""
    target.parent.mkdir(exist_ok=True)  # a companion's, where its folder had none yet
    if source.is_dir() and not source.is_symlink():
        return _rsync(f"{source}/", f"{target}/")
    return _rsync(str(source), str(target))


def _rsync(*arguments: str) -> int:
    """How many files it has looked at."""
    for extras in ("AX", "X", ""):  # access lists and attributes, where both disks have them
        command = ["rsync", f"-aH{extras}", "--numeric-ids", "--modify-window=-1", "--stats", *arguments]
        try:
            done = subprocess.run(
                command, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise DiskError("rsync isn't installed: apt install rsync.") from error
        if not (extras and done.returncode == 23 and "not supported" in done.stderr):
            break
    if "No space left" in done.stderr or "Disk quota exceeded" in done.stderr:
        raise DiskFull("The disk is full: nothing was put back. Make room and try again.")
    if done.returncode:
        said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[0]
        raise DiskError("Nothing was put back: rsync says {said}", said=said)
    found = re.search(r"^Number of files: (?:[\d,]+ \(reg: )?([\d,]+)", done.stdout, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


def _carry_snapshots(present: Path, copy: Path) -> None:
    """Backups leave out what running jobs render; those jobs that come back still want theirs."""
    for at, folders, names in os.walk(present):
        folders[:] = [name for name in folders if name not in (paths.OLD, paths.RENDER)]
        for name in names:
            match = _SNAPSHOT.match(name)
            target = copy / os.path.relpath(at, present) / name
            if match is None or os.path.lexists(target) or not target.parent.is_dir():
                continue
            if any(target.parent.glob(f"{paths.COMPANION}/*/jobs/{match[1]}")):
                try:
                    os.link(os.path.join(at, name), target, follow_symlinks=False)
                except OSError:
                    shutil.copy2(os.path.join(at, name), target)


def _only_in(present: Path, source: Path) -> Iterator[str]:
    """People's files that are there and that a backup doesn't have."""
    for at, folders, names in os.walk(present):
        folders[:] = sorted(name for name in folders if not paths.is_ignored(name))
        base = os.path.relpath(at, present)
        for name in sorted(names):
            inside = os.path.normpath(os.path.join(base, name))
            if not paths.is_ignored(name) and not os.path.lexists(source / inside):
                yield inside
