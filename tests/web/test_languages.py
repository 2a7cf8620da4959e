"""Who reads which language, and whether numbers, dates, plural forms and places are right in it."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
from house import Browser, House
from markupsafe import Markup

from server.disk import encoding, speech
from server.disk.errors import NotFound
from server.web import languages
from server.web.languages import Language, wanted
from server.web.pages import words

NOW = datetime.datetime(2026, 3, 4, 15, 0, tzinfo=zoneinfo.ZoneInfo("Europe/Vienna"))  # a Wednesday
POLISH = {
    "title": "Polski",
    "sentences": {
        "{n} file | {n} files": {
            "one": "{n} plik",
            "few": "{n} pliki",
            "many": "{n} plików",
            "other": "{n} pliku",
        },
        "There is no user named '{user}'.": "Nie ma użytkownika „{user}”.",
        "today {time}": "dziś {time}",
        "{share} of {n} GB": "{share} z {n} GB",
        "Skip to the page": "Do treści",
        "Ask {name}.": "Zapytaj: {name}.",
        "There is nothing at {path}. The calls are listed at /api/docs.": "Pod {path} nic nie ma.",
    },
}


@pytest.fixture
def polish() -> Iterator[Language]:
    """What is said here is said in Polish, which has four plural forms."""
    language = Language("pl", "", POLISH["sentences"])  # type: ignore[arg-type]
    with languages.read_in(language):
        yield language


def test_each_plural_form_is_right(polish: Language) -> None:
    said = [languages.count("{n} file", "{n} files", n) for n in (1, 3, 5, 12, 22, 112_000)]
    assert said == ["1 plik", "3 pliki", "5 plików", "12 plików", "22 pliki", "112\xa0000 plików"]
    assert words.number(2, "file") == "2 pliki"


def test_what_a_room_below_said_is_said_again_with_all_that_stands_in_it(polish: Language) -> None:
    inside = speech.say("There is no user named '{user}'.", user=speech.count("{n} file", "{n} files", 3))
    assert languages.told(inside) == "Nie ma użytkownika „3 pliki”."
    assert languages.told(speech.say("{share} of {n} GB", share=1, n=2)) == "1 z 2 GB"
    assert languages.told("There is no user named '{user}'.") == "There is no user named '{user}'."
    several = speech.together(["", speech.say("Ask {name}.", name="Bo"), "(12)"])
    assert (several, languages.told(several)) == ("Ask Bo. (12)", "Zapytaj: Bo. (12)")


def test_dates_and_numbers_are_written_as_that_language_does(polish: Language) -> None:
    assert polish.title == "Polski"
    assert words.when("2026-03-04T13:05:00Z", NOW) == "dziś 14:05"
    assert words.when("2026-03-01T15:00:00Z", NOW) == "niedz. 16:00"
    assert words.when("2026-01-02T11:00:00Z", NOW) == "2 sty 12:00"
    assert words.day("2027-11-27", NOW) == "27 lis 2027"
    assert words.duration(3.21) == "3,2 s"
    assert polish.number(1_234_567.891, 1) == "1\xa0234\xa0567,9"
    assert languages.say("{n:,} and {x:.2f}", n=12_345, x=0.5) == "12\xa0345 and 0,50"


def test_a_value_is_a_value_whatever_it_looks_like(polish: Language) -> None:
    odds = ("{name}", "{0}", "{}", "%s", "{name.__class__}", "<b>", "\x00name\x00", "\u202e", "x" * 10**4)
    for odd in odds:
        assert languages.say("Ask {name}.", name=odd) == f"Zapytaj: {odd}."
        assert str(NotFound("There is no {user}.", user=odd)) == f"There is no {odd}."
        assert languages.told(NotFound(f"{odd} is away.", name="Ana").message).endswith(" is away.")


def test_html_in_a_place_stays_and_all_else_is_escaped(polish: Language) -> None:
    link = Markup("<a href='/'>Bo</a>")
    assert languages.say("Ask {name}.", name=link) == Markup("Zapytaj: <a href='/'>Bo</a>.")
    both = languages.say("{who} & {name}", who="<i>", name=link)
    assert both == Markup("&lt;i&gt; &amp; <a href='/'>Bo</a>")
    with languages.read_in(languages.IN_ENGLISH):
        many = languages.count("{n} file of {name}", "{n} files of {name}", 2000, name=link)
    assert many == Markup("2,000 files of <a href='/'>Bo</a>")


def test_an_answer_is_told_wherever_its_sentences_stand(polish: Language) -> None:
    value = {"a": [speech.say("Ask {name}.", name="Bo"), {"b": 1.5, "c": True, "d": None}]}
    assert json.loads(encoding.dumps(value)) == {"a": ["Ask Bo.", {"b": 1.5, "c": True, "d": None}]}
    told = encoding.dumps(value, told=languages.told)
    assert json.loads(told) == {"a": ["Zapytaj: Bo.", {"b": 1.5, "c": True, "d": None}]}


@pytest.mark.parametrize(
    ("asked", "best"),
    [
        ("fr", "fr"), ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"), ("de, nl-BE;q=0.7", "nl"),
        ("de", "en"), ("", "en"), ("en;q=0.5, nl;q=0.6", "nl"), ("fr;q=0, nl", "nl"), ("pt-PT", "en"),
        ("pt", "en"), ("zh-hant-tw, pt-br", "pt-BR"), (";;q=,q=x;=,", "en"), ("x" * 100_000, "en"),
        ("fr;q=nan, nl;q=0.1", "nl"),
    ],
)  # fmt: skip
def test_a_browser_gets_the_best_of_what_there_is(asked: str, best: str) -> None:
    assert wanted(asked, ("en", "fr", "nl", "pt-BR")) == best


def home(who: Browser, accept: str = "") -> Any:
    return who.get("/", headers={"Accept-Language": accept} if accept else {})


def test_a_language_is_a_file_and_each_reads_their_own(house: House) -> None:
    folder = house.config / "languages"
    assert not folder.exists()  # ours aren't copied: an update brings better ones
    folder.mkdir()
    (folder / "pl.json").write_text(json.dumps(POLISH))
    house.croft.services.settings.look_again("languages")
    somebody = Browser(house.croft.wsgi)
    reply = home(somebody, "pl-PL,en;q=0.5")
    assert b'<html lang="pl">' in reply.body
    assert "Do treści".encode() in reply.body
    assert "Accept-Language" in reply.headers["vary"]
    assert b'<html lang="en">' in home(somebody, "eo").body

    # A choice of somebody who isn't signed in stays in their browser, and goes before what it asks for.
    form = "application/x-www-form-urlencoded"
    chosen = somebody.ask("POST", "/language", raw=b"language=pl&next=/sign-in", kind=form)
    assert (chosen.status, chosen.headers["location"]) == (303, "/sign-in")
    assert b'<html lang="pl">' in home(somebody, "fr").body
    assert somebody.ask("POST", "/language", raw=b"language=../x", kind=form).status == 400
    away = somebody.ask("POST", "/language", raw=b"language=pl&next=//evil.test", kind=form)
    assert away.headers["location"] == "/"
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert somebody.ask("POST", "/language", raw=b"language=pl", kind=form, headers=other_site).status == 403

    # Who is signed in takes it along: it stands in their file.
    student = Browser(house.croft.wsgi)
    student.sign_in("student")
    csrf, student.csrf = student.csrf, ""
    assert student.ask("POST", "/language", raw=b"language=pl", kind=form).status == 403
    sent = student.ask("POST", "/language", raw=f"language=pl&csrf={csrf}".encode(), kind=form)
    assert (sent.status, sent.cookies) == (303, [])
    student.csrf = csrf
    assert json.loads((house.config / "users" / "student.json").read_text())["language"] == "pl"
    house.croft.services.settings.look_again("users")
    assert b'<html lang="pl">' in home(student).body

    # The API speaks so too; to a script with a token as it asks, else English.
    assert student.get("/api/x").message == "Pod /api/x nic nie ma."
    script = house.browser("student")
    assert script.get("/api/x").message.startswith("There is nothing at /api/x.")
    assert script.get("/api/x", headers={"Accept-Language": "pl"}).message == "Pod /api/x nic nie ma."


def test_a_spoilt_file_of_a_language_spoils_nothing(house: House) -> None:
    folder = house.config / "languages"
    folder.mkdir()
    odd = {"title": 5, "sentences": {"Skip to the page": {"few": "x"}, "Files": 7, "Home": ["x"]}}
    (folder / "fr.json").write_text(json.dumps(odd))
    (folder / "xx.json").write_text('{"sentences": "none"}')
    (folder / "nl.json").write_text("{")
    settings = house.croft.services.settings
    settings.look_again("languages")
    who = Browser(house.croft.wsgi)
    assert b"Aller" in home(who, "fr").body  # ours
    assert b'<html lang="xx">' in home(who, "xx").body
    assert b'<html lang="nl">' in home(who, "nl").body
    assert any("languages/nl.json" in one.text for one in settings.problems())


def test_english_and_a_language_that_nobody_knows_have_the_customs_that_are_written_down_here() -> None:
    for code in ("en", "qq", "../en", ""):
        assert Language(code).locale is None
        assert Language(code).number(12345.678, 1) == "12,345.7"
        assert Language(code).category(0) == "other"
    assert Language("qq").title == "qq"


def test_a_sentence_that_a_journal_keeps_is_recognised(polish: Language) -> None:
    for text, said in (
        ("There is no user named 'bo'.", "Nie ma użytkownika „bo”."),
        ("There is no user named '3 files'.", "Nie ma użytkownika „3 pliki”."),
        ("2,000 files", "2000 plików"),
        ("Ask .", "Ask ."),
        ("Ask Ask Bo..", "Zapytaj: Zapytaj: Bo.."),
        ("Nobody says this.", "Nobody says this."),
        ("Ask " * 5000, "Ask " * 5000),
        ("", ""),
    ):
        assert languages.known(text).replace("\xa0", "") == said
    with languages.read_in(languages.IN_ENGLISH):
        assert languages.known("Ask Bo.") == "Ask Bo."
