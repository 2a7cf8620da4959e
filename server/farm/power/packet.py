"""Wake-on-LAN: six bytes of ones, then the network card's address sixteen times, to everybody by UDP."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

PORT = 9  # discard: nobody has to listen, the card looks at the pattern
TO_ALL = "255.255.255.255"


def magic(mac: str) -> bytes:
    """The packet for a network card. ValueError where that is no address of one."""
    digits = re.sub(r"[:.-]", "", mac)
    if not re.fullmatch(r"[0-9a-fA-F]{12}", digits):
        raise ValueError(f"{mac!r} is no network card's address")
    return b"\xff" * 6 + bytes.fromhex(digits) * 16


def wake(mac: str, targets: Sequence[str] = ()) -> list[str]:
    """Send it to each target (`192.168.7.255`, `192.168.7.255:9`), else to the whole network. What went wrong
    at which of them: nothing, mostly."""
    packet, troubles = magic(mac), []
    for target in targets or (TO_ALL,):
        try:
            host, port = address_of(target)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sender.sendto(packet, (host, port))
        except (OSError, ValueError) as error:
            troubles.append(f"{target}: {getattr(error, 'strerror', None) or error}")
    return troubles


def address_of(target: str) -> tuple[str, int]:
    """Host and port of a target. ValueError where it is none."""
    host, _, port = target.partition(":")
    number = int(port or PORT)
    if not 0 < number < 65536:
        raise ValueError(f"{port} is no port")
    return str(ipaddress.IPv4Address(host)), number
