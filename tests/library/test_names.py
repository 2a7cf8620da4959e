"""What does a name say, and what does a pattern with a mistake in it?"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk.errors import BadInput
from server.library import names
from server.library.names import DEFAULT, LONGEST, Pattern, Patterns, read


@pytest.mark.parametrize(("pattern", "name", "said"), [
    (DEFAULT, "green_sq01_sh010_anim_v003.blend",
     {"project": "green", "sequence": "sq01", "shot": "sh010", "task": "anim", "version": 3}),
    (DEFAULT, "green_sq01_sh010_anim_V12.@.png",
     {"project": "green", "sequence": "sq01", "shot": "sh010", "task": "anim", "version": 12}),
    (DEFAULT, "sh010.blend", {}),
    (DEFAULT, "green_sq01_sh010_anim_v.blend", {}),
    (DEFAULT, "green_sq01_sh010_anim_v3b.blend", {}),
    (DEFAULT, "green_sq01_sh010_very_odd_v3.blend", {}),  # no field holds its separator
    (DEFAULT, "green__sh010_anim_v3.blend", {}),  # and none is empty
    ("{shot}", "sh010.blend", {"shot": "sh010"}),
    ("{shot}.{task}", "sh010.anim.blend", {"shot": "sh010", "task": "anim"}),
    ("{project}_{shot}", "green_a_b.blend", {}),
    ("{project}_{shot:text}", "green_a_b.blend", {"project": "green", "shot": "a_b"}),
    ("{project:text}_{shot}", "the_green_film_sh1.blend", {"project": "the_green_film", "shot": "sh1"}),
    ("{project:text}_{task:text}", "a_b_c", {"project": "a", "task": "b_c"}),  # the first takes the least
    ("{sequence:letters}{shot:number}", "SQ020.blend", {"sequence": "SQ", "shot": 20}),
    ("{shot:number}{task:letters}", "020anim", {"shot": 20, "task": "anim"}),
    ("{shot}v{version}", "sh010v7", {"shot": "sh010", "version": 7}),
    ("{shot}v{version}", "curve7v7", {}),  # a v within the shot: it may not hold what follows it
    ("{{{shot}}}-{task}", "{010}-anim", {"shot": "010", "task": "anim"}),
    ("{shot} – {task}", "Straße3 – Licht.blend", {"shot": "Straße3", "task": "Licht"}),
    ("{shot}[{task}", "a[b", {"shot": "a", "task": "b"}),
    ("{shot}^{task}]x", "a^b]x", {"shot": "a", "task": "b"}),
])  # fmt: skip
def test_a_name_has_one_reading_at_most(pattern: str, name: str, said: dict[str, Any]) -> None:
    assert read(Pattern.parse(pattern), name) == said


@pytest.mark.parametrize(("text", "position", "word"), [
    ("", 0, "fields in braces"),
    ("plain", 0, "No field"),
    ("{shot", 0, "no }"),
    ("a_{shot_{task}", 2, "no }"),
    ("{shot}}_x", 6, "}"),
    ("{shot}_{scene}", 8, "'scene'"),
    ("{shot}_{}", 8, "''"),
    ("{shot}_{task:colour}", 13, "'colour'"),
    ("{version:text}", 9, "number"),
    ("{shot}_{shot}", 7, "twice"),
    ("{sequence}{shot}", 10, "Nothing stands between"),
    ("{shot:text}{version}", 11, "Nothing stands between"),
    ("{shot}/{task}", 6, "No file name"),
    ("{shot:text}_{task:text}_{project:text}", 24, "at most"),
    ("{shot}" + "x" * 300, LONGEST, "at most"),
])  # fmt: skip
def test_a_mistake_is_told_with_its_position(text: str, position: int, word: str) -> None:
    with pytest.raises(BadInput) as caught:
        Pattern.parse(text)
    assert caught.value.facts["position"] == position
    assert word in caught.value.message


def test_a_mistake_leaves_the_last_good_patterns_in_use() -> None:
    patterns = Patterns()
    good = patterns.of("server.json", ["{shot}_{task}"])
    assert patterns.of("server.json", ["{shot}_{task}"]) is good
    assert patterns.of("server.json", ["{shot}_{tsk}"]) is good
    (problem,) = patterns.problems()
    assert problem.kind == "name"
    assert "character 9" in problem.text
    assert "tsk" in problem.text
    assert patterns.of("server.json", ["{shot}"])[0].text == "{shot}"
    assert not patterns.problems()
    # Where nothing good was there before, those that are right are used, else the built-in one.
    assert [one.text for one in patterns.of("set", ["{x}", "{task}"])] == ["{task}"]
    assert [one.text for one in patterns.of("other set", [7])] == [DEFAULT]
    assert len(patterns.problems()) == 2


@given(st.text(max_size=60))
def test_any_pattern_is_parsed_or_refused_with_a_position_within_it(text: str) -> None:
    caught = None
    try:
        Pattern.parse(text)
    except BadInput as error:
        caught = error
    assert caught is None or 0 <= caught.facts["position"] <= len(text)


@given(
    st.lists(st.sampled_from(["a", "sh010", "b2", "x-y", "é", "3"]), min_size=4, max_size=4),
    st.integers(0, 999),
)
def test_what_is_written_by_the_pattern_is_read_back(fields: list[str], version: int) -> None:
    said = read(names._DEFAULT, "_".join(fields) + f"_v{version:03d}.blend")
    assert list(said.values()) == [*fields, version]


def test_no_name_keeps_a_pattern_busy() -> None:
    pattern = Pattern.parse("{project:text}_{shot}_{task:text}_v{version}")
    start = time.process_time()
    for _ in range(20):
        assert not pattern.read("_a" * 127)
    assert time.process_time() - start < 5
