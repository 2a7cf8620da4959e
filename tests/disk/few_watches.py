"""Run by a test in a user namespace of its own: what happens when the kernel gives no more watches."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.disk.live import living, write

LIMIT = Path("/proc/sys/user/max_inotify_watches")


def main(folder: Path) -> None:
    root = folder / "share"
    for n in range(20):
        write(root / f"p/f{n}/a.blend")
    LIMIT.write_text("8")
    with living(root, folder / "config") as live:

        def problems() -> set[str]:
            live.watcher.someone_is_active()
            return {problem.id for problem in live.watcher.problems()}

        assert "watches" in problems()
        assert len(live.statuses()) == 20
        for n in range(20):
            write(root / f"p/f{n}/b.blend")
        live.until(lambda: bool(problems()) and len(live.statuses()) == 40)
        live.assert_true()
        # Raised: the next look at everything sets the watches that were missing.
        LIMIT.write_text("100000")
        live.until(lambda: "watches" not in problems())
        assert live.watcher.hearing.watches == 22
        write(root / "p/f19/c.blend")
        live.settle()
        assert "data::p/f19/c.blend" in live.statuses()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
