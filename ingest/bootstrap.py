"""Finds an edge's keyring and worker number, in Redis or in its local snapshot."""

import asyncio
import random
import time

import click
import structlog
from redis.asyncio import Redis

from ingest.edge import Edge
from ingest.registry_snapshot import SqliteRegistrySnapshot
from ingest.worker_numbers import claim_worker_number
from linkjolt.click_ids import WORKER_COUNT
from linkjolt.registry.keyring import FOLLOW_SECONDS, Keyring, load_keyring
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.storage.key_file import KeyFileError
from linkjolt.storage.redis import RedisError
from linkjolt.storage.sealing import Sealer, SealError

log = structlog.get_logger()


async def find_keyring(redis: Redis, snapshot: SqliteRegistrySnapshot, sealer: Sealer) -> Keyring:
    """Returns the shared secrets; ClickException when neither Redis nor the snapshot has them."""
    try:
        (await prepare_sealing(redis, sealer)).log(sealer)
        keyring = await load_keyring(redis, sealer)
    except RedisError:
        try:
            copied = await snapshot.keyring(sealer)
        except SealError as error:
            raise click.ClickException(
                f"Redis cannot be reached, and the copy of the registry does not open: {error}"
            ) from None
        if copied is None:
            raise click.ClickException(
                "Redis cannot be reached, and there is no copy of the registry to start from"
            ) from None
        log.warning("redis unavailable, starting from the local snapshot")
        return copied
    await snapshot.store_keyring(keyring, sealer)
    return keyring


async def follow_keyring(edge: Edge, redis: Redis, snapshot: SqliteRegistrySnapshot) -> None:
    """Keeps an edge's secrets up to date, for ever: click keys are added and retire."""
    signing_key = b""
    task = asyncio.current_task()
    while True:
        try:
            await _update_keyring(edge, redis, snapshot)
        except RedisError:
            pass
        except (SealError, KeyFileError) as error:
            log.error(
                "secrets in redis do not open, the edge goes on with its own", error=str(error)
            )
        key = edge.keyring.signing_key(time.time_ns() // 1_000_000)
        if key != signing_key:
            edge.click_ids.sign_by(key)
            signing_key = key
        # redis-py may have lost a cancellation, which must not wait for the end of a sleep.
        if task and task.cancelling():
            return
        await asyncio.sleep(FOLLOW_SECONDS)


async def _update_keyring(edge: Edge, redis: Redis, snapshot: SqliteRegistrySnapshot) -> None:
    if not edge.sealer.keys:
        # It started before there was a key file, and without Redis.
        (await prepare_sealing(redis, edge.sealer)).log(edge.sealer)
    keyring = await load_keyring(redis, edge.sealer)
    # A Redis that was emptied has made itself other secrets: those of the start count.
    if keyring.customer_key == edge.keyring.customer_key:
        edge.keyring = keyring
        await snapshot.store_keyring(keyring, edge.sealer)


async def find_worker_number(redis: Redis) -> int:
    """Claims a worker number for this process; without Redis, picks one at random.

    Two edges may pick the same: their click ids still differ by time, sequence and MAC.
    """
    try:
        return await claim_worker_number(redis)
    except RedisError:
        return random.randrange(WORKER_COUNT)
