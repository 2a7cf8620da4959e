"""The running server, as a command that stands beside its configuration reaches it.

Without a token of the person's own a short-lived one of an admin is made for this one call and revoked
afterwards: who may write the configuration may do everything anyway.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.cli import places
from server.cli.client import TIMEOUT_S, CallFailed, Client
from server.disk.errors import BadInput
from server.disk.settings import LOOK_S, Settings
from server.library.people import People

LONG_S = 1800.0  # a copy of a large file, on an old disk
LASTS_S = 3600.0  # a crashed command leaves a token that soon opens nothing


@contextmanager
def running_server(options: argparse.Namespace, timeout_s: float = TIMEOUT_S) -> Iterator[Client]:
    settings = places.settings(options)
    url = options.server or url_of(settings)
    token = options.token or os.environ.get("CROFT_TOKEN", "")
    if token:
        yield Client(url, token, timeout_s)
        return
    people = People(settings)
    token = people.make_token(user=an_admin(people), title="one call of run.py", lasts_s=LASTS_S)
    try:
        client = Client(url, token, timeout_s)
        wait_until_known(client)
        yield client
    finally:
        people.revoke(token.partition(".")[0])


def url_of(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.get("host"), settings.get("host"))
    return f"http://{host}:{settings.get('port')}"


def an_admin(people: People) -> str:
    for user in people.users():
        if user.role == "admin" and not user.disabled:
            return user.ident
    raise BadInput("nobody in this configuration is an admin: name a --token, or add one with 'user add'.")


def wait_until_known(client: Client) -> None:
    """A server looks at its configuration once a second: a new token may take that long."""
    last = time.monotonic() + 3 * LOOK_S
    while True:
        try:
            client.get("/api/session")
            return
        except CallFailed as error:
            if error.status != 401 or time.monotonic() > last:
                raise
            time.sleep(LOOK_S / 10)
