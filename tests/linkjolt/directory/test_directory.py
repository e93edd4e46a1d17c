"""An edge's view of the registry is loaded on demand, in memory and bounded."""

from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from tests.linkjolt.directory.feeds import flip
from tests.linkjolt.registry import samples


async def test_a_route_is_loaded_once_and_then_in_memory(
    directory: Directory, registry: Registry
) -> None:
    link = await samples.stored_link(registry)
    assert directory.cached_route(link.tracking_code) is None
    route = await directory.route(link.tracking_code)
    assert route is not None
    assert route.link == link
    assert (route.campaign.name, route.affiliate.name) == ("Spring", "Ann")
    assert directory.cached_route(link.tracking_code) is route
    assert await directory.route_by_number(link.number) is route


async def test_a_route_is_found_by_number_when_nothing_is_in_memory(
    directory: Directory, registry: Registry
) -> None:
    link = await samples.stored_link(registry)
    route = await directory.route_by_number(link.number)
    assert route is not None
    assert route.link == link
    assert directory.cached_route(link.tracking_code) is route
    assert await directory.route_by_number(link.number + 1) is None


async def test_routes_of_one_campaign_share_its_object(
    directory: Directory, registry: Registry
) -> None:
    await samples.stored_link(registry, "tc_1")
    await registry.create(samples.link("tc_2"))
    first, second = await directory.route("tc_1"), await directory.route("tc_2")
    assert first is not None
    assert second is not None
    assert first.campaign is second.campaign
    assert first.affiliate is second.affiliate


async def test_an_unknown_code_is_remembered_as_such(directory: Directory) -> None:
    assert not directory.is_known_missing("tc_NONE")
    assert await directory.route("tc_NONE") is None
    assert directory.is_known_missing("tc_NONE")


async def test_a_text_that_cannot_be_a_code_costs_neither_a_look_up_nor_memory(
    redis_server: RedisServer,
) -> None:
    lost = connect(redis_server.url.replace(str(redis_server.port), "1"))
    directory = Directory(lost, links_cached=1, unknown_cached=1)
    for text in ("", "x" * 65, "a/b", "a b", "ä"):
        assert await directory.route(text) is None
        assert not directory.is_known_missing(text)
    assert await directory.key("lj_live_mistyped") is None
    await lost.aclose()


async def test_a_flood_of_unknown_codes_is_bounded(redis: Redis) -> None:
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    for number in range(100):
        await directory.route(f"tc_{number}")
    known = [number for number in range(100) if directory.is_known_missing(f"tc_{number}")]
    assert known == list(range(90, 100))


async def test_many_links_are_bounded_and_all_still_found(redis: Redis, registry: Registry) -> None:
    await samples.stored_link(registry, "tc_0")
    await registry.create_many([samples.link(f"tc_{number}") for number in range(1, 50)])
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    for number in range(50):
        assert await directory.route(f"tc_{number}")
    kept = [number for number in range(50) if directory.cached_route(f"tc_{number}")]
    assert kept == list(range(40, 50))


async def test_deleted_and_disabled_links_are_returned_as_they_are(
    directory: Directory, registry: Registry
) -> None:
    link = await samples.stored_link(registry)
    await registry.patch(Link, Account(1), link.number, flip)
    await registry.delete(Link, Account(1), link.number, samples.NOW)
    await registry.delete(Campaign, Account(1), link.campaign, samples.NOW)
    route = await directory.route(link.tracking_code)
    assert route is not None
    assert (route.link.status, route.link.deleted_at) == ("disabled", samples.NOW)
    assert route.campaign.deleted_at == samples.NOW
    assert route.affiliate.deleted_at is None


async def test_a_key_is_found_by_its_secret_until_revoked(
    redis: Redis, directory: Directory, registry: Registry
) -> None:
    secret = api_key_secrets.make_secret()
    key = await registry.create(samples.key(secret, "admin"))
    assert await directory.key(secret) == key
    assert await directory.key(api_key_secrets.make_secret()) is None
    await registry.delete(ApiKey, Account(1), key.number, samples.NOW)
    assert await Directory(redis, links_cached=1, unknown_cached=1).key(secret) is None
