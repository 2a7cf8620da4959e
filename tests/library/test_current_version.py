"""Does `current` lead to the same version by two records as by all of them?"""

from __future__ import annotations

import os
import random
from pathlib import Path

from server.library.versions import CURRENT, ways


def test_one_changed_record_leads_where_all_of_them_would(tmp_path: Path) -> None:
    rng = random.Random(4)
    for turn in range(12):
        place = tmp_path / str(turn)
        names: list[str] = []
        for _ in range(25):
            name = rng.choice(names) if names and rng.random() < 0.7 else f"v{len(names) + 998:03}"
            record = ways.read(place / f"{name}.json") if name in names else {"approved": False}
            if name not in names:
                names.append(name)
                (place / name).mkdir(parents=True)
            kind = rng.randrange(4)
            if kind == 0:  # somebody's word: all are looked at
                approves = rng.random() < 0.5
                for other in names if approves else ():
                    told = ways.read(place / f"{other}.json")
                    ways.write(place / f"{other}.json", {**told, "approved": False})
                ways.write(place / f"{name}.json", {**record, "approved": approves, "rejected": not approves})
                ways.point_current(place)
            else:
                news = ({"first_frame": "now"}, {"state": "done"}, {"state": "failed"})[kind - 1]
                ways.write(place / f"{name}.json", {**record, **news})
                ways.point_current(place, name, {**record, **news})
            records = {other: ways.read(place / f"{other}.json") for other in names}
            leads = os.readlink(place / CURRENT) if (place / CURRENT).is_symlink() else ""
            assert leads == (ways.standing(records) or leads), records


def test_a_version_without_its_folder_is_not_led_to(tmp_path: Path) -> None:
    (tmp_path / "v001").mkdir()
    for name in ("v001", "v002"):  # the frames of the second were put away
        ways.write(tmp_path / f"{name}.json", {"first_frame": "now"})
        ways.point_current(tmp_path, name, {"first_frame": "now"})
    assert os.readlink(tmp_path / CURRENT) == "v001"


def test_a_version_that_is_gone_is_led_away_from(tmp_path: Path) -> None:
    for name in ("v001", "v002", "v003"):
        (tmp_path / name).mkdir()
        ways.write(tmp_path / f"{name}.json", {"first_frame": "now"})
        ways.point_current(tmp_path, name, {"first_frame": "now"})
    (tmp_path / "v003").rmdir()
    (tmp_path / "v003.json").unlink()
    ways.point_current(tmp_path, "v001", {"first_frame": "now"})
    assert os.readlink(tmp_path / CURRENT) == "v002"
