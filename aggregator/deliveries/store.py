"""Stores finished deliveries in the warehouse, and drops them from Redis once they are stored."""

import logging
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggregator import metrics
from linkjolt import redis_keys
from linkjolt.logs import MinuteLine
from linkjolt.registry.entries import public_id
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import read_stream
from linkjolt.webhooks.deliveries.backlog import read_backlogs
from linkjolt.webhooks.deliveries.delivery import decode_delivery
from linkjolt.webhooks.deliveries.log import DeliveryRow, delivery_row
from linkjolt.webhooks.endpoints import Endpoints

_TABLE = "deliveries"
# Of one endpoint, and of one insert.
_PAGE = 1_000
_ROWS_MAX = 10_000
# A server refuses parameters that are too long.
_PURGED_AT_ONCE = 1_000
_STORED = read_script(Path(__file__).parent / "stored.lua")
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode_lines = msgspec.json.Encoder().encode_lines
_not_logged = MinuteLine(logging.ERROR, "deliveries not logged")


class DeliveryStore:
    """Moves the log of all endpoints to the warehouse: at least once, and repeats replace."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, endpoints: Endpoints) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._endpoints = endpoints
        self._stored = LuaScript(redis, _STORED)
        # Deleted endpoints that have no rows any more.
        self._purged: set[int] = set()

    async def step(self) -> bool:
        """Stores the next entries; returns whether there are more."""
        numbers = [webhook.number for webhook in self._endpoints.existing]
        backlogs = await read_backlogs(self._redis, numbers)
        waiting = [number for number, backlog in backlogs.items() if backlog.unstored]
        rows: list[DeliveryRow] = []
        calls: list[tuple[list[str], list[str | int]]] = []
        more = False
        for number in waiting:
            if len(rows) >= _ROWS_MAX:
                more = True
                break
            entries = await read_stream(
                self._redis, redis_keys.webhook_finished(number), "-", count=_PAGE
            )
            if not entries:
                continue
            more |= len(entries) == _PAGE
            raw = [fields[b"d"] for _, fields in entries]
            rows += _rows(number, raw)
            keys = [redis_keys.webhook_finished(number), redis_keys.webhook_backlog(number)]
            calls.append((keys, [_next_id(entries[-1][0]), len(raw), sum(map(len, raw))]))
        if rows:
            columns = DeliveryRow.__struct_fields__
            await self._clickhouse.insert(_TABLE, columns, _encode_lines(rows))
            metrics.DELIVERIES_STORED.inc(len(rows))
        if calls:
            await self._stored(calls)
        return more

    async def purge_deleted(self) -> None:
        """Deletes the rows of deleted endpoints."""
        deleted = {one.number for one in self._endpoints.all if one.deleted_at is not None}
        new = sorted(deleted - self._purged)[:_PURGED_AT_ONCE]
        if not new:
            return
        sql = f"SELECT DISTINCT webhook FROM {_TABLE} WHERE webhook IN {{numbers:Array(UInt32)}}"
        found = await self._clickhouse.read(sql, _Webhook, {"numbers": new})
        if found:
            statement = f"ALTER TABLE {_TABLE} DELETE WHERE webhook IN {{numbers:Array(UInt32)}}"
            await self._clickhouse.execute(statement, {"numbers": [row.webhook for row in found]})
        self._purged.update(new)


class _Webhook(msgspec.Struct, frozen=True):
    webhook: int


def _rows(webhook: int, raw: list[bytes]) -> list[DeliveryRow]:
    rows: list[DeliveryRow] = []
    for one in raw:
        try:
            rows.append(delivery_row(webhook, decode_delivery(one)))
        except _ERRORS as error:
            # A newer release may write what this one cannot read; the delivery itself has ended.
            _not_logged.count(public_id("webhook", webhook), error=error)
    return rows


def _next_id(entry_id: bytes) -> str:
    ms, _, sequence = entry_id.partition(b"-")
    return f"{int(ms)}-{int(sequence) + 1}"
