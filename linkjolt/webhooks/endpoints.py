"""Reads the webhook endpoints from the registry whenever it has changed."""

from collections.abc import Sequence

from redis.asyncio import Redis

from linkjolt.registry.entries import Webhook
from linkjolt.registry.reads import read_entries, read_feed_end, read_last_number
from linkjolt.webhooks.events import EventType


class Endpoints:
    """The endpoints of every account; empty until `refresh`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._position = ""
        self.all: Sequence[Webhook] = ()

    async def refresh(self) -> None:
        """Reads the endpoints again if the registry has changed; one command if not."""
        position = await read_feed_end(self._redis)
        if position == self._position:
            return
        created = await read_last_number(self._redis, "webhook")
        webhooks = await read_entries(self._redis, Webhook, range(1, created + 1))
        self.all = [webhook for webhook in webhooks if webhook is not None]
        self._position = position

    @property
    def existing(self) -> list[Webhook]:
        return [webhook for webhook in self.all if webhook.deleted_at is None]

    @property
    def active(self) -> list[Webhook]:
        return [webhook for webhook in self.existing if webhook.status == "active"]

    def subscribed_accounts(self, event: EventType | None = None) -> set[int]:
        """Finds the accounts with an endpoint, or with one for this type of event."""
        return {
            webhook.account for webhook in self.existing if event is None or event in webhook.events
        }
