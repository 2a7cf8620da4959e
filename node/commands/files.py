"""`copy` and `move`: files of the share, or of the scratch folder, into the version's folder; `verify`.

`from` is an address or `{scratch}/…`, the last part may be a pattern (`*.exr`). Copies are flushed before
the server hears of them. Only out of `{scratch}` files are moved: what lies on a share stays, since the
server may yet refuse the copy.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from pathlib import Path
from typing import List

from .. import pictures
from ..tools import MOST_FILES, Tools, frame_in, kind_of
from ..wire import Message
from ..work import Attempt, Cancelled, Failed, Output, Result

KINDS = ("frame", "extra", "part")


def copy(attempt: Attempt, command: Message, tools: Tools) -> Result:
    made, _ = place(attempt, command, tools)
    return Result(made, {})


def move(attempt: Attempt, command: Message, tools: Tools) -> Result:
    told = str(command.get("from") or "")
    if not told.startswith("{scratch}"):
        raise Failed("renderer error", f"only files in {{scratch}} can be moved: {told} stays, copy it")
    made, sources = place(attempt, command, tools)
    pictures.flush(tuple(output.path for output in made))
    for source in sources:
        try:
            source.unlink()
        except OSError as error:
            raise Failed("bad output", f"{source.name} can't be moved away: {error.strerror}") from None
    return Result(made, {})


def place(attempt: Attempt, command: Message, tools: Tools) -> "tuple[List[Output], List[Path]]":
    folder, told = tools.folder(command), str(command.get("from") or "")
    sources = matching(tools.path(told))
    if not sources:
        raise Failed("missing file", f"there is no {told}")
    name, kind = str(command.get("name") or ""), str(command.get("kind") or "")
    if name and len(sources) > 1:
        raise Failed("renderer error", f"{len(sources)} files can't all be called {name}")
    made: List[Output] = []
    for n, source in enumerate(sources):
        if attempt.cancelled.is_set():
            raise Cancelled
        attempt.check()
        target = folder / (attempt.prefix() + (name or source.name.lstrip(".")))
        try:
            with open(source, "rb") as there, open(target, "wb") as here:
                shutil.copyfileobj(there, here, 1 << 20)
                here.flush()
                os.fsync(here.fileno())
        except OSError as error:
            raise Failed("bad output", f"{source.name} can't be copied: {error.strerror}") from None
        kept = kind if kind in KINDS else kind_of(target.name)
        several = isinstance(attempt.frame, list)
        made.append(Output(target, kept, frame=frame_in(target.name) if several else None))
        attempt.progress = (n + 1) / len(sources)
    return made, sources


def matching(path: Path) -> List[Path]:
    """The file itself, or those that fit the pattern in its last part."""
    if not any(sign in path.name for sign in "*?["):
        return [path] if path.is_file() else []
    try:
        found = [one for one in path.parent.iterdir() if fnmatch.fnmatchcase(one.name, path.name)]
    except OSError:
        return []
    return sorted(one for one in found[:MOST_FILES] if one.is_file())


def verify(attempt: Attempt, command: Message, tools: Tools) -> Result:
    """Looks at what the commands before have made: enough files, whole, of the right size and kind."""
    suffix = str(command.get("suffix") or "").lower()
    made = [output for output in tools.made if output.path.name.lower().endswith(suffix)]
    least = int(command.get("least") or 1)
    if len(made) < least:
        raise Failed("bad output", f"{len(made)} files were made instead of {least}")
    for output in made:
        try:
            pictures.check(output.path, int(command.get("width") or 0), int(command.get("height") or 0))
        except pictures.BadPicture as bad:
            raise Failed("bad output", str(bad)) from None
    return Result([], {})
