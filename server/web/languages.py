"""Which language a person reads, and how sentences, numbers, dates and plural forms go in it.

A language is a file: `languages/<code>.json` of the defaults, and of the configuration, whose sentences
come before ours. Its keys are the English sentences. What a file doesn't say is said in English, so a
half-done language works. How dates and numbers are written and which plural forms there are comes from
Unicode's CLDR by way of Babel, loaded when somebody first reads the language.

The reader of the present request stands in a context variable (`reading`), which the application sets:
`say` and `count` of this room speak to them at once, `told` says what the rooms below have said.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from server.disk import speech
from server.disk.speech import Said
from server.web.requests import Call
from server.web.session import cookie_value

if TYPE_CHECKING:
    from babel import Locale

    from server.disk.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "config" / "languages"
ENGLISH = "en"
COOKIE = "croft-language"
COOKIE_S = 365 * 24 * 3600
LOOK_S = 2.0  # how often, at most, the files of the defaults are looked at
LOCALES = {"no": "nb"}  # codes whose data has another name

Forms = Mapping[str, str]  # plural category of CLDR: sentence
Parts = tuple[tuple[str, str], ...]  # of a pattern: a text, and the place that follows it
NONE: Forms = {}
OR = " | "  # between the two English forms that are the key of a plural
LEAST_LETTERS = 3  # of its own, that a pattern needs to be recognised by them
SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z“])")  # what stands between two of them
LONGEST_KNOWN = 2000  # characters
RECOGNISED_KEPT = 4096


class Language:
    """One language: its sentences, and the customs of its dates and numbers. English is its own key."""

    def __init__(
        self, code: str, title: str = "", sentences: Mapping[str, str | Forms] | None = None
    ) -> None:
        given = sentences or {}
        self.code = code
        self.sentences = {key: said for key, said in given.items() if isinstance(said, str)}
        self.plurals = {
            (one, many): forms
            for key, forms in given.items()
            if not isinstance(forms, str)
            for one, _, many in [key.partition(OR)]
        }
        self._recognised: dict[str, str] = {}
        self._lock = threading.Lock()
        self.title = title or ("English" if code == ENGLISH else self._own_name())

    @functools.cached_property
    def locale(self) -> Locale | None:
        """Its data of CLDR; None for English, whose customs are written down here, and for a code that
        nobody knows, which gets those of English."""
        if self.code == ENGLISH:
            return None
        import babel  # where everybody reads English it isn't needed

        try:
            return babel.Locale.parse(LOCALES.get(self.code, self.code).replace("-", "_"))
        except (ValueError, babel.UnknownLocaleError):
            return None

    @property
    def direction(self) -> str:
        """'ltr', or 'rtl' for Arabic, Hebrew and their like."""
        return self.locale.text_direction if self.locale else "ltr"

    def told(self, said: Said) -> str:
        """A sentence in this language, and so what stands in its places."""
        values = said.values
        if self.code == ENGLISH:
            return str(said)
        if not said.many:
            return speech.fill(self.sentences.get(said.pattern, said.pattern), values, self._shown)
        n = values["n"]
        forms = self.plurals.get((said.pattern, said.many), NONE)
        pattern = forms.get(self.category(n)) or forms.get("other")
        values = {**values, "n": self.number(n)}
        return speech.fill(pattern or (said.pattern if n == 1 else said.many), values, self._shown)

    def known(self, text: str) -> str:
        """An English sentence whose pattern isn't known any more, in this language; as it is, if it is none
        of ours."""
        if text in self.sentences:
            return self.sentences[text]
        if len(text) > LONGEST_KNOWN:
            return text
        with self._lock:
            said = self._recognised.get(text)
        if said is None:
            said = self._recognise(text)
            with self._lock:
                if len(self._recognised) >= RECOGNISED_KEPT:
                    self._recognised.clear()
                self._recognised[text] = said
        return said

    def _recognise(self, text: str) -> str:
        """The sentence whose pattern fits with most of its own words, and in its places what is known."""
        for _, parts, said in self._patterns:
            values = places_of(text, parts)
            if values is None:
                continue
            told: dict[str, Any] = {name: self.known(value) for name, value in values.items()}
            if said.many:
                n = values.get("n", "").replace(",", "")
                if not (n.isascii() and n.isdigit()):
                    continue
                told["n"] = int(n[:18])
            made = Said(text)
            made.pattern, made.many, made.values = said.pattern, said.many, told
            return self.told(made)
        several = SENTENCES.split(text)
        return " ".join(map(self.known, several)) if len(several) > 1 else text

    @functools.cached_property
    def _patterns(self) -> list[tuple[int, Parts, Said]]:
        """(letters, parts, sentence) of each that has places; those that say most of their own first."""
        found = []
        for one, many in (*((key, "") for key in self.sentences), *self.plurals):
            for pattern in {one, many} - {""}:
                parts = tuple((part, name) for part, name, _ in speech.places(pattern))
                letters = sum(map(str.isalpha, "".join(part for part, _ in parts)))
                if len(parts) > 1 and letters >= LEAST_LETTERS and all(part for part, _ in parts[1:-1]):
                    said = Said()
                    said.pattern, said.many, said.values = one, many, {}
                    found.append((letters, parts, said))
        return sorted(found, key=lambda one: -one[0])

    def category(self, n: float) -> str:
        """Which plural form goes with a number: 'one', 'few', 'many', 'other' …"""
        if self.locale:
            return str(self.locale.plural_form(n))
        return "one" if n == 1 else "other"

    def number(self, value: float, digits: int | None = None) -> str:
        """A number with the marks of its thousands, and so many digits behind the mark of its decimals."""
        if self.locale is None:
            return f"{value:,}" if digits is None else f"{value:,.{digits}f}"
        from babel.numbers import format_decimal

        pattern = "#,##0" + ("." + "0" * digits if digits else "" if digits == 0 else ".###")
        return str(format_decimal(value, pattern, locale=self.locale))

    def percent(self, share: float, digits: int = 0) -> str:
        """A share of one, with so many digits: '12%', '12 %'."""
        if self.locale is None:
            return f"{share:.{digits}%}"
        from babel.numbers import format_percent

        sign = self.locale.percent_formats[None].pattern.replace(
            "#,##0", "#,##0" + "." * bool(digits) + "0" * digits
        )
        return str(format_percent(share, sign, locale=self.locale))

    def date(self, moment: datetime.date, skeleton: str) -> str:
        """A date in the form that CLDR has for a skeleton: MMMd, yMMMd, MMMEd, E …"""
        if self.locale is None:
            return speech.fill(ENGLISH_DATES[skeleton], {"m": moment, "day": moment.day})
        from babel.dates import format_skeleton

        return str(format_skeleton(skeleton, moment, locale=self.locale))

    def _shown(self, value: Any, how: str) -> str:
        if isinstance(value, Said):
            return format(self.told(value), how)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and how:
            if how == ",":
                return self.number(value)
            if how.endswith("%"):
                return self.percent(value, int(how.strip(".%") or 0))
            if how.endswith("f") and how.lstrip(",").startswith("."):
                return self.number(value, int(how.strip(",.f")))
        return format(value, how)

    def _own_name(self) -> str:
        name = self.locale.get_display_name() if self.locale else None
        return name[:1].upper() + name[1:] if name else self.code


def places_of(text: str, parts: Parts) -> dict[str, str] | None:
    """What stands in the places of a pattern that this text was made from; None if it wasn't. In one pass:
    it never takes long, whatever somebody has written."""
    (start, name), *more = parts
    if not text.startswith(start):
        return None
    found: dict[str, str] = {}
    at = len(start)
    for part, following in more:
        end = text.find(part, at + 1) if following else len(text) - len(part)
        if (
            end <= at
            or not text.startswith(part, end)
            or found.setdefault(name, text[at:end]) != text[at:end]
        ):
            return None
        at, name = end + len(part), following
    return found


ENGLISH_DATES = {
    "E": "{m:%a}",
    "MMMd": "{day} {m:%b}",
    "yMMMd": "{day} {m:%b} {m:%Y}",
    "MMMEd": "{m:%a} {day} {m:%b}",
    "yMMM": "{m:%b} {m:%Y}",
    "MMMM": "{m:%B}",
    "yMMMM": "{m:%B} {m:%Y}",
}
IN_ENGLISH = Language(ENGLISH)
_reading: ContextVar[Language] = ContextVar("reading", default=IN_ENGLISH)


# To whoever reads just now


def reading() -> Language:
    """The language of whoever reads what is being made."""
    return _reading.get()


def speak(language: Language) -> None:
    """From here on, within `read_in`, all is said in this language."""
    _reading.set(language)


@contextmanager
def read_in(language: Language) -> Iterator[None]:
    """Within it, what is said is said in this language."""
    before = _reading.get()
    _reading.set(language)
    try:
        yield
    finally:
        _reading.set(before)


def say(pattern: str, /, **values: Any) -> str:
    """A sentence in the reader's language. A value that is HTML already stays so, and all else is escaped."""
    return _told(speech.say(pattern, **values))


def count(one: str, many: str, n: int, /, **values: Any) -> str:
    """A sentence of a number in the reader's language, its plural form right."""
    return _told(speech.count(one, many, n, **values))


def told(text: Any) -> Any:
    """What a room below has said, in the reader's language; all else as it is."""
    return _told(text) if type(text) is Said else text


def known(text: str) -> str:
    """A sentence of ours that came as text alone, from a journal or a file of the configuration, in the
    reader's language; all else as it is."""
    if type(text) is Said:
        return _told(text)
    language = _reading.get()
    return text if language.code == ENGLISH else language.known(text)


def _told(said: Said) -> str:
    """The sentence; where HTML stands in its places, it is kept apart while the sentence is said."""
    kept = {name: value for name, value in said.values.items() if isinstance(value, Markup)}
    if not kept:
        return _reading.get().told(said)
    apart = Said(said)
    apart.pattern, apart.many = said.pattern, said.many
    apart.values = {**said.values, **{name: f"\x00{name}\x00" for name in kept}}
    n = apart.values.get("n")
    pattern = said.many if said.many and n != 1 else said.pattern
    if _reading.get().code == ENGLISH:
        text = speech.fill(pattern, {**apart.values, "n": f"{n:,}"} if said.many else apart.values)
    else:
        text = _reading.get().told(apart)
    made = str(escape(text))
    for name, value in kept.items():
        made = made.replace(f"\x00{name}\x00", value)
    return Markup(made)


# Whose language


class Languages:
    """All languages of an installation. Safe for threads; reads a file again when it has changed."""

    def __init__(
        self,
        settings: Settings,
        folder: Path = FOLDER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -LOOK_S
        self._ours: dict[str, tuple[int, dict[str, Any]]] = {}  # code: (mtime, content)
        self._made: dict[str, tuple[Any, Any, Language]] = {}
        self._choose = functools.lru_cache(256)(wanted)

    def codes(self) -> tuple[str, ...]:
        """Every language there is, English first, then as they sort."""
        own = self._settings.folder("languages")
        return (ENGLISH, *sorted({*self._defaults(), *own} - {ENGLISH}))

    def choices(self) -> list[tuple[str, str]]:
        """(code, what it is called in itself), as people choose from them."""
        return [(code, self.get(code).title) for code in self.codes()]

    def get(self, code: str) -> Language:
        """The language of that code; English for one that there isn't."""
        ours = self._defaults().get(code)
        own = self._settings.folder("languages").get(code)
        if ours is None and own is None:
            return IN_ENGLISH
        made = self._made.get(code)
        if made is None or made[0] is not ours or made[1] is not own:
            sentences: dict[str, Any] = {}
            title = ""
            for one in (ours or {}, own or {}):
                sentences |= _sentences(one.get("sentences"))
                title = str(one.get("title") or title)
            made = self._made[code] = (ours, own, Language(code, title, sentences))
        return made[2]

    def of(self, call: Call) -> Language:
        """Who has chosen one reads that: it stands in their file, or in a cookie while nobody is signed in.
        All others read what their browser asks for, and so does a script with a token."""
        if call.via == "cookie" and call.user is not None:
            chosen = self._settings.folder("users").get(call.user.ident, {}).get("language")
            if isinstance(chosen, str) and chosen in self.codes():
                return self.get(chosen)
        if call.via != "token":
            cookies = call.header("cookie")
            if COOKIE in cookies and (kept := cookie_value(cookies, COOKIE)) in self.codes():
                return self.get(kept)
        asked = call.header("accept-language")
        return self.get(self._choose(asked, self.codes())) if asked else IN_ENGLISH

    def _defaults(self) -> dict[str, dict[str, Any]]:
        now = self._clock()
        if now - self._looked >= LOOK_S:
            with self._lock:
                self._look()
                self._looked = now
        return {code: content for code, (_, content) in self._ours.items()}

    def _look(self) -> None:
        found: dict[str, tuple[int, dict[str, Any]]] = {}
        for path in sorted(self._folder.glob("*.json")):
            kept = self._ours.get(path.stem)
            try:
                changed = path.stat().st_mtime_ns
                if kept is None or kept[0] != changed:
                    kept = (changed, dict(json.loads(path.read_text("utf-8"))))
            except (OSError, ValueError, TypeError):
                pass  # somebody is just saving it: it stays as it was until it is whole
            if kept is not None:
                found[path.stem] = kept
        self._ours = found


def wanted(asked: str, codes: tuple[str, ...]) -> str:
    """The best of these codes for what a browser asks for: 'fr-CH, fr;q=0.9, en;q=0.8'."""
    ranked: list[tuple[float, int, str]] = []
    for n, part in enumerate(asked[:1000].split(",")[:50]):
        tag, _, more = part.strip().lower().partition(";")
        try:
            weight = float(more.strip().removeprefix("q=")) if more else 1.0
        except ValueError:
            weight = 0.0
        if tag and weight > 0:
            ranked.append((-weight, n, tag))
    by_lower = {code.lower(): code for code in codes}
    for _, _, tag in sorted(ranked):
        whole = tag.replace("_", "-")
        while whole:
            if whole in by_lower:
                return by_lower[whole]
            whole = whole.rpartition("-")[0]
    return ENGLISH


def cookie_header(code: str, *, secure: bool) -> tuple[str, str]:
    """The header that keeps a choice in this browser."""
    end = "; Secure" if secure else ""
    return "Set-Cookie", f"{COOKIE}={code}; Path=/; Max-Age={COOKIE_S}; HttpOnly; SameSite=Lax{end}"


def _sentences(found: Any) -> dict[str, Any]:
    """What of a file's sentences can be used: texts, and objects of texts with an `other`."""
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if _usable(value)}


def _usable(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value.get("other")) and all(isinstance(form, str) for form in value.values())
    return isinstance(value, str) and bool(value)
