"""Seals secrets with AES-256-GCM, so that what Redis stores opens nothing without the key file.

A sealed value is text, `sealed1.{key id}.{name}.{base64}`, that JSON and SQLite hold as it is.
Its place, the Redis key and a name there, is authenticated: it opens nowhere else.
"""

import base64
import binascii
import os
import re
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from linkjolt.storage.key_file import KeyFileError, SecretKey, read_key_file

_PREFIX = "sealed1."
_NONCE_BYTES = 12
_NAME = re.compile(r"[\w:-]+", re.ASCII)
_TOKEN = re.compile(rb"sealed1\.([0-9a-f]{12})\.([A-Za-z0-9_:-]+)\.([A-Za-z0-9_-]+)")


class SealError(Exception):
    """A sealed value that does not open: changed, moved, or sealed by a key that is missing."""


class UnknownKey(SealError):
    """A value sealed by a key that the key file lacks."""

    def __init__(self, key_id: str, path: Path) -> None:
        super().__init__(f"sealed by the key {key_id}, which the key file {path} lacks")
        self.key_id = key_id


class Place(msgspec.Struct, frozen=True):
    """The place of a secret: a Redis key, and its field or a name of its own in the value.

    A rotation finds what is sealed in strings and hashes under `lj:{r}:`. The name has letters,
    digits, `_`, `-` and `:`.
    """

    key: str
    name: str

    def associated_data(self) -> bytes:
        return f"linkjolt sealed1\n{self.key}\n{self.name}".encode()


class Sealer:
    """Seals by the first key of the key file, and opens by all that it ever had in this process.

    A replaced file is read again by itself: before anything is sealed, and for an unknown key.
    Without a file it has no keys, and seals nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status: tuple[int, ...] | None = None
        self._in_file: tuple[SecretKey, ...] = ()
        self._ciphers: dict[str, AESGCM] = {}
        self._retired: set[str] = set()
        self._read(_file_status(path))

    def reload(self) -> None:
        """Reads the file if it is another than before; KeyFileError where it is unusable."""
        status = _file_status(self.path)
        if status != self._status:
            self._read(status)

    def _read(self, status: tuple[int, ...] | None) -> None:
        keys = read_key_file(self.path)
        if keys is not None:
            self._in_file = keys
            # Keys that left the file stay: memory may still hold what they sealed.
            self._ciphers |= {key.id: AESGCM(key.value) for key in keys}
            self._status = status

    @property
    def keys(self) -> tuple[SecretKey, ...]:
        """The keys of the file in order, none where there was never a file."""
        return self._in_file

    @property
    def key_ids(self) -> set[str]:
        return {key.id for key in self._in_file}

    def retire(self, *key_ids: str) -> None:
        """Lets these keys seal nothing any more, whatever their place in the file."""
        self._retired.update(key_ids)

    def sealing_key(self) -> SecretKey:
        """Returns the key that seals now; KeyFileError where there is none."""
        self._reload_or_keep()
        usable = [key for key in self._in_file if key.id not in self._retired]
        if not usable:
            fault = "has only keys that a rotation replaced" if self._in_file else "is missing"
            raise KeyFileError(
                f"the key file {self.path} {fault}: copy it from where its keys were rotated, or"
                " put it back from a copy"
            )
        return next((key for key in usable if not key.waits), usable[0])

    def seal(self, place: Place, secret: bytes) -> str:
        """Seals a secret for its place: every time another text."""
        if not _NAME.fullmatch(place.name):
            raise ValueError(f"{place.name!r} is no name of a place")
        key = self.sealing_key()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[key.id].encrypt(nonce, secret, place.associated_data())
        text = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        return f"{_PREFIX}{key.id}.{place.name}.{text}"

    def open(self, place: Place, sealed: str | bytes) -> bytes:
        """Returns the secret; SealError where the text is none of this place."""
        match = _TOKEN.fullmatch(sealed.encode() if isinstance(sealed, str) else sealed)
        if match is None or match[2].decode() != place.name:
            raise SealError(f"not a sealed {place.name} of {place.key}")
        cipher = self._cipher(match[1].decode())
        try:
            raw = base64.urlsafe_b64decode(match[3] + b"=" * (-len(match[3]) % 4))
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.associated_data())
        except (InvalidTag, ValueError, binascii.Error):
            raise SealError(f"the sealed {place.name} of {place.key} was changed") from None

    def renew(self, place: Place, sealed: str) -> str:
        """Returns the text sealed by the key that seals now: itself where it is already."""
        if sealed_by(sealed) == {self.sealing_key().id}:
            return sealed
        return self.seal(place, self.open(place, sealed))

    def renew_all(self, key: str, value: bytes) -> bytes:
        """Renews every sealed text in the value of a Redis key, such as an entry's JSON."""

        def renewed(match: re.Match[bytes]) -> bytes:
            return self.renew(Place(key, match[2].decode()), match[0].decode()).encode()

        return _TOKEN.sub(renewed, value)

    def _cipher(self, key_id: str) -> AESGCM:
        if key_id not in self._ciphers:
            self._reload_or_keep()
        if key_id not in self._ciphers:
            raise UnknownKey(key_id, self.path)
        return self._ciphers[key_id]

    def _reload_or_keep(self) -> None:
        try:
            self.reload()
        except KeyFileError:
            # A running process goes on with its keys; the next start refuses the file.
            if not self._in_file:
                raise

    def __repr__(self) -> str:
        return f"Sealer({self.path}, {[key.id for key in self._in_file]})"


def is_sealed(value: str | bytes) -> bool:
    """Returns whether a value is one sealed text."""
    raw = value.encode() if isinstance(value, str) else value
    return _TOKEN.fullmatch(raw) is not None


def sealed_by(value: str | bytes) -> set[str]:
    """Finds the ids of the keys by which anything in a value is sealed."""
    raw = value.encode() if isinstance(value, str) else value
    return {key_id.decode() for key_id, _, _ in _TOKEN.findall(raw)}


def _file_status(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid
