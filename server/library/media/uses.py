"""Which files a scene uses: libraries, images, sounds, films, fonts, caches, volumes, texts.

Runs only inside the bounded helper, on the blocks that `blend.read` kept. Paths are told as Blender stores
them; whether anything lies there is for those to say who know the share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import kinds

USES = 4000  # how many are told
NAMES = (b"name", b"filepath")  # the field that holds a file's name, by age of the format
BLOCKS = {  # blocks that are each one file
    b"LI": ("library", NAMES),
    b"IM": ("image", NAMES),
    b"MC": ("film", NAMES),
    b"SO": ("sound", NAMES),
    b"VF": ("font", NAMES),
    b"CF": ("cache", (b"filepath",)),
    b"VO": ("volume", (b"filepath",)),
}
PARTS = {  # structures within objects and nodes that name a file or folder
    b"MeshCacheModifierData": ("cache", b"filepath"),
    b"OceanModifierData": ("cache", b"cachepath"),
    b"FluidDomainSettings": ("cache", b"cache_directory"),
    b"PointCache": ("cache", b"path"),
    b"CustomDataExternal": ("cache", b"filename"),
    b"NodeShaderTexIES": ("text", b"filepath"),
    b"NodeShaderScript": ("text", b"filepath"),
}
NO_NAMES = {b"<builtin>", b"", b"Render Result"}
# Of Blender's DNA: Image.source, PointCache.flag.
SOURCE_FILE, SOURCE_FILM, SOURCES = 1, 3, {1, 2, 3, 6}
CACHE_BAKED, CACHE_EXTERNAL = 1, 512
SIMULATIONS = {b"FluidDomainSettings", b"NodeGeometrySimulationOutput"}


def of(blendfile: Any) -> list[dict[str, Any]]:
    """Each used file once: `path` as stored, `kind`, `absolute` (not relative to the scene), `packed`."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for kind, raw, packed in _all(blendfile):
        if raw in NO_NAMES or b"\0" in raw:
            continue
        path = raw.decode("utf-8", "replace")
        one = found.setdefault(
            (kind, path),
            {"path": path, "kind": kind, "absolute": not path.startswith("//"), "packed": packed},
        )
        one["packed"] = one["packed"] and packed
        if len(found) >= USES:
            break
    return list(found.values())


def _all(blendfile: Any) -> Iterator[tuple[str, bytes, bool]]:
    """Kind, stored path, and whether the content lies in the scene itself."""
    for code, (kind, names) in BLOCKS.items():
        for block in blendfile.find_blocks_from_code(code):
            values = (block.get(name, default=None) for name in names)
            raw = next((value for value in values if isinstance(value, bytes)), b"")
            if code == b"IM":
                source = block.get(b"source", default=SOURCE_FILE)
                if source not in SOURCES:
                    continue  # drawn by Blender itself
                kind = "film" if source == SOURCE_FILM else "image"
            yield kind, raw, _packed(block)
    for block in blendfile.find_blocks_from_code(b"TX"):
        path = block.get_pointer(b"name", default=None) or block.get_pointer(b"filepath", default=None)
        if path is not None:
            yield "text", path.as_bytes_string(), True  # Blender keeps its lines in the scene
    for block in blendfile.find_blocks_from_code(b"DATA"):
        structure = block.dna_type_id
        if structure == b"Strip":
            yield from _strip(block)
        elif structure in PARTS and _in_use(block, structure):
            kind, name = PARTS[structure]
            value = block.get(name, default=b"")
            yield kind, value if isinstance(value, bytes) else b"", False


def simulated(blendfile: Any) -> bool:
    """Does a frame depend on those before it? Whatever moves by physics and isn't baked counts."""
    for block in blendfile.find_blocks_from_code(b"DATA"):
        structure = block.dna_type_id
        if structure in SIMULATIONS:
            return True
        if structure == b"PointCache" and not block.get(b"flag", default=0) & (CACHE_BAKED | CACHE_EXTERNAL):
            return True
    return False


def _packed(block: Any) -> bool:
    return bool(block.get(b"packedfile", default=0) or block.get((b"packedfiles", b"first"), default=0))


def _in_use(block: Any, structure: bytes) -> bool:
    """Some hold a path whether or not anything lies there."""
    if structure == b"PointCache":
        return bool(block.get(b"flag", default=0) & CACHE_EXTERNAL)
    if structure == b"OceanModifierData":
        return bool(block.get(b"cached", default=0))
    return True


def _strip(block: Any) -> Iterator[tuple[str, bytes, bool]]:
    """A strip of the video editor: its folder, and the name of its first picture or of its film."""
    first = block.get_pointer(b"stripdata", default=None)
    if first is None:
        return
    folder, name = block.get(b"dir", default=b""), first.get(b"name", default=b"")
    if not isinstance(folder, bytes) or not isinstance(name, bytes) or not name:
        return
    kind = kinds.kind(name.decode("utf-8", "replace"))
    if kind == "file":
        kind = "sound"
    elif kind == "scene":
        return
    yield kind, folder + (b"" if folder[-1:] in (b"/", b"\\", b"") else b"/") + name, False
