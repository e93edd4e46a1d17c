"""Edge worker numbers: 12 bits of the click id, each held by one process at a time."""

import asyncio

import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.click_ids import WORKERS
from linkjolt.storage.redis import RedisError, call

_LEASE_SECONDS = 3_600
_RENEW_SECONDS = 300
log = structlog.get_logger()


class NoWorkerNumber(Exception):
    """All 4,096 numbers are held."""


async def claim_worker(redis: Redis) -> int:
    """A number nobody holds; the counter passes all others before one comes again."""
    for _ in range(WORKERS):
        number = await call(redis, "INCR", redis_keys.WORKER_NEXT) % WORKERS
        if await call(redis, "SET", redis_keys.worker(number), "held", "NX", "EX", _LEASE_SECONDS):
            return number
    raise NoWorkerNumber("all 4,096 edge worker numbers are held")


async def keep_worker(redis: Redis, number: int) -> None:
    """Renews the lease for ever; a Redis away for less than an hour does no harm."""
    task = asyncio.current_task()
    # A cancellation that arrives while redis-py sends can get lost: it is asked for as well.
    while task is not None and not task.cancelling():
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await call(redis, "SET", redis_keys.worker(number), "held", "EX", _LEASE_SECONDS)
        except RedisError:
            log.warning("worker lease not renewed", worker=number)
