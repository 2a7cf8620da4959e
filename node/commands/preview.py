"""`make-preview`: a small video of a version's frames that every browser plays (H.264, 4:2:0, MP4).

Frames in a format that ffmpeg shows as a screen would are taken themselves; of others (OpenEXR, HDR, DPX)
the picture that was made beside them for the thumbnails. Frames that are missing are passed over.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional

from ..tools import Tools, frames_of, numbered
from ..wire import Message
from ..work import Attempt, Failed, Output, Result
from .run import program

PLAIN = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".tga", ".webp")
WIDTH = 1280
FPS = 24.0


def make_preview(attempt: Attempt, command: Message, tools: Tools) -> Result:
    folder = tools.folder(command)
    frames = frames_of(command.get("frames") or "")
    pictures = chosen(folder, str(command.get("source") or ""), frames)
    if not pictures:
        raise Failed("missing file", "none of the frames can be shown in a video")
    ending = Path(pictures[0]).suffix.lower()
    for n, picture in enumerate(pictures):
        os.symlink(picture, tools.scratch / f"{n:06d}{ending}")
    name = str(command.get("name") or "preview.mp4")
    target = folder / (attempt.prefix() + name)
    width = int(command.get("width") or WIDTH)
    fps = float(command.get("fps") or FPS)
    # Sides must be even for 4:2:0; a picture smaller than the limit stays as it is.
    scale = f"scale=w='trunc(min({width},iw)/2)*2':h=-2:flags=area"
    begun = time.monotonic()
    argv = [
        *(
            tools.config.programs.get("ffmpeg", "ffmpeg"),
            "-hide_banner",
            "-loglevel",
            "warning",
            "-y",
            "-nostdin",
        ),
        *("-framerate", f"{fps:g}", "-start_number", "0", "-i", str(tools.scratch / f"%06d{ending}")),
        *("-vf", f"{scale},format=yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "21"),
        *("-movflags", "+faststart", "-an", "-f", "mp4", str(target)),
    ]
    program(attempt, argv, tools)
    if not target.is_file() or target.stat().st_size == 0:
        raise Failed("bad output", "ffmpeg wrote no video")
    facts = {"render_s": round(time.monotonic() - begun, 3), "frames": len(pictures)}
    return Result([Output(target, "video")], facts)


def chosen(folder: Path, source: str, frames: List[int]) -> List[str]:
    """The picture of each frame that is there, all of one format."""
    there: Dict[str, Dict[str, Path]] = {}
    try:
        for path in folder.iterdir():
            if not path.name.startswith("."):
                there.setdefault(path.stem, {})[path.suffix.lower()] = path
    except OSError as error:
        raise Failed("missing file", f"{folder} can't be read: {error.strerror}") from None
    found: List[Path] = []
    for frame in frames:
        picture = shown(folder, there.get(numbered(source, frame), {}))
        if picture is not None:
            found.append(picture)
    if not found:
        return []
    ending, _ = Counter(path.suffix.lower() for path in found).most_common(1)[0]
    return [str(path) for path in found if path.suffix.lower() == ending]


def shown(folder: Path, formats: Dict[str, Path]) -> Optional[Path]:
    for ending in PLAIN:
        if ending in formats:
            return formats[ending]
    for path in formats.values():
        preview = folder / ".croft" / path.name / "thumbs" / "node.png"
        if preview.is_file():
            return preview
    return None
