"""Where pages' templates come from: the configuration's `templates/` before Croft's own.

A file there takes the place of ours of the same name, from the moment it is there; it may build on ours, as
`croft/base.html`. A mistake in one is told, and the page is made from ours alone: nobody is locked out by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from server.disk.records import Problem
from server.disk.speech import say

log = logging.getLogger(__name__)

OURS = "croft/"  # before a name: ours, whatever the configuration has


class Loader(jinja2.BaseLoader):
    """Templates of two folders, the first before the second."""

    def __init__(self, over: Path | None, ours: Path) -> None:
        self.over = over
        self._ours = ours

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The text, where it lies, and whether that is still so."""
        parts = jinja2.loaders.split_template_path(template.removeprefix(OURS))
        places = [folder for folder in (self.over, self._ours) if folder is not None]
        if template.startswith(OURS):
            places = [self._ours]
        paths = [place.joinpath(*parts) for place in places]
        found = stamp(paths)
        if found is None:
            raise jinja2.TemplateNotFound(template)
        try:
            text = found[0].read_text("utf-8")
        except UnicodeDecodeError as error:
            raise jinja2.TemplateSyntaxError(f"it isn't UTF-8: {error}", 1, template) from error
        return text, str(found[0]), lambda: stamp(paths) == found


def stamp(paths: list[Path]) -> tuple[Path, int, int] | None:
    """The first of these files that is there, with what tells whether it changed."""
    for path in paths:
        try:
            st = path.stat()
        except OSError:
            continue
        return path, st.st_mtime_ns, st.st_size
    return None


class Templates:
    """The two environments: with the configuration's templates, and with ours alone."""

    def __init__(self, env: jinja2.Environment, over: Path, ours: Path) -> None:
        env.loader = Loader(over, ours)
        self.env = env
        self._over = over
        self._plain = env.overlay(loader=Loader(None, ours))
        self._wrong: dict[str, str] = {}  # template -> what is wrong with one of the configuration's

    def render(self, template: str, values: dict[str, Any]) -> str:
        """The text of a page; from ours where the configuration's can't be used."""
        return str(self._first(template, lambda env: env.get_template(template).render(values)))

    def macro(self, template: str, name: str) -> Any:
        """One macro, to be called from Python."""
        return self._first(template, lambda env: getattr(env.get_template(template).module, name))

    def problems(self) -> list[Problem]:
        """The configuration's templates that can't be used."""
        return [
            Problem(
                f"template:{name}", "config", f"templates/{name}",
                say("The configuration’s template for {page} can’t be used: {why}.", page=name, why=why),
                say("Correct it; Croft’s own is used until then."),
            )
            for name, why in sorted(self._wrong.copy().items())
        ]  # fmt: skip

    def _first(self, template: str, use: Callable[[jinja2.Environment], Any]) -> Any:
        if not self._over.is_dir():
            self._wrong.clear()
            return use(self._plain)
        try:
            made = use(self.env)
            self._wrong.pop(template, None)
            return made
        except Exception as error:  # whatever a template does
            made = use(self._plain)  # where ours fails, too, it isn't the configuration's fault
            if template not in self._wrong:
                log.warning("The configuration's templates can't be used for %s: %s", template, error)
            where = getattr(error, "name", None) or template
            line = getattr(error, "lineno", None)
            self._wrong[template] = f"{where}: {error}" + (f" (line {line})" if line else "")
            return made
