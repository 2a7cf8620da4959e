"""Progress on one line of a terminal; in a log a line for each quarter."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import TextIO

CELLS = "○●"  # as on the pages: waiting, done
WIDEST = 40


class Progress:
    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._quarter = -1
        self._shown = False

    def show(self, done: int, total: int, words: str) -> None:
        share = done / total if total else 0.0
        if self._live:
            cells = min(WIDEST, max(total, 1))
            full = int(share * cells)
            line = f"  {CELLS[1] * full}{CELLS[0] * (cells - full)} {done}/{total} {words}"
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r" + line[:width].ljust(width))
            self._shown = True
        elif int(share * 4) != self._quarter:
            self._quarter = int(share * 4)
            self._stream.write(f"  {done}/{total} {words}\n")
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._shown:
            self._stream.write("\n")
            self._stream.flush()
