"""Adopts the deliveries that a former release stored, each under a key of its own for a week."""

from collections.abc import Sequence
from typing import cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import Webhook
from linkjolt.storage.lua import LuaScript
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.delivery import (
    Delivery,
    decode_delivery,
    encode_delivery,
    finished,
)
from linkjolt.webhooks.queue import OUTCOMES_KEPT, log_keys, read_queue_script

_PAGE = 200
_SCRIPT = read_queue_script("log", "adopt")


class _ClickIdentity(msgspec.Struct, frozen=True):
    click_id: str


class _ClickBody(msgspec.Struct, frozen=True):
    data: _ClickIdentity


class FormerDeliveries:
    """Adopts what a former release queued; RedisError passes through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = LuaScript(redis, _SCRIPT)

    async def adopt_pending(self, webhook: Webhook) -> None:
        """Adopts all that are pending: a sender cannot send them before."""
        if not await call(self._redis, "EXISTS", redis_keys.former_webhook_log(webhook.number)):
            return
        due, start = redis_keys.webhook_due(webhook.number), 0
        while ids := await call(self._redis, "ZRANGE", due, start, start + _PAGE - 1):
            await self._adopt(webhook, ids, most_log_bytes=0, pending_only=True)
            start += _PAGE

    async def adopt_page(self, webhook: Webhook, most_log_bytes: int) -> bool:
        """Adopts the next ones of its log; returns False if there are none."""
        log = redis_keys.former_webhook_log(webhook.number)
        ids = await call(self._redis, "ZRANGE", log, 0, _PAGE - 1)
        if ids:
            await self._adopt(webhook, ids, most_log_bytes=most_log_bytes, pending_only=False)
        return bool(ids)

    async def _adopt(
        self, webhook: Webhook, ids: Sequence[bytes], *, most_log_bytes: int, pending_only: bool
    ) -> None:
        names = [raw.decode() for raw in ids]
        keys = [redis_keys.former_webhook_delivery(webhook.number, name) for name in names]
        bodies = cast(list[bytes | None], await call(self._redis, "MGET", *keys))
        log = redis_keys.former_webhook_log(webhook.number)
        calls: list[tuple[list[str], list[str | int | float | bytes]]] = []
        for name, key, raw in zip(names, keys, bodies, strict=True):
            one = _adopted(decode_delivery(raw), webhook) if raw else None
            is_pending = one is not None and one.state == "pending"
            if pending_only and not is_pending:
                continue
            json, event_at = (encode_delivery(one), one.score) if one else (b"", 0)
            arguments = [name, json, event_at, int(is_pending), OUTCOMES_KEPT, most_log_bytes]
            calls.append(([*log_keys(webhook.number), key, log], arguments))
        if calls:
            await self._script(calls)


def _adopted(one: Delivery, webhook: Webhook) -> Delivery:
    click_id = ""
    if one.event == "click.created":
        click_id = msgspec.json.decode(one.body, type=_ClickBody).data.click_id
    known = msgspec.structs.replace(one, account=webhook.account, click_id=click_id)
    if one.state == "pending":
        return known
    last_ms = one.tries[-1].at_ms if one.tries else one.event_ms
    return finished(known, last_ms)
