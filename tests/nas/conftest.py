"""A NAS for a test, as tests/nas/kit.py makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.nas.kit import Nas, nas


@pytest.fixture
def make_nas(needs: Callable[[str], str]) -> Iterator[Callable[..., Nas]]:
    """`make_nas("mfs")`: Croft and Samba on a pool with this create policy; without one on a folder."""
    with ExitStack() as stack:

        def make(policy: str = "", **options: Any) -> Nas:
            return stack.enter_context(nas(needs, policy, **options))

        yield make
