"""Reads and writes the key file, whose keys seal the secrets that Redis stores.

A line holds one key, 32 bytes in base64; `#` begins a comment. The first key seals, all open. Keys
behind the word `next` only open, until a rotation makes them the first.
"""

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import click
import msgspec

KEY_BYTES = 32
_FILE_MAX_BYTES = 1 << 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NEXT = "next "
_COMMENT = """\
# The keys that seal LinkJolt's secrets in Redis: without this file nobody opens them.
# Keep a copy apart from the backups of Redis; `linkjolt secrets rotate` changes the keys.
"""


class KeyFileError(click.ClickException):
    """Refuses to start with this key file; the message names it and the remedy."""


class SecretKey(msgspec.Struct, frozen=True):
    """A key of the file; one that `waits` seals nothing yet."""

    value: bytes
    waits: bool = False

    @property
    def id(self) -> str:
        """Names the key in what it sealed, without giving anything of it away."""
        return sha256(b"linkjolt key id" + self.value).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"SecretKey({self.id})"


def make_key(*, waits: bool = False) -> SecretKey:
    return SecretKey(secrets.token_bytes(KEY_BYTES), waits)


def read_key_file(path: Path) -> tuple[SecretKey, ...] | None:
    """Returns the keys of the file, None where there is no file; else KeyFileError."""
    try:
        # Not blocking: a pipe would hold the start for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        _check_private(path, os.fstat(fd))
        return _parse(path, os.read(fd, _FILE_MAX_BYTES + 1))
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"the key file {path} is no regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        raise KeyFileError(
            f"the key file {path} is open to other users (mode {mode:04o}): chmod 600 {path}, and"
            " rotate its keys if somebody may have read them (linkjolt secrets rotate)"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyFileError(
            f"the key file {path} belongs to another user (id {status.st_uid}): change its owner"
        )


def _parse(path: Path, content: bytes) -> tuple[SecretKey, ...]:
    if len(content) > _FILE_MAX_BYTES:
        raise KeyFileError(f"the key file {path} is too long: it is none of LinkJolt's")
    keys: list[SecretKey] = []
    # Any byte has a character in Latin-1; base64 refuses those that are not ASCII.
    for number, line in enumerate(content.decode("latin-1").split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        value = _decoded(text.removeprefix(_NEXT).strip())
        if len(value) != KEY_BYTES:
            raise KeyFileError(
                f"the key file {path}, line {number}: not a key, which is {KEY_BYTES} bytes in"
                " base64; put the file back from a copy"
            )
        keys.append(SecretKey(value, text.startswith(_NEXT)))
    if not keys:
        raise KeyFileError(f"the key file {path} holds no key: put it back from a copy")
    if len({key.value for key in keys}) < len(keys):
        raise KeyFileError(f"the key file {path} holds a key twice")
    return tuple(keys)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def create_key_file(path: Path) -> bool:
    """Creates the file with a new key, mode 0600; returns False where there is one already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = _write_beside(path, [make_key()])
        try:
            # A link, unlike a rename, never replaces the file of another process.
            os.link(new, path)
        except FileExistsError:
            return False
        finally:
            new.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be written: {error.strerror}; LINKJOLT_SECRET_KEY_FILE"
            " may name another place"
        ) from None
    return True


def replace_key_file(path: Path, keys: Sequence[SecretKey]) -> None:
    """Replaces the file atomically; KeyFileError where that fails."""
    try:
        # The file itself where the path is a link to it.
        place = path.resolve()
        for left in place.parent.glob(f".{place.name}.*.new"):
            # A killed process left it, with a key in it.
            left.unlink(missing_ok=True)
        os.replace(_write_beside(place, keys), place)
        _sync_folder(place.parent)
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from None


def _write_beside(path: Path, keys: Sequence[SecretKey]) -> Path:
    lines = [(_NEXT if key.waits else "") + base64.b64encode(key.value).decode() for key in keys]
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            new.unlink()
            raise KeyFileError(
                f"the file system of {path} has no permissions, so that others could read the key"
                " file: set LINKJOLT_SECRET_KEY_FILE to a path on another one"
            )
        file.write((_COMMENT + "\n".join(lines) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    return new


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
