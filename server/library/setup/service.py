"""The systemd units with this machine's paths, and whether they are there and at work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from server.disk.speech import say
from server.library.setup.machine import Machine
from server.library.setup.records import Check, note, right, todo, wrong

MISC = Path(__file__).resolve().parents[3] / "misc"
NAME = "croft.service"
BACKUP = ("croft-backup.service", "croft-backup.timer")
SHIPPED = {"clone": "/srv/croft", "config": "/etc/croft", "data": "/srv/pool/film", "mount": "/srv/pool"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on this machine, and whom Croft runs as."""

    clone: Path
    config: Path
    data: Path
    user: str
    group: str
    mount: str  # what the data folder lies on
    backup: str = ""


def unit(places: Places) -> str:
    """misc/croft.service with these paths, without its first comment."""
    text = (MISC / NAME).read_text("utf-8")
    text = text[text.index("[Unit]") :]
    text = text.replace(f"file:{SHIPPED['clone']}/", f"file:{_url(places.clone)}/")
    text = text.replace(
        f"RequiresMountsFor={SHIPPED['mount']}\n", f"RequiresMountsFor={_word(places.data)}\n"
    )
    text = re.sub(r"^User=.*$", lambda _: f"User={places.user}", text, flags=re.MULTILINE)
    text = re.sub(r"^Group=.*$", lambda _: f"Group={places.group}", text, flags=re.MULTILINE)
    start = f"/usr/bin/python3 {_word(places.clone / 'run.py')} serve --config {_word(places.config)}"
    start += f" --data {_word(places.data)} --host 0.0.0.0"
    text = re.sub(r"^ExecStart=.*$", lambda _: f"ExecStart={start}", text, flags=re.MULTILINE)
    return re.sub(
        r"^ReadWritePaths=.*$", lambda _: f"ReadWritePaths={_word(places.config)}", text, flags=re.MULTILINE
    )


def backup_units(places: Places) -> dict[str, str]:
    """misc/croft-backup.service and .timer with these paths."""
    found = {}
    for name in BACKUP:
        text = (MISC / name).read_text("utf-8")
        text = text[text.index("[Unit]") :].replace(
            "/srv/pool /mnt/backup", f"{_word(places.data)} {_word(Path(places.backup or '/mnt/backup'))}"
        )
        text = text.replace(f"--config {SHIPPED['config']}", f"--config {_word(places.config)}")
        text = text.replace(
            "ReadWritePaths=/mnt/backup /etc/croft",
            f"ReadWritePaths={_word(Path(places.backup or '/mnt/backup'))} {_word(places.config)}",
        )
        found[name] = text
    return found


def _word(path: Path) -> str:
    """A path as a unit takes it: % doubled, quoted where it holds blanks."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    return f'"{text}"' if re.search(r"\s", text) else text


def _url(path: Path) -> str:
    return str(path).replace("%", "%%").replace(" ", "%%20")


def look(places: Places, machine: Machine) -> list[Check]:
    """Whether Croft starts with the machine, as the user and with the paths that it has now."""
    systemctl = machine.program("systemctl")
    if systemctl is None:
        return [
            todo(
                say("This machine has no systemd."),
                say("Let its own way of starting programs run the line 'ExecStart' below."),
            )
        ]
    file = machine.units / NAME
    command = f"sudo python3 run.py setup service --write {machine.units}"
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return [todo(say("Croft doesn't start with the machine yet."), say("Write the unit:"), command)]
    checks = []
    for name in ("User", "Group", "ExecStart"):
        found, wanted = _said(text, name), _said(unit(places), name)
        if name == "ExecStart" and _without_port(found) != _without_port(wanted):
            checks.append(
                note(
                    say("{file} starts it with other paths: {found}", file=file, found=found[:300]),
                    say("Now it is: {wanted}", wanted=wanted),
                )
            )
        elif name != "ExecStart" and found != wanted:
            checks.append(
                note(
                    say(
                        "{file} says {name}={found}, and now it is {wanted}.",
                        file=file,
                        name=name,
                        found=found,
                        wanted=wanted,
                    ),
                    say("Which is right?"),
                )
            )
    if places.user == "root":
        text = say("Croft runs as root: a fault in it, or in a library, would have the whole machine.")
        checks.append(
            wrong(
                text,
                say("Give it a user of its own, and the files to that user:"),
                "useradd --system --create-home --groups film croft",
            )
        )
    state = machine.run([systemctl, "is-enabled", NAME]).stdout.strip()
    if state != "enabled":
        checks.append(
            todo(
                say("The unit is there, but doesn't start with the machine."),
                say("Enable it:"),
                f"systemctl daemon-reload && systemctl enable --now {NAME}",
            )
        )
    state = machine.run([systemctl, "is-active", NAME]).stdout.strip()
    if state != "active":
        checks.append(
            wrong(
                say("The service is {state}.", state=state or "not running"),
                say("See why:"),
                f"journalctl -u {NAME} -n 50",
            )
        )
    return checks or [right(say("Croft runs as a service and starts with the machine."))]


def _said(text: str, key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _without_port(line: str) -> str:
    return re.sub(r" --(host|port) \S+", "", line)


def write(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Units into a folder; one that is there and says something else is kept beside it as `….before`."""
    written = []
    for name, text in texts.items():
        file = folder / name
        if file.exists() and file.read_text("utf-8", "replace") != text:
            file.replace(file.with_name(name + ".before"))
        file.write_text(text, "utf-8")
        file.chmod(0o644)
        written.append(file)
    return written
