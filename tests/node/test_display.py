"""Whether somebody is at a desktop of X, asked of a real X server; Windows' and macOS's answers by hand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from node_farm import until

from node import keyboard
from node.display import Display, Displays, Refused, read_cookies
from node.keyboard import Keyboard

COOKIE = bytes(range(16))


def authority(number: bytes, cookie: bytes = COOKIE) -> bytes:
    """A file as `xauth` writes it: one entry for any host."""
    fields = (b"", number, b"MIT-MAGIC-COOKIE-1", cookie)
    return b"\xff\xff" + b"".join(struct.pack(">H", len(field)) + field for field in fields)


@dataclass
class Desktop:
    """A real X server, and hands that type and move the mouse."""

    number: str
    file: Path
    process: subprocess.Popen[bytes]
    xdotool: str

    @property
    def path(self) -> str:
        return f"/tmp/.X11-unix/X{self.number}"

    def do(self, *what: str) -> None:
        environ = {**os.environ, "DISPLAY": f":{self.number}", "XAUTHORITY": str(self.file)}
        subprocess.run([self.xdotool, *what], env=environ, check=True, timeout=30)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start(folder: Path, needs: Callable[[str], str]) -> Desktop:
    """Tried again where another X server takes the same number at the same moment. Without `-noreset` it cuts
    off who comes just after its last client has gone."""
    xvfb, xdotool = needs("Xvfb"), needs("xdotool")
    file, log = folder / "authority", folder / "xvfb.log"
    file.write_bytes(authority(b""))
    for _ in range(5):
        receiving, sending = os.pipe()
        command = [xvfb, "-displayfd", str(sending), "-auth", str(file), "-nolisten", "tcp", "-noreset"]
        with open(log, "wb") as said:
            process = subprocess.Popen(command, pass_fds=[sending], stdout=said, stderr=said)
        os.close(sending)
        with open(receiving, "rb") as told:
            number = told.readline().decode().strip()
        if number:
            return Desktop(number, file, process, xdotool)
        process.kill()
        process.wait(30)
    raise AssertionError(log.read_text("utf-8", "replace"))


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Desktop]:
    made = start(tmp_path_factory.mktemp("x"), needs)
    yield made
    made.end()


def idle_for(probe: Displays, seconds: float) -> float:
    return float(until(lambda: (found := probe()) is not None and found > seconds and found))


def test_an_x_server_tells_of_its_keyboard_and_mouse(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAUTHORITY", str(desktop.file))
    probe = Displays(desktop.path)
    for hands in (("key", "a"), ("mousemove_relative", "3", "4"), ("click", "1")):
        before = idle_for(probe, 0.5)
        desktop.do(*hands)
        after = probe()
        assert after is not None
        assert after < before
    probe.close()


def test_the_keyboard_s_watch_follows_it(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAUTHORITY", str(desktop.file))
    probe = Displays(desktop.path)
    idle_for(probe, 0.6)
    watch, told = Keyboard(0.6, [probe]), []
    watch.subscribe(told.append)
    watch.look()
    assert (watch.known(), told) == (True, [])
    until(lambda: desktop.do("key", "space") or watch.look() or told == [True])
    until(lambda: watch.look() or told == [True, False])
    watch.stop()


def test_without_its_cookie_it_says_nothing(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    for cookie in (b"", b"\xff" * 16):
        with pytest.raises(Refused):
            Display(desktop.path, cookie)
    Display(desktop.path, COOKIE).close()
    monkeypatch.setenv("XAUTHORITY", "")
    monkeypatch.setenv("HOME", "/nowhere")
    probe = Displays(desktop.path)
    assert probe() is not None, "who may read the server's own file has it from there"
    probe.close()


def test_a_node_outlives_its_x_server(
    desktop: Desktop, tmp_path: Path, needs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody logs out, and later in again."""
    now, sockets = [0.0], tmp_path / "sockets"
    sockets.mkdir()
    seat = sockets / "X0"
    other = start(tmp_path, needs)
    seat.symlink_to(other.path)
    probe = Displays(f"{sockets}/X*", lambda: now[0])
    assert probe() is not None
    other.end()
    assert probe() is None
    seat.unlink()
    seat.symlink_to(desktop.path)
    monkeypatch.setenv("XAUTHORITY", str(desktop.file))
    assert probe() is None, "not asked again at once"
    now[0] += 11
    assert probe() is not None
    probe.close()


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b"\0\x09\x0b\0\0\0\x02\0No entry",
        b"\x01\0\x0b\0\0\0\xff\xff" + b"\0" * 100,
        b"\x01\0\x0b\0\0\0\x02\0" + b"\0" * 8,
        b"\x02" * 4096,
        b"\x01" + b"\0" * 5 + b"\x0a\0" + b"\0" * 40 + b"\0" * 32,
    ],
)
def test_an_x_server_that_talks_nonsense_costs_nothing(tmp_path: Path, answers: bytes) -> None:
    path = str(tmp_path / "X7")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)

        def serve() -> None:
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                with one, contextlib.suppress(OSError):
                    one.sendall(answers)
                    one.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises((OSError, Refused, struct.error)):
            Display(path)
        assert Displays(path)() is None, "and it is no X server's program"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_cookies_are_read_for_one_display() -> None:
    other, any_display, this = (
        authority(b"1", b"1" * 16),
        authority(b"", b"2" * 16),
        authority(b"7", b"3" * 16),
    )
    assert list(read_cookies(other + any_display + this, b"7")) == [b"2" * 16, b"3" * 16]
    for torn in range(len(this)):
        assert list(read_cookies(other + this[:torn], b"7")) == []
    assert list(read_cookies(b"\xff" * 5000, b"7")) == []


def test_what_macos_prints_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"""+-o Root  <class IORegistryEntry, id 0x100000100, retain 13>
    | |   {
    | |     "HIDScrollAcceleration" = 20480
    | |     "HIDIdleTime" = 4250000000
    | |     "HIDParameters" = {"HIDIdleTimeDelta"=7}
    | |   }
"""
    said = [SimpleNamespace(stdout=text)]
    monkeypatch.setattr(keyboard.subprocess, "run", lambda *_, **__: said[0])
    assert keyboard.macos() == 4.25
    said[0] = SimpleNamespace(stdout=text + text.replace(b"4250000000", b"90000000"))
    assert keyboard.macos() == 0.09
    for nothing in (b"", b"no such class", b'"HIDIdleTime" = many'):
        said[0] = SimpleNamespace(stdout=nothing)
        assert keyboard.macos() is None


@pytest.mark.parametrize(
    ("last", "now", "seconds"), [(1000, 61_000, 60.0), (2**32 - 500, 1500, 2.0), (5, 5, 0.0)]
)
def test_what_windows_counts_is_understood(
    monkeypatch: pytest.MonkeyPatch, last: int, now: int, seconds: float
) -> None:
    """Its counter of milliseconds has 32 bits: after 49 days it begins anew."""

    def get_last_input(info: Any) -> int:
        info._obj.ticks = last
        return int(info._obj.size == 8)

    system = SimpleNamespace(
        user32=SimpleNamespace(GetLastInputInfo=get_last_input),
        kernel32=SimpleNamespace(GetTickCount=lambda: now),
    )
    monkeypatch.setattr(ctypes, "windll", system, raising=False)
    assert keyboard.windows() == seconds
    system.user32.GetLastInputInfo = lambda info: 0
    assert keyboard.windows() is None
