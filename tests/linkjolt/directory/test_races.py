"""A load from before a change is never cached."""

import asyncio

import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, EntryKind, Link, RegistryChange
from linkjolt.registry.store import Registry
from tests.linkjolt.directory.feeds import Held, flip
from tests.linkjolt.registry import samples


@pytest.fixture
def held(redis: Redis) -> Held:
    return Held(connection_pool=redis.connection_pool)


@pytest.mark.parametrize("kind", ["link", "campaign", "affiliate"])
async def test_a_load_overtaken_by_a_change_leaves_nothing_stale(
    held: Held, registry: Registry, kind: EntryKind
) -> None:
    link = await samples.stored_link(registry)
    directory = Directory(held, links_cached=10, unknown_cached=10)
    held.hold(redis_keys.registry_entry(kind, 1))
    overtaken = asyncio.create_task(directory.route(link.tracking_code))
    await held.reached.wait()
    # The old entry is read and on its way; now it changes.
    await delete(registry, kind)
    held.hold_no_more()
    await directory.apply_changes([RegistryChange(kind, 1)])
    held.released.set()
    await overtaken
    assert directory.cached_route(link.tracking_code) is None
    route = await directory.route(link.tracking_code)
    assert route is not None
    entries = {"link": route.link, "campaign": route.campaign, "affiliate": route.affiliate}
    assert entries[kind].deleted_at == samples.NOW


async def delete(registry: Registry, kind: EntryKind) -> None:
    match kind:
        case "link":
            await registry.delete(Link, Account(1), 1, samples.NOW)
        case "campaign":
            await registry.delete(Campaign, Account(1), 1, samples.NOW)
        case _:
            await registry.delete(Affiliate, Account(1), 1, samples.NOW)


async def test_a_caller_after_a_change_does_not_join_a_load_from_before(
    held: Held, registry: Registry
) -> None:
    link = await samples.stored_link(registry)
    directory = Directory(held, links_cached=10, unknown_cached=10)
    held.hold(redis_keys.registry_entry("link", link.number))
    overtaken = asyncio.create_task(directory.route(link.tracking_code))
    await held.reached.wait()
    await registry.patch(Link, Account(1), link.number, flip)
    held.hold_no_more()
    await directory.apply_changes([RegistryChange("link", link.number)])
    fresh = await directory.route(link.tracking_code)
    held.released.set()
    stale = await overtaken
    assert fresh is not None
    assert stale is not None
    assert (fresh.link.status, stale.link.status) == ("disabled", "active")
    assert directory.cached_route(link.tracking_code) is fresh


async def test_a_code_created_while_it_was_looked_up_is_not_cached_as_unknown(
    held: Held, registry: Registry
) -> None:
    directory = Directory(held, links_cached=10, unknown_cached=10)
    held.hold(redis_keys.tracking_code("tc_LATE"))
    overtaken = asyncio.create_task(directory.route("tc_LATE"))
    await held.reached.wait()
    link = await samples.stored_link(registry, "tc_LATE")
    held.hold_no_more()
    await directory.apply_changes([RegistryChange("link", link.number)])
    held.released.set()
    assert await overtaken is None
    assert not directory.is_known_missing("tc_LATE")
    assert await directory.route("tc_LATE") is not None


async def test_a_key_revoked_while_it_was_looked_up_is_not_kept(
    held: Held, registry: Registry
) -> None:
    secret = api_key_secrets.make_secret()
    key = await registry.create(samples.key(secret, "admin"))
    directory = Directory(held, links_cached=10, unknown_cached=10)
    held.hold(redis_keys.registry_entry("key", key.number))
    overtaken = asyncio.create_task(directory.key(secret))
    await held.reached.wait()
    await registry.delete(ApiKey, Account(1), key.number, samples.NOW)
    held.hold_no_more()
    await directory.apply_changes([RegistryChange("key", key.number)])
    held.released.set()
    await overtaken
    assert await directory.key(secret) is None
