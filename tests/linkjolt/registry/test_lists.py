"""Lists are searched, filtered, sorted and paged in memory, and show what was written before."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Account, dataset_of_tests, live_dataset
from linkjolt.registry.entries import Affiliate, Link, Webhook
from linkjolt.registry.lists import index
from linkjolt.registry.lists.index import RegistryLists
from linkjolt.registry.lists.query import ListQuery, parse_list_query
from linkjolt.registry.store import Registry
from linkjolt.storage.redis import call
from tests.linkjolt.directory.feeds import Held, flip
from tests.linkjolt.registry import samples

ONE = Account(1)
ALL = ListQuery(sort="name")


@pytest.fixture
def lists(redis: Redis) -> RegistryLists:
    return RegistryLists(redis, rows_max=1_000)


async def names(lists: RegistryLists, query: ListQuery, owner: Account = ONE) -> list[str]:
    return [one.name for one in (await lists.page(Affiliate, owner, query)).entries]


async def pages(lists: RegistryLists, *parameters: tuple[str, str]) -> AsyncIterator[list[Link]]:
    """Yields every page of a list of links."""
    cursor: str | None = None
    while True:
        given = [*parameters, *([("cursor", cursor)] if cursor else [])]
        page = await lists.page(Link, ONE, parse_list_query("link", given))
        yield page.entries
        cursor = page.next_cursor
        if cursor is None:
            return


async def create_links(registry: Registry, count: int) -> None:
    links = [
        msgspec.structs.replace(
            samples.link(f"{'Ab'[number % 2]}{number * 7919 % 1000}", number % 3 + 1),
            destination=f"https://user@{'shop' if number % 4 else 'STORE'}.example/{number}",
            created_at=samples.NOW + timedelta(seconds=number * 7 % 11),
            status="disabled" if number % 5 == 0 else "active",
        )
        for number in range(count)
    ]
    await registry.create_many(links)


SORTS: dict[str, Callable[[Link], Any]] = {
    "id": lambda link: link.number,
    "created_at": lambda link: (link.created_at, link.number),
    "tracking_code": lambda link: (link.tracking_code.casefold(), link.number),
}


@pytest.mark.parametrize("name", SORTS)
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("q", ["", "B1", "store.EX", "lnk_7"])
async def test_pages_join_to_what_a_scan_of_all_entries_finds(
    registry: Registry, lists: RegistryLists, name: str, sign: str, q: str
) -> None:
    await create_links(registry, 300)
    filters = [("campaign_id", "cmp_1,cmp_3"), ("status", "active")]
    sought = [("q", q), ("sort", sign + name), ("limit", "7"), *filters]
    found = [link.number async for page in pages(lists, *sought) for link in page]
    expected = [
        link
        async for link in registry.iterate(Link, ONE)
        if link.campaign in (1, 3) and link.status == "active"
        if q.casefold() in link.tracking_code.casefold()
        or q.casefold() in link.destination.casefold().split("/")[2]
        or q == f"lnk_{link.number}"
    ]
    expected.sort(key=SORTS[name], reverse=bool(sign))
    assert found == [link.number for link in expected]
    page = await lists.page(Link, ONE, parse_list_query("link", sought))
    assert page.total == len(expected)


async def test_a_list_shows_what_another_process_wrote_just_before(
    redis: Redis, registry: Registry, lists: RegistryLists
) -> None:
    ann = await registry.create(samples.affiliate("Ann"))
    assert await names(lists, ALL) == ["Ann"]
    await Registry(redis).create(samples.affiliate("Bob"))
    assert await names(lists, ALL) == ["Ann", "Bob"]
    await registry.patch(Affiliate, ONE, ann.number, lambda one: _renamed(one, "Zoe"))
    assert await names(lists, ALL) == ["Bob", "Zoe"]
    await registry.delete(Affiliate, ONE, ann.number, samples.NOW)
    assert await names(lists, ALL) == ["Bob"]


def _renamed(affiliate: Affiliate, name: str) -> Affiliate:
    return msgspec.structs.replace(affiliate, name=name)


async def test_pages_stay_right_while_entries_come_and_go(
    registry: Registry, lists: RegistryLists
) -> None:
    await create_links(registry, 100)
    chance = random.Random(20)
    kept = {link.number async for link in registry.iterate(Link, ONE)}
    found: list[Link] = []
    async for page in pages(lists, ("sort", "-tracking_code"), ("limit", "9")):
        found += page
        gone = chance.choice(sorted(kept))
        kept.discard(gone)
        await registry.delete(Link, ONE, gone, samples.NOW)
        await registry.create(samples.link(f"z{len(found)}"))
        await registry.create(samples.link(f"0{len(found)}"))
    codes = [link.tracking_code.casefold() for link in found]
    assert codes == sorted(codes, reverse=True)
    numbers = [link.number for link in found]
    assert len(set(numbers)) == len(numbers)
    assert kept <= set(numbers)


async def test_accounts_and_datasets_have_lists_of_their_own(
    registry: Registry, lists: RegistryLists
) -> None:
    other = Account(2)
    await registry.create(samples.affiliate("Ann"))
    await registry.create(samples.affiliate("Eve", other))
    assert await names(lists, ALL) == ["Ann"]
    await registry.create(samples.affiliate("Eva", other))
    assert await names(lists, ALL) == ["Ann"]
    assert await names(lists, ALL, other) == ["Eva", "Eve"]
    for dataset in (live_dataset(ONE), dataset_of_tests(ONE)):
        await registry.create(samples.webhook(dataset))
        page = await lists.page(Webhook, dataset, ListQuery(sort="name"))
        assert [one.account for one in page.entries] == [dataset]


async def test_a_change_that_the_first_reading_missed_is_shown(redis: Redis) -> None:
    registry = Registry(redis)
    await create_links(registry, 3)
    held = Held(connection_pool=redis.connection_pool)
    lists = RegistryLists(held, rows_max=1_000)
    held.hold(redis_keys.registry_entry("link", 1))
    first = asyncio.create_task(lists.page(Link, ONE, ListQuery(status="disabled")))
    await held.reached.wait()
    held.hold_no_more()
    await registry.patch(Link, ONE, 2, flip)
    await registry.delete(Link, ONE, 1, samples.NOW)
    second = asyncio.create_task(lists.page(Link, ONE, ListQuery(status="disabled")))
    held.released.set()
    await first
    assert [link.number for link in (await second).entries] == [2]
    third = await lists.page(Link, ONE, ListQuery(status="disabled"))
    assert [link.number for link in third.entries] == [2]


async def test_rows_in_memory_are_bounded_and_longer_lists_are_read_each_time(
    redis: Redis, registry: Registry
) -> None:
    lists = RegistryLists(redis, rows_max=50)
    await create_links(registry, 30)
    by_name = ListQuery(sort="name", limit=1)
    assert (await lists.page(Link, ONE, by_name)).total == 30
    assert lists.row_count() == 30
    for number in range(25):
        await registry.create(samples.affiliate(f"A{number}"))
    assert (await lists.page(Affiliate, ONE, by_name)).total == 25
    # The links' rows made room.
    assert lists.row_count() == 25
    assert (await lists.page(Link, ONE, by_name)).total == 30
    await create_links_more(registry, 30)
    assert (await lists.page(Link, ONE, by_name)).total == 60
    assert lists.row_count() <= 50


async def create_links_more(registry: Registry, count: int) -> None:
    await registry.create_many([samples.link(f"more{number}") for number in range(count)])


async def test_a_trimmed_feed_and_another_redis_lose_no_change(
    redis: Redis, registry: Registry, lists: RegistryLists
) -> None:
    await registry.create(samples.affiliate("Ann"))
    assert await names(lists, ALL) == ["Ann"]
    await registry.create(samples.affiliate("Bob"))
    await call(redis, "XTRIM", redis_keys.REGISTRY_CHANGES, "MAXLEN", 0)
    await registry.create(samples.affiliate("Cid"))
    assert await names(lists, ALL) == ["Ann", "Bob", "Cid"]
    await call(redis, "FLUSHALL")
    await registry.create(samples.affiliate("Dan"))
    assert await names(lists, ALL) == ["Dan"]


async def test_many_changes_are_applied_in_parts(
    registry: Registry, lists: RegistryLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_CHANGES_AT_ONCE", 7)
    await registry.create(samples.affiliate("Ann"))
    assert await names(lists, ALL) == ["Ann"]
    for number in range(40):
        await registry.create(samples.affiliate(f"B{number:02}"))
    assert await names(lists, ALL) == ["Ann", *(f"B{number:02}" for number in range(40))]


async def test_a_reading_that_fails_is_begun_again(redis: Redis) -> None:
    registry = Registry(redis)
    await registry.create(samples.affiliate("Ann"))
    await call(redis, "SET", redis_keys.registry_entry("affiliate", 1), "{")
    lists = RegistryLists(redis, rows_max=10)
    with pytest.raises(msgspec.DecodeError):
        await names(lists, ALL)
    ann = msgspec.structs.replace(samples.affiliate("Ann"), number=1)
    await cast(Any, redis).set(redis_keys.registry_entry("affiliate", 1), msgspec.json.encode(ann))
    assert await names(lists, ALL) == ["Ann"]
