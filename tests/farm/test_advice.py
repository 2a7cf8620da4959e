"""Advice: said where something really stands out, and where it doesn't, nothing."""

from __future__ import annotations

import random

from server.farm.statistics.advice import Frame, advise


def frames(count: int = 100, node: str = "a", seconds: float = 10.0, first: int = 1) -> list[Frame]:
    rng = random.Random(1)
    return [Frame(first + n, seconds * rng.uniform(0.9, 1.1), node, 900) for n in range(count)]


def kinds(found: object) -> list[str]:
    return [one.kind for one in found]  # type: ignore[attr-defined]


def test_an_even_render_gets_no_advice() -> None:
    assert advise(frames()) == []
    assert advise([]) == []
    both = frames(50) + frames(50, "b", 12.0, 51)
    assert advise(both, waited_s=20, memory_mb={"a": 8192, "b": 8192}, failed={"a": 1}) == []


def test_frames_that_take_five_times_the_median_are_named() -> None:
    found = [
        Frame(one.frame, one.seconds * (5 if 40 <= one.frame <= 60 and one.frame != 50 else 1), "a")
        for one in frames()
    ]
    (said,) = advise(random.Random(2).sample(found, len(found)))  # in whatever order they were done
    assert said.kind == "slow frames"
    assert said.text == "Frames 40 to 60 take 5 times as long as a frame in the middle."
    lone = frames()
    lone[6] = Frame(7, 400.0, "a")
    assert advise(lone)[0].text.startswith("Frame 7 takes 4")


def test_one_odd_frame_among_quick_ones_isnt_worth_a_word() -> None:
    quick = frames(100, seconds=0.1)
    quick[5] = Frame(6, 0.9, "a")
    assert advise(quick) == []
    few = frames(5)
    few[0] = Frame(1, 100.0, "a")
    assert advise(few) == []


def test_a_slow_computer_is_named_and_its_frames_arent_blamed() -> None:
    found = frames(40) + frames(10, "b", 30.0, 41)
    (said,) = advise(found)
    assert (said.kind, said.text) == ("slow computer", "b takes 3 times as long for a frame as the others.")
    lone = frames(40) + frames(2, "b", 30.0, 41)  # two frames are no proof
    assert "slow computer" not in kinds(advise(lone))
    assert advise(frames(40, "b", 30.0)) == []  # nobody to compare it with


def test_memory_loading_and_a_computer_that_fails() -> None:
    found = frames(20)
    found[3] = Frame(4, 10.0, "a", 7400)
    said = advise(found, waited_s=150.0, memory_mb={"a": 8192})
    assert kinds(said) == ["loading", "memory"]
    assert said[0].text.startswith("7")
    assert said[1].text.startswith("Up to 7.2 GB of memory are needed, and a has 8.0 GB")
    (failing,) = advise(frames(20), failed={"bad": 4})
    assert failing.kind == "failing computer"
    assert failing.text.startswith("4 tries failed on bad")
    assert advise(frames(20), failed={"bad": 4, "a": 3}) == []  # the scene's fault, then
