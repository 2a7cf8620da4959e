"""What came of a form that led to another page, or of any without scripts: said once, on the page shown next.

Kept in a signed cookie alone, so that no address can make a page say something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

if TYPE_CHECKING:
    from server.web.requests import Call
    from server.web.services import Services

KEPT_S = 120  # a page that isn't loaded by then says nothing
MOST = 900  # characters, so that a browser keeps the cookie
RULES = "Path=/; HttpOnly; SameSite=Lax"

Header = tuple[str, str]


def keep(services: Services, text: str, undo: str = "") -> Header:
    """The header that has a sentence said on the next page, with the call that takes it back."""
    told = {"text": text[:MOST], "undo": undo if len(undo) < MOST else ""}
    return ("Set-Cookie", f"{name_of(services)}={signer(services).dumps(told)}; Max-Age={KEPT_S}; {RULES}")


def read(services: Services, call: Call) -> tuple[dict[str, Any] | None, Header | None]:
    """What is to be said now, if anything, and the header that forgets it."""
    name = f"{name_of(services)}="
    if name not in call.header("cookie"):
        return None, None
    parts = (part.strip() for part in call.header("cookie").split(";"))
    value = next((part.removeprefix(name) for part in parts if part.startswith(name)), "")
    forget = ("Set-Cookie", f"{name}; Max-Age=0; {RULES}")
    try:
        found = signer(services).loads(value, max_age=KEPT_S)
    except BadSignature:
        return None, forget
    return (found if isinstance(found, dict) else None), forget


def name_of(services: Services) -> str:
    return f"{services.sessions.cookie}-said"


def signer(services: Services) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(services.settings.secret(), salt="croft said")
