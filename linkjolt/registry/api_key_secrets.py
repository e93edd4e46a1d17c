"""API key secrets: `lj_live_` or `lj_test_`, 32 random base62 characters, 6 of checksum.

Only their SHA-256 is kept.
"""

import re
import secrets
from hashlib import sha256
from zlib import crc32

PREFIX = "lj_live_"
TEST_PREFIX = "lj_test_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 32
_CHECKSUM = 6
_SHAPE = re.compile(rf"(?:{PREFIX}|{TEST_PREFIX})[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}")


def make_secret(*, test: bool = False) -> str:
    """A new secret; show it once and keep its `digest`."""
    prefix = TEST_PREFIX if test else PREFIX
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
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
    return f"{secret[: len(PREFIX)]}...{secret[-4:]}"


def _checksum(text: str) -> str:
    number = crc32(text.encode())
    characters: list[str] = []
    for _ in range(_CHECKSUM):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
