"""Makes API key secrets: `lj_live_` or `lj_test_`, 32 random base62 characters, 6 of checksum.

Only their SHA-256 is stored. A key's signing secret, `lj_sign_` and as many characters, is stored
sealed: with a digest alone nobody could verify a signature.
"""

import re
import secrets
from hashlib import sha256
from zlib import crc32

PREFIX = "lj_live_"
TEST_PREFIX = "lj_test_"
SIGNING_PREFIX = "lj_sign_"
CLIENT_PREFIX = "lj_secret_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 6
_SHAPE = re.compile(
    rf"(?:{PREFIX}|{TEST_PREFIX})[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}"
)


def make_secret(*, test: bool = False) -> str:
    """Makes a secret; show it once and store its `digest`."""
    return _make(TEST_PREFIX if test else PREFIX)


def make_signing_secret() -> str:
    """Makes the secret by which a key signs postbacks; show it once."""
    return _make(SIGNING_PREFIX)


def make_client_secret() -> str:
    """Makes the secret of an OAuth client; show it once and store its `digest`."""
    return _make(CLIENT_PREFIX)


def is_well_formed(secret: str) -> bool:
    """Returns False for a mistyped or foreign key, by its checksum and without any look-up."""
    if not _SHAPE.fullmatch(secret):
        return False
    return _checksum(secret[:-_CHECKSUM_LENGTH]) == secret[-_CHECKSUM_LENGTH:]


def digest(secret: str) -> str:
    """Returns the SHA-256 in hex: 190 random bits need no slow hash."""
    return sha256(secret.encode()).hexdigest()


def hint(secret: str) -> str:
    """Returns the part of a secret that may be shown later, such as `lj_live_...x7Qa`."""
    return f"{secret[: len(PREFIX)]}...{secret[-4:]}"


def client_hint(secret: str) -> str:
    """Returns the part of a client's secret that may be shown later."""
    return f"{CLIENT_PREFIX}...{secret[-4:]}"


def _make(prefix: str) -> str:
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def _checksum(text: str) -> str:
    number = crc32(text.encode())
    characters: list[str] = []
    for _ in range(_CHECKSUM_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
