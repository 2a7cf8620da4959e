"""Does `run.py check` name every fault, with its path and what to do, and touch nothing?"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from disk_kit import CLONE, FILE, make_file, make_store

from server.disk import check
from server.disk.paths import Share

COMPANION = "green/shots/.croft/sh010.blend"
JOB = COMPANION + "/jobs/20261121-101010-abcdef"
VERSION = "green/shots/render/sh010/v001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A share with everything on it, and nothing wrong."""
    root = tmp_path / "share"
    make_file(root)
    make_file(root, "green/project.json", b"{}")
    store = make_store(root)
    store.edit(FILE, {"owner": "mia", "uuid": "u1"}, who="tom")
    store.write_json(f"data::{COMPANION}/file.json", {"size": 7})
    store.write_json(f"data::{JOB}/job.json", {"id": "20261121-101010-abcdef", "frames": "1-2", "total": 2})
    journal = b'{"event": "claim"}\n{"event": "done"}\n'
    make_file(root, f"{JOB}/journal.jsonl", journal)
    told = {"length": len(journal), "sha256": hashlib.sha256(journal).hexdigest()}
    store.write_json(f"data::{JOB}/result.json", {"state": "done", "journal": told})
    make_file(root, f"{VERSION}/sh010.0001.png", b"png")
    store.write_json(
        f"data::{VERSION}.json", {"job": "x", "outputs": [{"path": "sh010.0001.png", "size": 3}]}
    )
    make_file(root, "green/seq/wave.0001.png")
    store.edit("data::green/seq/wave.@.png", {"owner": "mia"}, who="tom")
    make_file(root, "green/settings.json", b"[1, 2]")  # a person's own
    make_file(root, "green/shots/old/x/sh010.blend.json", b"{torn")
    return root


def found(root: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.address) for problem in check.check([Share("data", root)])]


def test_a_sound_share_has_no_faults(root: Path) -> None:
    assert found(root) == []
    out = io.StringIO()
    assert check.main([Share("data", root)], out) == 0
    assert out.getvalue() == "no faults, no notes.\n"


@pytest.mark.parametrize(
    ("inside", "content", "kind"),
    [
        ("green/shots/sh010.blend.json", b'{"torn', "sidecar"),
        ("green/shots/sh010.blend.json", b"[]", "sidecar"),
        ("green/shots/sh010.blend.json", b'{"schema": 9}', "newer"),
        ("green/seq/wave.@.png.json", b"", "sidecar"),
        ("green/project.json", b"nothing", "sidecar"),
        (COMPANION + "/file.json", b"{", "sidecar"),
        (COMPANION + "/notes/n.json", b"{", "sidecar"),
        (COMPANION + "/history.abc.jsonl", b'{"at": 1}\n{"to\n{}\n', "journal"),
        (JOB + "/job.json", b"{", "sidecar"),
        (JOB + "/job.json", b'{"schema": 2}', "newer"),
        (JOB + "/result.json", b"null", "sidecar"),
        (VERSION + ".json", b"{", "sidecar"),
    ],
)
def test_a_bad_file_is_named(root: Path, inside: str, content: bytes, kind: str) -> None:
    make_file(root, inside, content)
    assert found(root) == [(kind, f"data::{inside}")]
    assert (root / inside).read_bytes() == content


def test_a_torn_journal_and_the_result_it_no_longer_matches(root: Path) -> None:
    with open(root / JOB / "journal.jsonl", "ab") as file:
        file.write(b'{"event": "do')
    assert found(root) == [
        ("journal", f"data::{JOB}/journal.jsonl"),
        ("result", f"data::{JOB}/result.json"),
    ]


def test_what_is_missing_or_doubled(root: Path) -> None:
    (root / JOB / "job.json").unlink()
    (root / VERSION / "sh010.0001.png").write_bytes(b"longer")
    make_file(root, "green/shots/copy.blend")
    make_file(root, "green/shots/copy.blend.json", b'{"uuid": "u1"}')
    make_file(root, "green/shots/Copy.blend")
    make_file(root, f"green/shots/.croft/copy.blend/jobs/{Path(JOB).name}/job.json", b"{}")
    make_file(root, "green/shots/gone.blend.json", b'{"owner": "mia", "state": "done"}')
    make_file(root, "green/shots/.croft/lost.blend/file.json", b"{}")
    make_file(root, "green/shots/sh010 (conflicted copy 1).blend")
    (root / "green/out").symlink_to("/etc")
    assert sorted(found(root)) == [
        ("case-clash", "data::green/shots/copy.blend"),
        ("conflict", "data::green/shots/sh010 (conflicted copy 1).blend"),
        ("identity", "data::green/shots/sh010.blend"),
        ("job", f"data::{JOB}"),
        ("job", f"data::{JOB}"),
        ("link", "data::green/out"),
        ("orphan", "data::green/shots/gone.blend"),
        ("orphan", "data::green/shots/lost.blend"),
        ("rights", "data::green/shots/.croft/copy.blend"),  # copied back by root
        ("rights", "data::green/shots/.croft/lost.blend"),
        ("version", f"data::{VERSION}.json"),
    ]


def test_published_versions_that_are_not_whole(root: Path) -> None:
    there = f"{COMPANION}/versions"
    make_file(root, f"{there}/v001/sh010.blend", b"scene")
    make_file(root, f"{there}/v001/sh010.blend.json", b"{}")
    make_file(root, f"{there}/v001/version.json", b'{"name": "sh010.blend", "size": 5}')
    make_file(root, f"{there}/v002/version.json", b'{"in_place": true, "files": "manifest.json"}')
    make_file(root, f"{there}/v002/manifest.json", b'{"frames": {}}')
    make_file(root, f"{there}/v003/sh010.blend", b"is being published")
    assert found(root) == []
    os.utime(root / there / "v003", (0, 0))
    (root / there / "v001/sh010.blend").write_bytes(b"other scene")
    (root / there / "v001/sh010.blend.json").write_bytes(b"{")
    (root / there / "v002/manifest.json").unlink()
    assert found(root) == [
        ("sidecar", f"data::{there}/v001/sh010.blend.json"),
        ("version", f"data::{there}/v001"),
        ("version", f"data::{there}/v002"),
        ("version", f"data::{there}/v003"),
    ]


def test_the_frames_that_a_job_delivered(root: Path) -> None:
    lines = []
    for number in range(1, 7):
        name = f"sh010.{number:04d}.png"
        make_file(root, f"{VERSION}/{name}", b"png")
        lines.append({"event": "done", "task": number, "outputs": [{"path": name, "size": 3}]})
    lines.append({"event": "done", "task": 9, "outputs": [{"path": "../../sh010.blend", "size": 1}, 7, {}]})
    lines.append({"event": "done", "task": 9, "outputs": None})
    made = [{"path": "sh010.mp4", "size": 5, "kind": "video"}, {"path": "a.png", "size": 1, "kind": "part"}]
    lines.append({"event": "done", "task": 10, "outputs": made})
    make_file(root, f"{VERSION}.mp4", b"video")  # beside the frames; parts of pictures have gone
    (root / JOB / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / JOB / "result.json").unlink()
    make_file(root, f"{JOB}/job.json", b'{"id": "x", "folder": "render/sh010/v001"}')
    make_file(root, f"{VERSION}.json", b'{"outputs": [{"name": "sh010.####.png", "frames": "1-6"}]}')
    assert found(root) == []
    for number in range(1, 6):
        (root / VERSION / f"sh010.{number:04d}.png").unlink()
    (root / VERSION / "sh010.0006.png").write_bytes(b"p")
    (root / f"{VERSION}.mp4").unlink()
    texts = [problem.text for problem in check.check([Share("data", root)])]
    assert texts == [
        "Of its 7 files 5 are gone: sh010.0001.png, sh010.0002.png, sh010.0003.png and 2 more.",
        "Of its 7 files 1 is of another length than when accepted: sh010.0006.png (1 bytes instead of 3).",
        "Of its 1 file 1 is gone: v001.mp4.",
    ]
    (root / f"{VERSION}.json").unlink()  # somebody has done away with the version
    assert found(root) == []


def test_a_version_without_its_folder(root: Path) -> None:
    os.rename(root / VERSION, root / "green/elsewhere")
    assert found(root) == [("version", f"data::{VERSION}.json")]


def test_folders_where_files_should_be_and_pipes(root: Path) -> None:
    (root / "green/shots/sh010.blend.json").unlink()
    (root / "green/shots/sh010.blend.json").mkdir()
    (root / COMPANION / "file.json").unlink()
    os.mkfifo(root / COMPANION / "file.json")
    assert ("sidecar", "data::green/shots/sh010.blend.json") in found(root)
    assert ("sidecar", f"data::{COMPANION}/file.json") in found(root)


def test_leftovers_are_notes_once_they_are_old(root: Path) -> None:
    path = make_file(root, "green/shots/.croft-tmp-0011")
    assert found(root) == []
    os.utime(path, (1, 1))
    out = io.StringIO()
    assert check.main([Share("data", root)], out) == 0
    assert "note: data::green/shots/.croft-tmp-0011" in out.getvalue()


def test_a_name_that_is_not_utf8_is_told_too(root: Path) -> None:
    name = os.fsdecode(b"caf\xe9.blend")
    make_file(root, f"green/{name}")
    make_file(root, f"green/{name}.json", b"{")
    out = io.StringIO()
    assert check.main([Share("data", root)], out) == 1
    assert "caf\\udce9.blend.json" in out.getvalue()


def test_a_share_that_is_not_there(tmp_path: Path) -> None:
    assert found(tmp_path) == [("away", "data::")]
    (tmp_path / ".croft-share.json").write_text("{")
    assert found(tmp_path) == [("marker", "data::.croft-share.json")]


def test_a_folder_that_students_cannot_change(root: Path) -> None:
    os.chmod(root / "green/shots", 0o2775)
    os.chmod(root / "green/shots/.croft", 0o755)
    assert ("rights", "data::green/shots/.croft") in found(root)


def test_published_versions_lie_in_folders_that_are_closed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chmod(root / "green/shots", 0o2775)
    make_file(root, "green/shots/.croft/sh010.blend/versions/v001/version.json", b"{}")
    closed = [root / "green/shots/.croft", root / "green/shots/.croft/sh010.blend"]
    for folder in closed:
        os.chmod(folder, 0o2755)
    assert found(root) == []
    # So does the scene of an approved render.
    versions = closed[1] / "versions"
    aside = versions.rename(root.parent / "versions")
    assert ("rights", "data::green/shots/.croft") in found(root)
    (closed[1] / "jobs").mkdir(exist_ok=True)
    os.chmod(closed[1] / "jobs", 0o2755)
    assert ("rights", "data::green/shots/.croft") in found(root)
    record = root / f"{VERSION}.json"
    said = record.read_bytes()
    for word in ({"approved": True}, {"approved": False, "approved_by": "sam"}):  # and taken back
        record.write_bytes(json.dumps({**json.loads(said), **word}).encode())
        assert ("rights", "data::green/shots/.croft") not in found(root)
    record.write_bytes(said)
    aside.rename(versions)
    # Restored by root, they are nobody's who could publish.
    monkeypatch.setattr(os, "access", lambda path, mode: path not in closed)
    assert found(root) == [
        ("rights", "data::green/shots/.croft"),
        ("rights", "data::green/shots/.croft/sh010.blend"),
    ]


def test_the_command(root: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(CLONE / "run.py"),
        "check",
        "--config",
        str(tmp_path / "config"),
        "--data",
        str(root),
    ]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "no faults, no notes.\n"), good.stderr
    make_file(root, "green/shots/sh010.blend.json", b"{")
    wrong = {"id": "20261121-101010-abcdef", "frames": "1-2", "total": 2, "snapshot": "../x"}
    make_file(root, f"{JOB}/job.json", json.dumps(wrong).encode())
    before = sorted(path for path in root.rglob("*"))
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "fault: data::green/shots/sh010.blend.json" in bad.stdout
    assert "copy it back from a backup" in bad.stdout
    assert f"fault: data::{JOB}/job.json\n    This request can't be trusted: its snapshot" in bad.stdout
    assert sorted(path for path in root.rglob("*")) == before
    assert json.loads((root / "green/project.json").read_bytes()) == {}
