"""Can a second, ordinary user of the folder's group move and delete what Croft made?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from disk_kit import CLONE, FILE, make_file, make_store, worker

GROUP, STUDENT, STRANGER, OTHERS = 4321, 54321, 54322, 4322

AS = """
import os, shutil, sys
uid, group = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([])
os.setresgid(group, group, group)
os.setresuid(uid, uid, uid)
exec(sys.argv[3])
"""


def as_user(uid: int, group: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run this as another user, of this group.

    Its only group: mergerfs asks the system's user database for a user's further ones, and ours isn't in it.
    """
    command = [sys.executable, "-I", "-c", AS, str(uid), str(group), code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(disk_root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    # pytest's own folders are for their maker alone, wherever it was told to make them.
    base = tmp_path_factory.getbasetemp()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(base) or folder.name.startswith("pytest-of-"):
            folder.chmod(0o755)
    os.chown(disk_root, 0, GROUP)
    os.chmod(disk_root, 0o2775)
    make_file(disk_root)
    for folder in ("green", "green/shots"):
        os.chown(disk_root / folder, STUDENT, GROUP)
        os.chmod(disk_root / folder, 0o2775)
    return disk_root


def test_the_group_may_do_with_it_what_it_likes(root: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)  # as careful as any admin may have set it
    try:
        store = make_store(root, tmp_path / "config")
        store.edit(FILE, {"owner": "mia"}, who="mia")
        temporary = store.temporary("data::green/new/up.png")
        temporary.write_bytes(b"png")
        store.place(temporary, "data::green/new/up.png", "mia")
        store.write_json("data::green/shots/.croft/sh010.blend/jobs/j1/job.json", {"a": 1})
        aside = store.path(store.delete("data::green/new/up.png", "mia"))
    finally:
        os.umask(before)
    shots = root / "green/shots"
    done = as_user(
        STUDENT,
        GROUP,
        f"""
os.chdir({str(shots)!r})
assert open('sh010.blend.json').read()
with open('sh010.blend.json', 'r+') as file:   # an editor that writes in place
    file.write('{{"owner": "tom"}}')
    file.truncate()
os.rename('.croft/sh010.blend/jobs/j1/job.json', '.croft/sh010.blend/moved.json')
os.rename('sh010.blend.json', 'other.json')
os.mkdir({str(root / "green/new/mine")!r})
os.unlink({str(aside / "up.png")!r})
shutil.rmtree('.croft')
""",
    )
    assert done.returncode == 0, done.stderr
    assert (shots / "other.json").stat().st_gid == GROUP


SERVER = """
import os, sys
from pathlib import Path
import disk_kit
from disk_kit import FILE, make_store
import encodings.latin_1, encodings.unicode_escape, encodings.utf_8_sig, shutil  # while it may
root, config, group, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
disk_kit.CLONE = Path(sys.argv[5])  # the real one may lie where only its owner comes
os.setgroups([])
os.setresgid(group, group, group)
os.setresuid(user, user, user)
os.umask(0o077)
store = make_store(root, config)
assert not store.share("data").read_only, store.share("data").read_only
store.edit(FILE, {"owner": "mia"}, who="mia")
temporary = store.temporary("data::green/new/up.png")
temporary.write_bytes(b"png")
store.place(temporary, "data::green/new/up.png", "mia")
store.move(FILE, "data::green/other/deep/a.blend", "mia")
store.move("data::green/other/deep", "data::green/third", "mia")
store.delete("data::green/third/a.blend", "mia")
print("ready", flush=True)
"""


def test_a_server_that_is_an_ordinary_user_of_the_group(root: Path, tmp_path: Path) -> None:
    # Given files that belong to a student, on a share that the group may write to.
    os.chown(root / "green/shots/sh010.blend", STUDENT, GROUP)
    config = tmp_path / "config"
    config.mkdir()
    os.chown(config, STRANGER, GROUP)
    shutil.copytree(CLONE / "config", tmp_path / "clone" / "config")
    server = worker(SERVER, root, config, GROUP, STRANGER, tmp_path / "clone", stderr=subprocess.PIPE)
    out, error = server.communicate(timeout=50)
    assert (server.returncode, out) == (0, "ready\n"), error
    (aside,) = (root / "green/third/old").iterdir()
    assert (aside / "a.blend").read_bytes() == b"BLENDER"
    assert (aside / "a.blend.json").stat().st_gid == GROUP
    assert list((aside / ".croft/a.blend").glob("history.*.jsonl"))


def test_strangers_may_not(root: Path, tmp_path: Path) -> None:
    store = make_store(root, tmp_path / "config")
    store.edit(FILE, {"owner": "mia"}, who="mia")
    done = as_user(STRANGER, OTHERS, f"os.unlink({str(root / 'green/shots/sh010.blend.json')!r})")
    assert "PermissionError" in done.stderr
    done = as_user(STRANGER, OTHERS, f"os.listdir({str(tmp_path / 'config/users')!r})")
    assert "PermissionError" not in done.stderr
    done = as_user(STRANGER, OTHERS, f"open({str(tmp_path / 'config/users/admin.json')!r})")
    assert "PermissionError" in done.stderr
