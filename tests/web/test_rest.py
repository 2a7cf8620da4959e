"""Does a whole Croft that nobody asks for anything leave the processor alone?"""

from __future__ import annotations

import time

from house import House


def test_threads_with_nothing_to_do_rest(house: House) -> None:
    """Given a file that was taken in, when all is done, then no thread goes round for nothing."""
    house.make("demo/project.json", b"{}")
    house.scene("demo/shots/a.blend")
    house.browser("student").get("/p/demo/assets")
    last = time.monotonic() + 30
    while True:
        before = time.process_time()
        time.sleep(0.5)
        used = time.process_time() - before
        if used < 0.1:  # of processor time, which others on this machine don't add to
            return
        assert time.monotonic() < last, f"{used:.2f} s of the processor in half a second of rest"
