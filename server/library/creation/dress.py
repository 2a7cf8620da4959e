"""A template .blend into a new asset's: name, picture size, engine and output are set in the file's bytes.

No Blender is needed, so a server without one makes new assets too, in a few milliseconds. `dna` finds each
field by what the file says of itself. Raises Damaged for what is no whole .blend; changes nothing on disk.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import zstandard

from server.disk.speech import say

from ..media import blend
from .dna import Block, Damaged, Scene

UNPACKED_MOST = 128 << 20  # bytes: templates are small
IMAGE, OVER = "Render", "Over"  # the nodes of misc/template_scenes.py: Render 01, Over 01 …
FILE, SEQUENCE, MOVIE = 1, 2, 3  # IMA_SRC_* of Blender's DNA_image_types.h
EEVEE_NEXT = range(402, 500)  # these Blenders call EEVEE by another name


@dataclass(frozen=True, slots=True)
class Loaded:
    """Pictures that a composite loads. `path` is that of the first, as Blender writes paths."""

    name: str
    path: str
    first: int = 1
    last: int = 1
    source: int = SEQUENCE


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be set in a template; what is empty or zero stays as it is there."""

    name: str
    engine: str = ""
    resolution: tuple[int, int] = (0, 0)
    fps: int = 0
    output: str = ""
    frames: tuple[int, int] | None = None
    loads: tuple[Loaded, ...] = ()  # what a composite loads; its other places go


def opened(packed: bytes) -> Scene:
    """A template as it lies on the disk, in memory."""
    return Scene(unpack(packed))


def places(scene: Scene) -> int:
    """How many pictures it has places for."""
    return len(_numbered(scene, IMAGE))


def dressed(scene: Scene, wish: Wish) -> bytes:
    """The template's bytes, unpacked, with what is wished set in them. The scene is used up."""
    try:
        for block in scene.with_code(b"SC"):
            _set_render(scene, block, wish)
        _set_name(scene, wish)
        for block in scene.with_code(b"GLOB"):
            scene.put(block, "filename", "")
        gone = _load(scene, wish.loads)
    except (struct.error, OverflowError, ValueError) as error:
        raise Damaged(say("it can't be changed: {why}", why=error)) from error
    return scene.without(gone)


def unpack(packed: bytes) -> bytes:
    """The bytes of a .blend that is plain, gzip or zstd. Damaged."""
    try:
        stream, _ = blend.unpacked(io.BytesIO(packed))
        raw = stream.read(UNPACKED_MOST + 1)
    except (blend.Damaged, EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
        raise Damaged(say("it can't be unpacked: {why}", why=error)) from error
    if len(raw) > UNPACKED_MOST:
        raise Damaged(say("it is too large for a template"))
    return raw


def _set_render(scene: Scene, block: Block, wish: Wish) -> None:
    width, height = wish.resolution
    if width and height:
        scene.put(block, "r.xsch", width)
        scene.put(block, "r.ysch", height)
    if wish.fps:
        scene.put(block, "r.frs_sec", wish.fps)
        scene.put(block, "r.frs_sec_base", 1.0)
    if wish.engine:
        next_ = scene.version in EEVEE_NEXT and wish.engine == "BLENDER_EEVEE"
        scene.put(block, "r.engine", "BLENDER_EEVEE_NEXT" if next_ else wish.engine)
    if wish.output:
        scene.put(block, "r.pic", wish.output)
    if wish.frames:
        for field, frame in zip(("r.sfra", "r.efra"), wish.frames, strict=True):
            scene.put(block, field, frame)
        scene.put(block, "r.cfra", wish.frames[0])


def _set_name(scene: Scene, wish: Wish) -> None:
    """The present scene is called as the asset, unless another scene in the file is."""
    scenes = scene.with_code(b"SC")
    glob = next(iter(scene.with_code(b"GLOB")), None)
    current = scene.number(glob, "curscene") if glob is not None else 0
    present = next((block for block in scenes if block.old == current), scenes[0] if scenes else None)
    if present is None:
        raise Damaged(say("there is no scene in it"))
    before = scene.text(present, "id.name")
    others = {scene.text(block, "id.name") for block in scenes if block is not present}
    scene.put(present, "id.name", f"SC{wish.name}")
    made = scene.text(present, "id.name")
    if made in others:
        scene.put(present, "id.name", before)
        made = before
    for block in scene.with_code(b"REND"):  # what programs read without opening the file
        _set_range(scene, block, before[2:], made[2:], wish)


def _set_range(scene: Scene, block: Block, before: str, name: str, wish: Wish) -> None:
    raw, room = scene.raw, block.length - 8
    if room < 24 or bytes(raw[block.at + 8 : block.at + block.length]).split(b"\0", 1)[0] != before.encode():
        return
    data = name.encode()[: room - 1].decode("utf-8", "ignore").encode()
    raw[block.at + 8 : block.at + block.length] = data.ljust(room, b"\0")
    if wish.frames:
        struct.pack_into(scene.endian + "ii", raw, block.at, *wish.frames)


def _load(scene: Scene, loads: tuple[Loaded, ...]) -> set[int]:
    """Have the composite load these; the heads of the blocks that go: what nothing is loaded into.

    The template has its nodes in pairs, each Over lying on the next one, so that a row of them can end
    anywhere: the last lies on nothing.
    """
    images = _numbered(scene, IMAGE)
    if len(images) < len(loads):
        raise Damaged(
            say("it has places for {images} pictures, not for {loads}", images=len(images), loads=len(loads))
        )
    known = scene.by_address()
    gone: set[int] = set()
    called: set[str] = set()
    for number, node in images.items():
        picture = known.get(scene.number(node, "id"))
        if number <= len(loads):
            one = loads[number - 1]
            name = one.name if one.name not in called else f"{one.name[:40]}.{number:03d}"
            called.add(name)
            user = known.get(scene.number(node, "storage"))
            _fill(scene, node, picture, user, replace(one, name=name))
        elif picture is not None:
            gone |= _with_data(scene, picture)
    overs = _numbered(scene, OVER)
    pairs = (*images.items(), *overs.items())
    spare = {block.old for number, block in pairs if number > len(loads)}
    for tree in scene.of("bNodeTree"):
        gone |= _shorten(scene, tree, "nodes", lambda block: block.old in spare)
        gone |= _shorten(
            scene, tree, "links",
            lambda block: bool({scene.number(block, "fromnode"), scene.number(block, "tonode")} & spare),
        )  # fmt: skip
    return gone


def _fill(scene: Scene, node: Block, picture: Block | None, user: Block | None, one: Loaded) -> None:
    scene.put(node, "label", one.name)
    if picture is None:
        raise Damaged(say("a node of it loads nothing"))
    scene.put(picture, "id.name", f"IM{one.name}")
    if not scene.put(picture, "filepath", one.path):
        scene.put(picture, "name", one.path)
    scene.put(picture, "source", one.source)
    if user is not None:
        scene.put(user, "frames", one.last - one.first + 1)
        scene.put(user, "sfra", one.first)
        scene.put(user, "offset", one.first - 1)


def _numbered(scene: Scene, word: str) -> dict[int, Block]:
    """The nodes called `<word> 01` and on, by number."""
    found = {}
    for block in scene.of("bNode"):
        name, _, number = scene.text(block, "name").rpartition(" ")
        if name == word and number.isascii() and number.isdigit():
            found[int(number)] = block
    return dict(sorted(found.items()))


def _shorten(scene: Scene, owner: Block, field: str, is_spare: Callable[[Block], bool]) -> set[int]:
    """Take those that are spare out of a list; the heads of their blocks."""
    chain = list(scene.chain(scene.number(owner, f"{field}.first")))
    kept = [block for block in chain if not is_spare(block)]
    if len(kept) == len(chain):
        return set()
    for place, block in enumerate(kept):
        scene.put(block, "prev", kept[place - 1].old if place else 0)
        scene.put(block, "next", kept[place + 1].old if place + 1 < len(kept) else 0)
    scene.put(owner, f"{field}.first", kept[0].old if kept else 0)
    scene.put(owner, f"{field}.last", kept[-1].old if kept else 0)
    return {block.head for block in chain if block not in kept}


def _with_data(scene: Scene, block: Block) -> set[int]:
    """A datablock's own block, and those after it that are its."""
    place = scene.blocks.index(block)
    found = {block.head}
    for other in scene.blocks[place + 1 :]:
        if other.code != b"DATA":
            break
        found.add(other.head)
    return found
