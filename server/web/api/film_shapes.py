"""The shapes of a project's film."""

from __future__ import annotations

from server.web.api.schema import TEXT, TRUTH, WHOLE, Schema, shape

FILM_SHAPES: dict[str, Schema] = {
    "FilmFrame": shape(
        "n task frame shot gap image thumbnail large",
        n={**WHOLE, "description": "from 0 on"},
        task={**WHOLE, "description": "the same: the page of the film knows which render's it is"},
        frame={**WHOLE, "description": "of the film, from 1 on"},
        shot={"type": "string", "description": "what the shot is called"},
        gap={**TRUTH, "description": "the shot has no picture: a slate stands for it"},
        image=TEXT,
        thumbnail=TEXT,
        large=TEXT,
    ),
}
