"""A group of ordinary users that exist for one test alone, through nss_wrapper (Debian's libnss-wrapper)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GID = 71000
PEOPLE = {"croft": 71001, "ana": 71002, "ben": 71003, "eva": 71004}  # eva isn't in the group
STRANGER = "eva"
GROUP = "film"


def _find() -> str:
    places = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")
    found = [f"{place}/libnss_wrapper.so" for place in places]
    return next((path for path in found if Path(path).exists()), "")


WRAPPER = _find()


def write_people(home: Path) -> dict[str, str]:
    """The environment in which these people exist; programs started in it see them and nobody else."""
    if not WRAPPER:
        text = "needs Debian's package libnss-wrapper"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    users, groups = home / "passwd", home / "group"
    lines = ["root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/nonexistent:/bin/false"]
    for name, uid in PEOPLE.items():
        # A student's first group is another one, as a school's directory has it.
        first = GID if name == "croft" else 65534
        lines.append(f"{name}:x:{uid}:{first}:{name}:/nonexistent:/bin/false")
    users.write_text("\n".join(lines) + "\n")
    members = ",".join(name for name in PEOPLE if name != STRANGER)
    groups.write_text(f"root:x:0:\nnogroup:x:65534:\n{GROUP}:x:{GID}:{members}\n")
    return {
        "LD_PRELOAD": WRAPPER,
        "NSS_WRAPPER_PASSWD": str(users),
        "NSS_WRAPPER_GROUP": str(groups),
    }
