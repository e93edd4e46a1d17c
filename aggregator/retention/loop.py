"""Looks once an hour for raw clicks that are past their retention, beside the aggregator's loop."""

import asyncio
from contextlib import suppress

import structlog

from aggregator.delivery.lease import LeaseLost
from aggregator.retention.clicks import ClickRetention
from linkjolt.storage.clickhouse import ClickHouseFailed
from linkjolt.storage.redis import RedisError

EVERY_SECONDS = 3_600.0
log = structlog.get_logger()


async def run_retention(retention: ClickRetention, stop: asyncio.Event) -> None:
    """Deletes until `stop`; what fails is tried again an hour later."""
    while not stop.is_set():
        try:
            await retention.step()
        except (ClickHouseFailed, RedisError, LeaseLost, OSError) as error:
            log.warning("raw clicks not deleted, tried again later", error=str(error)[:300])
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
