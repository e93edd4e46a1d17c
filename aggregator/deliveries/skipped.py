"""Records for webhook endpoints that entries are trimmed which their process has not read."""

from redis.asyncio import Redis

from linkjolt.redis_keys import Stream
from linkjolt.storage.lua import LuaScript
from linkjolt.webhooks.deliveries.backlog import skipped_range_name
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.queue import pending_keys, read_queue_script


class SkippedEntries:
    """Turns trimmed entries into ranges of the endpoints that want events of their stream."""

    def __init__(self, redis: Redis) -> None:
        self._endpoints = Endpoints(redis)
        self._script = LuaScript(redis, read_queue_script("skip"))

    async def record(self, stream: Stream, start: int, end: int) -> None:
        """Records that entries of these positions are about to be trimmed."""
        await self._endpoints.refresh()
        arguments = [skipped_range_name(stream), f"{start:020d}", f"{end:020d}"]
        calls = [
            (pending_keys(webhook.number), arguments)
            for webhook in self._endpoints.existing
            if stream.kind == "conversions" or "click.created" in webhook.events
        ]
        if calls:
            await self._script(calls)
