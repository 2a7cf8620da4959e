"""How systems name a copy: Windows, macOS, GNOME, KDE and browsers, in English, German, French and Spanish.

A name is taken for a copy's only together with the file that it would be a copy of: whoever asks looks
whether that lies beside it. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from ..media import kinds

DEEP = 4  # copies of copies

# language: the word for a copy, what stands before a name, what for another one, how numbers are counted
WORDS = {
    "en": ("copy", "of", "another", "st|nd|rd|th"),
    "de": ("kopie", "von", "weitere", r"\."),
    "fr": ("copie", "de", "autre", "e|ème|eme"),
    "es": ("copia", "de", "otra", r"\.?ª|a"),
}


def _forms() -> list[re.Pattern[str]]:
    found = [r"(?P<name>.+?) ?\(\d{1,3}\)"]  # hero (1): browsers, KDE, Windows' second drop
    for copy, of, another, counted in WORDS.values():
        found += [
            rf"(?P<name>.+?) ?[-–] {copy}(?: ?\(\d{{1,3}}\)| \d{{1,3}})?",  # hero - Copy (2): Windows
            rf"(?P<name>.+?) {copy}(?: \d{{1,3}})?",  # hero copy 2: macOS
            rf"(?P<name>.+?) \((?:{another} )?{copy}(?: \d{{1,3}})?\)",  # hero (another copy): GNOME
            rf"(?P<name>.+?) \(\d{{1,3}}(?:{counted}) {copy}\)",  # hero (3rd copy): GNOME
            rf"{copy}(?: \(\d{{1,3}}\)| \d{{1,3}})? {of} (?P<name>.+)",  # Copy (2) of hero: Windows, once
        ]
    return [re.compile(form, re.IGNORECASE) for form in found]


FORMS = _forms()
# Whatever none of these is in is no copy's name: most names are done with here.
HINTS = re.compile(r"\(\d|" + "|".join(words[0] for words in WORDS.values()), re.IGNORECASE)


def originals(name: str) -> tuple[str, ...]:
    """The names that this may be a copy of, the nearest first: () for a name that no system gives."""
    if HINTS.search(name) is None:
        return ()
    found: list[str] = []
    waiting = [name]
    for _ in range(DEEP):
        fresh = [one for text in waiting for one in _once(text) if one not in found]
        found += fresh
        waiting = fresh
    return tuple(found)


def _once(name: str) -> list[str]:
    ending = name[len(name) - len(kinds.suffix(name)) :]
    stem = name[: len(name) - len(ending)]
    # macOS hands out names taken apart into letters and accents; ours are looked at put together.
    composed = unicodedata.normalize("NFC", stem)
    found: list[str] = []
    for form in FORMS:
        match = form.fullmatch(composed)
        if match is None:
            continue
        original = match["name"] if composed == stem else _as_in(stem, match["name"])
        if original.strip() and original + ending not in found:
            found.append(original + ending)
    return found


def _as_in(stem: str, composed: str) -> str:
    """The part of a decomposed name that is this when composed."""
    return unicodedata.normalize("NFD", composed) if unicodedata.normalize("NFD", stem) == stem else composed
