"""The server for real: one line first, a port in use, streams over a socket, a clean end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from server.web.serve import listen

CLONE = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from server.web.serve import serve; sys.exit(serve(*sys.argv[1:3], port=int(sys.argv[3])))"
)


class Server:
    def __init__(self, folder: Path, port: int = 0) -> None:
        self.config, self.data = folder / "config", folder / "data"
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(self.config), str(self.data), str(port)]
        self.process = subprocess.Popen(
            command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.errors: list[str] = []
        self._connections: list[http.client.HTTPConnection] = []
        self._replies: list[http.client.HTTPResponse] = []
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()
        assert self.process.stdout
        self.first_line = self.process.stdout.readline()
        self.port = int(self.first_line.rpartition(":")[2] or 0) if self.first_line else 0

    def _read(self, stream: IO[str]) -> None:
        self.errors.extend(stream)

    def token(self, user: str = "admin") -> str:
        from server.disk.settings import Settings
        from server.library.people import People

        return People(Settings(self.config)).make_token(user=user)

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self._connections.append(connection)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        self._replies.append(reply)
        return reply

    def hang_up(self) -> None:
        """Close every connection, streams included."""
        for part in (*self._replies, *self._connections):
            part.close()

    def peak_kb(self) -> int:
        """The most memory that the process had so far, in kilobytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    def stop(self, sign: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        code = self.process.wait(30)
        self.hang_up()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        assert self.process.stderr
        self.process.stderr.close()
        return code


def until(what: Callable[[], Any], timeout_s: float = 20) -> None:
    last = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < last, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.stop()


def test_the_first_line_is_the_url_and_it_answers(server: Server) -> None:
    assert server.first_line == f"Croft listens at http://127.0.0.1:{server.port}\n"
    assert json.load(server.ask("GET", "/healthz"))["data"]["status"] == "ok"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_while_a_stream_is_open(server: Server, sign: int) -> None:
    reply = server.ask("GET", "/api/events", token=server.token())
    assert reply.getheader("content-type") == "text/event-stream"
    assert reply.readline().startswith(b"retry")
    assert server.stop(sign) == 0, server.errors
    assert "Traceback" not in "".join(server.errors)
    assert reply.read() is not None, "the stream has an end"


def test_a_signal_that_came_while_it_was_stopped_ends_it_too(server: Server) -> None:
    # Given a server that a key in its terminal has stopped, and whose threads all sleep
    assert server.ask("GET", "/").read() is not None
    server.process.send_signal(signal.SIGSTOP)
    until(lambda: "T (stopped)" in Path(f"/proc/{server.process.pid}/status").read_text())
    # When it is told to end, and goes on
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    # Then it ends, though the signal may have reached another thread than the one that waits for it
    assert server.stop(0) == 0, server.errors


def test_clients_that_neither_read_nor_go_dont_hold_the_end_up(server: Server) -> None:
    folder = server.data / "demo"
    with (folder / "big.mp4").open("wb") as file:
        file.truncate(200 << 20)
    token = server.token("student")
    reader, writer = (socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(2))
    with reader, writer:
        head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        reader.sendall(f"GET /files/data::demo/big.mp4 {head}\r\n".encode())
        assert b" 200 " in reader.recv(1000)
        writer.sendall(f"PUT /api/files/data::demo/y.blend {head}Content-Length: 5000\r\n\r\nx".encode())
        until(lambda: any(path.name.startswith(".croft-tmp-") for path in folder.iterdir()))
        assert server.stop() == 0, server.errors
    left = [path.name for path in folder.iterdir() if path.is_file() and not path.name.endswith(".json")]
    assert left == ["big.mp4"], "nothing of the upload is left"


def test_a_share_that_cant_be_is_away(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the share should be")
    server = Server(tmp_path)
    try:
        assert json.load(server.ask("GET", "/healthz"))["data"]["shares"] == {"data": "away"}
        assert json.load(server.ask("GET", "/api/problems", token=server.token()))["data"]
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("wrong", ["config is a file", "two shares in one", "log level"])
def test_what_cant_start_says_so_in_one_sentence(tmp_path: Path, wrong: str) -> None:
    config = tmp_path / "config"
    if wrong == "config is a file":
        config.write_text("x")
    elif wrong == "two shares in one":
        (config / "shares").mkdir(parents=True)
        (config / "shares" / "other.json").write_text(json.dumps({"path": str(tmp_path / "data" / "in")}))
    else:
        config.mkdir()
        (config / "server.json").write_text('{"log_level": "loud"}')
    server = Server(tmp_path)
    if wrong == "log level":
        assert server.first_line.startswith("Croft listens")
        assert server.stop() == 0
        return
    assert server.stop() == 1
    assert server.first_line == ""
    assert len(server.errors) == 1, server.errors
    assert "Traceback" not in server.errors[0]


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        second = Server(tmp_path, taken.getsockname()[1])
        assert second.stop() == 1
        assert second.first_line == ""
        assert len(second.errors) == 1
        assert "another program uses this port" in second.errors[0]
        assert not second.data.exists(), "nothing was opened"


def test_a_change_is_streamed_to_a_browser(server: Server) -> None:
    token = server.token()
    stream = server.ask("GET", "/api/events", token=token)
    while not stream.readline().startswith(b"event: ready"):
        pass
    (server.data / "demo" / "shots").mkdir(parents=True, exist_ok=True)
    (server.data / "demo" / "shots" / "a.blend").write_bytes(b"BLENDER")
    assert server.ask("POST", "/api/rescan", {}, token=token).status == 200
    seen = b""
    while b"demo/shots/a.blend" not in seen:
        seen = stream.readline()
    assert json.loads(seen.removeprefix(b"data: "))["kind"] == "asset"


def test_streams_beyond_the_cap_are_told_to_poll(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "server.json").write_text('{"event_streams": 2, "threads": 2}')
    server = Server(tmp_path)
    try:
        token = server.token()
        streams = [server.ask("GET", "/api/events", token=token) for _ in range(2)]
        refused = server.ask("GET", "/api/events", token=token)
        assert refused.status == 503
        assert int(refused.getheader("retry-after")) > 0
        refused.read()
        poll = json.load(server.ask("GET", "/api/events?since=x", token=token))["data"]
        assert poll["reload"] is True
        # All streams taken, and everything else still answers.
        for _ in range(5):
            assert server.ask("GET", "/api/projects", token=token).status == 200
        assert all(stream.status == 200 for stream in streams)
    finally:
        assert server.stop() == 0


def test_many_files_may_be_open(server: Server) -> None:
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert int(soft) == min(int(hard), 65_536) or int(soft) > 65_536


def test_a_gigabyte_is_refused_at_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        head = f"POST /api/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {1 << 30}\r\n\r\n"
        wire.sendall(head.encode() + b"x" * 1000)
        assert b" 413 " in wire.recv(4096).split(b"\r\n")[0]


def test_an_upload_is_streamed_to_the_disk(server: Server) -> None:
    size = 64 << 20
    before = server.peak_kb()
    (server.data / "demo").mkdir(parents=True, exist_ok=True)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token('student')}", "Content-Length": str(size)}
    with open("/dev/zero", "rb") as zeros:
        parts = (zeros.read(1 << 20) for _ in range(size >> 20))
        connection.request("PUT", "/api/files/data::demo/big.blend", parts, headers)
    reply = connection.getresponse()
    assert reply.status == 201, reply.read()
    reply.read()
    connection.close()
    assert (server.data / "demo" / "big.blend").stat().st_size == size
    assert server.peak_kb() < before + 32_000, "the file wasn't held in memory"


@pytest.mark.parametrize("length", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
def test_an_upload_whose_connection_breaks_leaves_nothing(server: Server, length: str) -> None:
    folder = server.data / "demo"
    body = b"5\r\nhello\r\n" if "chunked" in length else b"hello"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        head = f"PUT /api/files/data::demo/x.blend HTTP/1.1\r\nHost: x\r\n{length}\r\n"
        head += f"Authorization: Bearer {server.token('student')}\r\n\r\n"
        wire.sendall(head.encode() + body)
        if "chunked" in length:
            assert b" 411 " in wire.recv(4096)
        else:
            until(lambda: list(folder.glob(".croft-tmp-*")))  # it is being written, aside
    until(lambda: [path.name for path in folder.iterdir() if path.is_file()] == ["project.json"])


def test_only_the_farm_or_only_people(tmp_path: Path) -> None:
    from server.web.app import build

    farm = build(tmp_path / "c", tmp_path / "d", only="farm")
    try:
        from house import Browser

        assert Browser(farm.wsgi).get("/api/session").status == 404
        assert Browser(farm.wsgi).get("/healthz").status == 200
    finally:
        farm.close()
    pages = build(tmp_path / "c", tmp_path / "d", only="pages")
    try:
        assert Browser(pages.wsgi).post("/farm", []).status == 404
        assert Browser(pages.wsgi).post("/t/x/farm", []).status == 404
    finally:
        pages.close()


def test_a_client_that_is_gone_without_a_word_is_noticed() -> None:
    listener = listen("127.0.0.1", 0)
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    try:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    finally:
        for one in (client, accepted, listener):
            one.close()
