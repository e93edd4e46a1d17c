"""Claims in Redis: whoever comes first has one, all others see it."""

from pathlib import Path

from redis.asyncio import Redis

from linkjolt.storage.redis import ScriptCalls

_SCRIPT = (Path(__file__).parent / "claim.lua").read_text(encoding="utf-8")


class Claims:
    """Makes claims; RedisError where nothing is known of one."""

    def __init__(self, redis: Redis) -> None:
        self._call = ScriptCalls(redis, _SCRIPT)

    async def claim(self, key: str, own: bytes, seen: bytes = b"", keep_seconds: int = 0) -> bytes:
        """The claim that stands: the own one where there was none, or only the one `seen`."""
        [held] = await self._call([([key], [seen, own, keep_seconds])])
        return held
