"""Opens the key file at the start of a process, and seals what a release before stored plain.

A missing or a wrong key file where something is sealed stops the start, and changes nothing: a new
key would open nothing of it.
"""

from collections.abc import Callable, Mapping
from typing import cast

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.fault_points import fault
from linkjolt.registry.entries import ENTRY_TYPES, EntryKind, RegistryEntry
from linkjolt.registry.keyring import is_secret, load_keyring
from linkjolt.registry.reads import decode_entry, read_last_number, read_raw
from linkjolt.registry.sealed.entries import SECRET_KINDS, has_plain_secret, seal_entry
from linkjolt.registry.sealed.put import PutReply, put_sealed, retired_keys
from linkjolt.settings import SharedSettings
from linkjolt.storage.key_file import KeyFileError, create_key_file
from linkjolt.storage.redis import RedisError, ResponseError, call, is_out_of_memory
from linkjolt.storage.sealing import Sealer, SealError, is_sealed, sealed_by

_PAGE = 1_000
_TRIES_MAX = 100
# A rotation may end between the reading of Redis and that of the file, but not each time.
_SURVEYS = 3
_log = structlog.get_logger()


class Preparation(msgspec.Struct, frozen=True):
    """Reports the start of sealing: whether a key was made, what was sealed, what is left plain."""

    created: bool
    sealed: int
    left: int = 0

    def log(self, sealer: Sealer) -> None:
        path = str(sealer.path)
        if self.created:
            _log.info("key file made: keep a copy of it", path=path)
        if self.sealed:
            _log.info("secrets sealed that were plain", count=self.sealed, path=path)
        if self.left:
            _log.warning("redis is full: secrets stay plain until the next start", count=self.left)


class StoredSecrets(msgspec.Struct, frozen=True):
    """The keys that sealed what Redis stores, and what is plain there."""

    key_ids: set[str]
    plain_entries: list[tuple[EntryKind, int]]
    secrets: Mapping[bytes, bytes]


async def open_sealer(settings: SharedSettings, redis: Redis) -> Sealer:
    """Returns the sealer of a process that starts; KeyFileError where it must not start.

    Without Redis the key file alone is read, which then must exist.
    """
    sealer = Sealer(settings.secret_key_path())
    try:
        (await prepare_sealing(redis, sealer)).log(sealer)
    except RedisError as error:
        if not sealer.keys:
            raise KeyFileError(
                f"there is no key file {sealer.path} yet, and Redis cannot be reached"
            ) from None
        _log.warning("secrets not checked, redis unavailable", error=type(error).__name__)
    return sealer


async def prepare_sealing(redis: Redis, sealer: Sealer) -> Preparation:
    """Makes the first key where nothing is sealed, and seals what is plain.

    KeyFileError, with nothing changed, where the key file lacks a key. RedisError passes through.
    """
    stored = await _survey_known(redis, sealer)
    created = not sealer.keys and _create_key(sealer)
    sealer.retire(*retired_keys(stored.secrets))
    try:
        # First the customers' key: of two machines with a new key each, one gets it sealed.
        await load_keyring(redis, sealer)
    except SealError as error:
        if created:
            sealer.path.unlink()
        raise KeyFileError(_refusal(sealer, str(error))) from None
    sealed = sum(1 for name, value in stored.secrets.items() if _is_plain(name, value))
    for done, (kind, number) in enumerate(stored.plain_entries):
        try:
            sealed += await _seal_stored(redis, sealer, kind, number)
        except ResponseError as error:
            if not is_out_of_memory(error):
                raise
            return Preparation(created, sealed, len(stored.plain_entries) - done)
    return Preparation(created, sealed)


def _create_key(sealer: Sealer) -> bool:
    created = create_key_file(sealer.path)
    sealer.reload()
    if not sealer.keys:
        raise KeyFileError(f"the key file {sealer.path} cannot be read")
    return created


async def _survey_known(redis: Redis, sealer: Sealer) -> StoredSecrets:
    """Reads all that holds secrets; KeyFileError where the key file lacks a key of theirs."""
    unknown: set[str] = set()
    for _ in range(_SURVEYS):
        stored = await _survey(redis)
        # After it, for another process may have made or rotated keys meanwhile.
        sealer.reload()
        unknown = stored.key_ids - sealer.key_ids
        if not unknown:
            return stored
    lacks = f"lacks the key {', '.join(sorted(unknown))}" if sealer.keys else "is missing"
    raise KeyFileError(_refusal(sealer, f"the key file {sealer.path} {lacks}"))


def _refusal(sealer: Sealer, fault: str) -> str:
    return (
        f"secrets in Redis are sealed, and {fault}: copy the file from another machine of this"
        " installation or from its backup, or name it by LINKJOLT_SECRET_KEY_FILE. Nothing was"
        " changed. docs/secrets.md says what to do where it is lost."
    )


async def _survey(redis: Redis) -> StoredSecrets:
    """Reads all that holds secrets, changing nothing."""
    secrets: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.SECRETS)
    key_ids = {key_id for value in secrets.values() for key_id in sealed_by(value)}
    plain: list[tuple[EntryKind, int]] = []
    for kind in SECRET_KINDS:
        last = await read_last_number(redis, kind)
        for start in range(1, last + 1, _PAGE):
            numbers = range(start, min(start + _PAGE, last + 1))
            for number, body in zip(numbers, await read_raw(redis, kind, numbers), strict=True):
                if body is None:
                    continue
                key_ids |= sealed_by(body)
                if has_plain_secret(_decode(kind, body)):
                    plain.append((kind, number))
    return StoredSecrets(key_ids, plain, secrets)


def _is_plain(name: bytes, value: bytes) -> bool:
    return is_secret(name) and not is_sealed(value)


def _decode(kind: EntryKind, body: bytes) -> RegistryEntry:
    decode = cast("Callable[[bytes, type[RegistryEntry]], RegistryEntry]", decode_entry)
    return decode(body, ENTRY_TYPES[kind])


async def _seal_stored(redis: Redis, sealer: Sealer, kind: EntryKind, number: int) -> bool:
    """Seals an entry's plain secrets in place; False where another process just did."""
    for _ in range(_TRIES_MAX):
        (body,) = await read_raw(redis, kind, [number])
        if body is None:
            return False
        entry = _decode(kind, body)
        if not has_plain_secret(entry):
            return False
        sealed = msgspec.json.encode(seal_entry(entry, sealer))
        fault("sealing_before_value")
        reply = await put_sealed(redis, redis_keys.registry_entry(kind, number), "", body, sealed)
        fault("sealing_after_value")
        if reply is PutReply.written:
            return True
        if reply is PutReply.retired:
            sealer.retire(*sealed_by(sealed))
    raise KeyFileError(f"{kind} {number} is being changed all the time: start again")
