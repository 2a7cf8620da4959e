"""How far a program says it is, read off its lines by patterns that are data: of the node, or of a job type.

A pattern with one group finds percent (`PROGRESS: 40%`), one with two finds so many of so many
(`Sample 3/8`). A pattern that makes no sense is passed over.
"""

from __future__ import annotations

import re
from typing import Any, List, Optional, Pattern

ANY = r"PROGRESS:?\s*(\d{1,3}(?:\.\d{1,6})?)\s*%"
# Cycles' and Eevee's lines: "Sample 3/8", "Rendered 2/12 Tiles", "Rendering 1 / 64 samples".
BLENDER = r"(?:Sample|Rendered|Rendering)\s+(\d+)\s*/\s*(\d+)"
MOST_PATTERNS = 20
MOST_LINE = 500  # characters of a line that are looked at


class Progress:
    """`of(line)` is a part from 0 to 1, or None where the line says nothing of it."""

    def __init__(self, *patterns: Any) -> None:
        self._patterns: List[Pattern[str]] = []
        for pattern in patterns[:MOST_PATTERNS]:
            try:
                made = re.compile(pattern)
            except (re.error, TypeError, OverflowError, RecursionError):
                continue
            if made.groups in (1, 2):
                self._patterns.append(made)

    def of(self, line: str) -> Optional[float]:
        for pattern in self._patterns:
            found = pattern.search(line[:MOST_LINE])
            if found is None:
                continue
            try:
                part, whole = float(found[1]), float(found[2]) if pattern.groups == 2 else 100.0
            except (TypeError, ValueError):
                continue
            if whole > 0:
                return max(0.0, min(1.0, part / whole))
        return None


def patterns_of(told: Any) -> List[Any]:
    """A command's `progress`: one pattern, several, or none."""
    return list(told) if isinstance(told, list) else [told] if isinstance(told, str) else []
