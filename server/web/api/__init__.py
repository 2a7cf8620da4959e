"""The API's calls. Each room lists its own; `ROUTES` is all of them."""

from server.web.api import people
from server.web.api.table import Route, Table

__all__ = ["ROUTES", "Route", "Table"]

ROUTES: list[Route] = [*people.ROUTES]
