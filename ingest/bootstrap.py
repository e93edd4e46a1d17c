"""Finds an edge's keyring and worker number, in Redis or in its local snapshot."""

import asyncio
import random
import time
from contextlib import suppress

import click
import structlog
from redis.asyncio import Redis

from ingest.edge import Edge
from ingest.registry_snapshot import SqliteRegistrySnapshot
from ingest.worker_numbers import claim_worker_number
from linkjolt.click_ids import WORKER_COUNT
from linkjolt.registry.keyring import FOLLOW_SECONDS, Keyring, load_keyring
from linkjolt.storage.redis import RedisError

log = structlog.get_logger()


async def find_keyring(redis: Redis, snapshot: SqliteRegistrySnapshot) -> Keyring:
    """Returns the shared secrets; ClickException when neither Redis nor the snapshot has them."""
    try:
        keyring = await load_keyring(redis)
    except RedisError:
        copied = await snapshot.keyring()
        if copied is None:
            raise click.ClickException(
                "Redis cannot be reached, and there is no copy of the registry to start from"
            ) from None
        log.warning("redis unavailable, starting from the local snapshot")
        return copied
    await snapshot.store_keyring(keyring)
    return keyring


async def follow_keyring(edge: Edge, redis: Redis, snapshot: SqliteRegistrySnapshot) -> None:
    """Keeps an edge's secrets up to date, for ever: click keys are added and retire."""
    signing_key = b""
    task = asyncio.current_task()
    while True:
        with suppress(RedisError):
            keyring = await load_keyring(redis)
            # A Redis that was emptied has made itself other secrets: those of the start count.
            if keyring.customer_key == edge.keyring.customer_key and keyring != edge.keyring:
                edge.keyring = keyring
                await snapshot.store_keyring(keyring)
        key = edge.keyring.signing_key(time.time_ns() // 1_000_000)
        if key != signing_key:
            edge.click_ids.sign_by(key)
            signing_key = key
        # redis-py may have lost a cancellation, which must not wait for the end of a sleep.
        if task and task.cancelling():
            return
        await asyncio.sleep(FOLLOW_SECONDS)


async def find_worker_number(redis: Redis) -> int:
    """Claims a worker number for this process; without Redis, picks one at random.

    Two edges may pick the same: their click ids still differ by time, sequence and MAC.
    """
    try:
        return await claim_worker_number(redis)
    except RedisError:
        return random.randrange(WORKER_COUNT)
