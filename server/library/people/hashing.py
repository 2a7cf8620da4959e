"""Passwords and PINs as scrypt hashes: made, and compared in a time that tells nothing.

Pure, but for the random salt. A stored hash that isn't one of ours never fits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets

from server.disk.errors import BadInput

SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1  # 16 MB and some 40 ms: RFC 7914's figures for signing in
PASSWORD_LIMIT = 1024  # characters; scrypt would hash megabytes gladly
PINS = re.compile(r"[0-9]{4,8}")


def hash_password(password: str) -> str:
    """`scrypt$n$r$p$salt$hash`, salt and hash in base64. BadInput if it is empty or too long."""
    if not password:
        raise BadInput("The password is empty.", field="password")
    if len(password) > PASSWORD_LIMIT:
        raise BadInput(
            "The password is longer than {password_limit} characters.",
            field="password",
            password_limit=PASSWORD_LIMIT,
        )
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), *encoded))


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` gave `stored`. False for a `stored` that isn't one of ours."""
    parts = stored.split("$")
    if len(parts) != 6 or parts[0] != "scrypt" or len(password) > PASSWORD_LIMIT:
        return False
    try:
        n, r, p = (int(part) for part in parts[1:4])
        salt, key = (base64.b64decode(part, validate=True) for part in parts[4:])
        return hmac.compare_digest(_scrypt(password, salt, n, r, p), key)
    except (ValueError, MemoryError, binascii.Error):
        return False


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    if n > 2**18 or r > 32 or p > 16:
        raise ValueError("a password hash that asks for gigabytes")
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + 2**20, dklen=32)


# The hash of nothing: verifying against it takes as long as against a real one.
NOBODY = "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), "A" * 22 + "==", "A" * 43 + "="))
