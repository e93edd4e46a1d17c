"""A stream is stored by one aggregator at a time, which holds its lease."""

from collections.abc import Iterable
from typing import TypeVar, cast

import pytest
from redis.asyncio import Redis

from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from linkjolt import redis_keys
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse, Parameters
from linkjolt.storage.redis import call
from tests.aggregator.conftest import Line, ids
from tests.waiting import wait_until

T = TypeVar("T")
STREAM = redis_keys.clicks(0)
CLICKS = "count()) AS n FROM clicks WHERE account != 0"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def aggregation(line: Line, leases: Leases, salts: VisitorSalts | None = None) -> Aggregation:
    settings = AggregatorSettings(slice_ms=50)
    known = salts or VisitorSalts(line.redis, 72)
    return Aggregation(Streams(line.redis), line.clickhouse, known, settings, leases)


async def test_one_holds_a_stream_until_it_lets_go(redis: Redis) -> None:
    first, second = Leases(redis, 10), Leases(redis, 10)
    assert await first.acquire(STREAM) == "taken"
    assert await second.acquire(STREAM) == "foreign"
    assert await second.acquire(redis_keys.conversions(0)) == "taken"
    await first.release()
    assert await second.acquire(STREAM) == "taken"
    assert await first.acquire(STREAM) == "foreign"


async def test_a_lease_that_is_not_renewed_runs_out(redis: Redis) -> None:
    first, second = Leases(redis, 0.1), Leases(redis, 10)
    assert await first.acquire(STREAM) == "taken"

    async def taken() -> bool:
        return await second.acquire(STREAM) == "taken"

    await wait_until(taken)
    # The first one's own memory of the lease has expired, too.
    assert await first.acquire(STREAM) == "foreign"
    await first.release()
    assert await second.acquire(STREAM) == "held"
    assert await call(redis, "EXISTS", STREAM.lease_key) == 1


async def test_a_lease_is_renewed_when_a_third_of_it_is_over_and_redis_is_not_asked_before(
    redis: Redis,
) -> None:
    clock = Clock()
    leases = Leases(redis, 30, clock)
    assert await leases.acquire(STREAM) == "taken"
    await call(redis, "PEXPIRE", STREAM.lease_key, 5_000)
    clock.now += 9
    assert await leases.acquire(STREAM) == "held"
    assert int(await call(redis, "PTTL", STREAM.lease_key)) <= 5_000
    clock.now += 2
    assert await leases.acquire(STREAM) == "held"
    assert int(await call(redis, "PTTL", STREAM.lease_key)) > 5_000


async def test_a_lease_that_ran_out_and_is_taken_again_differs_from_one_that_was_held(
    redis: Redis,
) -> None:
    clock = Clock()
    leases = Leases(redis, 30, clock)
    assert await leases.acquire(STREAM) == "taken"
    await call(redis, "DEL", STREAM.lease_key)
    clock.now += 31
    assert await leases.acquire(STREAM) == "taken"


async def test_two_that_take_turns_store_each_click_once(line: Line) -> None:
    leases = [Leases(line.redis, 10), Leases(line.redis, 10)]
    both = [aggregation(line, mine) for mine in leases]
    published = 0
    for turn in range(4):
        published += len(await line.click(3))
        line.aggregation = both[turn % 2]
        await line.step_until_idle()
        await both[1 - turn % 2].step()
        await leases[turn % 2].release()
    assert await line.count(CLICKS) == published == 12
    assert (await line.audit()).clean


class _FreezingSalts(VisitorSalts):
    """Salts that freeze the aggregator between read and insert for longer than its lease."""

    def __init__(self, line: Line, clock: Clock, other: Aggregation) -> None:
        super().__init__(line.redis, 72)
        self._line, self._clock, self._other = line, clock, other

    async def get(self, days: Iterable[str]) -> dict[str, bytes]:
        salts = await super().get(days)
        await call(self._line.redis, "DEL", STREAM.lease_key)
        self._line.aggregation = self._other
        await self._line.step_until_idle()
        self._clock.now += 60
        return salts


async def test_an_aggregator_frozen_before_its_insert_does_not_insert_after_its_lease(
    line: Line,
) -> None:
    clock = Clock()
    other = aggregation(line, Leases(line.redis, 10))
    frozen = aggregation(line, Leases(line.redis, 10, clock), _FreezingSalts(line, clock, other))
    clicks = await line.click(5)
    with pytest.raises(LeaseLost):
        for _ in range(50):
            await frozen.step()
    assert await line.count(CLICKS) == len(ids(clicks)) == 5
    assert (await line.audit()).clean


@pytest.mark.long
async def test_conversions_wait_for_clicks_that_another_aggregator_stores(line: Line) -> None:
    clicks, conversions = Leases(line.redis, 600), Leases(line.redis, 600)
    await clicks.acquire(redis_keys.clicks(0))
    await conversions.acquire(redis_keys.conversions(0))
    of_clicks, of_conversions = aggregation(line, clicks), aggregation(line, conversions)
    [click] = await line.click(country="BR")
    await line.convert(line.make_conversion(1, click.click_id))
    conversion_rows = "count()) AS n FROM conversions WHERE account != 0"
    # Each step waits for the slice to be over, as the loop does.
    for _ in range(60):
        await of_conversions.step()
    assert await line.count(conversion_rows) == 0
    line.aggregation = of_clicks
    stored = f"{CLICKS} AND country = 'BR'"
    while not await line.count(stored):
        await of_clicks.step()
    line.aggregation = of_conversions
    await line.step_until_idle()
    assert await line.count(f"{conversion_rows} AND country = 'BR' AND reason = ''") == 1
    # A click that is missing is not waited for once the foreign stream is read past its end.
    await line.convert(line.make_conversion(2, line.make_click().click_id))
    await line.step_until_idle()
    assert await line.count(f"{conversion_rows} AND reason = 'click_late'") == 1
    assert (await line.audit()).clean


async def test_a_full_redis_still_lets_a_lease_be_renewed_and_its_streams_be_trimmed(
    line: Line,
) -> None:
    clock = Clock()
    leases = Leases(line.redis, 30, clock)
    await line.click(2)
    line.aggregation = aggregation(line, leases)
    await line.step_until_idle()
    await call(line.redis, "CONFIG", "SET", "maxmemory", 1)
    try:
        clock.now += 20
        assert await leases.acquire(STREAM) == "held"
        # An aggregator without a lease can get none, and can trim all the same.
        standby = aggregation(line, Leases(line.redis, 30))
        assert (
            await standby.trimmable_position(STREAM) == await line.aggregation.position(STREAM) > 0
        )
    finally:
        await call(line.redis, "CONFIG", "SET", "maxmemory", 0)


class _SlowClickHouse(ClickHouse):
    """A line's engine; looking up more orders than a lease has time for lets the lease run out."""

    def __init__(self, line: Line, clock: Clock, orders_max: int) -> None:
        vars(self).update(vars(line.clickhouse))
        self._redis, self._clock, self._orders_max = line.redis, clock, orders_max

    async def read(self, sql: str, row: type[T], parameters: Parameters | None = None) -> list[T]:
        orders = (parameters or {}).get("orders", [])
        if isinstance(orders, list) and len(cast("list[str]", orders)) > self._orders_max:
            self._clock.now += 10
            await call(self._redis, "DEL", redis_keys.conversions(0).lease_key)
        return await super().read(sql, row, parameters)


@pytest.mark.long
async def test_a_batch_that_takes_longer_than_its_lease_is_stored_in_smaller_ones(
    line: Line,
) -> None:
    for number in range(600):
        await line.convert(line.make_conversion(number))
    clock = Clock()
    settings = AggregatorSettings(slice_ms=50, batch_rows=1_000)
    line.aggregation = Aggregation(
        Streams(line.redis),
        _SlowClickHouse(line, clock, orders_max=200),
        VisitorSalts(line.redis, 72),
        settings,
        Leases(line.redis, 10, clock),
    )
    lost = 0

    async def idle() -> bool:
        nonlocal lost
        clock.now += 20
        try:
            await line.step()
        except LeaseLost:
            lost += 1
            line.aggregation.forget_and_shrink()
        rows = "count()) AS n FROM conversions WHERE account != 0"
        return await line.count(rows) == 600

    await wait_until(idle)
    # 1,000 and 500 and 250 rows were too many; 125, 157 and 197 were stored; 247 were too many.
    assert 3 <= lost <= 4
    assert (await line.audit()).clean
