"""A server of its own, with a node inside, for tests that need several processes or one to kill.

python server_process.py CONFIG DATA NODE work          claim and deliver until nothing is left
python server_process.py CONFIG DATA NODE hold COUNT    claim so many, report them for ever
python server_process.py CONFIG DATA NODE fall          die between the renames and the journal
python server_process.py CONFIG DATA NODE sick          fall ill with the first frame, then ask for ever
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from farm_kit import Node

from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm.farm import Farm
from server.farm.jobs.place import Place


def main(config: str, data: str, name: str, how: str, count: str = "1") -> None:
    settings = Settings(config)
    store = Store(settings, [Share("data", Path(data))])
    store.open()
    farm = Farm(settings, store)
    node = Node(farm, name, Path(data))
    pause = threading.Event()
    if how == "work":
        print("ready", flush=True)
        sys.stdin.readline()
        while any(live.job.claims or live.job.counts["waiting"] for live in farm.board.live.values()):
            for task in node.ask(2):
                assert node.deliver(task, name.encode())["id"] == "accepted"
            pause.wait(0.01)
    elif how == "hold":
        tasks = node.ask(int(count))
        print(" ".join(task["uuid"] for task in tasks), flush=True)
        while True:
            node.say(*({"id": "report", "uuid": t["uuid"], "frame": t["frame"]} for t in tasks))
            pause.wait(0.05)
    elif how == "sick":
        node.fail(node.one(), log="This computer's own disk is full: /tmp.")
        print("failed", flush=True)
        while True:
            node.say({"id": "info"})
            pause.wait(0.05)
    elif how == "fall":
        task = node.one()
        print(task["uuid"], flush=True)

        def fall(self: Place, events: list[dict[str, Any]]) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        Place.append = fall  # type: ignore[method-assign]
        node.deliver(task, b"from before the fall")
    farm.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
