"""`run.py user add NAME` and `run.py user password NAME`: people, and how they sign in."""

from __future__ import annotations

import argparse
import getpass
import sys

from server.cli import places
from server.disk.errors import BadInput
from server.library.people import People
from server.web.session import CODE_FILE


def run(options: argparse.Namespace) -> int:
    people = People(places.settings(options))
    if options.action == "add":
        password = "" if options.no_password else ask_password()
        more = {"system": options.system} if options.system else {}
        people.add(options.name, options.role, options.title or "", password, **more)
        if options.role == "admin" and password:
            close_first_door(options)
        print(f"Added {options.name}, a {options.role}.")
    else:
        people.user(options.name)  # an unknown name is told before anybody types a password
        people.set_password(options.name, ask_password())
        if people.user(options.name).role == "admin":
            close_first_door(options)
        print(f"{options.name} signs in with the new password from now on.")
    return 0


def close_first_door(options: argparse.Namespace) -> None:
    """An admin has a password now: the one-time code of the first sign-in opens nothing any more."""
    (places.config_dir(options) / CODE_FILE).unlink(missing_ok=True)


def ask_password() -> str:
    """From the terminal, twice; else the first line of standard input, for scripts."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise BadInput("no password came in on standard input; --no-password makes a user without one.")
        return password
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise BadInput("the two passwords differ; nothing was changed.")
    return password
