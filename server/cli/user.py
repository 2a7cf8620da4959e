"""`run.py user …`: who there is, how they sign in, adding them and taking them out."""

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
    if options.action == "list":
        show(people)
        return 0
    if options.action == "add":
        add(options, people)
        return 0
    title = people.user(options.name).title  # an unknown name is told before anybody types a password
    if options.action == "password":
        people.set_password(options.name, ask("Password"))
        if people.user(options.name).role == "admin":
            close_first_door(options)
        print(f"{options.name} signs in with the new password from now on.")
    elif options.action == "pin":
        people.set_pin(options.name, ask("PIN"))
        print(f"{options.name} signs in with the new PIN from now on.")
    elif options.action == "tap":
        people.open_door(options.name)
        print(f"{options.name} signs in by a tap from now on.")
    elif options.action in ("off", "on"):
        people.change(options.name, {"disabled": options.action == "off"})
        print(f"{title} is switched {options.action}.")
    else:
        people.remove(options.name)
        print(f"{title} is removed. Their files stay, and say whose they were; 'run.py forget' changes that.")
    return 0


def add(options: argparse.Namespace, people: People) -> None:
    secret = "" if options.no_password else ask("PIN" if options.pin else "Password")
    more = {"system": options.system} if options.system else {}
    if options.project:
        more["projects"] = options.project
    password, pin = ("", secret) if options.pin else (secret, "")
    people.add(options.name, options.role, options.title or "", password, pin, **more)
    if options.role == "admin" and password:
        close_first_door(options)
    print(f"Added {options.name}, a {options.role}.")


def show(people: People) -> None:
    """One person a line: name, role, how they sign in, projects, what they are called."""
    for user in people.users():
        door = "off" if user.disabled else user.door
        projects = ",".join(user.projects) or "-"
        print(f"{user.ident:20} {user.role:10} {door:8} {projects:20} {user.title}")


def close_first_door(options: argparse.Namespace) -> None:
    """An admin has a password now: the one-time code of the first sign-in opens nothing any more."""
    (places.config_dir(options) / CODE_FILE).unlink(missing_ok=True)


def ask(what: str) -> str:
    """From the terminal, twice; else the first line of standard input, for scripts."""
    if not sys.stdin.isatty():
        found = sys.stdin.readline().rstrip("\r\n")
        if not found:
            raise BadInput("no {what} came in on standard input; --no-password adds somebody without one.",
                           what=what.lower() if what == "Password" else what)  # fmt: skip
        return found
    found = getpass.getpass(f"{what}: ")
    if getpass.getpass("Again: ") != found:
        raise BadInput("they differ; nothing was changed.")
    return found
