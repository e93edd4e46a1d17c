"""The registry's copy on an edge's disk has no more than the edge needs of it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt.datasets import Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.accounts import create_account, set_disabled
from linkjolt.registry.store import Registry
from tests.ingest.conftest import make_key
from tests.sealers import any_sealer
from tests.waiting import wait_until


def contents(folder: Path) -> bytes:
    """Reads all files of a folder."""
    return b"".join([path.read_bytes() for path in folder.iterdir()])


async def test_a_key_of_a_disabled_account_is_unknown_without_redis_too(
    redis: Redis, tmp_path: Path
) -> None:
    registry = Registry(redis)
    account = Account((await create_account(registry, "Other", datetime.now(UTC))).number)
    assert account == 2
    secret = await make_key(registry, ["postback"], account=account)
    digest = api_key_secrets.digest(secret)
    snapshot = SqliteRegistrySnapshot(tmp_path)
    following = asyncio.create_task(snapshot.follow(redis))

    async def is_known() -> bool:
        return await snapshot.key(digest) is not None

    async def is_unknown() -> bool:
        return not await is_known()

    await wait_until(is_known)
    await set_disabled(registry, account, datetime.now(UTC))
    await wait_until(is_unknown)
    await set_disabled(registry, account, None)
    await wait_until(is_known)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await snapshot.close()


async def test_no_signing_secret_is_copied(redis: Redis, tmp_path: Path) -> None:
    signing_secret = api_key_secrets.make_signing_secret()
    secret = await make_key(
        Registry(redis, any_sealer()), ["postback"], signing_secret=signing_secret
    )
    snapshot = SqliteRegistrySnapshot(tmp_path)
    following = asyncio.create_task(snapshot.follow(redis))

    async def copied() -> bool:
        return await snapshot.key(api_key_secrets.digest(secret)) is not None

    await wait_until(copied)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    key = await snapshot.key(api_key_secrets.digest(secret))
    await snapshot.close()
    assert key
    assert (key.scopes, key.signing_secret) == (("postback",), "")
    assert signing_secret.encode() not in contents(tmp_path)
