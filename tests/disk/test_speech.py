"""Sentences remember what they were made from, and are English text wherever text is wanted."""

from __future__ import annotations

from server.disk import encoding
from server.disk.speech import Said, count, say, together


def test_a_sentence_is_text_and_knows_its_pattern_and_values() -> None:
    said = say("{user} changed {file}.", user="ana", file="{odd} name.blend")
    assert said == "ana changed {odd} name.blend."
    assert (said.pattern, said.values) == (
        "{user} changed {file}.",
        {"user": "ana", "file": "{odd} name.blend"},
    )
    assert encoding.dumps({"text": said}) == b'{"text":"ana changed {odd} name.blend."}'


def test_a_number_takes_one_or_many() -> None:
    assert [count("{n} frame", "{n} frames", n) for n in (1, 2, 100_000)] == [
        "1 frame",
        "2 frames",
        "100,000 frames",
    ]


def test_what_tells_two_meanings_apart_is_a_key_and_is_not_said() -> None:
    said = say("Open ‹a note›")
    assert (said, said.pattern) == ("Open", "Open ‹a note›")
    assert say("{user} said ‹this›", user="‹ana›") == "‹ana› said"
    assert [say(odd) for odd in ("›", "a›", "‹a›")] == ["›", "a›", "‹a›"]


def test_several_sentences_are_one_after_the_other() -> None:
    both = together(["", say("It {does}.", does="waits"), "Why?"])
    assert both == "It waits. Why?"
    assert isinstance(both, Said)
    assert together(["a", "", "b"], ", ") == "a, b"
