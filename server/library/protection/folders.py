"""Whose the folders of published versions are: Croft's own user's. Nobody else changes what lies there.

`.croft`, the file's companion, `versions/` and the version are closed to the group. What is left to whoever
may write beside the file is to give `.croft` itself, or `render`, another name; that is taken back
(`bring_back`): a folder that is closed and Croft's own can't have been made by anybody else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from pathlib import Path

from server.disk import files, paths
from server.disk.store import Store

log = logging.getLogger(__name__)


def close(store: Store, address: str) -> None:
    """Close the folders of a file's versions; one that isn't ours, or on a disk without modes, stays."""
    companion = paths.companion_of(store.path(address))
    versions = companion / "versions"
    for folder in (*_folders(versions), versions, companion, companion.parent):
        with contextlib.suppress(OSError):
            if stat.S_IMODE(os.stat(folder).st_mode) != files.OWN_MODE:
                os.chmod(folder, files.OWN_MODE)


def tend(store: Store, address: str) -> None:
    """Close what stands open, of a file that changed: it may have been moved here with its versions."""
    companion = paths.companion_of(store.path(address))
    kept = (companion / "versions").is_dir() or _is_closed(companion / "jobs")
    if kept and not all(map(_is_closed, (companion.parent, companion))):
        close(store, address)


def bring_back(store: Store, folder: str, *, went: bool = False) -> bool:
    """Give a folder's `.croft` its name again; False where it has it, or isn't there at all.

    What has its place meanwhile stays beside it under a hidden name, but for what it knows more. `went`: it
    is known to have gone; else one that is Croft's own is taken for it.
    """
    place = store.path(folder)
    home = place / paths.COMPANION
    if _is_closed(home) or (not went and _is_ours(home)):
        return False
    true = next((path for path in _folders(place) if _is_closed(path) and _holds_kept(path)), None)
    if true is not None:
        _rename_back(store, folder, true, home)
    return true is not None


def bring_back_renders(store: Store, folder: str) -> bool:
    """The same of a folder's `render`, where an approved version lies in it."""
    place = store.path(folder)
    home = place / paths.RENDER
    if _is_ours(home):
        return False
    true = next((path for path in _folders(place) if _is_ours(path) and _holds_approved(path)), None)
    if true is not None:
        _rename_back(store, folder, true, home)
    return true is not None


def _rename_back(store: Store, folder: str, true: Path, home: Path) -> None:
    share = store.check_writable(folder)
    with store.locks(share.name).hold(paths.lock_key(paths.join(folder, home.name))):
        try:
            aside = home.with_name(f"{home.name}-{secrets.token_hex(4)}")
            if os.path.lexists(home):
                store.disk.rename(home, aside)
            store.disk.rename(true, home)
            if home.name == paths.COMPANION and aside.is_dir() and not aside.is_symlink():
                _join(store, aside, home)
            files.sync_folder(home.parent, store.disk)
        except OSError as error:
            files.fail(error, home)
    log.warning("%s was renamed to %s: it has its name again", home, true.name)
    store.refresh(folder)


def _join(store: Store, aside: Path, home: Path) -> None:
    """What Croft wrote in the moment between, of files that were new to it, and jobs; nothing that somebody
    else put there."""
    for mine in filter(_is_ours, _folders(aside)):
        true = home / mine.name
        if not os.path.lexists(true):
            store.disk.rename(mine, true)
            continue
        for job in filter(_is_ours, _folders(mine / "jobs")):
            if (true / "jobs").is_dir() and not os.path.lexists(true / "jobs" / job.name):
                store.disk.rename(job, true / "jobs" / job.name)
    with contextlib.suppress(OSError):
        aside.rmdir()  # only where nothing is left in it


def _folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as found:
            return [Path(one.path) for one in found if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _is_closed(folder: Path) -> bool:
    """Whether it is Croft's own, and nobody else may write there."""
    return _is_ours(folder, closed=True)


def _is_ours(folder: Path, *, closed: bool = False) -> bool:
    try:
        st = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(st.st_mode) and st.st_uid == os.geteuid() and not (closed and st.st_mode & 0o022)


def _holds_kept(folder: Path) -> bool:
    """Published versions, or scenes that approved renders were made from."""
    return any(_is_closed(one / name) for one in _folders(folder) for name in ("versions", "jobs"))


def _holds_approved(folder: Path) -> bool:
    """Versions of renders that are closed because one approved them."""
    return any(
        _is_closed(version) and version.with_name(f"{version.name}.json").is_file()
        for stem in _folders(folder)
        if _is_ours(stem)
        for version in _folders(stem)
        if paths.version_number(version.name) is not None
    )
