"""An unpacked .blend in memory: its blocks, and where each structure keeps what, as its own DNA block tells.

Since the file itself says how it is laid out, the same code changes files of Blender 2.5 to 5, and none has
to be run. Fields keep their size, so nothing moves. Every length is checked: what isn't whole and sound
raises Damaged. Standard library only: misc/template_scenes.py uses it inside Blender.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from server.disk.speech import say

BLOCKS_MOST = 1_000_000
STRUCTS_MOST = 20_000
_ARRAY = re.compile(r"\[(\d+)\]")


class Damaged(Exception):
    """The bytes aren't a whole .blend file. The message says what was found."""


@dataclass(slots=True)
class Block:
    """One block of the file. `at` is where its content begins, `kind` the number of its structure."""

    code: bytes
    head: int
    at: int
    length: int
    old: int  # the address that it had in Blender's memory, which pointers name
    kind: int
    count: int


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field stands in its structure, in bytes. `kind` is the type's name."""

    name: str
    kind: str
    at: int
    size: int
    pointer: bool


class Scene:
    """A .blend's bytes, to be looked into and changed. Named for what it usually is: somebody's scene."""

    def __init__(self, raw: bytes) -> None:
        self.raw = bytearray(raw)
        self._read_header()
        self.blocks: list[Block] = list(self._read_blocks())
        dna = next((block for block in self.blocks if block.code == b"DNA1"), None)
        if dna is None or not self.blocks or self.blocks[-1].code != b"ENDB":
            raise Damaged(say("it ends in the middle"))
        try:
            self._read_dna(bytes(self.content(dna)))
        except (struct.error, IndexError, ValueError) as error:
            raise Damaged(
                say("what it says of its own structures can't be read: {why}", why=error)
            ) from error

    # Looking

    def of(self, kind: str) -> list[Block]:
        """The blocks that hold this structure."""
        number = self._numbers.get(kind)
        return [block for block in self.blocks if block.kind == number and block.code not in _NO_STRUCT]

    def with_code(self, code: bytes) -> list[Block]:
        """The blocks of this code, such as SC for scenes."""
        return [block for block in self.blocks if block.code == code]

    def content(self, block: Block) -> memoryview:
        return memoryview(self.raw)[block.at : block.at + block.length]

    def kind_of(self, block: Block) -> str:
        """The name of the block's structure."""
        return self._names[block.kind] if 0 <= block.kind < len(self._names) else ""

    def field(self, kind: str, path: str) -> Field | None:
        """Where `r.xsch` of a `Scene` is, say; None where this file's Blender knows no such field."""
        at = 0
        found: Field | None = None
        for name in path.split("."):
            found = self._fields(kind).get(name)
            if found is None:
                return None
            at += found.at
            kind = found.kind
        return None if found is None else Field(path, found.kind, at, found.size, found.pointer)

    def fields(self, kind: str) -> list[Field]:
        """All fields of a structure, in their order."""
        return list(self._fields(kind).values())

    def get(self, block: Block, path: str) -> int | float | bytes | None:
        """A number, a pointer's address, or a text's bytes; None where there is no such field."""
        place = self._place(block, path)
        if place is None:
            return None
        field, at = place
        code = self._code(field)
        if code:
            found: int | float = struct.unpack_from(code, self.raw, at)[0]
            return found
        return bytes(self.raw[at : at + field.size]).split(b"\0", 1)[0]

    def number(self, block: Block, path: str) -> int:
        """As `get`, where it is a number; else 0."""
        found = self.get(block, path)
        return int(found) if isinstance(found, (int, float)) else 0

    def text(self, block: Block, path: str) -> str:
        """As `get`, where it is a text; else ''."""
        found = self.get(block, path)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""

    def by_address(self) -> dict[int, Block]:
        """The blocks by the address that pointers name."""
        return {block.old: block for block in self.blocks if block.old}

    def chain(self, first: int) -> Iterator[Block]:
        """The blocks of a list, from the address of its first on. A circle ends where it closes."""
        known = self.by_address()
        seen: set[int] = set()
        while first in known and first not in seen:
            seen.add(first)
            yield known[first]
            first = self.number(known[first], "next")

    # Changing

    def put(self, block: Block, path: str, value: int | float | str) -> bool:
        """Set a field; False where this file's Blender knows no such field. A text is cut to fit, whole
        characters only."""
        place = self._place(block, path)
        if place is None:
            return False
        field, at = place
        if isinstance(value, str):
            room = field.size - 1
            data = value.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").encode()
            self.raw[at : at + field.size] = data.ljust(field.size, b"\0")
            return True
        code = self._code(field)
        if not code:
            raise ValueError(f"{path} holds no number")
        struct.pack_into(code, self.raw, at, float(value) if code[-1] in "fd" else int(value))
        return True

    def without(self, gone: set[int]) -> bytes:
        """The file's bytes without the blocks whose heads stand at these places."""
        kept = [block for block in self.blocks if block.head not in gone]
        parts = [self.raw[block.head : block.at + block.length] for block in kept]
        return b"".join([self.raw[: self._begin], *parts])

    # Within

    def _place(self, block: Block, path: str) -> tuple[Field, int] | None:
        field = self.field(self.kind_of(block), path)
        if field is None or field.at + field.size > block.length:
            return None
        return field, block.at + field.at

    def _code(self, field: Field) -> str:
        if field.pointer:
            return self.endian + ("Q" if self.pointer_size == 8 else "I")
        code = _CODES.get(field.kind, "")
        return self.endian + code if code and struct.calcsize(code) == field.size else ""

    def _read_header(self) -> None:
        raw = bytes(self.raw[:32])
        if raw[:7] != b"BLENDER" or len(raw) < 32:
            raise Damaged(say("it doesn't begin as a .blend file does"))
        if raw[7:8] in (b"_", b"-") and raw[8:9] in (b"v", b"V") and raw[9:12].isdigit():
            self.pointer_size = 4 if raw[7:8] == b"_" else 8
            self.endian = "<" if raw[8:9] == b"v" else ">"
            self.version, self._begin = int(raw[9:12]), 12
            self._head = struct.Struct(f"{self.endian}4si{'I' if self.pointer_size == 4 else 'Q'}ii")
            self._order = (0, 1, 2, 3, 4)  # where code, length, address, structure, count stand
        elif raw[7:13] == b"17-01v" and raw[13:17].isdigit():
            self.pointer_size, self.endian = 8, "<"
            self.version, self._begin = int(raw[13:17]), 17
            self._head = struct.Struct("<4siQqq")
            self._order = (0, 3, 2, 1, 4)
        else:
            raise Damaged(say("a .blend header of a kind not known yet"))

    def _read_blocks(self) -> Iterator[Block]:
        place, size, end = self._begin, self._head.size, len(self.raw)
        for _ in range(BLOCKS_MOST):
            if place + size > end:
                return
            fields = self._head.unpack_from(self.raw, place)
            code, length, old, kind, count = (fields[n] for n in self._order)
            if length < 0 or place + size + length > end:
                raise Damaged(say("a block goes past its end"))
            yield Block(code.rstrip(b"\0"), place, place + size, length, old, kind, count)
            if code.rstrip(b"\0") == b"ENDB":
                return
            place += size + length
        raise Damaged(say("more blocks than any template has"))

    def _read_dna(self, dna: bytes) -> None:
        number, short = struct.Struct(self.endian + "I"), struct.Struct(self.endian + "H")
        place = 8  # SDNA NAME

        def texts() -> list[str]:
            nonlocal place
            (count,) = number.unpack_from(dna, place)
            place += 4
            found = []
            for _ in range(min(count, len(dna))):
                end = dna.index(b"\0", place)
                found.append(dna[place:end].decode("ascii", "replace"))
                place = end + 1
            place = (place + 3 & ~3) + 4  # the next part's own name
            return found

        fields, types = texts(), texts()
        sizes = [short.unpack_from(dna, place + 2 * n)[0] for n in range(len(types))]
        place = (place + 2 * len(types) + 3 & ~3) + 4
        (count,) = number.unpack_from(dna, place)
        place += 4
        self._names: list[str] = []
        self._raw: dict[str, list[tuple[str, str, int]]] = {}
        self._made: dict[str, dict[str, Field]] = {}
        for _ in range(min(count, STRUCTS_MOST)):
            kind, parts = short.unpack_from(dna, place)[0], short.unpack_from(dna, place + 2)[0]
            place += 4
            own = []
            for _ in range(parts):
                of, name = short.unpack_from(dna, place)[0], short.unpack_from(dna, place + 2)[0]
                own.append((fields[name], types[of], sizes[of]))
                place += 4
            self._names.append(types[kind])
            self._raw[types[kind]] = own
        self._numbers = {name: n for n, name in enumerate(self._names)}

    def _fields(self, kind: str) -> dict[str, Field]:
        made = self._made.get(kind)
        if made is None:
            made, at = {}, 0
            for name, of, size in self._raw.get(kind, ()):
                pointer = name.startswith(("*", "(*"))
                whole = self.pointer_size if pointer else size
                for edge in _ARRAY.findall(name):
                    whole *= int(edge)
                plain = re.split(r"[\[)]", name.lstrip("(*"))[0]
                made[plain] = Field(plain, of, at, whole, pointer)
                at += whole
            self._made[kind] = made
        return made


_NO_STRUCT = (b"DNA1", b"REND", b"TEST", b"ENDB")
_CODES = {
    "char": "b", "uchar": "B", "int8_t": "b", "uint8_t": "B", "short": "h", "ushort": "H", "int16_t": "h",
    "uint16_t": "H", "int": "i", "int32_t": "i", "uint32_t": "I", "long": "i", "ulong": "I", "float": "f",
    "double": "d", "int64_t": "q", "uint64_t": "Q",
}  # fmt: skip
