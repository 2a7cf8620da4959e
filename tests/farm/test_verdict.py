"""When has a task failed for good? Nodes that are sick must never condemn what a well one could do."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from server.disk.errors import BadInput
from server.disk.settings import Settings
from server.farm.failures import bounds, patterns, rules, verdict, words
from server.farm.failures.book import RuleBook
from server.farm.failures.verdict import Candidate, Fault


def nodes(*names: str, sick: str = "", away: str = "", new: str = "") -> list[Candidate]:
    """Nodes that exist: all of them did something well before, but for the `new`."""
    return [Candidate(n, n not in away.split(), n in sick.split(), n not in new.split()) for n in names]


def may_try(name: str, failed: list[Fault], known: list[Candidate], retries: int) -> bool:
    return verdict.may_try(name, {fault.node for fault in failed}, failed, known, retries)


def faults(*names: str, timed_out: bool = False) -> list[Fault]:
    return [Fault(name, timed_out) for name in names]


def test_enough_different_computers_condemn() -> None:
    assert not verdict.verdict(faults("a", "b"), nodes("a", "b", "c"), 3).final
    said = verdict.verdict(faults("a", "b", "c"), nodes("a", "b", "c", "d"), 3)
    assert (said.final, said.why) == (True, "it failed on a, b and c")


def test_one_computer_alone_is_tried_as_often_as_the_job_allows() -> None:
    assert not verdict.verdict(faults("a", "a"), nodes("a"), 3).final
    assert verdict.verdict(faults("a", "a", "a"), nodes("a"), 3).final


@pytest.mark.parametrize("away", ["", "c"])
def test_two_sick_computers_do_not_condemn_what_a_third_could_do(away: str) -> None:
    """However often they fail, and whether or not anybody knows yet that they are sick."""
    for sick in ("", "a b", "a"):
        known = nodes("a", "b", "c", sick=sick, away=away)
        for tries in (["a", "b"], ["a", "b", "a"], ["a", "b", "a", "b", "a"]):
            found = verdict.verdict(faults(*tries), known, 3)
            assert (found.final, found.waits_for) == (False, ("c",))
    assert not may_try("a", faults("a", "b"), nodes("a", "b", "c"), 3)
    assert may_try("c", faults("a", "b", "a"), nodes("a", "b", "c"), 3)


def test_when_the_third_is_gone_for_good_it_ends() -> None:
    assert verdict.verdict(faults("a", "b", "a"), nodes("a", "b"), 3).final


def test_what_sick_computers_say_counts_less() -> None:
    known = nodes("a", "b", "c", "d", sick="a b c")
    assert not verdict.verdict(faults("a", "b", "c"), known, 3).final
    assert not verdict.verdict(
        faults("a", "b", "c", "d"), nodes("a", "b", "c", "d", "e", sick="a b c"), 3
    ).final
    assert not verdict.verdict(faults(*"abcdef"), nodes(*"abcdefg", sick="a b c d e f"), 3).final
    assert verdict.verdict(faults(*"abcdefghi"), nodes(*"abcdefghijk", sick="a b c d e f"), 3).final


def test_computers_of_which_nothing_is_known_condemn_nothing_alone() -> None:
    """Three that never did anything well may all be sick; one that just did says more."""
    assert not verdict.verdict(faults("a", "b", "c"), nodes("a", "b", "c", "d", new="a b c"), 3).final
    assert verdict.verdict(faults("a", "b", "c"), nodes("a", "b", "c", "d", new="a b"), 3).final
    assert verdict.verdict(faults("a", "b", "c"), nodes("a", "b", "c", new="a b c"), 3).final


def test_a_well_computers_tries_are_its_own() -> None:
    """Where a sick one has used up all tries, one crash of the only well one condemns nothing."""
    known = nodes("a", "b", sick="a")
    failed = faults("a", "a", "a", "b")
    assert not verdict.verdict(failed, known, 3).final
    assert may_try("b", failed, known, 3)
    assert verdict.verdict([*failed, *faults("b", "b")], known, 3).final


def test_a_retry_goes_elsewhere_first() -> None:
    known = nodes("a", "b")
    assert not may_try("a", faults("a"), known, 3)
    assert may_try("b", faults("a"), known, 3)
    assert may_try("a", faults("a", "b"), known, 3), "both failed once: a third try is due"
    assert may_try("a", faults("a"), nodes("a", "b", away="b"), 3), "it doesn't wait for who is away"


def test_a_time_out_is_never_final_by_itself() -> None:
    slow = faults("a", "b", "c", timed_out=True)
    assert not verdict.verdict(slow, nodes("a", "b", "c"), 3).final
    assert not verdict.verdict(faults("a", timed_out=True), nodes("a"), 1).final
    assert verdict.verdict([*slow, *faults("a", "b", timed_out=True)], nodes("a", "b", "c"), 3).final
    # Two that were slow and one that crashed say less than three that crashed: each slow one is a try more.
    mixed = [*slow[:2], *faults("c")]
    assert not verdict.verdict(mixed, nodes("a", "b", "c"), 3).final
    assert verdict.verdict([*mixed, *faults("a", "b")], nodes("a", "b", "c"), 3).final


def test_what_failed_on_a_node_while_it_was_sick_says_little_when_it_is_well_again() -> None:
    failed = [Fault(name, when=100.0 + at) for at, name in enumerate("abc")]
    well = [Candidate(name, proven=True) for name in "abcd"]
    recovered = [replace(node, unwell=((90.0, 150.0),)) for node in well]
    assert verdict.verdict(failed, well, 3).final
    assert not verdict.verdict(failed, recovered, 3).final
    later = [Fault(name, when=200.0) for name in "abc"]
    assert verdict.verdict([*failed, *later], recovered, 3).final, "well, they failed too"


def test_a_task_waits_for_a_sick_node_rather_than_fail_where_nobody_else_could_try() -> None:
    failed = faults("a", "a", "a")
    judged = verdict.verdict(failed, nodes("a", "b", sick="b"), 3)
    assert not judged.final
    assert judged.waits_for == ("b",)
    kept = [replace(node, suspect=True, kept=True) if node.name == "b" else node for node in nodes("a", "b")]
    assert verdict.verdict(failed, kept, 3).final, "one that is kept from the job is no such hope"


def test_a_node_that_fails_several_tasks_is_kept_from_the_job_unless_it_is_the_last() -> None:
    known = nodes("a", "b")
    assert not verdict.kept_from_job("a", {"a": 2}, known)
    assert verdict.kept_from_job("a", {"a": 3}, known)
    assert not verdict.kept_from_job("a", {"a": 3, "b": 3}, known)
    assert not verdict.kept_from_job("a", {"a": 9}, nodes("a"))


def test_a_task_that_takes_every_machine_down_ends() -> None:
    assert not verdict.lost_for_good(["a"] * 10, 10, nodes("a", "b"), 3)
    assert verdict.lost_for_good(["a"] * 10, 10, nodes("a"), 3)
    assert not verdict.lost_for_good(["a", "b", "c"] * 3, 9, nodes("a", "b", "c"), 3)
    assert verdict.lost_for_good(["a", "b", "c"] * 4, 12, nodes("a", "b", "c", "d"), 3)


@pytest.mark.parametrize("seed", range(300))
def test_sick_nodes_never_condemn_a_healthy_task(seed: int) -> None:
    """Farms of any size, any part of them failing all they get, nodes that come and go, a task that is sound:
    as long as one well node exists it is done in the end."""
    rng = random.Random(seed)
    count, retries = rng.randint(2, 12), rng.randint(1, 4)
    # Of more than three times `retries` nodes that fail all, nobody could tell a scene that is broken.
    sick = rng.randint(0, min(count - 1, 3 * retries - 1))
    names = [f"n{i}" for i in range(count)]
    broken = set(names[:sick])
    failed: list[Fault] = []
    for _ in range(200):
        # Sick nodes are always there at once; well ones may be away for a while or busy elsewhere.
        known = [
            Candidate(n, n in broken or rng.random() < 0.5, n in broken and sick >= retries) for n in names
        ]
        asking = [n for n in known if n.there and may_try(n.name, failed, known, retries)]
        if not asking:
            continue
        name = min(asking, key=lambda n: (n.name not in broken, rng.random())).name
        if name not in broken:
            return
        failed.append(Fault(name, rng.random() < 0.3))
        assert not verdict.verdict(failed, known, retries).final, (failed, known, retries)
    raise AssertionError("nobody well was ever asked")


def test_bounds() -> None:
    assert bounds.bound_s(0, 1, 0, 10, 60) == 0, "nothing is known yet"
    assert bounds.bound_s(2, 1, 0, 10, 60) == 60, "short frames have room for a slow start"
    assert bounds.bound_s(30, 1, 0, 10, 60) == 300
    assert bounds.bound_s(30, 4, 0, 10, 60) == 1200, "a slow computer has longer"
    assert bounds.bound_s(30, 1, 2, 10, 60) == 1200, "each time-out doubles it"
    worth = bounds.Worth()
    for _ in range(30):
        worth.saw(40, 10)
    assert 3.5 < worth.times < 4.5
    worth.saw(10_000, 10)
    assert worth.times < 8, "one task says little"


@pytest.mark.parametrize("total", [6, 1000, 100_000])
def test_what_is_usual_is_known_from_the_fifth_on(total: int) -> None:
    usual, times, cells = bounds.Usual(), array("I", bytes(4 * total)), bytearray(b"w") * total
    for n in range(6):
        assert (usual.seconds(n, times, cells, 0, total) > 0) == (n >= 5)
        cells[n], times[n] = ord("d"), 2000
    for n in range(total):
        cells[n], times[n] = ord("d"), 2000 if n < total * 0.4 else 8000
    assert usual.seconds(total, times, cells, 0, total) == 8.0


def test_rules_read_the_last_lines() -> None:
    told = rules.read(
        [
            {"match": "no camera", "is": "fatal", "say": "Add a camera."},
            {"match": "Cannot find lib '([^']{1,200})'", "is": "missing", "say": "{1} is missing."},
        ]
    )
    found = rules.judge(told, "hello\nInfo: Cannot find lib '/a/tree.blend'\nBlender quit")
    assert found is not None
    assert (found.kind, found.say) == ("missing", "/a/tree.blend is missing.")
    assert rules.judge(told, "Error: NO CAMERA\n") is not None
    assert rules.judge(told, "No camera\n" + "x\n" * 500) is not None, "the node's own first line counts"
    assert rules.judge(told, "y\nno camera\n" + "x\n" * 500) is None


def test_a_pattern_that_could_take_for_ever_is_refused() -> None:
    for bad in (
        r"(a+)+b",
        r"(a*)*",
        r"(?:x+y?){2,}",
        r"((a)+b)+",
        r".*a.*b.*c",
        r"(a)\1",
        "",
        "x" * 301,
        "(",
        7,
    ):
        with pytest.raises(BadInput):
            patterns.compiled(bad)
    for good in (r"a+b*", r"[+*]{3}", r"\++", r"(ab|cd)?x", r"\(a+\)+", "(.{1,120})", r"[^]+]+\w{2}"):
        patterns.compiled(good)


def test_a_sentence_names_frame_computer_and_file() -> None:
    said = words.happened("frame 7", "render3", "sh010.blend", "out of memory")
    assert said == "Frame 7 of sh010.blend failed on render3: out of memory."
    for reason in (
        "out of memory",
        "time-out",
        "crash",
        "renderer error",
        "bad output: x",
        "odd",
        words.GONE,
    ):
        assert words.to_do(reason).endswith((".", "?"))


# What Blender 3.4 and others really print, and what is to be made of it.
SAID = [
    ("Read blend: /a/x.blend\nError: Cannot render, no camera", "fatal", "no camera"),
    ("the file has no camera named 'Left'", "fatal", "no camera named 'Left'"),
    ("Error: Failed to read blend file '/a/x.blend': Missing DNA block", "fatal", "can't read the scene"),
    ("No device available to denoise on\nError: Build without OpenImageDenoiser", "lacking", "denoising off"),
    ("Error: engine not found 'OCTANE'", "lacking", "renderer OCTANE"),
    ("Calloc returns null: len=1207959552 in CDMLoopUV, total 1091638568", "memory", "memory was too small"),
    ("System is out of GPU and shared host memory", "memory", "graphics card's memory"),
    ("CUDA error: Out of memory in cuMemAlloc(&device_pointer, size)", "memory", "graphics card's memory"),
    ("CUDA error: Illegal address in CUDA queue synchronize", "computer", "graphics card or its driver"),
    ("Info: Cannot find lib '/a/tree.blend'\nError: x", "missing", "The library /a/tree.blend is missing"),
    ("Render error (No space left on device) cannot save: '/a/x.png'", "later", "no room left"),
    ("This computer's own disk is full: /tmp.\nOSError: No space left on device", "computer", "(/tmp)"),
    ("R90003 {SEVERE} License not available: RPS-3DFF", "licence", "No licence is free"),
    ("Fra:7 Mem:20M | Sample 1/8\nSegmentation fault", "", ""),
]


@pytest.mark.parametrize(("log", "kind", "part"), SAID)
def test_the_rules_that_come_along(tmp_path: Path, log: str, kind: str, part: str) -> None:
    book = RuleBook(Settings(tmp_path))
    found = book.judge(log, frozenset({"blender"}))
    assert not book.wrong
    assert ((found.kind, part in found.say) if found else ("", True)) == (kind, True)


def test_a_job_types_own_rules_come_first_and_nonsense_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "failure_rules"
    folder.mkdir()
    (folder / "odd.json").write_text('{"rules": [{"match": "(a+)+", "is": "fatal"}]}')
    book = RuleBook(Settings(tmp_path))
    own = ({"match": "no camera", "is": "missing", "say": "mine"},)
    found = book.judge("Error: Cannot render, no camera", frozenset({"blender"}), own)
    assert (found and found.say) == "mine"
    assert "could take for ever" in book.wrong["odd"]


def test_a_log_of_any_size_is_judged_at_once(tmp_path: Path) -> None:
    book = RuleBook(Settings(tmp_path))
    assert book.judge("licence " * 1_000_000, frozenset({"blender"})) is None
    assert book.judge("a" * 500 + "\n" * 100_000, frozenset()) is None
