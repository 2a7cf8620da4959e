"""misc/fstab, misc/snapraid.conf and misc/exports as they are shipped, taken by the real programs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.misc.kit import MISC, Share, pool, school

Needs = Callable[[str], str]


@pytest.fixture
def home() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tempfile.TemporaryDirectory(prefix="croft-misc-") as folder:
        yield Path(folder)


def test_the_pools_line_mounts_as_it_stands(home: Path, needs: Needs) -> None:
    with pool(home, needs) as disks:
        control = home / "pool" / ".mergerfs"

        def option(name: str) -> str:
            return os.getxattr(control, f"user.mergerfs.{name}").decode()

        assert option("category.create") == "mfs"
        assert option("minfreespace") in ("20G", str(20 << 30))
        assert option("func.getattr") == "newest"
        assert option("cache.files") == "partial"
        assert option("moveonenospc") not in ("", "false")
        # Both disks are in it, and the emptiest takes what is new, whatever folder it goes into.
        (disks[0] / "green").mkdir()
        (disks[0] / "green" / "ballast").write_bytes(bytes(1 << 20))
        (home / "pool" / "green" / "new.blend").write_bytes(b"x")
        assert (disks[1] / "green" / "new.blend").exists()
        # A folder on two disks shows its last change, on whichever it was.
        os.utime(disks[0] / "green", (1, 1))
        changed = os.stat(disks[1] / "green").st_mtime_ns
        assert os.stat(home / "pool" / "green").st_mtime_ns == changed


def test_a_deletion_is_kept_on_the_pool_as_shipped_and_lost_on_a_path_preserving_one(needs: Needs) -> None:
    """Why misc/fstab has mfs: Samba deletes for good what it can't move into #recycle."""
    kept = {policy: deleted_and_found(needs, policy) for policy in ("mfs", "epff")}
    assert kept == {"mfs": True, "epff": False}


def deleted_and_found(needs: Needs, policy: str) -> bool:
    """Whether a file on the second disk is in #recycle after a student deleted it."""
    with school(needs, change=lambda line: line.replace("create=mfs", f"create={policy}")) as share:
        first, second = (disk / "film" for disk in share.disks)
        for place in (first, first / "#recycle", first / "#recycle" / "ana", second, second / "day"):
            place.mkdir(exist_ok=True)
            os.chown(place, share.root.stat().st_uid, share.root.stat().st_gid)
            place.chmod(0o2775)
        (second / "day" / "a.blend").write_bytes(b"x")
        (second / "day" / "a.blend").chmod(0o666)
        share.person("ana")("del day\\a.blend")
        assert not (share.root / "day" / "a.blend").exists()
        return recycled(share)


def recycled(share: Share) -> bool:
    return any(path.name == "a.blend" for path in (share.root / "#recycle").rglob("*"))


# ---- SnapRAID

LEFT_OUT = [
    "film/.croft-locks/9f/ab.lock",
    "film/green/.croft-tmp-0011",
    "film/green/shots/sh010.blend@",
    "film/green/shots/.sh010.20261122-093000-0a1b2c.blend",
    "film/green/shots/render/sh010/v001/.20261122-093000-0a1b2c.3.1.0af1.sh010.0001.png",
    "film/.croft/board.png/thumbs/256.webp",
    "film/green/shots/.croft/sh010.blend/thumbs/256-ab.webp",
    "film/green/a/b/c/d/.croft/x.blend/thumbs/256-ab.webp",
    "shots/.croft/x.blend/thumbs/256-ab.webp",  # the share is the disk's top
    "lost+found/#12",
]
KEPT = [
    "film/.croft-share.json",
    "film/green/project.json",
    "film/green/shots/sh010.blend",
    "film/green/shots/sh010.blend1",
    "film/green/shots/sh010.blend.json",
    "film/green/shots/.croft/sh010.blend/file.json",
    "film/green/shots/.croft/sh010.blend/history.nas.jsonl",
    "film/green/shots/.croft/sh010.blend/jobs/20261122-093000-0a1b2c/journal.jsonl",
    "film/green/shots/.croft/sh010.blend/versions/v001/sh010.blend",
    "film/green/shots/render/sh010/v001/sh010.0001.png",
    "film/green/shots/old/20261122T093000Z-0a1b/sh010.blend",
    "film/green/thumbs/mine.png",  # a person's own folder of that name
    "film/green/lost+found notes.txt",
    "film/green/blendcache_sh010/cache_000001.bphys",
    "film/green/.hidden.blend",
    "film/green/walk.2026.11.22-final.blend",
    "film/#recycle/ana/green/sh010.blend",
]


def test_snapraid_leaves_out_what_can_be_made_again_and_nothing_else(home: Path, needs: Needs) -> None:
    program = needs("snapraid")
    data = home / "disk"
    for inside in [*LEFT_OUT, *KEPT]:
        file = data / inside
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(inside)
    for folder in ("parity", "content"):
        (home / folder).mkdir()
    conf = home / "snapraid.conf"
    places = f"parity {home}/parity/p\ncontent {home}/content/a\ncontent {home}/content/b\ndata d1 {data}\n"
    conf.write_text(places + (MISC / "snapraid.conf").read_text("utf-8"))
    command = [program, "--conf", str(conf), "--test-skip-device", "diff"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    # It shows names as a shell takes them.
    lines = done.stdout.replace("\\", "").splitlines()
    added = {line.removeprefix("add ") for line in lines if line.startswith("add ")}
    assert added == set(KEPT), done.stdout + done.stderr


# ---- NFS


def test_exportfs_takes_the_line_for_the_nodes(tmp_path: Path, needs: Needs) -> None:
    assert exported(MISC / "exports", needs) == ""
    wrong = tmp_path / "exports"
    wrong.write_text((MISC / "exports").read_text().replace("sync,", "sink,"))
    assert 'unknown keyword "sink"' in exported(wrong, needs), "it would take anything"


def exported(file: Path, needs: Needs) -> str:
    """What the real exportfs has to say against a file, tried where nobody else sees it."""
    needs("exportfs")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    script = (
        'mount --bind "$1" /etc/exports && mount -t tmpfs tmpfs /var/lib/nfs && mount -t tmpfs tmpfs /srv &&'
        " mkdir -p /srv/pool/film && exportfs -a"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    # Without the kernel's NFS server there is no table to write to: the line itself was read by then.
    lines = [line for line in done.stderr.splitlines() if not re.search(r"etab|nfsd|rmtab", line)]
    return "\n".join(lines)
