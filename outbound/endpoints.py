"""The endpoints as the registry has them, read again whenever it has changed."""

from collections.abc import Sequence

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import Webhook
from linkjolt.registry.reads import feed_end, read_entries
from linkjolt.storage.redis import call
from linkjolt.webhooks.events import EventType


class Hooks:
    """All endpoints of every account; empty until `refresh`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._position = ""
        self.all: Sequence[Webhook] = ()

    async def refresh(self) -> None:
        """As new as the registry is now; one question where nothing has changed."""
        position = await feed_end(self._redis)
        if position == self._position:
            return
        made = int(await call(self._redis, "HGET", redis_keys.REGISTRY_NUMBERS, "webhook") or 0)
        found = await read_entries(self._redis, Webhook, range(1, made + 1))
        self.all = [webhook for webhook in found if webhook is not None]
        self._position = position

    @property
    def living(self) -> list[Webhook]:
        return [webhook for webhook in self.all if webhook.deleted_at is None]

    @property
    def active(self) -> list[Webhook]:
        return [webhook for webhook in self.living if webhook.status == "active"]

    def accounts(self, event: EventType | None = None) -> set[int]:
        """Whose events are wanted by somebody, those of one type if it is given."""
        return {
            webhook.account for webhook in self.living if event is None or event in webhook.events
        }
