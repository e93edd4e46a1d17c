"""Loads the secrets that all processes share: keys that sign click ids and access tokens, ...

A click key that another one replaced verifies the clicks it signed while any of them may still
earn: for the longest window of a campaign; a token key the tokens it signed, for an hour. Whoever
finds one later, in a backup, can do nothing. Redis stores them sealed by the key file; what a
release before stored plain is sealed here.
"""

import secrets
import time
from collections.abc import Mapping
from typing import cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import HIDDEN, SYSTEM, AuditSource, encode_entry
from linkjolt.click_ids import ClickRef, verify_click_id
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Campaign
from linkjolt.registry.reads import read_entries, read_last_number
from linkjolt.registry.sealed.put import PutReply, put_sealed, retired_keys
from linkjolt.storage.redis import ResponseError, is_out_of_memory
from linkjolt.storage.sealing import Place, Sealer, is_sealed, sealed_by

_SECRET_BYTES = 32
_CLICK_KEY_PREFIX = b"click:"
_TOKEN_KEY_PREFIX = b"token:"
# When the key of the number begins to sign, in UTC milliseconds.
_SINCE = {_CLICK_KEY_PREFIX: b"since:", _TOKEN_KEY_PREFIX: b"token-since:"}
_CUSTOMER_KEY = b"customer"
_DAY_MS = 86_400_000
# An edge without Redis signs by the former key for longer.
_GRACE_MS = _DAY_MS
# Every edge has a new key before the first one signs by it.
FOLLOW_SECONDS = 15.0
_ACTIVATION_MS = 60_000
_PAGE = 1_000
_TRIES_MAX = 1_000


class TokenKey(msgspec.Struct, frozen=True):
    """A key of 32 random bytes that signs access tokens from `since_ms` on."""

    number: int
    secret: bytes
    since_ms: int = 0

    def __repr__(self) -> str:
        return f"TokenKey({self.number})"


class Keyring(msgspec.Struct, frozen=True):
    """The secrets; `click_keys` of 32 random bytes each, the newest first.

    `since_ms` is for each when it begins to sign, 0 where that is unknown. `window_ms` is the
    longest window of a campaign, read where there is more than one key. `token_keys` are the
    newest first, too.
    """

    click_keys: tuple[bytes, ...]
    customer_key: bytes
    since_ms: tuple[int, ...] = ()
    window_ms: int = 0
    token_keys: tuple[TokenKey, ...] = ()

    def signing_key(self, now_ms: int) -> bytes:
        """Returns the newest key that has begun to sign."""
        pairs = zip(self.click_keys, self.since_ms, strict=False)
        return next((key for key, since_ms in pairs if since_ms <= now_ms), self.click_keys[-1])

    def verify_click(self, text: str, now_ms: int) -> ClickRef | None:
        """Returns the time and link of a click id that is genuine, else None."""
        keys = self.click_keys
        if len(keys) == 1:
            return verify_click_id(text, keys)
        click = verify_click_id(text, keys[:1])
        if click is not None:
            return click
        for key, replaced_ms in zip(keys[1:], self.since_ms or (0,) * len(keys), strict=False):
            if replaced_ms and now_ms > replaced_ms + self.window_ms + _GRACE_MS:
                break
            click = verify_click_id(text, (key,))
            if click is not None:
                # A former key signs nothing any more.
                is_late = replaced_ms and click.time_ms > replaced_ms + _GRACE_MS
                return None if is_late else click
        return None

    def __repr__(self) -> str:
        return f"Keyring({len(self.click_keys)} click keys)"


def parse_keyring(fields: Mapping[bytes, bytes]) -> Keyring | None:
    """Parses the hash of secrets, opened; None while a part of it is missing."""
    numbers = _key_numbers(fields, _CLICK_KEY_PREFIX)
    if not numbers or _CUSTOMER_KEY not in fields:
        return None
    click_keys = tuple(fields[_CLICK_KEY_PREFIX + b"%d" % number] for number in numbers)
    since_ms = tuple(_since_ms(fields, _CLICK_KEY_PREFIX, number) for number in numbers)
    token_keys = tuple(
        TokenKey(
            number,
            fields[_TOKEN_KEY_PREFIX + b"%d" % number],
            _since_ms(fields, _TOKEN_KEY_PREFIX, number),
        )
        for number in _key_numbers(fields, _TOKEN_KEY_PREFIX)
    )
    return Keyring(click_keys, fields[_CUSTOMER_KEY], since_ms, token_keys=token_keys)


def _key_numbers(fields: Mapping[bytes, bytes], prefix: bytes) -> list[int]:
    """Returns the numbers of the keys with this prefix, the highest first."""
    names = [name.removeprefix(prefix) for name in fields if name.startswith(prefix)]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _since_ms(fields: Mapping[bytes, bytes], prefix: bytes, number: int) -> int:
    return int(fields.get(_SINCE[prefix] + b"%d" % number, 0))


async def load_keyring(redis: Redis, sealer: Sealer) -> Keyring:
    """Returns this Redis's keyring, creating it if needed; RedisError and SealError pass through.

    SealError: another key file sealed it, or it was changed.
    """
    fields = await _read_opened(redis, sealer)
    keyring = parse_keyring(fields)
    if keyring is None:
        raise RuntimeError(f"{redis_keys.SECRETS} holds no usable secrets")
    if len(keyring.click_keys) == 1:
        return keyring
    if 0 in keyring.since_ms[:-1]:
        # Added by hand, or by a release that did not note it.
        for number in _key_numbers(fields, _CLICK_KEY_PREFIX)[:-1]:
            await _set_new(redis, _SINCE[_CLICK_KEY_PREFIX] + b"%d" % number, b"%d" % _now_ms())
        keyring = parse_keyring(await _read_opened(redis, sealer)) or keyring
    return msgspec.structs.replace(keyring, window_ms=await longest_window_ms(redis))


async def load_token_keys(redis: Redis, sealer: Sealer) -> tuple[TokenKey, ...]:
    """Returns the keys of access tokens, the newest first; RedisError, SealError pass through."""
    fields = await _read_secrets(redis)
    keyring = parse_keyring({name: _opened(sealer, name, fields[name]) for name in fields})
    return keyring.token_keys if keyring else ()


async def rotate_click_key(redis: Redis, sealer: Sealer, source: AuditSource = SYSTEM) -> int:
    """Adds a click key; returns when it begins to sign, in UTC milliseconds.

    Rejected while another new key has not begun to.
    """
    keyring = await load_keyring(redis, sealer)
    since_ms = max(keyring.since_ms, default=0)
    return await _add_key(redis, sealer, _CLICK_KEY_PREFIX, since_ms, source)


async def rotate_token_key(redis: Redis, sealer: Sealer, source: AuditSource = SYSTEM) -> int:
    """Adds a key for access tokens, as `rotate_click_key` adds one for click ids."""
    keyring = await load_keyring(redis, sealer)
    since_ms = keyring.token_keys[0].since_ms
    return await _add_key(redis, sealer, _TOKEN_KEY_PREFIX, since_ms, source)


async def _add_key(
    redis: Redis, sealer: Sealer, prefix: bytes, newest_since_ms: int, source: AuditSource
) -> int:
    now_ms = _now_ms()
    number = _key_numbers(await _read_secrets(redis), prefix)[0] + 1
    since, since_ms = _SINCE[prefix] + b"%d" % number, now_ms + _ACTIVATION_MS
    # Before the key, which nobody must find without it.
    if newest_since_ms > now_ms or not await _set_new(redis, since, b"%d" % since_ms):
        raise Rejected(Reason.conflict, "a new key begins to sign within a minute: try again then")
    name = prefix + b"%d" % number
    audited = encode_entry(source, ACCOUNT_DEFAULT, "keyring", [(name.decode(), None, HIDDEN)])
    while await _seal(redis, sealer, name, b"", audited) is PutReply.retired:
        pass
    return since_ms


def is_secret(name: bytes) -> bool:
    """Returns whether a field of the hash holds a key, and no time or number."""
    prefix, _, number = name.partition(b":")
    is_numbered = number.isdigit() and prefix + b":" in _SINCE
    return name == _CUSTOMER_KEY or is_numbered


async def _read_opened(redis: Redis, sealer: Sealer) -> dict[bytes, bytes]:
    """Reads the hash with its keys opened; creates those that are missing, seals plain ones."""
    fields = await _read_sealed(redis, sealer)
    return {name: _opened(sealer, name, value) for name, value in fields.items()}


async def _read_sealed(redis: Redis, sealer: Sealer) -> dict[bytes, bytes]:
    for _ in range(_TRIES_MAX):
        fields = await _read_secrets(redis)
        sealer.retire(*retired_keys(fields))
        name = _first_unsealed(fields)
        if name is None:
            return fields
        if name != _CUSTOMER_KEY:
            # Whose key file sealed the customers' key seals the rest.
            _opened(sealer, _CUSTOMER_KEY, fields[_CUSTOMER_KEY])
        try:
            await _seal(redis, sealer, name, fields.get(name, b""))
        except ResponseError as error:
            if is_out_of_memory(error) and parse_keyring(fields):
                return fields
            raise
    raise RuntimeError(f"{redis_keys.SECRETS} is being changed all the time")


def _first_unsealed(fields: Mapping[bytes, bytes]) -> bytes | None:
    """Names the key that is missing or plain, the customers' first."""
    names = [_CUSTOMER_KEY]
    for prefix in _SINCE:
        names += [prefix + b"%d" % number for number in _key_numbers(fields, prefix) or (1,)]
    return next((name for name in names if not is_sealed(fields.get(name, b""))), None)


async def _seal(
    redis: Redis, sealer: Sealer, name: bytes, plain: bytes, audited: bytes = b""
) -> PutReply:
    """Seals a plain key in place, or a new one where there is none."""
    secret = plain or secrets.token_bytes(_SECRET_BYTES)
    sealed = sealer.seal(_place(name), secret)
    reply = await put_sealed(redis, redis_keys.SECRETS, name.decode(), plain, sealed, audited)
    if reply is PutReply.retired:
        sealer.retire(*sealed_by(sealed))
    return reply


def _opened(sealer: Sealer, name: bytes, value: bytes) -> bytes:
    return sealer.open(_place(name), value) if is_sealed(value) else value


def _place(name: bytes) -> Place:
    return Place(redis_keys.SECRETS, name.decode())


async def longest_window_ms(redis: Redis) -> int:
    """Reads the longest window of a campaign, a deleted one's, too: its clicks may still earn."""
    last = await read_last_number(redis, "campaign")
    days = 0
    for start in range(1, last + 1, _PAGE):
        numbers = range(start, min(start + _PAGE, last + 1))
        campaigns = await read_entries(redis, Campaign, numbers)
        days = max([days, *(campaign.window_days for campaign in campaigns if campaign)])
    return days * _DAY_MS


async def _read_secrets(redis: Redis) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], await redis.hgetall(redis_keys.SECRETS))


async def _set_new(redis: Redis, name: bytes, value: bytes) -> bool:
    return bool(await redis.hsetnx(redis_keys.SECRETS, cast(str, name), cast(str, value)))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
