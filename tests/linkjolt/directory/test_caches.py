"""An edge's caches stay bounded and consistent."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.clicks.route import Route
from linkjolt.directory.caches import KeyCache, LruCache, RouteCache, SingleFlight
from linkjolt.registry import api_key_secrets
from tests.linkjolt.registry import samples


def route(number: int, campaign: int = 1, affiliate: int = 1) -> Route:
    link = samples.link(f"tc_{number}", campaign, affiliate)
    return Route(
        msgspec.structs.replace(link, number=number),
        msgspec.structs.replace(samples.campaign(), number=campaign),
        msgspec.structs.replace(samples.affiliate(), number=affiliate),
    )


def test_the_longest_unused_item_goes_first() -> None:
    lru: LruCache[str, int] = LruCache(2)
    assert lru.put("a", 1) is None
    assert lru.put("b", 2) is None
    assert lru.get("a") == 1
    assert lru.put("c", 3) == 2
    assert [name for name in "abc" if name in lru] == ["a", "c"]


def test_routes_stay_bounded_with_all_that_points_to_them() -> None:
    routes = RouteCache(100)
    for number in range(1, 10_001):
        routes.put(route(number, campaign=number % 7, affiliate=number))
    assert routes.sizes() == (100, 100, 200)
    assert routes.by_number(9_900) is None
    assert routes.by_number(9_901) == routes.get("tc_9901")


def test_a_campaign_takes_its_routes_along_and_no_others() -> None:
    routes = RouteCache(10)
    for number in range(1, 7):
        routes.put(route(number, campaign=number % 2, affiliate=number % 3))
    routes.drop_owned_by("campaign", 1)
    assert [number for number in range(1, 7) if routes.by_number(number)] == [2, 4, 6]
    routes.drop_owned_by("affiliate", 0)
    assert [number for number in range(1, 7) if routes.by_number(number)] == [2, 4]


_STEPS = st.tuples(
    st.sampled_from(["put", "link", "campaign", "affiliate"]),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 3),
)


@given(st.lists(_STEPS))
def test_whatever_happens_the_indexes_agree_with_the_routes(
    steps: list[tuple[str, int, int, int]],
) -> None:
    routes = RouteCache(4)
    for step, number, campaign, affiliate in steps:
        match step:
            case "put":
                routes.put(route(number, campaign, affiliate))
            case "link":
                routes.drop_link(number)
            case "campaign":
                routes.drop_owned_by("campaign", campaign)
            case _:
                routes.drop_owned_by("affiliate", affiliate)
        count, numbers, places = routes.sizes()
        assert (numbers, places) == (count, 2 * count)
    for campaign in (1, 2, 3):
        routes.drop_owned_by("campaign", campaign)
    assert routes.sizes() == (0, 0, 0)


async def test_concurrent_misses_share_one_load() -> None:
    loads: SingleFlight[str, int] = SingleFlight()
    count = 0

    async def load() -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(0)
        return count

    assert await asyncio.gather(*(loads.run("a", load) for _ in range(50))) == [1] * 50
    assert await loads.run("a", load) == 2


async def test_a_cancelled_caller_does_not_stop_the_load_of_the_others() -> None:
    loads: SingleFlight[str, int] = SingleFlight()
    release = asyncio.Event()

    async def load() -> int:
        await release.wait()
        return 7

    impatient = asyncio.create_task(loads.run("a", load))
    patient = asyncio.create_task(loads.run("a", load))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    release.set()
    assert await patient == 7


async def test_a_failed_load_fails_for_all_and_is_tried_anew_by_the_next() -> None:
    loads: SingleFlight[str, int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise OSError("away")

    async def load() -> int:
        return 7

    outcomes = await asyncio.gather(
        *(loads.run("a", fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [OSError] * 3
    assert await loads.run("a", load) == 7


_KEY_STEPS = st.tuples(st.sampled_from(["put", "learn", "pop", "find", "clear"]), st.integers(0, 5))


@given(st.lists(_KEY_STEPS, max_size=40))
def test_a_secret_is_known_only_while_its_key_is(steps: list[tuple[str, int]]) -> None:
    secrets = [f"secret {number}" for number in range(6)]
    memory = KeyCache(3, 3)
    for step, number in steps:
        secret, digest = secrets[number], api_key_secrets.digest(secrets[number])
        match step:
            case "put":
                key = msgspec.structs.replace(samples.key(secret), number=number + 1)
                memory.put(digest, key)
            case "learn":
                found = memory.remember_secret(secret, digest)
                assert memory.by_secret(secret) is found
            case "pop":
                memory.drop_key(number + 1)
                assert memory.by_secret(secret) is None
            case "find":
                found = memory.by_secret(secret)
                assert found is None or found.digest == digest
            case _:
                memory.clear()
                assert memory.sizes() == (0, 0, 0, 0)
        held, by_secret, by_digest, by_number = memory.sizes()
        assert by_secret == by_digest <= held == by_number <= 3
