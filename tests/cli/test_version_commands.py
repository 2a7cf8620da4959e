"""Versions from a shell: listed, approved, rejected, put away, purged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from run import carry_out, command_line
from server.web.app import build
from tests.web.window import serving

SCENE = b"BLENDER-v304" + bytes(52) + b"ENDB" + bytes(20)
FILE = "data::demo/shots/sh010.blend"


def test_from_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data/demo/shots/render/sh010"
    for number in range(1, 7):
        (place / f"v00{number}").mkdir(parents=True)
        (place / f"v00{number}" / "sh010.0001.png").write_bytes(b"x" * 1000)
        said = {"created": "2026-01-01T00:00:00Z", "user": "ana", "state": "done", "approved": False}
        (place / f"v00{number}.json").write_text(json.dumps({"version": f"v00{number}", **said}))
    (tmp_path / "data/demo/project.json").write_text("{}")
    (tmp_path / "data/demo/shots/sh010.blend").write_bytes(SCENE)
    monkeypatch.setattr(os, "umask", lambda mask: mask)  # this process goes on with other tests
    places = ["--config", str(tmp_path / "config"), "--data", str(tmp_path / "data")]
    build(tmp_path / "config", tmp_path / "data").close()

    with serving(tmp_path / "config", tmp_path / "data") as base:

        def shell(*arguments: str) -> list[str]:
            far = [] if arguments[0] == "purge" else ["--server", base]
            options = command_line().parse_args([*arguments, *places, *far])
            assert carry_out(options) == 0
            return capsys.readouterr().out.splitlines()

        assert shell("versions", FILE) == ["6 more that nobody approved: --unapproved lists them."]
        assert shell("approve", FILE, "render-v002", "--comment", "good") == ["render-v002 is approved."]
        assert shell("approve", FILE, "render-v006", "--reject") == ["render-v006 is rejected."]
        listed = shell("versions", FILE, "--unapproved")
        assert [line.split()[:2] for line in listed[:1]] == [["render-v006", "rejected"]]
        assert listed[4].split() == ["*", "render-v002", "approved", "2026-01-01T00:00:00", "ana", "good"]
        dry = shell("prune", "--kept")
        assert f"stays  {FILE}  v002  approved" in dry
        assert dry[-2].startswith(f"goes   {FILE}  v001  1 file, 1.0 KB  not approved for ")
        assert dry[-1] == "1 version, 1.0 KB, would go to old/. Say --yes to do it."
        assert (place / "v001").exists()
        assert shell("prune", "--yes")[-1].startswith("1 version, 1.0 KB, lie in old/ now.")
        assert not (place / "v001").exists()
        assert shell("approve", FILE, "render-v002", "--undo") == [
            "render-v002 is neither approved nor rejected."
        ]
    assert shell("purge", "--older-than", "1d")[-1].startswith("0 things")
    assert "render/sh010/v001" in shell("purge", "--older-than", "0d", "--dry-run")[0]
    assert os.path.isdir(place / "old")
    assert shell("purge", "--older-than", "0d")[-1] == "1 thing that was deleted or kept, 1.4 KB freed."
    assert not os.path.exists(place / "old")
