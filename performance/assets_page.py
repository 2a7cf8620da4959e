"""How many pages of a project's files the server gives a second, HTML alone, through the real server.

Every page holds all 255 rows, as the ancestor's did, although a browser asks for the first hundred alone;
those are for the record. Beside it runs the ancestor's way of working: for each view every sidecar is read
and every row built anew. Prints one JSON line. `--assets` and `--many` say how large the two films are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

CONNECTIONS = 4
TURNS = 3
MOST = 1000  # rows that one page holds
STATES = ("todo", "working", "review", "done")
FOLDERS = (("shots", "shot"), ("characters", "character"), ("props", "prop"), ("sets", "set"))
OWNERS = ("student", "supervisor", "")


def film(root: Path, count: int, *, known: bool = False) -> None:
    """A fake film: the folders of the kinds, 50 files in each of their folders, each with its sidecar.
    `known`: with what was read of each too, so that a server has nothing to do with them."""
    from server.library.media import kinds

    (root / "demo").mkdir(parents=True)
    (root / "demo" / "project.json").write_text('{"title": "Fake film"}')
    for n in range(count):
        folder, kind = FOLDERS[n % len(FOLDERS)]
        place = root / "demo" / folder / f"{n // 200:03d}"
        if n % 200 < len(FOLDERS):
            place.mkdir(parents=True, exist_ok=True)
        (place / f"{kind}{n:06d}.blend").write_bytes(b"BLENDER-v304" + b"ENDB" + bytes(20))
        record = {
            "name": f"{kind.capitalize()} {n}",
            "description": f"What {kind} {n} is there for, in a sentence.",
            "type": kind, "creator": "student", "owner": OWNERS[n % 3], "support": [], "state": STATES[n % 4],
            "priority": 1 + n % 5, "render": kind == "shot", "final": False, "tags": ["act one"],
            "uuid": f"00000000-0000-4000-8000-{n:012d}",
        }  # fmt: skip
        (place / f"{kind}{n:06d}.blend.json").write_text(json.dumps(record, indent=2))
        if known:
            scene = place / f"{kind}{n:06d}.blend"
            st = scene.stat()
            companion = place / ".croft" / scene.name
            companion.mkdir(parents=True)
            read = {"schema": 1, "reader": kinds.READER, "size": st.st_size, "mtime_ns": st.st_mtime_ns}
            read |= {"facts": {}, "hash": "blake2b-160:" + "0" * 40}
            (companion / "file.json").write_text(json.dumps(read))


@contextlib.contextmanager
def server(root: Path) -> Iterator[str]:
    """The real server on a film; gives its address."""
    places = [str(root / "config"), str(root / "data")]
    code = "import sys; from server.web.serve import serve; sys.exit(serve(*sys.argv[1:], port=0))"
    command = [sys.executable, "-c", code, *places]
    with subprocess.Popen(
        command,
        cwd=CLONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            if not found:
                raise SystemExit(f"The server didn't start: {line!r}")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield found[0].rstrip("/.")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def ancestor(root: Path) -> Iterator[bytes]:
    """The same page as the ancestor makes it: read every sidecar, build every row, put them together."""
    import jinja2

    from server.disk import speech

    env = jinja2.Environment(loader=jinja2.FileSystemLoader(CLONE / "templates"), autoescape=True)
    env.globals |= {"_": speech.say, "_n": speech.count}
    row = env.get_template("rows.html").module.row  # type: ignore[attr-defined]
    while True:
        made = []
        for folder, _, names in os.walk(root / "data"):
            for name in names:
                if not name.endswith(".blend.json"):
                    continue
                path = os.path.join(folder, name)
                st = os.stat(path.removesuffix(".json"))
                with open(path, encoding="utf-8") as file:
                    record = json.load(file)
                facts = {
                    "key": name, "url": f"/p/demo/asset/{name}", "name": record["name"], "path": path,
                    "thumbnail": f"/thumb/{name}?v={st.st_mtime_ns:x}", "type": record["type"],
                    "owner": record["owner"], "glyph": "waiting", "word": record["state"],
                    "priority": record["priority"], "priority_word": "Normal", "state": record["state"],
                    "owner_ident": record["owner"], "type_ident": record["type"], "address": path,
                    "may": True, "stands": True, "urgency": True, "waited": 0, "used": None, "notes": 0,
                    "changed": time.ctime(st.st_mtime),
                }  # fmt: skip
                made.append(row(facts))
        yield "".join(sorted(made)).encode()


def rate_of_ancestor(root: Path, seconds: float) -> float:
    """Pages a second, without any HTTP at all: to its advantage."""
    pages = ancestor(root)
    next(pages)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(pages)
        count += 1
    return count / (time.perf_counter() - begun)


def token(root: Path) -> str:
    """A student's, for the pages are shown to those who are signed in."""
    from server.disk.settings import Settings
    from server.library.people import People

    return People(Settings(root / "config")).make_token(user="student")


def rate_of_server(url: str, seconds: float, key: str) -> float:
    """Pages a second over a few connections that stay open."""
    wrk = shutil.which("wrk")
    if wrk:
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        command += ["-H", f"Authorization: Bearer {key}", url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"Requests/sec:\s+([\d.]+)", said)
        if found and "Non-2xx" not in said and "Socket errors" not in said:
            return float(found[1])
        raise SystemExit(f"wrk met errors:\n{said}")
    counts = [0] * CONNECTIONS
    end = time.perf_counter() + seconds
    threads = [threading.Thread(target=visit, args=(url, end, key, counts, n)) for n in range(CONNECTIONS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


def visit(url: str, end: float, key: str, counts: list[int], n: int) -> None:
    """Asks again and again over one connection. An answer that isn't 200 ends the measurement."""
    _, _, host, path = url.split("/", 3)
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port))) as line:
        question = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        while time.perf_counter() < end:
            line.sendall(question)
            got = b""
            while b"\r\n\r\n" not in got:
                got += line.recv(1 << 18)
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or not length:
                raise SystemExit(head.decode())
            left = int(length[1]) - len(body)
            while left > 0:
                left -= len(line.recv(1 << 18))
            counts[n] += 1


def fetch(url: str, key: str) -> bytes:
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(asked) as answer:
        body: bytes = answer.read()
    return body


def settled(url: str, count: int, key: str) -> int:
    """Waits until the server knows all files and they are at rest; the length of the page."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        body = fetch(url, key)
        if f">{count:,} files".encode() in body and b" arriving<" not in body:
            return len(body)
        time.sleep(0.5)
    raise SystemExit(f"The server doesn't show {count} files.")


def edit_shows(url: str, root: Path, key: str) -> bool:
    """A sidecar that somebody edits on the disk is on the page: nothing here is a stale copy."""
    path = next((root / "data").rglob("*.blend.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "name": "Edited meanwhile"}))
    asked = url + "?q=Edited"
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if b">Edited meanwhile<" in fetch(asked, key):
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=255)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="croft-pages-") as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        film(small / "data", options.assets)
        ours, theirs = [], []
        key = token(small)
        with server(small) as url:
            page = f"{url}/p/demo/assets"
            settled(page, options.assets, key)
            whole = f"{page}?rows={min(options.assets, MOST)}"
            length = len(fetch(whole, key))
            for _ in range(TURNS):  # in turns, so that both meet the same machine
                ours.append(rate_of_server(whole, options.seconds, key))
                theirs.append(rate_of_ancestor(small, options.seconds / 2))
            first = rate_of_server(page, options.seconds, key)
            shows = edit_shows(page, small, key)
        many = []
        if options.many:
            film(large / "data", options.many)
            key = token(large)
            with server(large) as url:
                page = f"{url}/p/demo/assets"
                settled(page, options.many, key)
                whole = f"{page}?rows={min(options.assets, MOST)}"
                many = [rate_of_server(whole, options.seconds, key) for _ in range(TURNS)]
    rate, base = statistics.median(ours), statistics.median(theirs)
    found = {
        "script": "assets_page",
        "ratio": round(rate / base, 1),
        "of": "pages a second to those made by reading every sidecar and building every row for each view",
        "absolute": {
            "pages_per_second": round(rate), "ancestors_way_per_second": round(base, 1),
            "assets": options.assets, "page_kb": round(length / 1000),
            "first_hundred_per_second": round(first), "an_edit_shows": shows,
        },
    }  # fmt: skip
    if many:
        rate_many = statistics.median(many)
        found["absolute"] |= {"many": options.many, "pages_per_second_many": round(rate_many)}  # type: ignore[operator]
        found["many_to_few"] = round(rate_many / rate, 2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
