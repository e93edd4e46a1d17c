"""Registry writes are atomic, codes unique, updates never lost, and accounts separate."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import datasets, redis_keys
from linkjolt.click_ids import LINK_NUMBER_MAX
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import store
from linkjolt.registry.entries import (
    Affiliate,
    ApiKey,
    Campaign,
    Link,
    RegistryChange,
    RegistryEntry,
    Webhook,
)
from linkjolt.registry.reads import FEED_START, read_changes, read_feed_end
from linkjolt.registry.store import PATCH_ATTEMPTS_MAX, Registry
from linkjolt.registry.writes.replies import WriteReply
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import call, connect
from tests.linkjolt.registry import samples


async def test_a_created_entry_can_be_read_by_its_number(registry: Registry) -> None:
    made: list[RegistryEntry] = [
        await registry.create(samples.campaign()),
        await registry.create(samples.affiliate()),
        await registry.create(samples.link("tc_1")),
        await registry.create(samples.key("secret", "admin")),
    ]
    assert [entry.number for entry in made] == [1, 1, 1, 1]
    assert await registry.get(Campaign, Account(1), 1) == made[0]
    assert await registry.get(Affiliate, Account(1), 1) == made[1]
    assert await registry.get(Link, Account(1), 1) == made[2]
    assert await registry.get(ApiKey, Account(1), 1) == made[3]


async def test_each_write_is_announced_in_order(redis: Redis, registry: Registry) -> None:
    await samples.stored_link(registry)
    await registry.delete(Link, Account(1), 1, samples.NOW)
    _, changes = await read_changes(redis, FEED_START, 10, 10)
    assert changes == [
        RegistryChange("campaign", 1),
        RegistryChange("affiliate", 1),
        RegistryChange("link", 1),
        RegistryChange("link", 1),
    ]


async def test_of_fifty_concurrent_claims_of_one_code_one_succeeds(
    redis: Redis, registry: Registry
) -> None:
    attempts = (registry.create(samples.link("tc_WANTED")) for _ in range(50))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, Link)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert (len(winners), len(losers)) == (1, 49)
    assert {loser.reason for loser in losers} == {Reason.tracking_code_taken}
    assert {loser.field for loser in losers} == {"tracking_code"}
    assert await registry.link_by_code(Account(1), "tc_WANTED") == winners[0]
    assert (await registry.page(Link, Account(1))).entries == winners
    assert len((await read_changes(redis, FEED_START, 100, 10))[1]) == 1


async def test_a_link_without_a_code_gets_another_when_its_first_is_taken(redis: Redis) -> None:
    codes = itertools.chain(["tc_A", "tc_A", "tc_A", "tc_B"])
    registry = Registry(redis, make_code=lambda: next(codes))
    made = [await registry.create(samples.link()) for _ in range(2)]
    assert [link.tracking_code for link in made] == ["tc_A", "tc_B"]


async def test_codes_that_are_always_taken_end_in_a_refusal(redis: Redis) -> None:
    registry = Registry(redis, make_code=lambda: "tc_A")
    await registry.create(samples.link())
    with pytest.raises(Rejected) as caught:
        await registry.create(samples.link())
    assert caught.value.reason is Reason.tracking_code_taken


async def test_the_code_of_a_deleted_link_stays_reserved(registry: Registry) -> None:
    link = await samples.stored_link(registry, "tc_OLD")
    await registry.delete(Link, Account(1), link.number, samples.NOW)
    with pytest.raises(Rejected) as caught:
        await registry.create(samples.link("tc_OLD"))
    assert caught.value.reason is Reason.tracking_code_taken


async def test_concurrent_patches_lose_no_update(registry: Registry) -> None:
    campaign = await registry.create(samples.campaign())

    async def add(event: str) -> None:
        await registry.patch(
            Campaign,
            Account(1),
            campaign.number,
            lambda seen: msgspec.structs.replace(seen, events=(*seen.events, event)),
        )

    events = [f"event_{index}" for index in range(PATCH_ATTEMPTS_MAX)]
    await asyncio.gather(*(add(event) for event in events))
    assert sorted((await registry.get(Campaign, Account(1), campaign.number)).events) == events


async def test_a_patch_that_always_comes_second_gives_up_and_changes_nothing(
    redis: Redis, registry: Registry
) -> None:
    affiliate = await registry.create(samples.affiliate())
    key = redis_keys.registry_entry("affiliate", affiliate.number)
    others = itertools.count()

    class Overtaken(Redis):
        async def mget(self, *args: object) -> object:  # type: ignore[override]
            seen = await redis.mget(key)
            other = msgspec.structs.replace(affiliate, name=f"other {next(others)}")
            await redis.set(key, msgspec.json.encode(other))
            return seen

    overtaken = Registry(Overtaken(connection_pool=redis.connection_pool))
    with pytest.raises(Rejected) as caught:
        await overtaken.patch(
            Affiliate,
            Account(1),
            affiliate.number,
            lambda seen: msgspec.structs.replace(seen, name="mine"),
        )
    assert caught.value.reason is Reason.conflict
    assert next(others) == PATCH_ATTEMPTS_MAX
    stored = await registry.get(Affiliate, Account(1), affiliate.number)
    assert stored.name == f"other {PATCH_ATTEMPTS_MAX - 1}"


async def test_a_patch_without_effect_is_no_change(redis: Redis, registry: Registry) -> None:
    campaign = await registry.create(samples.campaign())
    assert await registry.patch(Campaign, Account(1), 1, lambda seen: seen) == campaign
    assert await redis.xlen(redis_keys.REGISTRY_CHANGES) == 1


async def test_a_deleted_entry_is_neither_read_nor_listed_nor_deleted_again(
    registry: Registry,
) -> None:
    for name in ("one", "two", "three"):
        await registry.create(samples.affiliate(name))
    await registry.delete(Affiliate, Account(1), 2, samples.NOW)
    for work in (
        registry.get(Affiliate, Account(1), 2),
        registry.delete(Affiliate, Account(1), 2, samples.NOW),
        registry.patch(Affiliate, Account(1), 2, lambda seen: seen),
    ):
        with pytest.raises(Rejected) as caught:
            await work
        assert caught.value.reason is Reason.not_found
    assert [e.name for e in (await registry.page(Affiliate, Account(1))).entries] == [
        "one",
        "three",
    ]
    assert await registry.existing(Affiliate, Account(1), {1, 2, 3, 4}) == {1, 3}


async def test_another_accounts_entries_are_not_found(registry: Registry) -> None:
    theirs = await registry.create(samples.campaign("Theirs", account=Account(2)))
    link = await samples.stored_link(registry)
    for work in (
        registry.get(Campaign, Account(1), theirs.number),
        registry.delete(Campaign, Account(1), theirs.number, samples.NOW),
        registry.link_by_code(Account(2), link.tracking_code),
        registry.link_by_code(Account(1), "tc_NONE"),
    ):
        with pytest.raises(Rejected) as caught:
            await work
        assert caught.value.reason is Reason.not_found
    assert [e.name for e in (await registry.page(Campaign, Account(1))).entries] == ["Spring"]
    assert await registry.existing(Campaign, Account(1), {theirs.number}) == set()


async def test_pages_join_to_the_whole_list_whatever_is_added_meanwhile(registry: Registry) -> None:
    await registry.create_many([samples.affiliate(f"a{index}") for index in range(7)])
    first = await registry.page(Affiliate, Account(1), 0, 3)
    await registry.create(samples.affiliate("late"))
    assert first.after == 3
    second = await registry.page(Affiliate, Account(1), first.after, 3)
    third = await registry.page(Affiliate, Account(1), second.after or 0, 3)
    found = [*first.entries, *second.entries, *third.entries]
    assert [entry.number for entry in found] == list(range(1, 9))
    assert third.after is None
    assert [entry async for entry in registry.iterate(Affiliate, Account(1))] == found


async def test_a_full_last_page_says_that_it_is_the_last(registry: Registry) -> None:
    await registry.create_many([samples.affiliate() for _ in range(3)])
    assert (await registry.page(Affiliate, Account(1), 0, 3)).after is None


async def test_ten_thousand_links_take_a_few_seconds(registry: Registry) -> None:
    started = time.monotonic()
    outcomes = await registry.create_many([samples.link() for _ in range(10_000)])
    elapsed = time.monotonic() - started
    assert [link.number for link in outcomes if isinstance(link, Link)] == list(range(1, 10_001))
    assert elapsed < 10


async def test_a_taken_code_among_many_sinks_no_other(registry: Registry) -> None:
    drafts = [samples.link(code) for code in ("tc_1", "tc_2", "tc_1", "", "tc_3")]
    outcomes = await registry.create_many(drafts)
    taken = outcomes[2]
    assert isinstance(taken, Rejected)
    assert taken.reason is Reason.tracking_code_taken
    codes = [link.tracking_code for link in outcomes if isinstance(link, Link)]
    assert (codes[:2], codes[3]) == (["tc_1", "tc_2"], "tc_3")


def test_the_write_script_returns_exactly_the_named_replies() -> None:
    folder = Path(store.__file__).parent
    names = ("write.lua", "people/write_user.lua")
    script = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    assert set(re.findall(r"return '(\w+)'", script)) == {r.value.decode() for r in WriteReply}


async def test_the_script_is_loaded_again_on_a_server_that_forgot_it(
    redis: Redis, registry: Registry
) -> None:
    await registry.create(samples.affiliate())
    await redis.script_flush()
    outcomes = await registry.create_many([samples.affiliate() for _ in range(3)])
    assert [outcome for outcome in outcomes if isinstance(outcome, Rejected)] == []
    assert len((await registry.page(Affiliate, Account(1))).entries) == 4


async def test_link_numbers_end_where_click_ids_end(redis: Redis, registry: Registry) -> None:
    await redis.hset(redis_keys.REGISTRY_NUMBERS, "link", str(LINK_NUMBER_MAX - 1))
    assert (await registry.create(samples.link("tc_LAST"))).number == LINK_NUMBER_MAX
    with pytest.raises(Rejected):
        await registry.create(samples.link("tc_OVER"))
    assert await redis.get(redis_keys.tracking_code("tc_OVER")) is None


@pytest.fixture
async def full(redis: Redis) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Makes the server full when it is called."""

    async def fill() -> None:
        await call(redis, "CONFIG", "SET", "maxmemory", 1)

    yield fill
    await call(redis, "CONFIG", "SET", "maxmemory", 0)


Fill = Callable[[], Awaitable[None]]


async def test_a_full_server_refuses_a_write_whole(
    redis: Redis, registry: Registry, full: Fill
) -> None:
    link = await samples.stored_link(registry)
    before = await call(redis, "KEYS", "*")
    await full()
    with pytest.raises(RedisError):
        await registry.create(samples.link("tc_NEW"))
    changed = msgspec.structs.replace(link, destination="https://shop.example/other")
    with pytest.raises(Rejected) as caught:
        await registry.patch(Link, Account(1), link.number, lambda _: changed)
    assert caught.value.reason is Reason.unavailable
    assert {*await call(redis, "KEYS", "*")} == {*before}
    assert await registry.get(Link, Account(1), link.number) == link


async def test_whatever_stops_something_works_on_a_full_server(
    registry: Registry, full: Fill
) -> None:
    link = await samples.stored_link(registry)
    other = await registry.create(samples.link("tc_OTHER"))
    key = await registry.create(samples.key("lj_live_x", "admin"))
    start = await read_feed_end(registry.redis)
    await full()
    await registry.delete(Link, Account(1), link.number, samples.NOW)
    await registry.delete(ApiKey, Account(1), key.number, samples.NOW)
    disabled = msgspec.structs.replace(other, status="disabled")
    await registry.patch(Link, Account(1), other.number, lambda _: disabled)
    assert await registry.existing(Link, Account(1), {link.number}) == set()
    assert await registry.existing(ApiKey, Account(1), {key.number}) == set()
    assert await registry.get(Link, Account(1), other.number) == disabled
    _, changes = await read_changes(registry.redis, start, 10, 1)
    told = [(change.kind, change.number) for change in changes]
    assert told == [("link", link.number), ("key", key.number), ("link", other.number)]
    # It stays stopped: what makes it live again needs memory.
    with pytest.raises(Rejected):
        await registry.patch(Link, Account(1), other.number, lambda _: other)


async def test_an_account_has_a_bounded_number_of_webhooks(registry: Registry) -> None:
    def one(account: Account, *, test: bool = False) -> Webhook:
        owner = datasets.dataset_of_tests(account) if test else datasets.live_dataset(account)
        return samples.webhook(owner)

    created = await registry.create_webhook(one(Account(1)), 3)
    await registry.create_webhook(one(Account(1), test=True), 3)
    racing = [registry.create_webhook(one(Account(1), test=n % 2 > 0), 3) for n in range(6)]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, Rejected)]
    assert len(refused) == 5
    assert {one.reason for one in refused} == {Reason.limit_reached}
    await registry.create_webhook(one(Account(2)), 3)
    await registry.delete(Webhook, created.account, created.number, samples.NOW)
    await registry.create_webhook(one(Account(1)), 3)


async def test_a_registry_without_its_server_raises(redis_server: RedisServer) -> None:
    lost = connect(redis_server.url.replace(str(redis_server.port), "1"))
    with pytest.raises(RedisError):
        await Registry(lost).get(Campaign, Account(1), 1)
    await lost.aclose()
