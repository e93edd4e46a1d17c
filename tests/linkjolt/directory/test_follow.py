"""A change of the registry is live on every edge within a second, whatever happens to the feed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from tests.linkjolt.directory.feeds import flip, following
from tests.linkjolt.registry import samples
from tests.waiting import wait_until


@pytest.fixture
async def followed(directory: Directory, registry: Registry) -> AsyncIterator[Directory]:
    async with following(directory, registry):
        yield directory


async def test_a_changed_link_is_live_everywhere_within_a_second(
    redis: Redis, registry: Registry, followed: Directory
) -> None:
    link = await samples.stored_link(registry)
    await followed.route(link.tracking_code)
    await registry.patch(Link, Account(1), link.number, flip)

    async def disabled() -> bool:
        route = await followed.route(link.tracking_code)
        return route is not None and route.link.status == "disabled"

    await wait_until(disabled)


async def test_a_new_link_is_live_where_its_code_was_unknown(
    registry: Registry, followed: Directory
) -> None:
    assert await followed.route("tc_LATE") is None
    await samples.stored_link(registry, "tc_LATE")

    async def known() -> bool:
        return await followed.route("tc_LATE") is not None

    await wait_until(known)


async def test_a_renamed_campaign_or_affiliate_is_live_on_every_link(
    registry: Registry, followed: Directory
) -> None:
    link = await samples.stored_link(registry, "tc_1")
    await registry.create(samples.link("tc_2", link.campaign, link.affiliate))
    for code in ("tc_1", "tc_2"):
        await followed.route(code)

    async def names_seen() -> set[str]:
        routes = [await followed.route(code) for code in ("tc_1", "tc_2")]
        return {f"{route.campaign.name} {route.affiliate.name}" for route in routes if route}

    async def campaign_renamed() -> bool:
        return await names_seen() == {"Autumn Ann"}

    async def both_renamed() -> bool:
        return await names_seen() == {"Autumn Bea"}

    await registry.patch(
        Campaign,
        Account(1),
        link.campaign,
        lambda seen: msgspec.structs.replace(seen, name="Autumn"),
    )
    await wait_until(campaign_renamed)
    await registry.patch(
        Affiliate,
        Account(1),
        link.affiliate,
        lambda seen: msgspec.structs.replace(seen, name="Bea"),
    )
    await wait_until(both_renamed)


async def test_a_campaign_is_served_fresh_too(registry: Registry, followed: Directory) -> None:
    campaign = await registry.create(samples.campaign())
    assert await followed.campaign(campaign.number) == campaign
    assert await followed.campaign(campaign.number + 1) is None
    await registry.delete(Campaign, Account(1), campaign.number, samples.NOW)

    async def gone() -> bool:
        seen = await followed.campaign(campaign.number)
        return seen is not None and seen.deleted_at == samples.NOW

    await wait_until(gone)


async def test_a_revoked_key_is_refused_within_a_second(
    registry: Registry, followed: Directory
) -> None:
    secret = api_key_secrets.make_secret()
    key = await registry.create(samples.key(secret, "admin"))
    assert await followed.key(secret) == key
    await registry.delete(ApiKey, Account(1), key.number, samples.NOW)

    async def refused() -> bool:
        return await followed.key(secret) is None

    await wait_until(refused)


async def test_the_secret_of_a_revoked_key_is_known_no_more_within_a_second(
    registry: Registry, followed: Directory
) -> None:
    secret = api_key_secrets.make_secret()
    key = await registry.create(samples.key(secret, "admin"))

    async def known() -> bool:
        await followed.key(secret)
        return followed.cached_key(secret) == key

    # The change that created it may arrive in between and drop it once.
    await wait_until(known)
    await registry.delete(ApiKey, Account(1), key.number, samples.NOW)
    await wait_until(lambda: followed.cached_key(secret) is None)


async def test_a_change_missed_and_trimmed_empties_the_memory(
    redis: Redis, directory: Directory, registry: Registry
) -> None:
    link = await samples.stored_link(registry)
    async with following(directory, registry):
        await directory.route(link.tracking_code)
    await registry.patch(Link, Account(1), link.number, flip)
    await redis.xtrim(redis_keys.REGISTRY_CHANGES, maxlen=0, approximate=False)
    assert directory.cached_route(link.tracking_code) is not None
    async with following(directory, registry):
        await wait_until(lambda: directory.cached_route(link.tracking_code) is None)


async def test_a_change_made_while_not_followed_is_caught_up(
    directory: Directory, registry: Registry
) -> None:
    link = await samples.stored_link(registry, "tc_1")
    await samples.stored_link(registry, "tc_2")
    async with following(directory, registry):
        pass
    for code in ("tc_1", "tc_2"):
        await directory.route(code)
    await registry.patch(Link, Account(1), link.number, flip)
    async with following(directory, registry):
        await wait_until(lambda: directory.cached_route("tc_1") is None)
    assert directory.cached_route("tc_2") is not None


@pytest.mark.long
async def test_it_ends_whenever_it_is_cancelled(directory: Directory) -> None:
    for turns in range(20):
        task = asyncio.create_task(directory.follow())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=3)
        assert ended, f"still running, cancelled after {turns} turns of the loop"


async def test_a_client_with_short_timeouts_follows_an_idle_feed_without_complaint(
    redis: Redis, redis_server: RedisServer, registry: Registry
) -> None:
    hasty = connect(redis_server.url, timeout_seconds=1)
    directory = Directory(hasty, links_cached=10, unknown_cached=10)

    async def reads() -> int:
        stats = await cast(Any, redis).info("commandstats")
        return stats.get("cmdstat_xread", {"calls": 0})["calls"]

    with capture_logs() as logs:
        async with following(directory, registry):
            before = await reads()

            async def idled() -> bool:
                return await reads() >= before + 3

            await wait_until(idled)
    assert logs == []
    await hasty.aclose()


async def test_a_lost_server_is_an_error_for_callers_and_is_followed_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("lost"), appendfsync="always")
    child = server.start()
    server.wait_ready(child)
    redis = connect(server.url, timeout_seconds=1)
    registry = Registry(redis)
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    link = await samples.stored_link(registry)
    with capture_logs() as logs:
        async with following(directory, registry):
            await directory.route(link.tracking_code)
            child.kill()
            child.wait()
            with pytest.raises(RedisError):
                await directory.route("tc_OTHER")
            await wait_until(lambda: len(logs) == 1)
            assert directory.cached_route(link.tracking_code) is not None
            child = server.start()
            server.wait_ready(child)
            await registry.patch(Link, Account(1), link.number, flip)
            await wait_until(lambda: directory.cached_route(link.tracking_code) is None)
    assert [(log["event"], log["log_level"]) for log in logs] == [("registry feed lost", "warning")]
    await redis.aclose()
    child.terminate()
    child.wait(10)
