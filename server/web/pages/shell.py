"""What every page stands on: the templates, who looks, what time it is, which words the project uses.

One `Shell` serves all pages. Autoescape is on for every template; a page is answered with an ETag, so that
a browser that has it already is told so.
"""

from __future__ import annotations

import datetime
import hashlib
import threading
import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import bottle
import jinja2

from server.disk.encoding import quote
from server.disk.errors import NotFound, ReadOnly, ShareAway
from server.disk.speech import key, together
from server.disk.speech import say as say_later
from server.web import languages, said
from server.web.pages import words
from server.web.pages.templates import Templates
from server.web.requests import Call, etag_matches

if TYPE_CHECKING:
    from server.library.people import User
    from server.library.projects import AssetSet, Project
    from server.web.services import Services

Person = dict[str, str]
NAV_KEYS = {
    "Home": "h", "Files": "f", "Shots": "s", "Team": "t", "Rendering": "r", "Project": "p", "Problems": "b",
    "Computers": "c",
}  # fmt: skip
TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
ASK = say_later("Tell whoever looks after the server.")
HTML = "text/html; charset=utf-8"
VARY = "Cookie, Authorization, Accept-Language"
EVENT = b'data-event=""'
TOASTS = b'<div id="toasts" class="toasts" role="status">'  # where what just happened is said
FORGOTTEN = ("somebody", "?")  # what stands where a person was, in files and in their lines
SOMEBODY = say_later("somebody")
PERSONS_KEPT = 5000  # names that files say, too


class Titles(dict[str, str]):
    """What users are called. Whoever was forgotten is somebody, though nobody here is called so."""

    def get(self, key: str, default: Any = None) -> Any:
        return SOMEBODY if key in FORGOTTEN else super().get(key, default)


class Shell:
    """Renders pages for the services below."""

    def __init__(self, services: Services, templates: Path = TEMPLATES) -> None:
        self.services = services
        self._env = jinja2.Environment(
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=True,
            finalize=languages.told,
        )
        self._env.filters["initials"] = words.initials
        self._env.globals["person"] = self.person
        self._env.globals["static"] = services.static.url
        self._env.globals["_"] = languages.say
        self._env.globals["_n"] = languages.count
        self._env.globals["known"] = languages.known
        self._env.globals["told"] = languages.told
        self._env.globals["number"] = words.figure
        self._env.filters["join"] = joined
        self._env.filters["capital"] = words.capital
        self.templates = Templates(self._env, services.config_dir / "templates", templates)
        self._zones: dict[str, zoneinfo.ZoneInfo] = {}
        self._titles: tuple[Any, dict[str, str]] = (None, {})
        self._persons: tuple[Any, Any, dict[str, Person]] = (None, None, {})
        self._lock = threading.Lock()

    # Rendering

    def page(self, call: Call, template: str, *, title: str, here: str = "", project: Project | None = None,
             **context: Any) -> bottle.HTTPResponse:  # fmt: skip
        """A page, or only its inside where a browser brings one up to date (`?part=1`)."""
        text = self.render(call, template, title=title, here=here, project=project, **context)
        return self.answer(call, text.encode("utf-8", "replace"))

    def render(self, call: Call, template: str, *, title: str, here: str = "", project: Project | None = None,
               **context: Any) -> str:  # fmt: skip
        """The text of a page."""
        values = dict(
            title=title,
            here=here,
            project=project,
            nav=self.nav(project, call.user),
            site=self.services.settings.get("title"),
            user=call.user,
            # The inside of a page may be shared by all who look at it: nobody's own token is in it.
            csrf="" if call.query.get("part") == "1" else call.csrf,
            path=call.path,
            part=call.query.get("part") == "1",
            trouble=self.trouble(project, call.user),
            bell=self.services.notes.unread(call.user.ident) if call.user else 0,
            lang=languages.reading(),
            languages=self.services.languages.choices(),
            project_url=f"/p/{quote(project.ident, safe='')}" if project else "",
            nav_keys=NAV_KEYS,
            script_words=script_words,
            own_logo=self.services.static.logo(),
            **context,
        )
        return self.templates.render(template, values)

    def macro(self, template: str, name: str) -> Any:
        """One macro, to be called from Python."""
        return self.templates.macro(template, name)

    def answer(self, call: Call, body: bytes) -> bottle.HTTPResponse:
        """The body with its ETag, or 304 where the browser has it. Never kept without asking again."""
        # A page that is brought up to date while its person goes on to another leaves it to that.
        told, forget = (None, None) if call.query.get("part") == "1" else said.read(self.services, call)
        if forget is not None:
            if told is not None:
                toast = str(self.macro("toast.html", "toast")(told)).encode()
                body = body.replace(TOASTS, TOASTS + toast, 1)
            found = bottle.HTTPResponse(body, 200, {"Content-Type": HTML, "Cache-Control": "no-store"})
            found.add_header(*forget)
            return found
        etag = hashlib.blake2b(body, digest_size=12).hexdigest()
        headers = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache", "Vary": VARY}
        if etag_matches(call.header("if-none-match"), etag):
            return bottle.HTTPResponse(status=304, headers=headers)
        return bottle.HTTPResponse(self.stamped(body), 200, headers={**headers, "Content-Type": HTML})

    def stamped(self, body: bytes) -> bytes:
        """The page with the newest change that it knows, so that its browser asks for those after it."""
        return body.replace(EVENT, EVENT[:-1] + self.services.events.last_id.encode() + b'"', 1)

    def nav(self, project: Project | None, user: User | None) -> list[tuple[str, str, int]]:
        """The pages of a project, or those above all projects; Problems, with their count, where there are
        any; Drop for those who may."""
        base = f"/p/{quote(project.ident, safe='')}" if project else ""
        found = [(key("Home"), f"{base}/home" if project else "/", 0)]
        if project is not None:
            found.append((key("Files"), f"{base}/assets", 0))
            found.append((key("Shots"), f"{base}/shots", 0))
            found.append((key("Team"), f"{base}/team", 0))
        found.append((key("Rendering"), f"{base}/rendering", 0))
        if project is not None:
            found.append((key("Project"), f"{base}/project", 0))
        if project is None and user is not None and user.at_least("supervisor"):
            found.append((key("People"), "/admin/users", 0))
            found.append((key("Computers"), "/computers", len(self.services.farm.machines.waiting)))
        count = self.services.problems.count(project.address if project else "")
        if count:
            found.append((key("Problems"), f"{base}/problems", count))
        return found

    def trouble(self, project: Project | None, user: User | None) -> str:
        """Why nothing of the project can be changed just now, for whoever looks; '' if all is well."""
        if project is None:
            return ""
        try:
            self.services.store.check_writable(project.address, take_in=False)
        except ShareAway as error:
            said = say_later(
                "The project’s folder isn’t connected just now. Nothing is lost: what is shown is how it was."
            )
            return together([said, error.message if user and user.at_least("admin") else ASK])
        except ReadOnly as error:
            said = say_later("This project can be looked at, but not changed just now.")
            return together([said, error.message if user and user.at_least("admin") else ASK])
        return self.services.farm.health.held_up().get(project.ident, "")

    # What words are used

    def now(self) -> datetime.datetime:
        """The moment, in the configured zone."""
        name = str(self.services.settings.get("timezone"))
        zone = self._zones.get(name)
        if zone is None:
            try:
                zone = zoneinfo.ZoneInfo(name)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                zone = zoneinfo.ZoneInfo("UTC")
            self._zones[name] = zone
        return datetime.datetime.fromtimestamp(self.services.clock(), zone)

    def titles(self) -> dict[str, str]:
        """What each user is called; the same object until the users change."""
        users = self.services.settings.folder("users")
        with self._lock:
            if self._titles[0] is not users:
                found = {
                    ident: str(data.get("title") or data.get("name") or ident)
                    for ident, data in users.items()
                }
                self._titles = (users, Titles(found))
            return self._titles[1]

    def person(self, ident: str) -> Person:
        """Who that is, for `m.face`: `ident`, `title`, `photo` (an address, or ''), `initials`. Anybody who
        isn't known is called what they are called. The same object until users or pictures change."""
        users, photos = self.services.settings.folder("users"), self.services.people.photos.urls("users")
        with self._lock:
            if self._persons[0] is not users or self._persons[1] is not photos:
                self._persons = (users, photos, {})
            known = self._persons[2]
            found = known.get(ident)
            if found is None:
                data = users.get(ident, {})
                title = str(data.get("title") or data.get("name") or ident)
                title = SOMEBODY if ident in FORGOTTEN else title
                photo = photos.get(ident, "") if data else ""
                found = {"ident": ident, "title": title, "photo": photo, "initials": words.initials(title)}
                if len(known) < PERSONS_KEPT:
                    known[ident] = found
        return found

    def team_photo(self, project: str) -> str:
        """The address of a project's picture; '' where it has none."""
        return self.services.people.photos.url("projects", project)

    def wording(self, project: Project | None) -> AssetSet:
        """The project's types, states and priorities with their titles."""
        return self.services.projects.set_of(project)

    def project(self, ident: str) -> Project:
        """The project of an address."""
        return self.services.projects.get(ident)

    def folder_for_people(self, address: str) -> str:
        """A folder as a file manager takes it: the share's configured address, else the server's path."""
        name, _, inside = address.partition("::")
        share = self.services.settings.folder("shares").get(name, {})
        shown = str(share.get("people") or "")
        if shown:
            mark = "\\" if "\\" in shown else "/"
            return shown.rstrip("/\\") + mark + inside.replace("/", mark)
        try:
            return str(self.services.store.path(address))
        except Exception as error:
            raise NotFound("There is no folder {address}.", address=address) from error


@jinja2.pass_eval_context
def joined(context: jinja2.nodes.EvalContext, parts: Iterable[Any], *how: Any, **more: Any) -> str:
    """jinja's own join, for parts that may be sentences."""
    return jinja2.filters.sync_do_join(context, [languages.told(part) for part in parts], *how, **more)


def script_words() -> dict[str, str]:
    """What the scripts of every page say, in the reader's language; they fill the {places}."""
    say = languages.say
    user, value = "{user}", "{value}"
    return {
        "undo": say("Undo"),
        "close": say("Close"),
        "copied": say("Copied. Paste it into your file manager."),
        "by-hand": say("Copy it by hand: {text}", text="{text}"),
        "unreachable": say("The server can’t be reached. Nothing was changed."),
        "answered": say("The server answered {status}.", status="{status}"),
        "lost": say("Connection lost. This is how it was at {time}. Trying again…", time="{time}"),
        "saving": say("Saving…"),
        "saved": say("Saved"),
        "failed": say("Not saved: {why}", why="{why}"),
        "changed": say("{user} changed this to “{value}”.", user=user, value=value),
        "changed-by-somebody": say("Somebody changed this to “{value}”.", value=value),
        "keep-theirs": say("Keep {user}’s", user=user),
        "keep-somebodys": say("Keep theirs"),
        "keep-yours": say("Keep yours"),
        "on": say("on"),
        "off": say("off"),
    }


def all_values(call: Call, name: str) -> list[str] | None:
    """Every value of a repeated query field; None where it isn't there at all."""
    found = parse_qs(call.environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=100)
    return found.get(name)
