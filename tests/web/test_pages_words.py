"""How times, durations and renders are said. Given, when, then in one line each."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Any

import pytest

from server.farm.frames import parse
from server.web.pages import computers, sheets, words

NOW = datetime.datetime(2026, 3, 4, 15, 0, tzinfo=zoneinfo.ZoneInfo("Europe/Vienna"))  # a Wednesday


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-03-04T13:05:00Z", "today 14:05"),
        ("2026-03-03T08:10:00+00:00", "yesterday 09:10"),
        ("2026-03-04T23:30:00Z", "tomorrow 00:30"),  # it is the next day in Vienna
        ("2026-03-01T15:00:00Z", "Sun 16:00"),
        ("2026-01-02T11:00:00Z", "2 Jan 12:00"),
        ("2024-05-03T11:00:00Z", "3 May 2024"),
        ("", ""),
        (None, ""),
        ("yesterday", ""),
        (1e300, ""),
    ],
)
def test_when(value: Any, said: str) -> None:
    assert words.when(value, NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (3.21, "3.2 s"), (12, "12 s"), (181, "3 min"), (4800, "1 h 20 min"), (7200, "2 h"),
     (183_600, "2 days 3 h"), (None, ""), (-1, "")],
)  # fmt: skip
def test_duration(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("earliest", "latest", "said"),
    [
        ("2026-03-04T14:10:20Z", "2026-03-04T14:13:40Z", "done between 15:10 and 15:14"),
        ("2026-03-04T14:10:05Z", "2026-03-04T14:10:50Z", "done about 15:11"),
        ("2026-03-04T15:12:10Z", "2026-03-04T15:31:00Z", "done between 16:10 and 16:35"),
        ("2026-03-04T21:05:00Z", "2026-03-05T01:10:00Z", "done between 22:00 and tomorrow 02:10"),
        ("2026-03-05T08:05:00Z", "2026-03-05T11:40:00Z", "done between tomorrow 09:00 and 13:00"),
        ("2026-03-09T08:05:00Z", "2026-03-11T11:40:00Z", "done between Mon 09:00 and 11 Mar 13:00"),
        ("2026-03-04T13:50:00Z", "2026-03-04T13:59:00Z", "done between 14:50 and 14:59"),
        (None, "2026-03-04T13:59:00Z", ""),
    ],
)
def test_an_end_is_said_as_a_range_that_is_rounded_outwards(
    earliest: str | None, latest: str, said: str
) -> None:
    assert words.done_between({"earliest": earliest, "latest": latest}, NOW) == said


def test_an_end_that_nobody_knows_is_not_said() -> None:
    assert words.done_between(None, NOW) == ""


def test_sizes_and_numbers_and_initials() -> None:
    assert [words.size(n) for n in (740, 12_400_000, 4_200_000_000)] == ["740 bytes", "12 MB", "4.2 GB"]
    assert words.number(1, "frame") == "1 frame"
    assert words.number(100_000, "frame") == "100,000 frames"
    assert [words.initials(title) for title in ("Ana", "Ben van Dijk", "")] == ["An", "BD", "?"]


def test_a_short_job_has_a_cell_for_each_frame() -> None:
    marks, group = sheets.cells("ddcwf", 5, 96)
    assert group == 1
    assert marks == "".join(f'<i class="{letter}"></i>' for letter in "ddcwf")


def test_a_long_jobs_cell_shows_the_worst_of_its_frames() -> None:
    letters = "d" * 100 + "dddfd" + "ddcdd" + "dddwd" + "d" * 85
    marks, group = sheets.cells(letters, 200, 40)
    shown = re.findall(r'class="(.)"', marks)
    assert group == 5
    assert len(shown) == 40
    assert shown[20:23] == ["f", "c", "w"]
    assert set(shown[:20] + shown[23:]) == {"d"}


def test_a_job_that_was_gathered_before_counts_its_frames_right() -> None:
    _, group = sheets.cells("d" * 400, 100_000, 100)
    assert group == 1000


def test_a_letter_that_nobody_knows_is_no_html() -> None:
    marks, _ = sheets.cells("<\"'&", 4, 96)
    assert marks == '<i class="w"></i>' * 4


def job(**more: Any) -> dict[str, Any]:
    counts = {"waiting": 10, "claimed": 2, "done": 12, "failed": 0, "skipped": 0}
    return {
        "id": "20260304-130500-abcdef", "name": "sh010", "file": "data::demo/shots/sh010.blend",
        "project": "demo", "user": "ana", "state": "running", "total": 24, "counts": counts,
        "cells": "d" * 12 + "cc" + "w" * 10, "seconds_per_task": 3.2, "version": "v003", "frames": "1-24",
        "submitted": "2026-03-04T13:05:00Z", "started": "2026-03-04T13:05:02Z", "ended": None,
        "ends": {"earliest": "2026-03-04T15:12:10Z", "likely": "2026-03-04T15:20:00Z",
                 "latest": "2026-03-04T15:31:00Z"}, "priority": 3, "why": None, **more,
    }  # fmt: skip


def test_a_card_says_what_people_ask() -> None:
    card = sheets.card(job(), NOW, titles={"ana": "Ana"}, may=True)
    assert card["progress_words"] == "12 of 24 frames · 3.2 s a frame"
    assert card["end_words"] == "done between 16:10 and 16:35"
    assert card["about"] == "version 3 · Ana · today 14:05"
    assert card["spoken"] == "24 frames: 12 done, 10 waiting, 2 rendering"
    assert card["page"] == "/p/demo/job/20260304-130500-abcdef"
    assert card["asset_page"] == "/p/demo/asset/shots/sh010.blend"


def test_a_sentence_that_begins_with_a_file_keeps_its_name() -> None:
    changes = [{"sentence": "wood.png was changed while this is rendered: frame 1 had it as it was."}]
    assert sheets.card(job(changes=changes), NOW, titles={}, may=True)["told"] == [changes[0]["sentence"]]


def test_an_ended_card_says_how_long_it_took() -> None:
    counts = {"waiting": 0, "claimed": 0, "done": 23, "failed": 1, "skipped": 0}
    view = job(state="failed", counts=counts, ended="2026-03-04T13:07:02Z")
    assert sheets.progress(view) == "23 of 24 frames · 1 failed · 3.2 s a frame"
    whole = job(state="done", counts={"done": 24}, ended="2026-03-04T13:07:02Z")
    assert sheets.progress(whole) == "24 frames · 3.2 s a frame · 2 min in all"


def test_sums_of_a_render() -> None:
    found = dict(
        sheets.sums(
            job(
                state="done",
                seconds=6.0,
                seconds_for_nothing=2.5,
                seconds_shortest=1.0,
                seconds_longest=3.0,
                counts={"done": 3, "failed": 1},
                started="2026-11-22T13:00:00Z",
                ended="2026-11-22T13:05:00Z",
                nodes={"berta": {}, "atom": {}},
                failed_attempts=2,
                lost_attempts=1,
                output_bytes=3_000_000,
            )
        )
    )
    assert found["A frame, on average"] == "2.0 s"
    assert (found["Fastest"], found["Slowest"]) == ("1.0 s", "3.0 s")
    assert found["It cost"] == "8.5 s of a computer"
    assert found["Of that for nothing"] == "2.5 s"
    assert found["From start to end"] == "5 min"
    assert found["Computers"] == "atom, berta"
    assert found["Tried again"] == "3 times"
    assert found["All pictures"] == "3.0 MB"


def test_a_sheet_has_a_row_for_each_second() -> None:
    marks = str(sheets.sheet("d" * 48 + "w" * 2, 1, parse("101-150"), 24))
    assert re.findall(r"<b[^>]*>(\d+)</b>", marks) == ["101", "125", "149"]
    assert marks.count("<i ") == 50
    long = str(sheets.sheet("d" * 30, 4, parse("1-120"), 25))
    assert re.findall(r"<b[^>]*>(\d+)</b>", long) == ["1", "101"]


def test_why_a_render_waits_is_said_in_peoples_words() -> None:
    waiting = job(state="waiting", why="no computer can do it: 3 jobs are before it")
    assert sheets.because(waiting, {}) == "Waiting because no computer can do it: 3 renders are before it."
    assert sheets.because(job(state="paused", why="paused by ana"), {"ana": "Ana"}) == "Paused by Ana."
    assert sheets.because(job(why=""), {}) == ""


def test_pictures_of_a_frame() -> None:
    png = sheets.pictures({"image": "data::demo/render/a/v001/a b.0001.png", "attempts": 2})
    assert png["large"] == "/thumb/data::demo/render/a/v001/a%20b.0001.png?w=1024&v=2"
    exr = sheets.pictures({"image": "data::demo/a.0001.exr", "attempts": 1})
    assert exr["large"] == "/thumb/data::demo/a.0001.exr?w=1024"  # its name is used again
    assert sheets.pictures({"image": None})["thumbnail"] == ""


def test_a_render_that_nobody_works_on_is_waiting() -> None:
    card = sheets.card(job(why="no computer is on"), NOW, titles={}, may=False)
    assert (card["glyph"], card["word"]) == ("waiting", "Waiting")
    assert card["why"] == "Waiting because no computer is on."


def test_computers_that_were_lent_and_have_ended_are_missed_by_nobody() -> None:
    views = [("away", True), ("away", False), ("idle", True)]
    told = computers.summary([{"state": state, "single_use": once} for state, once in views])
    assert told == "1 free · 1 away"
