"""Notes in memory when API keys were last used, and writes it to Redis once a minute."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import redis_keys
from linkjolt.storage.lua import LuaScript, read_script

_MINUTE_MS = 60_000
_SCRIPT = read_script(Path(__file__).parent / "note_key_uses.lua")


class KeyUses:
    """The uses of keys that one process has seen; each key is written at most once a minute.

    `noted` has the milliseconds of the last use by the key's number.
    """

    def __init__(self, redis: Redis) -> None:
        self._script = LuaScript(redis, _SCRIPT)
        self.noted: dict[int, int] = {}
        self._written: dict[int, int] = {}

    def note(self, key_number: int) -> None:
        """Notes that a key is used now."""
        self.noted[key_number] = time.time_ns() // 1_000_000

    async def write(self) -> None:
        """Writes the uses in minutes that are not written yet; after RedisError all are due."""
        noted, self.noted = self.noted, {}
        minutes = {number: at_ms // _MINUTE_MS for number, at_ms in noted.items()}
        due = {at: minute for at, minute in minutes.items() if minute > self._written.get(at, 0)}
        if not due:
            return
        try:
            arguments = [number for pair in due.items() for number in pair]
            await self._script([([redis_keys.KEY_USES], arguments)])
        except RedisError:
            self.noted = noted | self.noted
            raise
        newest = max(due.values())
        self._written = {k: m for k, m in (self._written | due).items() if m == newest}


async def read_key_uses(redis: Redis, numbers: Sequence[int]) -> dict[int, datetime]:
    """Reads when keys were last used, to the minute; those that were not are absent."""
    if not numbers:
        return {}
    reply = cast(
        list[bytes | None], await redis.hmget(redis_keys.KEY_USES, list(map(str, numbers)))
    )
    return {
        number: datetime.fromtimestamp(int(minute) * 60, UTC)
        for number, minute in zip(numbers, reply, strict=True)
        if minute is not None
    }
