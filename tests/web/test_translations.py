"""Every sentence in every language: nothing missing, nothing unused, its places right; and no text that goes
around the languages, in templates, in Python, and in the pages as they come out."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
from house import Browser, House
from jinja2 import nodes

from server.web.languages import OR, Language

CLONE = Path(__file__).resolve().parents[2]
LANGUAGES = CLONE / "config" / "languages"
TEMPLATES = sorted((CLONE / "templates").glob("*.html"))
LETTERS = re.compile(r"[^\W\d_]{2}")
IN_TAGS = ("aria-label", "placeholder", "title", "alt", "data-copied", "aria-description")
CHUNK = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
CODE = re.compile(r"<(code|pre|kbd|script|style|svg)\b.*?</\1>|\{% macro to\(.*?endmacro %\}", re.DOTALL)
ATTRIBUTE = re.compile(r"^\s*[a-z-]+( [a-z-]+)?$|[=/?]")  # classes and addresses
NO_WORDS = {  # what is the same in all languages
    "server.json", "Ana Schmidt, ana, green Mr Bo, bo, supervisor, green",
    "Ana Schmidt, ana, green Ben Okafor, ben, green Cem Öztürk, cem, blue",
}  # fmt: skip
SENTENCE = re.compile(r"[A-Z“‘].*[^\W\d_]\s[^\W\d_].*[.?!…]", re.DOTALL)
SAYING = {"say", "say_later", "key", "count", "pair"}
FOR_PROGRAMMERS = {  # calls whose texts nobody reads on a page
    "debug", "info", "warning", "error", "exception", "critical", "Route", "shape", "Key", "sorry", "print",
    "ValueError", "TypeError", "KeyError", "OSError", "RuntimeError", "AssertionError", "compile",
}  # fmt: skip
NOT_SAID = (  # what no page shows
    "server/cli", "server/web/openapi.py", "server/web/serve.py", "server/web/api/schema.py",
    "server/web/trial.py", "server/web/tryout.py", "server/disk/probes.py",
)  # fmt: skip


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


def places(text: str) -> set[str]:
    return set(re.findall(r"\{([A-Za-z_]\w*)(?::[^{}]*)?\}", text))


@pytest.mark.parametrize("code", sorted(path.stem for path in LANGUAGES.glob("*.json")))
def test_each_language_is_complete(code: str, sentences: dict[str, Any]) -> None:
    """`python3 misc/languages.py --write CODE` adds what is missing, and takes out what nothing says."""
    data = json.loads((LANGUAGES / f"{code}.json").read_text("utf-8"))
    said = data["sentences"]
    assert data["title"]
    assert [key for key in sentences if not said.get(key)] == []
    assert [key for key in said if key not in sentences] == []
    language = Language(code, data["title"], said)
    categories = {language.category(n) for n in range(1000)}
    for key, forms in said.items():
        assert (OR in key) == isinstance(forms, dict), key
        if isinstance(forms, dict):
            assert categories <= set(forms), f"{key!r} lacks a plural form"
        for text in forms.values() if isinstance(forms, dict) else (forms,):
            assert places(text) | {"n"} == sentences[key].places | {"n"}, f"{key!r}: other places in {text!r}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.name))
def test_no_text_of_a_template_bypasses_the_languages(path: Path) -> None:
    """Text between tags, in attributes that people read, and what is shown on a condition."""
    source = path.read_text("utf-8")
    bare = re.sub(r"&\w+;|&#\d+;", " ", CHUNK.sub("\x00", CODE.sub("<x>", source)))
    found = [text.strip() for text in re.split("[\x00\x01]", re.sub(r"<!--.*?-->|<[^>]*>", "\x01", bare))]
    for name in IN_TAGS:
        found += [text for value in re.findall(rf'\s{name}="([^"]*)"', bare) for text in value.split("\x00")]
    found += [text for text in shown(source) if not ATTRIBUTE.search(text)]
    said = [" ".join(text.split()) for text in found if LETTERS.search(text)]
    assert [text for text in said if text not in NO_WORDS] == []


def shown(source: str) -> Iterator[str]:
    """The texts that a template's expressions may show, by their conditions; those given to a call aside."""
    for output in jinja2.Environment().parse(source).find_all(nodes.Output):
        below: list[nodes.Node | None] = [
            one for one in output.nodes if isinstance(one, nodes.CondExpr | nodes.Concat | nodes.Filter)
        ]
        while below:
            node = below.pop()
            if isinstance(node, nodes.Const) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, nodes.CondExpr):
                below += [node.expr1, node.expr2]
            elif isinstance(node, nodes.Concat):
                below += node.nodes
            elif isinstance(node, nodes.Filter):
                below.append(node.node)


def test_no_sentence_of_python_bypasses_the_languages() -> None:
    """An error's sentence is a pattern that its facts fill; every other one is said, or marked as a key."""
    saying = script().error_names() | SAYING
    found = []
    for path in sorted((CLONE / "server").rglob("*.py")):
        inside = str(path.relative_to(CLONE))
        if inside.startswith(NOT_SAID) or path.stem.endswith(("shapes", "bodies")):
            continue
        every = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        above = {child: node for node in every for child in ast.iter_child_nodes(node)}
        for node in every:
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "X" for one in node.values]
                text, call = "".join(map(str, parts)), caller(node, above)
                to = above[node]
                wrong = call in saying and isinstance(to, ast.Call) and to.args[:1] == [node]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if isinstance(above[node], ast.Expr | ast.JoinedStr | ast.FormattedValue):
                    continue  # a docstring, or a part of what is looked at by itself
                if not SENTENCE.fullmatch(node.value):
                    continue
                text, call, wrong = node.value, caller(node, above), False
                if call in saying:
                    continue
            else:
                continue
            if inside == "server/web/pages/words.py" and call == "count":
                continue  # number(n, "frame") stands for it, which is looked for by itself
            if wrong or (SENTENCE.fullmatch(text) and call not in FOR_PROGRAMMERS):
                found.append(f"{inside}:{node.lineno}: {call}({text[:80]!r})")
    assert found == []


def caller(node: ast.AST, above: dict[ast.AST, ast.AST]) -> str:
    """The name of the call that this text is given to, through conditions and lists; '' for none."""
    inner = above.get(node)
    while inner is not None and not isinstance(inner, ast.Call | ast.stmt | ast.FormattedValue):
        inner = above.get(inner)
    return getattr(inner.func, "id", getattr(inner.func, "attr", "")) if isinstance(inner, ast.Call) else ""


# As the pages come out


class Texts(HTMLParser):
    """What people read of a page, where it isn't marked as said."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in ("script", "style", "code", "pre", "kbd")
        for name, value in attrs:
            if name in IN_TAGS and value:
                self._see(value)

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("script", "style", "code", "pre", "kbd")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self._see(data)

    def _see(self, text: str) -> None:
        before = None
        while text != before:
            before, text = text, re.sub(r"⟦[^⟦⟧]*⟧", "", text)
        if LETTERS.search(text) and not set(text) & set("⟦⟧"):  # else within one that holds a link
            self.found.append(" ".join(text.split()))


PAGES = (  # noqa: SIM905
    "/ /p/demo/home /p/demo/assets /p/demo/assets?view=thumbs /p/demo/assets?files=1 /p/demo/drop "
    "/p/demo/asset/shots/sh010.blend /p/demo/render/shots/sh010.blend /p/demo/new /p/demo/team "
    "/p/demo/shots /p/demo/project /p/demo/credits /p/demo/history /p/demo/rendering /p/demo/deleted "
    "/p/demo/notes?show=all "
    "/search?q=s /notes /me /nowhere /computers /statistics /admin/users /problems /p/demo/job/JOB "
    "/p/demo/job/JOB?why=1&list=all /p/demo/job/JOB/frame/0 /p/demo/job/JOB/frame/0/log"
).split()
NAMES = (  # of people, files and folders, by which nobody is told anything, and endings of files
    r"Demo|demo|Croft|sh\d+|Sh\d+|shots|textures|Admin|Supervisor|Student|admin|supervisor|student|[A-Z][a-z]|"
    r"A small project to try Croft with: drop a \.blend file, press Render\.|English|Français|shout|"
    r"Blender \d.*|[./\w]*\.(blend|png)|(\.\w+ )+\.\w+|Ana Schmidt, ana.*|Nederlands"
)


def test_no_page_shows_a_text_that_was_not_said(house: House, sentences: dict[str, Any]) -> None:
    """A language that marks each sentence shows which text of a page is none."""
    said = {key: f"⟦{one.pattern}⟧" for key, one in sentences.items() if not one.many}
    said |= {k: {"other": f"⟦{one.many}⟧"} for k, one in sentences.items() if one.many}
    (house.config / "languages").mkdir()
    (house.config / "languages" / "shout.json").write_text(json.dumps({"title": "shout", "sentences": said}))
    scene = house.scene()
    supervisor = house.browser("supervisor")
    job = supervisor.post("/api/jobs", {"file": scene, "frames": "1-3"}).data["id"]
    supervisor.post("/api/notes", {"file": scene, "text": "@student 12"})
    found = []
    for who in (house.browser("admin"), house.browser("student"), Browser(house.croft.wsgi)):
        for page in ["/sign-in", "/"] if not who.token else PAGES:
            reply = who.get(page.replace("JOB", job), headers={"Accept-Language": "shout"})
            assert b'lang="shout"' in reply.body or reply.status == 303, (page, reply.status)
            texts = Texts()
            texts.feed(reply.body.decode())
            for text in texts.found:
                rest = [] if re.fullmatch(NAMES, text) else re.split(r" ?[·:,()] ?", text)
                parts = [part for part in rest if LETTERS.search(part)]
                found += [f"{page}: {part}" for part in parts if not re.fullmatch(NAMES, part)]
    assert sorted(set(found)) == []
