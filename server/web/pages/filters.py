"""What the page of files can be asked for: its filters, orders and looks, as its address says them. Pure.

Every link that it makes is the whole address of another such page, so that all of it works without a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from server.disk.speech import Said, say
from server.library.search import among

if TYPE_CHECKING:
    from server.library.projects import AssetSet, State

Asked = dict[str, str]
Field = tuple[str, Said, list[tuple[str, str, str]]]  # field, label, (value, title, types) of each option
Choice = tuple[str, Said, list[tuple[str, str]]]  # field, label, (value, title) of each option

FILTERS = ("q", "type", "state", "owner", "sort", "files", "view")
NARROWING = ("q", "type", "state", "owner")  # those that leave files out
NOBODY = "none"
YES = "1"  # as `files`: textures and other files too, that nobody tracks
TABLE, THUMBNAILS, CONTACT = "", "thumbs", "sheet"
VIEWS = ((TABLE, say("Table")), (THUMBNAILS, say("Thumbnails")), (CONTACT, say("Contact sheet")))
FIRST = "name"  # the order if nobody says
SORTS = (
    ("name", say("Name, A to Z")),
    ("-name", say("Name, Z to A")),
    ("-priority", say("Most urgent first")),
    ("priority", say("Least urgent first")),
    ("state", say("State, first to last")),
    ("-state", say("State, last to first")),
    ("owner", say("Owner, A to Z")),
    ("-owner", say("Owner, Z to A")),
    ("type", say("Type, first to last")),
    ("-type", say("Type, last to first")),
    ("-modified", say("Newest first")),
    ("modified", say("Oldest first")),
    ("path", say("Folder")),
    ("-size", say("Largest first")),
)
HEADS = (  # label, class, the order that a click gives, and the one that the next click gives
    (say("Name"), "", "name", "-name"),
    (say("Type"), "wide", "type", "-type"),
    (say("Owner"), "narrow-off", "owner", "-owner"),
    (say("State"), "", "state", "-state"),
    (say("Priority"), "wide", "-priority", "priority"),
    (say("Changed"), "wide", "-modified", "modified"),
)
OLD_NAMES = {"changed": "modified", "-changed": "-modified", "title": "name", "-title": "-name"}


def asked_of(query: Mapping[str, str]) -> Asked:
    """What a page's address asks for; every filter is there, those that aren't asked are ''."""
    asked = {name: query.get(name, "") for name in FILTERS}
    if asked["type"] == "everything":  # in addresses that people kept
        asked["type"], asked["files"] = "", YES
    asked["sort"] = OLD_NAMES.get(asked["sort"], asked["sort"])
    if asked["sort"] == FIRST:
        asked["sort"] = ""
    if asked["view"] not in (THUMBNAILS, CONTACT):
        asked["view"] = TABLE
    return asked


def address(asked: Mapping[str, str], **changes: str | int) -> str:
    """The address of the page with these changes; '?' alone where nothing is asked."""
    return "?" + urlencode({name: value for name, value in {**asked, **changes}.items() if value})


def pills(words: AssetSet, asked: Asked) -> list[dict[str, Any]]:
    """A pill for each type that is offered or asked for: whether its files are shown, the address that turns
    it, the one that shows it alone."""
    named = among(asked["type"], words.types) if asked["type"] else None
    types = {one.ident: one.title for one in words.offered_types}
    if named is not None and not asked["type"].startswith("-"):
        types |= {ident: one.title for ident, one in words.types.items() if named(ident)}
    shown = [ident for ident in types if named is None or named(ident)]
    return [
        {
            "title": title,
            "on": ident in shown,
            "url": address(asked, type=_named(list(types), {*shown} ^ {ident})),
            "solo": address(asked, type=ident),
        }
        for ident, title in types.items()
    ]


def _named(types: list[str], shown: set[str]) -> str:
    """The types that are shown, or with a '-' those that aren't, whichever is shorter. Where none would be
    left, all are."""
    hidden = [ident for ident in types if ident not in shown]
    if not shown or not hidden:
        return ""
    if len(shown) <= len(hidden):
        return ",".join(ident for ident in types if ident in shown)
    return ",".join("-" + ident for ident in hidden)


def views(asked: Asked) -> list[dict[str, Any]]:
    """The looks, each with its address."""
    return [
        {"title": title, "on": asked["view"] == view, "url": address(asked, view=view)}
        for view, title in VIEWS
    ]


def choices(words: AssetSet, titles: Mapping[str, str], asked: Asked) -> list[Choice]:
    """The lists to choose from, with what they offer. A value of the address that isn't offered is kept."""
    people = sorted(titles.items(), key=lambda pair: pair[1].casefold())
    found: list[Choice] = [
        ("state", say("State"), [("", say("Every state")), *titled(states_of(words))]),
        ("owner", say("Owner"), [("", say("Everybody")), (NOBODY, say("Nobody yet")), *people]),
        ("sort", say("Sorted by"), [one for one in SORTS if words.visible or "priority" not in one[0]]),
    ]
    for name, _, options in found:
        value = asked[name] or (FIRST if name == "sort" else "")
        if value not in (option for option, _ in options):
            options.append((value, value))
    return found


def fields(words: AssetSet, titles: Mapping[str, str]) -> list[Field]:
    """What can be changed in a row, and of several at once. A state may be of some types alone."""
    people = sorted(titles.items(), key=lambda pair: pair[1].casefold())
    found: list[Field] = [
        (
            "state",
            say("State"),
            [(one.ident, one.title, _types_of(words, one.ident)) for one in states_of(words)],
        ),
        (
            "owner",
            say("Owner"),
            [(NOBODY, say("Nobody yet"), ""), *((one, title, "") for one, title in people)],
        ),
    ]
    if urgent := words.offered_priorities:
        found.append(("priority", say("Priority"), [(str(number), title, "") for number, title in urgent]))
    return found


def states_of(words: AssetSet) -> list[State]:
    """Every state that some type goes through, in the set's order."""
    reached = {one.ident for kind in words.offered_types for one in words.offered_states(kind.ident)}
    return [one for one in words.states.values() if one.offered or one.ident in reached]


def _types_of(words: AssetSet, state: str) -> str:
    """The types that go through a state, where not all do."""
    types = words.offered_types
    found = [one.ident for one in types if state in (s.ident for s in words.offered_states(one.ident))]
    return " ".join(found) if len(found) < len(types) else ""


def titled(known: Iterable[Any]) -> list[tuple[str, str]]:
    """Ident and title of each type or state."""
    return [(one.ident, one.title) for one in known]


def heads(words: AssetSet, asked: Asked) -> list[dict[str, Any]]:
    """The columns' heads, each a link that sorts by it."""
    made = []
    for label, place, first, second in HEADS:
        if second == "priority" and not words.visible:
            label = say("Waited for")  # what is left in that column
        order = {first: first, second: second}.get(asked["sort"] or FIRST, "")
        sort = second if order == first else first
        said = ("descending" if order.startswith("-") else "ascending") if order else ""
        made.append({"label": label, "place": place, "url": address(asked, sort=sort), "order": said})
    return made


def is_narrowed(asked: Asked) -> bool:
    """Whether something is left out by a filter."""
    return any(asked[name] for name in NARROWING)
