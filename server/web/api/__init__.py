"""The API's calls. Each room lists its own; `ROUTES` is all of them."""

from server.web.api import (
    assets,
    failures,
    farm,
    files,
    film,
    frames,
    history,
    job_types,
    jobs,
    nodes,
    notes,
    operations,
    people,
    photos,
    problems,
    projects,
    saves,
    search,
    setup,
    statistics,
    uploads,
    why,
)
from server.web.api.table import Route, Table

__all__ = ["ROUTES", "Route", "Table"]

ROUTES: list[Route] = [
    *people.ROUTES,
    *photos.ROUTES,
    *projects.ROUTES,
    *film.ROUTES,
    *saves.ROUTES,
    *notes.ROUTES,
    *assets.ROUTES,
    *search.ROUTES,
    *files.ROUTES,
    *uploads.ROUTES,
    *jobs.ROUTES,
    *job_types.ROUTES,
    *failures.ROUTES,
    *frames.ROUTES,
    *farm.ROUTES,
    *nodes.ROUTES,
    *why.ROUTES,
    *statistics.ROUTES,
    *operations.ROUTES,
    *history.ROUTES,
    *problems.ROUTES,
    *setup.ROUTES,
]
