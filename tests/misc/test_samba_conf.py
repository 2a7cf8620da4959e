"""misc/smb.conf as it is shipped, tried by ordinary users of a group: what they may and may not."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.misc.kit import Share, school, tree
from tests.misc.people import GID, PEOPLE

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)


@pytest.fixture(scope="module")
def share(needs: Callable[[str], str]) -> Iterator[Share]:
    with school(needs) as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "sh010.blend"
    path.write_bytes(SCENE)
    return path


def test_what_one_saves_another_may_rename_overwrite_and_delete(share: Share, scene: Path) -> None:
    ana, ben = share.person("ana"), share.person("ben")
    ana(f'mkdir day; mkdir day\\shots; put "{scene}" day\\shots\\sh010.blend')
    made = share.file("day/shots/sh010.blend")
    for path in (made.parent.parent, made.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2775
    assert stat.S_IMODE(made.stat().st_mode) == 0o664
    assert (made.stat().st_uid, made.stat().st_gid) == (PEOPLE["ana"], GID)
    scene.write_bytes(SCENE + b"by ben")
    ben(f'put "{scene}" day\\shots\\sh010.blend; rename day\\shots\\sh010.blend day\\shots\\sh020.blend')
    assert share.file("day/shots/sh020.blend").read_bytes() == SCENE + b"by ben"
    ben("rename day\\shots day\\scenes; del day\\scenes\\sh020.blend; rmdir day\\scenes")
    assert not share.file("day/scenes").exists()


def test_blenders_save_goes_through(share: Share, scene: Path) -> None:
    """Blender writes x.blend@, moves the old file to x.blend1 and the new one into its place."""
    ana, ben = share.person("ana"), share.person("ben")
    ana(f'mkdir save; put "{scene}" save\\x.blend')
    scene.write_bytes(SCENE + b"second")
    ben(f'put "{scene}" save\\x.blend@; rename save\\x.blend save\\x.blend1')
    ben("rename save\\x.blend@ save\\x.blend")
    assert share.file("save/x.blend").read_bytes() == SCENE + b"second"
    assert share.file("save/x.blend1").read_bytes() == SCENE


def test_a_stranger_stays_outside(share: Share) -> None:
    assert share.person("eva").denied("ls")


def test_what_is_crofts_is_hidden_but_stays_reachable(share: Share, scene: Path, tmp_path: Path) -> None:
    ana = share.person("ana")
    ana(f'mkdir hide; put "{scene}" hide\\sh010.blend; put "{scene}" hide\\project.json')
    share.sidecar("hide/sh010.blend")
    shown = attributes(ana("ls hide\\*"))
    assert "H" in shown["sh010.blend.json"]
    assert "H" in shown[".croft"]
    assert "H" not in shown["sh010.blend"]
    assert "H" not in shown["project.json"]
    ana(f'put "{scene}" hide\\x.txt; del hide\\x.txt')
    assert "H" not in attributes(ana("ls *"))["#recycle"]
    ana(f'get hide\\sh010.blend.json "{tmp_path}/back.json"; ls hide\\.croft\\sh010.blend\\jobs\\j1\\*')
    assert (tmp_path / "back.json").read_text() == '{"name": "x"}'


def test_a_folder_goes_with_everything_hidden_in_it_and_is_kept(share: Share, scene: Path) -> None:
    ana, ben = share.person("ana"), share.person("ben")
    ana(f'mkdir gone; mkdir gone\\shots; put "{scene}" gone\\shots\\sh010.blend')
    share.sidecar("gone/shots/sh010.blend")
    before, times = tree(share.file("gone")), share.file("gone/shots/sh010.blend").stat().st_mtime_ns
    assert len(before) == 4
    ben("deltree gone")
    assert not share.file("gone").exists()
    kept = share.root / "#recycle" / "ben" / "gone"
    assert tree(kept) == before
    assert (kept / "shots/sh010.blend").stat().st_mtime_ns == times
    # Another of the group may take it back.
    ana("rename #recycle\\ben\\gone gone")
    assert tree(share.file("gone")) == before


def test_two_of_one_name_are_both_kept_and_what_programs_drop_is_not(share: Share, scene: Path) -> None:
    ana = share.person("ana")
    for text in (b"first", b"second"):
        scene.write_bytes(text)
        ana(f'mkdir twice; put "{scene}" twice\\a.blend; del twice\\a.blend; rmdir twice')
    kept = share.root / "#recycle" / "ana" / "twice"
    assert sorted(path.read_bytes() for path in kept.iterdir()) == [b"first", b"second"]
    ana(f'mkdir drop; put "{scene}" drop\\a.blend@; put "{scene}" drop\\x.tmp; put "{scene}" drop\\~$a.doc')
    ana("del drop\\*; rmdir drop")
    assert not (kept.parent / "drop").exists()


def test_what_croft_keeps_closed_nobody_changes(share: Share, scene: Path) -> None:
    """A published version: a folder of Croft's own user that the group only reads."""
    ana, ben = share.person("ana"), share.person("ben")
    ana(f'mkdir kept; put "{scene}" kept\\sh010.blend')
    share.as_croft(
        "import os\n"
        "for name in ('kept/.croft', 'kept/.croft/sh010.blend', 'kept/.croft/sh010.blend/versions'):\n"
        "    os.mkdir(name); os.chmod(name, 0o2775)\n"
        "place = 'kept/.croft/sh010.blend/versions/v001'\n"
        "os.mkdir(place)\n"
        "open(place + '/sh010.blend', 'wb').write(b'published')\n"
        "os.chmod(place + '/sh010.blend', 0o444)\n"
        "os.chmod(place, 0o2755)\n"
    )
    version = "kept\\.croft\\sh010.blend\\versions\\v001"
    assert ben.denied(f'put "{scene}" {version}\\sh010.blend')
    assert ben.denied(f'put "{scene}" {version}\\more.blend')
    assert ben.denied(f"del {version}\\sh010.blend")
    assert ben.denied(f"rename {version}\\sh010.blend kept\\mine.blend")
    # Neither does deleting all around it: it stays whole, and so does the rest of its folder.
    ben.ask("deltree kept")
    version_file = share.file("kept/.croft/sh010.blend/versions/v001/sh010.blend")
    assert version_file.read_bytes() == b"published"


def test_one_name_in_two_cases_is_one_file(share: Share, scene: Path) -> None:
    ana = share.person("ana")
    ana(f'mkdir case; put "{scene}" case\\hero.blend; put "{scene}" case\\HERO.blend')
    assert tree(share.file("case")) == {"hero.blend"}


def attributes(listing: str) -> dict[str, str]:
    """Name -> DOS attributes, of what smbclient's `ls` printed."""
    found = {}
    for line in listing.splitlines():
        words = line.split()
        if len(words) >= 8 and words[-1].isdigit() and line.startswith("  "):
            letters = words[1] if words[1].isalpha() and words[1].isupper() else ""
            found[words[0]] = letters
    return found
