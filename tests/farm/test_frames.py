"""Frame ranges: what is understood, what is refused and with which words, and the orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk.errors import BadInput, CroftError, TooLarge
from server.farm import frames

RANGES = st.lists(
    st.tuples(st.integers(-500, 500), st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=6
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-4", [1, 2, 3, 4]),
        ("1-10x3", [1, 4, 7, 10]),
        ("1-9x3", [1, 4, 7]),
        ("1,5,9-12", [1, 5, 9, 10, 11, 12]),
        (" 3 - 5 , 1 ", [3, 4, 5, 1]),
        ("-3--1", [-3, -2, -1]),
        ("-2-2", [-2, -1, 0, 1, 2]),
        ("1-3,2-5", [1, 2, 3, 4, 5]),
        ("7", [7]),
        (7, [7]),
    ],
)
def test_what_people_write_is_understood(text: object, expected: list[int]) -> None:
    assert list(frames.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10-1", "backwards"),
        ("abc", "no frame range"),
        ("", "missing"),
        ("1,,2", "missing"),
        ("1-10x0", "step of 0"),
        ("1-5-9", "no frame range"),
        ("1.5", "no frame range"),
        ("1-99999999", "outside"),
        ("²", "no frame range"),
        ("1\n-2\x00", "no frame range"),
        (None, "written like"),
        (["1"], "written like"),
        (True, "written like"),
        ("1," * 5000, "longer than"),
    ],
)
def test_what_cannot_be_meant_gets_a_sentence(text: object, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        frames.parse(text)


def test_ten_million_frames_are_too_many_and_cost_nothing() -> None:
    with pytest.raises(CroftError):
        frames.parse("1-10000000")
    with pytest.raises(TooLarge, match="100,000"):
        frames.parse("1-1000000,-1000000--1")


@given(RANGES)
def test_a_frames_is_a_list_without_repeats(parts: list[tuple[int, int, int]]) -> None:
    text = ",".join(f"{first}-{first + length}x{step}" for first, length, step in parts)
    plain: dict[int, None] = {}
    for first, length, step in parts:
        plain.update(dict.fromkeys(range(first, first + length + 1, step)))
    found = frames.parse(text)
    assert list(found) == list(plain)
    assert len(found) == len(plain)
    assert [found[n] for n in range(len(found))] == list(plain)
    assert all(found.index(frame) == n for n, frame in enumerate(plain))
    assert frames.parse(str(found)) == found


@given(st.integers(1, 3000))
def test_every_order_names_each_task_once(total: int) -> None:
    order = frames.ordering("spread", total)
    assert sorted(order if order is not None else range(total)) == list(range(total))
    assert frames.ordering("linear", total) is None


def test_spread_shows_the_ends_and_the_middle_first() -> None:
    order = frames.ordering("spread", 100)
    assert order is not None
    assert list(order[:3]) == [0, 99, 49]
