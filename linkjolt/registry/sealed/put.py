"""Writes sealed values, unless a rotation retired their key."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import ENTRY_TYPES
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.sealing import sealed_by

# In the hash of secrets: the id of a replaced key, and as its value the id of its successor.
RETIRED_PREFIX = b"retired:"
_SCRIPT = read_script(Path(__file__).parent / "put_sealed.lua")


class PutReply(bytes, Enum):
    """The replies of `put_sealed.lua`."""

    written = b"written"
    changed = b"changed"
    retired = b"retired"


async def put_sealed(
    redis: Redis, key: str, field: str, expected: bytes, value: bytes | str, audited: bytes = b""
) -> PutReply:
    """Replaces the expected value ('' for none) of a string, or of a hash's field.

    An entry of the registry goes into its change feed, too, and the entry `audited`, if there is
    one, into the audit log.
    """
    keys = [key, redis_keys.SECRETS, redis_keys.REGISTRY_CHANGES, redis_keys.AUDIT_REGISTRY]
    key_ids = sealed_by(value) - sealed_by(expected)
    kind, number = _entry_of(key)
    arguments = [field, expected, value, " ".join(key_ids), kind, number, audited]
    (reply,) = await LuaScript(redis, _SCRIPT)([(keys, arguments)])
    return PutReply(reply)


def retired_keys(secrets: Mapping[bytes, bytes]) -> dict[str, str]:
    """Finds the keys that rotations replaced, each with the id of its successor."""
    return {
        name.removeprefix(RETIRED_PREFIX).decode(): successor.decode()
        for name, successor in secrets.items()
        if name.startswith(RETIRED_PREFIX)
    }


def _entry_of(key: str) -> tuple[str, str]:
    *_, kind, number = key.split(":")
    is_known = kind in ENTRY_TYPES and number.isdecimal()
    is_entry = is_known and key == redis_keys.registry_entry(kind, int(number))
    return (kind, number) if is_entry else ("", "")
