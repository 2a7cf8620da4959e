"""Every sentence in every language: nothing missing, nothing unused, its places right; and no text that goes
around the languages, in templates, in Python, and in the pages as they come out."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from server.web.languages import OR, Language

CLONE = Path(__file__).resolve().parents[2]
LETTERS = re.compile(r"[^\W\d_]{2}")


def script() -> ModuleType:
    """misc/languages.py, which lists what can be said."""
    spec = importlib.util.spec_from_file_location("misc_languages", CLONE / "misc" / "languages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sentences() -> dict[str, Any]:
    found: dict[str, Any] = script().sentences()
    return found


CODES = sorted(path.stem for path in (CLONE / "config" / "languages").glob("*.json"))


@pytest.mark.parametrize("code", CODES)
def test_each_language_is_complete(code: str, sentences: dict[str, Any]) -> None:
    """`python3 misc/languages.py --write CODE` adds what is missing, empty, and takes out what isn't said."""
    data = json.loads((CLONE / "config" / "languages" / f"{code}.json").read_text("utf-8"))
    said = data["sentences"]
    assert data["title"]
    assert [key for key in sentences if not said.get(key)] == []
    assert [key for key in said if key not in sentences] == []
    language = Language(code, data["title"], said)
    wanted = {language.category(n) for n in range(1000)}
    for key, forms in said.items():
        places = sentences[key].places
        assert (OR in key) == isinstance(forms, dict), key
        if isinstance(forms, dict):
            assert wanted <= set(forms), f"{key!r} lacks a plural form"
        for text in forms.values() if isinstance(forms, dict) else (forms,):
            assert set(script_places(text)) | {"n"} >= places | {"n"}, f"{key!r}: {text!r} lacks a place"
            assert set(script_places(text)) <= places | {"n"}, f"{key!r}: {text!r} has a place too many"


def script_places(text: str) -> list[str]:
    return re.findall(r"\{([A-Za-z_]\w*)(?::[^{}]*)?\}", text)
