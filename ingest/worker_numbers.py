"""Leases edge worker numbers: 12 bits of the click id, one process at a time."""

import asyncio

import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.click_ids import WORKER_COUNT
from linkjolt.storage.redis import RedisError, call

_LEASE_SECONDS = 3_600
_RENEW_SECONDS = 300
log = structlog.get_logger()


class NoWorkerNumber(Exception):
    """All 4,096 numbers are leased."""


async def claim_worker_number(redis: Redis) -> int:
    """Leases a free number; the counter passes all others before it returns to one."""
    for _ in range(WORKER_COUNT):
        number = await call(redis, "INCR", redis_keys.WORKER_NEXT) % WORKER_COUNT
        if await call(redis, "SET", redis_keys.worker(number), "held", "NX", "EX", _LEASE_SECONDS):
            return number
    raise NoWorkerNumber("all 4,096 edge worker numbers are leased")


async def keep_worker_lease(redis: Redis, number: int) -> None:
    """Renews the lease for ever; an outage of less than an hour does no harm."""
    task = asyncio.current_task()
    # A cancellation that arrives while redis-py sends can get lost, so it is checked as well.
    while task is not None and not task.cancelling():
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await call(redis, "SET", redis_keys.worker(number), "held", "EX", _LEASE_SECONDS)
        except RedisError:
            log.warning("worker lease not renewed", worker=number)
