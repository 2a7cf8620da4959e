"""A node without a token asks its server to be admitted: a person says yes on the page Computers.

It prints a code that the page shows too, waits, and writes the token that it gets into its configuration,
readable for its own user alone. Until then a secret beside the configuration proves who asks.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple
from urllib.parse import urlsplit

from . import VERSION, hardware
from .config import Config, ConfigError, Program, read_object
from .output import known_secrets
from .wire import reason

log = logging.getLogger("croft.node")
AGAIN_S = 5.0
LONGEST_S = 300.0
TIMEOUT_S = 30.0
MAX_BYTES = 1 << 20


def admitted(
    config: Config,
    program: Optional[Program],
    ending: threading.Event,
    say: Callable[[str], None] = print,
) -> Optional[Config]:
    """The configuration with a token; None when `ending` was set first. ConfigError: the server says no."""
    place = config.file.with_name(f".{config.file.stem}.secret")
    request = {
        "name": config.name,
        "secret": secret_in(place),
        "hardware": hardware.describe(),
        "version": VERSION,
        "mac": hardware.mac(),
        "programs": {"blender": hardware.blender_version(program)} if program is not None else {},
        "slots": len(config.processes),
    }
    code, away = "", ""
    while not ending.is_set():
        try:
            status, answer = ask(config.servers[0][0], request)
        except (OSError, http.client.HTTPException) as error:
            if away != str(error):
                away = str(error)
                log.warning(
                    "the server at %s can't be reached: %s; asking again", config.server, reason(error)
                )
            ending.wait(AGAIN_S)
            continue
        told = answer.get("data")
        data: Dict[str, Any] = told if isinstance(told, dict) else {}
        said = str(answer.get("message") or f"the server answers {status}")
        if status == 200 and isinstance(data.get("token"), str):
            return with_token(config, data, place)
        if status not in (202, 429, 502, 503):
            raise ConfigError(said)
        if data.get("code") and data["code"] != code:
            code = str(data["code"])
            say(f"node: {said}")
            if code not in said:
                say(f"node: the code of this computer is {code}")
        again = data.get("again")
        again_s = float(again) if isinstance(again, (int, float)) and again > 0 else AGAIN_S
        ending.wait(min(again_s, LONGEST_S))
    return None


def ask(server: str, request: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
    parts = urlsplit(server)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        path = parts.path.rstrip("/") + "/register"
        connection.request("POST", path, json.dumps(request), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read(MAX_BYTES)
    finally:
        connection.close()
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    return answer.status, found if isinstance(found, dict) else {}


def with_token(config: Config, data: Dict[str, Any], place: Path) -> Config:
    """Keeps the token where the configuration is; the secret has done its duty."""
    token, name = str(data["token"]), str(data.get("name") or config.name)
    known_secrets.add(token)
    content = read_object(config.file)
    content.update(token=token, name=name)
    write_private(config.file, json.dumps(content, indent=2) + "\n")
    try:
        place.unlink()
    except OSError:
        pass
    log.info("admitted as %s", name)
    servers = [(url, known or token) for url, known in config.servers]
    return dataclasses.replace(config, token=token, name=name, servers=servers)


def secret_in(place: Path) -> str:
    """The same after a restart, so that the same request goes on waiting."""
    try:
        known = place.read_text("ascii").strip()
        if len(known) >= 32:
            return known
    except (OSError, ValueError):
        pass
    fresh = secrets.token_hex(24)
    try:
        write_private(place, fresh + "\n")
    except OSError as error:
        raise ConfigError(f"{place} can't be written: {error.strerror}") from None
    return fresh


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, for this user alone."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
