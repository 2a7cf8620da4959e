"""What attempts say: followed while they run, kept and packed when they are over, bounded always."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from farm_kit import Node, World, until

from server.disk import files
from server.disk.errors import NotFound
from server.farm.farm import Farm
from server.farm.jobs.logs import Logs, Said
from server.farm.jobs.texts import HEAD_BYTES, TAIL_BYTES, Text, Texts

LIMIT = 64 << 20


def test_a_text_is_its_head_and_its_tail_by_positions() -> None:
    """Whatever pieces it comes in, again or too late, and wherever one begins to read."""
    rng = random.Random(4)
    whole = "".join(rng.choice(["a", "é", "漢", "🎬", "\n"]) for _ in range(700_000)).encode()
    text, at = Text(), 0
    while at < len(whole):
        size = rng.randrange(1, 90_000)
        again = rng.randrange(0, 200)  # a repeat, as after a lost answer
        text.add(max(0, at - again), whole[max(0, at - again) : at + size])
        at += size
    assert text.end == len(whole)
    assert len(text) <= HEAD_BYTES + TAIL_BYTES
    kept, lost = text.whole(), len(whole) - HEAD_BYTES - TAIL_BYTES
    mark = f"\n[… {lost:,} bytes are left out …]\n"
    assert kept == whole[:HEAD_BYTES] + mark.encode() + whole[-TAIL_BYTES:]
    for read in (text, Text.of(kept)):
        position, seen = 0, ""
        while position < read.end:
            piece, _, following = read.part(position, 10_000)
            assert following > position
            seen, position = seen + piece, following
        head, _, tail = seen.partition(mark)
        assert head.rstrip("\ufffd") == whole[:HEAD_BYTES].decode("utf-8", "ignore")
        assert tail == whole[-TAIL_BYTES:].decode("utf-8", "ignore")
        assert read.part(-1000)[0] == whole[-1000:].decode("utf-8", "ignore")


def test_what_the_server_missed_is_marked() -> None:
    text = Text()
    text.add(0, b"begin\n")
    text.add(1006, b"end\n")
    assert text.whole() == "begin\n\n[… 1,000 bytes are left out …]\nend\n".encode()
    assert text.part(500) == ("\n[… 506 bytes are left out …]\nend\n", 1006, 1010)


def test_all_texts_together_are_bounded() -> None:
    texts = Texts(lambda: 0.0, most_bytes=1 << 20)
    for n in range(40):
        for at in range(0, 200_000, 20_000):
            texts.add(f"a{n}", at, "x" * 20_000)
    kept = [text for n in range(40) if (text := texts.take(f"a{n}"))]
    assert sum(map(len, kept)) <= 1 << 20
    assert any(text.end == 200_000 for text in kept)
    assert texts._bytes == 0
    for wrong in (("a", -1, "x"), ("a", "0", "x"), ("a", 0, 7), ("a", 0, "")):
        assert not texts.add(*wrong)


def said(task: int, data: str, attempt: int = 1, failed: bool = False, words: str = "") -> Said:
    return Said(task, attempt, f"j.{task}.{attempt}", failed, "frame 1, alpha", [[0, data]], words)


def test_packed_logs_are_read_one_by_one_and_by_zcat(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", tmp_path)
    logs.keep([said(n, f"frame {n}\n" * 50) for n in range(20)], "here", LIMIT)
    logs.keep([said(7, "again\n", attempt=2)], "here", LIMIT)
    logs.keep(
        [said(3, "half a fr", attempt=2, failed=True, words="ended with exit code 1\nhalf a fr")],
        "here",
        LIMIT,
    )
    pack = tmp_path / "logs/done.here.log.gz"
    shown = subprocess.run(["zcat", pack], check=True, capture_output=True, text=True).stdout
    assert shown.startswith("== task 0, attempt 1, frame 1, alpha ==\nframe 0\n")
    assert shown.endswith("== task 7, attempt 2, frame 1, alpha ==\nagain\n")
    index = tmp_path / "logs/done.here.index"
    for _ in range(2):  # with its index, and without
        fresh = Logs(tmp_path / "logs", tmp_path)
        found = fresh.read(7, 1)
        assert found is not None
        assert found.whole() == b"frame 7\n" * 50
        assert (fresh.read(7, 2) or Text()).whole() == b"again\n"
        assert fresh.read(7, 3) is None
        index.unlink(missing_ok=True)
    assert (tmp_path / "logs/3.2.txt").read_text() == "half a fr\nended with exit code 1\n"
    assert logs.attempts(3, 2) == [2]


def test_a_torn_pack_is_let_be_and_another_begun(tmp_path: Path) -> None:
    Logs(tmp_path / "logs", tmp_path).keep([said(1, "one")], "here", LIMIT)
    pack = tmp_path / "logs/done.here.log.gz"
    with open(pack, "ab") as file:
        file.write(b"\x1f\x8b torn")
    logs = Logs(tmp_path / "logs", tmp_path)
    logs.keep([said(2, "two")], "here", LIMIT)
    assert [(logs.read(n, 1) or Text()).whole() for n in (1, 2)] == [b"one", b"two"]
    assert logs.attempts(2, 1) == [1]
    fresh = tmp_path / "logs/done.here.2.log.gz"
    shown = subprocess.run(["zcat", fresh], check=True, capture_output=True, text=True).stdout
    assert shown.endswith("two")


class FullDisk(files.Os):
    """The third write is cut short."""

    writes = 0

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.writes += 1
        if self.writes == 3:
            super().write(fd, bytes(data[: len(data) // 2]))
            raise OSError(28, "No space left on device")
        return super().write(fd, data)


def test_a_full_disk_tears_no_pack(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", tmp_path, FullDisk())
    for n in (1, 2, 3):
        logs.keep([said(n, f"log {n}")], "here", LIMIT)
    pack = tmp_path / "logs/done.here.log.gz"
    shown = subprocess.run(["zcat", pack], check=True, capture_output=True, text=True).stdout
    assert ("log 1" in shown, "log 2" in shown, "log 3" in shown) == (True, False, True)
    assert [logs.attempts(n, 1) for n in (1, 2, 3)] == [[1], [], [1]]


def test_a_jobs_logs_are_limited(tmp_path: Path) -> None:
    logs, rng = Logs(tmp_path / "logs", tmp_path), random.Random(1)
    for n in range(40):
        noise = rng.randbytes(10_000).hex()
        logs.keep(
            [said(n, noise), said(n, noise, attempt=2, failed=True, words="it failed\n")], "here", 100_000
        )
    size = sum(path.stat().st_size for path in (tmp_path / "logs").iterdir())
    assert 100_000 <= size <= 250_000


def test_a_log_is_followed_and_kept(world: World, farm: Farm, node: Node, submit: Any) -> None:
    job_id = submit("1-2")
    with pytest.raises(NotFound):
        farm.log(job_id, 0)
    task = node.one()
    uuid = task["uuid"]
    report = {"id": "report", "uuid": uuid, "frame": 1, "log": "Fra:1 Mem:9M\n", "log_at": 0}
    answers = node.say(report, {"id": "info"})
    assert "watched" not in answers[-1]
    part = farm.log(job_id, 0)
    assert (part.text, part.next, part.running, part.attempts) == ("Fra:1 Mem:9M\n", 13, True, (1,))
    answers = node.say({**report, "log": "Fra:1 Mem:9M\nSaved", "log_at": 0}, {"id": "info"})
    assert answers[-1]["watched"] == [uuid], "its node is asked to report often"
    assert farm.log(job_id, 0, offset=13).text == "Saved"
    # When it is done, the node tells the rest.
    done = node.render(task, output=[[18, ": it\n"], [1018, "the end\n"]])
    assert node.answer_to(done)["id"] == "accepted"
    ended = farm.log(job_id, 0, offset=18)
    assert ended.text == ": it\n\n[… 995 bytes are left out …]\nthe end\n"
    assert (ended.running, ended.next, ended.end) == (False, 1026, 1026)
    (pack,) = world.root.glob("demo/shots/.croft/*/jobs/*/logs/done.here.log.gz")
    shown = subprocess.run(["zcat", pack], check=True, capture_output=True, text=True).stdout
    assert shown.startswith("== task 0, attempt 1, frame 1, n1, 20"), shown


def test_what_a_lost_computer_said_last_is_kept(world: World, farm: Farm, node: Node, submit: Any) -> None:
    job_id = submit("1-1")
    task = node.one()
    node.say({"id": "report", "uuid": task["uuid"], "frame": 1, "log": "so far\n", "log_at": 0})
    world.clock.now += 31
    until(lambda: farm.view(job_id)["counts"]["waiting"] == 1)
    part = until(lambda: (found := farm.log(job_id, 0)) and not found.running and found)
    assert part.text == f"so far\nThe computer {node.name} was not heard of any more.\n"


def test_what_a_taken_back_attempt_said_takes_no_memory(
    world: World, farm: Farm, node: Node, submit: Any
) -> None:
    job_id = submit("1-1")
    task = node.one()
    node.say({"id": "report", "uuid": task["uuid"], "frame": 1, "log": "x" * 999, "log_at": 0})
    node.say({"id": "release", "uuid": task["uuid"]})
    world.clock.now += 61
    farm.keeper.write_logs()
    assert task["uuid"] not in farm.board.texts
    assert farm.log(job_id, 0).text == ""
