"""Loads the secrets that all processes share: keys that sign click ids and hash customers.

A click key that another one replaced verifies the clicks it signed while any of them may still
earn: for the longest window of a campaign. Whoever finds it later, in a backup, can do nothing.
"""

import secrets
import time
from collections.abc import Mapping
from typing import cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.click_ids import ClickRef, verify_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Campaign
from linkjolt.registry.reads import read_entries, read_newest_number

_SECRET_BYTES = 32
_CLICK_KEY_PREFIX = b"click:"
# When the key of the number begins to sign, in UTC milliseconds.
_SINCE_PREFIX = b"since:"
_CUSTOMER_KEY = b"customer"
_DAY_MS = 86_400_000
# An edge without Redis signs by the former key for longer.
_GRACE_MS = _DAY_MS
# Every edge has a new key before the first one signs by it.
FOLLOW_SECONDS = 15.0
_ACTIVATION_MS = 60_000
_PAGE = 1_000


class Keyring(msgspec.Struct, frozen=True):
    """The secrets; `click_keys` of 32 random bytes each, the newest first.

    `since_ms` is for each when it begins to sign, 0 where that is unknown. `window_ms` is the
    longest window of a campaign, read where there is more than one key.
    """

    click_keys: tuple[bytes, ...]
    customer_key: bytes
    since_ms: tuple[int, ...] = ()
    window_ms: int = 0

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
    """Parses the hash of secrets; None while a part of it is missing."""
    numbers = _click_key_numbers(fields)
    if not numbers or _CUSTOMER_KEY not in fields:
        return None
    click_keys = tuple(fields[_CLICK_KEY_PREFIX + b"%d" % number] for number in numbers)
    since_ms = tuple(int(fields.get(_SINCE_PREFIX + b"%d" % number, 0)) for number in numbers)
    return Keyring(click_keys, fields[_CUSTOMER_KEY], since_ms)


def _click_key_numbers(fields: Mapping[bytes, bytes]) -> list[int]:
    """Returns the numbers of the click keys, the highest first."""
    names = [name.removeprefix(_CLICK_KEY_PREFIX) for name in fields if name.startswith(b"click:")]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


async def load_keyring(redis: Redis) -> Keyring:
    """Returns this Redis's keyring, creating it if needed; RedisError passes through."""
    fields = await _read_secrets(redis)
    keyring = parse_keyring(fields)
    if keyring is None:
        await _create_missing(redis, fields)
        keyring = parse_keyring(await _read_secrets(redis))
    if keyring is None:
        raise RuntimeError(f"{redis_keys.SECRETS} holds no usable secrets")
    if len(keyring.click_keys) == 1:
        return keyring
    if 0 in keyring.since_ms[:-1]:
        # Added by hand, or by a release that did not note it.
        for number in _click_key_numbers(fields)[:-1]:
            await _set_new(redis, _SINCE_PREFIX + b"%d" % number, b"%d" % _now_ms())
        keyring = parse_keyring(await _read_secrets(redis)) or keyring
    return msgspec.structs.replace(keyring, window_ms=await _longest_window_ms(redis))


async def rotate_click_key(redis: Redis) -> int:
    """Adds a click key; returns when it begins to sign, in UTC milliseconds.

    Rejected while another new key has not begun to.
    """
    now_ms, keyring = _now_ms(), await load_keyring(redis)
    number = _click_key_numbers(await _read_secrets(redis))[0] + 1
    since_ms = now_ms + _ACTIVATION_MS
    is_free = not keyring.since_ms or keyring.since_ms[0] <= now_ms
    # Before the key, which nobody must find without it.
    if not is_free or not await _set_new(redis, _SINCE_PREFIX + b"%d" % number, b"%d" % since_ms):
        raise Rejected(Reason.conflict, "a new key begins to sign within a minute: try again then")
    await _set_new(redis, _CLICK_KEY_PREFIX + b"%d" % number, secrets.token_bytes(_SECRET_BYTES))
    return since_ms


async def _create_missing(redis: Redis, fields: Mapping[bytes, bytes]) -> None:
    missing = [_CUSTOMER_KEY]
    if not _click_key_numbers(fields):
        missing.append(_CLICK_KEY_PREFIX + b"1")
    for name in missing:
        await _set_new(redis, name, secrets.token_bytes(_SECRET_BYTES))


async def _longest_window_ms(redis: Redis) -> int:
    """Reads the longest window of a campaign, a deleted one's, too: its clicks may still earn."""
    last = await read_newest_number(redis, "campaign")
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
