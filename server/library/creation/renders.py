"""Where the pictures of an asset are, for a composite that loads them: the approved render, else the newest.

`render/<asset>/current` leads to the approved one and follows it later. Looks into one folder for each asset
that is asked about; writes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from server.disk import paths
from server.disk.errors import BadInput, CroftError
from server.disk.speech import say
from server.disk.store import Store

from .. import versions
from ..assets import Assets
from ..media import kinds
from .dress import FILE, MOVIE, Loaded

FRAMES_OF_NOTHING = (1, 100)  # where neither a render nor the scene tells


def loaded(store: Store, assets: Assets, address: str, comp: str) -> Loaded:
    """What a composite at the address `comp` loads of this asset. BadInput for what has no pictures."""
    view = assets.view(assets.get(address))
    kind, name = view["kind"], str(view["name"])
    if paths.parse(address)[0] != paths.parse(comp)[0]:
        said = say("{name} lies on another share: a scene can’t find it from there.", name=name)
        raise BadInput(said, field="of")
    if kind == "scene":
        return _render(store, assets, address, comp, name)
    path = store.path(address)
    if kind == "sequence":
        key = paths.name_of(address)
        first, last, frame = frames_in(path.parent, key) or (1, 1, key)
        return Loaded(name, relative(comp, paths.join(paths.folder_of(address), frame)), first, last)
    if kind in ("image", "film"):
        frames = assets.facts(address).get("frames")
        last = frames[1] if kind == "film" and isinstance(frames, list) and len(frames) == 2 else 1
        return Loaded(name, relative(comp, address), 1, last, MOVIE if kind == "film" else FILE)
    raise BadInput(say("{name} has no pictures that could be loaded.", name=name), field="of")


def _render(store: Store, assets: Assets, address: str, comp: str, name: str) -> Loaded:
    folder = paths.render_folder(address)
    place = store.path(folder)
    known = store.index.versions(folder)
    chosen = versions.CURRENT if (place / versions.CURRENT).is_dir() else known[-1] if known else ""
    found = frames_in(place / chosen, "") if chosen else None
    if found is not None:
        first, last, frame = found
        return Loaded(name, relative(comp, paths.join(folder, chosen, frame)), first, last)
    # Not rendered yet: where its pictures will be, so that they show once they are there.
    frames = assets.facts(address).get("frames")
    first, last = frames if isinstance(frames, list) and len(frames) == 2 else FRAMES_OF_NOTHING
    frame = f"{paths.own_stem(paths.name_of(address))}.{max(first, 0):04d}.png"
    return Loaded(name, relative(comp, paths.join(folder, versions.CURRENT, frame)), first, last)


def frames_in(folder: Path, key: str) -> tuple[int, int, str] | None:
    """First and last number and the first's name, of the sequence of that key; else of the longest one."""
    groups: dict[str, list[tuple[int, str]]] = {}
    try:
        for name in os.listdir(folder):
            of = paths.sequence_key(name)
            if of is not None and not name.startswith(".") and kinds.kind(name) == "image":
                groups.setdefault(of[0], []).append((of[1], name))
    except OSError:
        return None
    frames = groups.get(key) if key else max(groups.values(), key=len, default=None)
    if not frames:
        return None
    frames.sort()
    return frames[0][0], frames[-1][0], frames[0][1]


def rendered(store: Store, address: str) -> bool:
    """Whether a scene has a render that could be loaded. By the index alone."""
    try:
        return bool(store.index.versions(paths.render_folder(address)))
    except CroftError:
        return False


def relative(comp: str, address: str) -> str:
    """The path of a file as the scene at `comp` writes it: `//../shots/…`."""
    here, there = paths.parse(paths.folder_of(comp))[1], paths.parse(address)[1]
    return "//" + os.path.relpath("/" + there, "/" + here)
