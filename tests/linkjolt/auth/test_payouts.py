"""Paying needs a scope of its own, which keys of former releases have where they could pay."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.reads import read_all, read_entry
from linkjolt.registry.store import Registry
from tests.linkjolt.auth.test_rotation import copy_of
from tests.linkjolt.registry import samples

KEPT = [
    (("conversions:write",), True),
    (("reports:read", "conversions:write"), True),
    (("admin",), True),
    (("postback",), False),
    (("reports:read",), False),
]


async def former_key(registry: Registry, scopes: Sequence[str]) -> tuple[int, str]:
    """Stores a key as the former release did, and returns its number and secret."""
    secret = api_key_secrets.make_secret()
    key = await registry.create(samples.key(secret, *scopes))
    name = redis_keys.registry_entry("key", key.number)
    entry = msgspec.json.decode(await registry.redis.get(name) or b"")
    for field in ("affiliate", "allowed_networks", "former_secrets", "scopes_version"):
        del entry[field]
    await registry.redis.set(name, msgspec.json.encode(entry))
    return key.number, secret


@pytest.mark.parametrize(("scopes", "could_pay"), KEPT)
async def test_a_key_that_could_pay_still_can_however_it_is_read(
    redis: Redis, registry: Registry, tmp_path: Path, scopes: Sequence[str], could_pay: bool
) -> None:
    number, secret = await former_key(registry, scopes)
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    snapshot: SqliteRegistrySnapshot = await copy_of(
        redis, tmp_path, api_key_secrets.digest(secret)
    )
    found = [
        await directory.key(secret),
        await snapshot.key(api_key_secrets.digest(secret)),
        await read_entry(redis, ApiKey, number),
        await registry.get(ApiKey, ACCOUNT_DEFAULT, number),
        *(await read_all(redis, ApiKey, ACCOUNT_DEFAULT)),
    ]
    await snapshot.close()
    assert [key is not None and key.allows("payouts:write") for key in found] == [could_pay] * 5


async def test_it_can_pay_after_it_was_changed_too(redis: Redis, registry: Registry) -> None:
    number, secret = await former_key(registry, ["conversions:write"])
    for name in ("one", "two"):
        changed = await registry.patch(
            ApiKey,
            ACCOUNT_DEFAULT,
            number,
            lambda key, name=name: msgspec.structs.replace(key, name=name),
        )
        assert changed.scopes == ("conversions:write", "payouts:write")
    key = await Directory(redis, links_cached=10, unknown_cached=10).key(secret)
    assert key
    assert key.scopes == ("conversions:write", "payouts:write")


async def test_a_new_key_pays_only_where_it_says_so(registry: Registry) -> None:
    for scopes, can_pay in (
        (("conversions:write",), False),
        (("conversions:write", "payouts:write"), True),
        (("payouts:write",), True),
    ):
        key = await registry.create(samples.key(api_key_secrets.make_secret(), *scopes))
        stored = await registry.get(ApiKey, ACCOUNT_DEFAULT, key.number)
        assert stored.allows("payouts:write") is can_pay
