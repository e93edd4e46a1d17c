"""API key secrets: `lj_live_`, 32 random base62 characters, 6 of checksum; kept as SHA-256."""

import re
import secrets
from hashlib import sha256
from zlib import crc32

PREFIX = "lj_live_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 32
_CHECKSUM = 6
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}")


def make_secret() -> str:
    """A new secret; show it once and keep its `digest`."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def well_formed(secret: str) -> bool:
    """False for a mistyped or foreign key, told by its checksum without any look-up."""
    if not _SHAPE.fullmatch(secret):
        return False
    return _checksum(secret[:-_CHECKSUM]) == secret[-_CHECKSUM:]


def digest(secret: str) -> str:
    """SHA-256 in hex: 190 random bits need no slow hash."""
    return sha256(secret.encode()).hexdigest()


def hint(secret: str) -> str:
    """What may be shown of a secret later, such as `lj_live_...x7Qa`."""
    return f"{PREFIX}...{secret[-4:]}"


def _checksum(text: str) -> str:
    number = crc32(text.encode())
    characters: list[str] = []
    for _ in range(_CHECKSUM):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
