"""Replaces the key that seals: adds a key, seals everything again by it, then drops the others.

Each step can be repeated: a rotation that was interrupted goes on with the key that it had added.
From the moment Redis notes a key as retired, no process anywhere writes anything sealed by it, so
that nothing is left behind when it leaves the key file.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import HIDDEN, SYSTEM, AuditSource, encode_entry
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.fault_points import fault
from linkjolt.registry.sealed.put import RETIRED_PREFIX, PutReply, put_sealed, retired_keys
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.storage.key_file import KeyFileError, SecretKey, make_key, replace_key_file
from linkjolt.storage.redis import call
from linkjolt.storage.sealing import Sealer, SealError, sealed_by

_PAGE = 1_000


class Rotation(msgspec.Struct, frozen=True):
    """A rotation that sealed so many values by `key`, with the others still in the file."""

    key: SecretKey
    sealed: int


async def add_key(redis: Redis, sealer: Sealer) -> SecretKey:
    """Adds a key that opens, and seals nothing yet; returns the one that waits already."""
    await prepare_sealing(redis, sealer)
    waiting = next((key for key in sealer.keys if key.waits), None)
    if waiting is None:
        waiting = make_key(waits=True)
        _replace(sealer, [*sealer.keys, waiting])
    return waiting


async def seal_again(redis: Redis, sealer: Sealer, source: AuditSource = SYSTEM) -> Rotation:
    """Seals everything in Redis by a new key, or by the one of an interrupted rotation."""
    await prepare_sealing(redis, sealer)
    retired = retired_keys(await call(redis, "HGETALL", redis_keys.SECRETS))
    key = _begun(sealer, retired) or await add_key(redis, sealer)
    fault("rotation_before_retire")
    others = [other for other in sealer.keys if other.id != key.id]
    for other in others:
        await _retire(redis, other.id, key.id, source)
    sealer.retire(*(other.id for other in others))
    fault("rotation_after_retire")
    _replace(sealer, [SecretKey(key.value), *others])
    sealed = 0
    # What a process wrote just before its key was retired may have escaped the scan.
    while count := await _seal_all(redis, sealer, key.id):
        sealed += count
    fault("rotation_before_drop")
    return Rotation(key, sealed)


def drop_others(sealer: Sealer, rotation: Rotation) -> None:
    """Takes the replaced keys out of the file."""
    _replace(sealer, [SecretKey(rotation.key.value)])


def _begun(sealer: Sealer, retired: Mapping[str, str]) -> SecretKey | None:
    """Returns the successor in a rotation that was interrupted."""
    keys = {key.id: key for key in sealer.keys}
    for key_id in keys:
        successor = retired.get(key_id)
        if successor is None:
            continue
        if successor not in keys:
            raise KeyFileError(
                f"the key {key_id} was replaced by {successor}, which the key file {sealer.path}"
                " lacks: copy the file from the machine on which it was rotated"
            )
        if successor not in retired:
            return keys[successor]
    return None


async def _retire(redis: Redis, key_id: str, successor: str, source: AuditSource) -> None:
    name = RETIRED_PREFIX.decode() + key_id
    changes = [("key_file", HIDDEN, HIDDEN)]
    audited = encode_entry(source, ACCOUNT_DEFAULT, "keyring", changes)
    reply = await put_sealed(redis, redis_keys.SECRETS, name, b"", successor, audited)
    if reply is PutReply.written:
        return
    other = cast(bytes, await call(redis, "HGET", redis_keys.SECRETS, name)).decode()
    if other != successor:
        raise KeyFileError(f"another rotation replaces the key {key_id} by {other} now")


async def _seal_all(redis: Redis, sealer: Sealer, key_id: str) -> int:
    """Seals what other keys sealed; returns how much there was."""
    count = 0
    async for key, field, value in _values(redis):
        if not sealed_by(value) - {key_id}:
            continue
        count += 1
        try:
            sealed = sealer.renew_all(key, value)
        except SealError as error:
            raise KeyFileError(f"{error}: no key was dropped") from None
        if await put_sealed(redis, key, field, value, sealed) is PutReply.retired:
            raise KeyFileError("another rotation began meanwhile: try again when it has ended")
        fault("rotation_after_value")
    return count


async def _values(redis: Redis) -> AsyncIterator[tuple[str, str, bytes]]:
    """Yields all strings, and all fields of hashes, of the registry: key, field or '', value."""
    async for keys in _scan(redis, "string"):
        values = cast(list[bytes | None], await call(redis, "MGET", *keys))
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                yield key, "", value
    async for keys in _scan(redis, "hash"):
        for key in keys:
            fields = cast(dict[bytes, bytes], await call(redis, "HGETALL", key))
            for name, value in fields.items():
                yield key, name.decode(errors="replace"), value


async def _scan(redis: Redis, kind: str) -> AsyncIterator[list[str]]:
    cursor: Any = 0
    pattern = redis_keys.REGISTRY_PATTERN
    while True:
        cursor, names = await call(
            redis, "SCAN", int(cursor), "MATCH", pattern, "COUNT", _PAGE, "TYPE", kind
        )
        if names:
            yield [name.decode() for name in names]
        if not int(cursor):
            return


def _replace(sealer: Sealer, keys: Sequence[SecretKey]) -> None:
    if list(keys) != list(sealer.keys):
        replace_key_file(sealer.path, keys)
        sealer.reload()
