"""What programs say: whole, bounded, masked, each attempt's own; and what starts them."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm, until, whole_log

from node.output import HEAD_BYTES, TAIL_BYTES, Capture, Mask, begun, secrets_of, shortened
from node.process import Child

HOSTILE = r"""
import os, sys
out = sys.stdout.buffer
out.write(b"caf\xe9 begins\n" + os.environb[b"STUDIO_PASSWORD"] + b"\n")
out.write(b"the token: " + open(sys.argv[1], "rb").read() + b"\n\0\x1b[31m\r\n")
for _ in range(100):
    out.write(b"x" * (1 << 20))
out.write(b"\nlast \xf0\x9f\x8e")
out.flush()
"""


def memory_mb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise AssertionError("no VmHWM")


def test_a_hostile_programs_log(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MB on one line, bytes that are no UTF-8, passwords: the log is bounded, masked and readable."""
    monkeypatch.setenv("STUDIO_PASSWORD", "hunter22-sesame")
    secret = farm.folder / "secret"
    secret.write_text("node-token-4711")
    farm.give(farm.task("a1", do="run", argv=[sys.executable, "-c", HOSTILE, str(secret)]))
    node = farm.node(token="node-token-4711")
    farm.server.wait(lambda: farm.server.of("done"))
    text, end = whole_log(farm, "a1")
    assert text.startswith("caf\ufffd begins\n****\nthe token: ****\n\x1b[31m\nxxx")
    assert text.endswith("xxx\nlast \ufffd")
    assert 100 << 20 < end < 101 << 20
    assert len(text) <= 3 * (HEAD_BYTES + TAIL_BYTES)  # some of what was dropped since had been told
    assert memory_mb(node.pid) < 90


def test_a_failures_words_are_masked_and_its_log_whole(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENDER_SECRET_KEY", "open-sesame")
    code = "import os; print('a\\n' * 400, os.environ['RENDER_SECRET_KEY'], flush=True); os._exit(3)"
    farm.give(farm.task("a1", do="run", argv=[sys.executable, "-c", code]))
    farm.node()
    failed = farm.server.wait(lambda: farm.server.of("failed"))[0]
    text, _ = whole_log(farm, "a1")
    assert text == "a\n" * 400 + " ****\n"
    assert failed["log"].endswith("****")
    assert "sesame" not in str(farm.server.heard)


def test_a_log_is_told_while_its_program_runs_and_often_when_watched(farm: Farm) -> None:
    code = "import time\nfor n in range(10**6): print('line', n, flush=True); time.sleep(0.05)"
    farm.give(farm.task("a1", do="run", argv=[sys.executable, "-uc", code]))
    farm.server.info = {**farm.server.info, "heartbeat": 3, "idle": 60}
    farm.node()
    farm.server.wait(lambda: any("log" in m for m in farm.server.of("report")))
    farm.server.info["watched"] = ["a1"]
    beats = len(farm.server.of("report"))
    farm.server.wait(lambda: len(farm.server.of("report")) >= beats + 4)
    text, _ = whole_log(farm, "a1")
    lines = text.splitlines()[:-1]
    assert lines == [f"line {n}" for n in range(len(lines))]
    assert len(lines) > 20


def test_a_server_that_was_started_anew_is_told_the_whole_log(farm: Farm) -> None:
    argv = [sys.executable, "-uc", "import time; print('the beginning'); time.sleep(60)"]
    farm.give(farm.task("a1", do="run", argv=argv))
    farm.node()
    farm.server.wait(lambda: any("log" in m for m in farm.server.of("report")))
    beats = len(farm.server.of("report"))
    farm.server.wait(lambda: len(farm.server.of("report")) > beats + 1)
    assert "log" not in farm.server.of("report")[-1], "what it knows isn't told again"
    farm.server.info = {**farm.server.info, "server": "two"}
    farm.server.wait(lambda: farm.server.of("report")[-1].get("log_at") == 0)


def test_a_capture_keeps_head_and_tail_and_whole_letters() -> None:
    rng = random.Random(1)
    text = "".join(rng.choice("aé漢🎬\n") for _ in range(600_000))
    data, capture = text.encode(), Capture()
    for at in range(0, len(data), 70_001):
        capture.add(data[at : at + 70_001])
    assert capture.end == len(data)
    (first, head), (last, tail) = capture.rest(0)
    assert first == 0
    assert head == data[:HEAD_BYTES].decode("utf-8", "ignore")
    assert tail == data[-TAIL_BYTES:].decode("utf-8", "ignore")
    assert last + len(tail.encode()) == len(data)
    at, piece, following = capture.piece(1000, 5000)
    assert data[at:following].decode() == piece
    assert shortened([[0, "x" * 100_000], [200_000, "é" * 60_000]]) == [
        [100_000 - 5536, "x" * 5536],
        [200_000, "é" * 60_000],
    ]


def test_short_names_of_passwords_are_known_and_folders_are_none() -> None:
    told = {"DB_PASS": "hunter22", "MYSQL_PWD": "hunter33", "HTTP_AUTH": "hunter44", "SMTPPASS2": "hunter55"}
    shown = {
        "PWD": "/shows/demo",
        "OLDPWD": "shots",
        "SSH_AUTH_SOCK": "/run/agent",
        "AUTHOR": "anna",
        "XAUTHORITY": "/home/anna/.Xauthority",
        "PROXY_BYPASS": "localhost",
        "RENDER_PASSES": "beauty",
        "AUTH_TYPE": "Basic",
        "CACHE_PASS": "no",
    }
    assert secrets_of({**told, **shown}) == {value.encode() for value in told.values()}


def test_what_may_be_a_words_beginning() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        data, word = (bytes(rng.choices(b"ab", k=rng.randrange(low, 7))) for low in (0, 1))
        most = min(len(word) - 1, len(data))
        assert begun(data, word) == next((n for n in range(most, 0, -1) if data.endswith(word[:n])), 0)


def test_a_mask_holds_wherever_the_stream_is_cut() -> None:
    rng = random.Random(2)
    secrets = secrets_of(
        {"A_TOKEN": "abcabd", "B_KEY": "bcab", "PASSWORD": "x", "API_KEY": "true", "C": "see"}
    )
    assert secrets == {b"abcabd", b"bcab"}
    for _ in range(300):
        data = "".join(rng.choice("abcd") for _ in range(60)).encode()
        mask, shown, at = Mask(secrets), b"", 0
        while at < len(data):
            size = rng.randrange(1, 9)
            shown += mask.feed(data[at : at + size])
            at += size
        shown += mask.end()
        assert b"abcabd" not in shown
        assert b"bcab" not in shown
    assert Mask([]).feed(b"as it is") == b"as it is"


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_leash_that_is_killed_takes_its_program_along() -> None:
    child = Child(["sh", "-c", "sleep 600 & sleep 600"])
    os.kill(child._leash._popen.pid, signal.SIGKILL)
    assert child.wait(20)
    assert child.code == -9
    until(lambda: not alive(child.pid))
    # The next program gets another leash.
    following = Child(["echo", "still here"])
    assert following.wait(20)
    assert (following.code, following.tail()) == (0, "still here")


def test_a_leash_is_used_again_and_leaves_nothing_of_the_last_program(tmp_path: Path) -> None:
    # It is in a session of its own before the program ends.
    leaves = f"setsid sh -c 'echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 600' &"
    first = Child(["sh", "-c", f"{leaves} while [ ! -e {tmp_path}/pid ]; do sleep 0.02; done; exit 4"])
    assert first.wait(20)
    assert first.code == 4
    left = int((tmp_path / "pid").read_text())
    until(lambda: not alive(left))
    second = Child(["sh", "-c", "echo $PPID"])
    assert second.wait(20)
    assert int(second.tail()) == first._leash._popen.pid
    # One that has ended meanwhile is replaced.
    os.kill(int(second.tail()), signal.SIGKILL)
    second._leash._popen.wait()
    third = Child(["echo", "here"])
    assert third.wait(20)
    assert (third.code, third.tail()) == (0, "here")


@pytest.mark.parametrize("argv", [["/no/such/program"], ["echo", "a\0b"]])
def test_a_program_that_cannot_be_started_says_so(argv: list[str]) -> None:
    child = Child(argv)
    assert child.wait(20)
    assert child.code == 127
    assert "can't be started" in child.tail()


def test_a_child_has_the_descriptors_it_was_given_and_no_others() -> None:
    read, write = os.pipe()
    extra = os.open(os.devnull, os.O_RDONLY)
    child: Any = Child(["sh", "-c", f"echo here > /proc/self/fd/{write}; ls /proc/self/fd"], pass_fds=[write])
    os.close(write)
    assert child.wait(20)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "here\n"
    assert set(child.tail().split()) <= {"0", "1", "2", "3", str(write)}
    os.close(extra)
