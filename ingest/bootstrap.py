"""What an edge needs before it can serve, from Redis or from what it kept when Redis was there."""

import random

import click
import structlog
from redis.asyncio import Redis

from ingest.registry_snapshot import Snapshot
from ingest.worker_numbers import claim_worker
from linkjolt.click_ids import WORKERS
from linkjolt.registry.keyring import Keyring, load_keyring
from linkjolt.storage.redis import RedisError

log = structlog.get_logger()


async def find_keyring(redis: Redis, snapshot: Snapshot) -> Keyring:
    """The shared secrets; ClickException when neither Redis nor the snapshot has them."""
    try:
        keyring = await load_keyring(redis)
    except RedisError:
        kept = await snapshot.keyring()
        if kept is None:
            raise click.ClickException(
                "Redis cannot be reached, and there is no copy of the registry to start from"
            ) from None
        log.warning("redis away: starting from the local snapshot")
        return kept
    await snapshot.keep_keyring(keyring)
    return keyring


async def find_worker(redis: Redis) -> int:
    """A worker number of this process's own; without Redis one by chance.

    By chance two edges may share one: their click ids still differ by time, sequence and MAC.
    """
    try:
        return await claim_worker(redis)
    except RedisError:
        return random.randrange(WORKERS)
