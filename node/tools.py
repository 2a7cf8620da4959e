"""What a command may use: the folders that it was told, a scratch folder of the attempt's own, programs.

One for each attempt; `close` takes the scratch folder away.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import List, Optional

from .config import Config
from .wire import Message
from .work import Attempt, Failed, Output

ADDRESS = re.compile(r"(?:^|(?<=[=,:;\s'\"]))([A-Za-z0-9_.-]+)::")
PICTURES = (".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".tga", ".bmp", ".webp", ".hdr", ".dpx", ".cin")
NUMBER = re.compile(r"(-?\d+)(?=\.[A-Za-z0-9]+$)")
MOST_FRAMES = 1_000_000  # of one task
MOST_FILES = 20_000  # in a folder that is looked through


class Tools:
    """The node's side of one attempt's commands."""

    def __init__(self, config: Config, attempt: Attempt) -> None:
        self.config = config
        self.attempt = attempt
        self.made: List[Output] = []  # by the commands before
        self._scratch: Optional[Path] = None

    @property
    def scratch(self) -> Path:
        """A folder on this computer, empty at first."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="croft-task-"))
        return self._scratch

    def close(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def path(self, address: str) -> Path:
        """Where something lies here: an address on a share, or `{scratch}/…`."""
        if address.startswith("{scratch}"):
            inside = address[len("{scratch}") :].lstrip("/")
            if ".." in Path(inside).parts or "\0" in inside:
                raise Failed("missing file", f"{address} leads out of the scratch folder")
            return self.scratch / inside
        try:
            return self.config.local(address)
        except ValueError as error:
            raise Failed("missing file", str(error)) from None

    def folder(self, command: Message) -> Path:
        """The folder that a command writes into, which must be there: the node never makes it, since the
        share may be away."""
        name = str(command.get("name") or "")
        if "/" in name or "\\" in name or "\0" in name:
            raise Failed("renderer error", f"{name!r} can't be a file's name")
        folder = self.path(str(command.get("folder") or ""))
        if not folder.is_dir():
            raise Failed(
                "missing file", f"the folder {command.get('folder')} isn't there (looked for {folder})"
            )
        return folder

    def arguments(self, argv: List[str]) -> List[str]:
        """A program's arguments with addresses as paths, also after `=`; and where the program itself is."""
        found = [self._argument(part) for part in argv]
        return [self.config.programs.get(argv[0], found[0]), *found[1:]]

    def _argument(self, part: str) -> str:
        if "{scratch}" in part:
            part = part.replace("{scratch}", str(self.scratch))
        known = [found for found in ADDRESS.finditer(part) if found[1] in self.config.shares]
        if len(known) > 1:  # such as a line for a shell: where each ends is not ours to know
            if re.search(r"(?:::|/)\.\.(?:/|$)|\0", part):
                raise Failed("missing file", f"{part} leads out of its share")
            return ADDRESS.sub(self._root, part)
        for found in known:
            return part[: found.start()] + str(self.path(part[found.start() :]))
        if ADDRESS.match(part) and "::" in part and part.partition("::")[2].count("/"):
            return str(self.path(part))  # raises: a share that this node doesn't have
        return part

    def _root(self, found: "re.Match[str]") -> str:
        share = self.config.shares.get(found[1])
        return f"{str(share).rstrip('/')}/" if share is not None else found[0]


def collected(attempt: Attempt, folder: Path) -> List[Output]:
    """What a program left in a folder under the attempt's names."""
    prefix = attempt.prefix()
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.startswith(prefix) and path.is_file())
    except OSError as error:
        raise Failed("bad output", f"{folder} can't be read: {error.strerror}") from None
    several = isinstance(attempt.frame, list)
    return [
        Output(path, kind_of(path.name), frame=frame_in(path.name) if several else None) for path in paths
    ]


def kind_of(name: str) -> str:
    """A picture is a frame; anything else comes along."""
    return "frame" if name.lower().endswith(PICTURES) else "extra"


def frame_in(name: str) -> Optional[int]:
    """`sh010.0007.png`: 7."""
    found = NUMBER.search(name)
    return int(found[1]) if found else None


def numbered(name: str, frame: int) -> str:
    """`sh010.####` at frame 7: `sh010.0007`."""

    def digits(marks: "re.Match[str]") -> str:
        return f"{'-' * (frame < 0)}{abs(frame):0{len(marks.group())}d}"

    return re.sub(r"#+", digits, name, count=1)


def frames_of(text: object) -> List[int]:
    """`1-10x2,15` as numbers; Failed where they are more than a task may have."""
    found: List[int] = []
    for part in str(text).split(","):
        span, _, step = part.strip().partition("x")
        cut = span.find("-", 1)  # a dash in the first place is a minus sign
        first = int(span if cut < 0 else span[:cut])
        last = first if cut < 0 else int(span[cut + 1 :])
        by = int(step or 1)
        if by < 1 or (last - first) // by + 1 + len(found) > MOST_FRAMES:
            raise Failed("renderer error", f"the frames {str(text)[:60]} are too many for one task")
        found += range(first, last + 1, by)
    return found
