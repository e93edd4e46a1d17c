"""Purged test events are gone from the warehouse and from Redis, and the balance stays even."""

import msgspec

from aggregator.maintenance.purge import purge_tests
from aggregator.maintenance.restore import restore
from linkjolt import datasets
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.conversions.proposed import Author, ProposedAdjustment
from linkjolt.conversions.reservations import NamedOrder
from linkjolt.datasets import Account
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.redis import call
from tests.aggregator.conftest import Line, now_ms

TESTS = datasets.dataset_of_tests(Account(1))
ROWS = "count()) AS n FROM conversions WHERE account != 0"


async def fill(line: Line) -> None:
    """Stores three live conversions and three tests, of which one is rejected."""
    adjusting = ConversionAdjuster(line.redis, 1, 0)
    for number in range(6):
        conversion = line.make_conversion(number)
        if number % 2:
            conversion = msgspec.structs.replace(conversion, account=TESTS)
        await line.convert(conversion)
    request = AdjustmentRequest(adjustment_id="a", kind="rejected", author="key_1", reason="r")
    tried = line.make_conversion(1).conversion_id
    await adjusting.adjust(TESTS, tried, lambda _: request, now_ms())
    await line.step_until_idle()


async def test_tests_leave_and_the_balance_stays_even(line: Line) -> None:
    await fill(line)
    assert await line.count(ROWS) == 8
    for expected in (4, 0):
        # The second purge finds and changes nothing.
        assert (await purge_tests(line.redis, line.clickhouse, 1)).events == expected
        assert await line.count(ROWS) == 3
        for table in ("rollup_minute", "rollup_quarter", "rollup_day", "rollup_dimension"):
            left = f"count()) AS n FROM {table} WHERE account = {TESTS}"
            assert await line.count(left) == 0
        assert (await line.audit()).clean
    orders = await call(line.redis, "KEYS", "lj:{0}:order:*")
    pointers = await call(line.redis, "KEYS", "lj:{0}:conversion:*")
    assert (len(orders), len(pointers)) == (3, 3)


async def test_what_waits_for_a_test_order_leaves_too(line: Line) -> None:
    early, times = EarlyAdjustments(line.redis, 1, 0), now_ms()
    proposed = ProposedAdjustment(adjustment_id="a", kind="approved", author=Author("key_1"))
    for dataset in (TESTS, datasets.live_dataset(Account(1))):
        await early.park(NamedOrder(dataset, "sale", "o1"), proposed, times)
    await purge_tests(line.redis, line.clickhouse, 1)
    lists = [
        await early.list_order(NamedOrder(dataset, "sale", "o1"), times)
        for dataset in (TESTS, datasets.live_dataset(Account(1)))
    ]
    assert [len(waiting) for waiting, _ in lists] == [0, 1]


async def test_a_restore_does_not_bring_them_back(line: Line) -> None:
    await fill(line)
    await purge_tests(line.redis, line.clickhouse, 1)
    done = await restore(line.redis, line.clickhouse, AggregatorSettings())
    assert done.complete
    assert sum(stream.restored for stream in done.streams) == 0
    assert await line.count(ROWS) == 3
    assert (await line.audit()).clean
