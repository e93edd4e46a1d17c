"""Adjustments change the sums of raw and rollups exactly, each once, at the right place."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from aggregator.maintenance.restore import restore
from linkjolt import redis_keys
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.datasets import Account, Dataset
from linkjolt.events import AdjustmentKind, Conversion, ConversionState
from linkjolt.money import Percentage
from linkjolt.reasons import Reason
from linkjolt.registry.entries import Campaign
from linkjolt.registry.store import Registry
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.redis import call, read_stream
from tests.aggregator.conftest import Line, now_ms

FACTS = "count()) AS n FROM conversions WHERE account != 0 AND kind != 'detached'"


class Sums(msgspec.Struct, frozen=True):
    """Counts and minor units by affiliate and status."""

    affiliate: int
    status: str
    conversions: int
    order_value_minor: int
    commission_minor: int


class Cell(msgspec.Struct, frozen=True):
    affiliate: int
    conversions: int
    pending: int
    approved: int
    rejected: int
    revenue_minor: int
    commission_minor: int


async def raw(line: Line) -> list[Sums]:
    """Sums the raw rows by their own affiliate and status."""
    return await line.clickhouse.read(
        "SELECT affiliate, status, toInt64(sum(c.conversions)) AS conversions,"
        " sum(c.order_value_minor) AS order_value_minor,"
        " sum(c.commission_minor) AS commission_minor"
        " FROM conversions AS c WHERE account != 0 GROUP BY affiliate, status"
        " HAVING conversions != 0 OR order_value_minor != 0 OR commission_minor != 0"
        " ORDER BY affiliate, status",
        Sums,
    )


async def rollup(line: Line) -> list[Cell]:
    sums = ("conversions", "pending", "approved", "rejected", "revenue_minor", "commission_minor")
    columns = ", ".join(f"sum(r.{name}) AS {name}" for name in sums)
    return await line.clickhouse.read(
        f"SELECT affiliate, {columns} FROM rollup_quarter AS r"
        " WHERE account != 0 AND basis = 1 GROUP BY affiliate ORDER BY affiliate",
        Cell,
    )


class Adjuster:
    """Adjusts the line's conversions, each time under a new id."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._adjusting = ConversionAdjuster(line.redis, 1, 0)
        self._adjustments = 0

    async def open(self) -> None:
        """Creates campaign 2, which pays 30 %."""
        registry = Registry(self._line.redis)
        for _ in range(2):
            await registry.create(
                Campaign(
                    number=0,
                    account=Account(1),
                    name="C",
                    currency="USD",
                    commission=Percentage(Decimal(30)),
                    created_at=datetime.now(UTC),
                )
            )

    async def adjust(
        self, of: Conversion, kind: AdjustmentKind, **fields: object
    ) -> ConversionState:
        self._adjustments += 1
        known = {
            "adjustment_id": f"a{self._adjustments}",
            "kind": kind,
            "author": "key_1",
            "reason": "r",
        }
        request = msgspec.convert({**known, **fields}, AdjustmentRequest)
        done = await self._adjusting.adjust(
            Dataset(1), of.conversion_id, lambda _: request, now_ms()
        )
        return done.state


@pytest.fixture
async def adjuster(line: Line) -> Adjuster:
    adjuster = Adjuster(line)
    await adjuster.open()
    return adjuster


async def test_a_refund_lowers_the_sums_at_the_conversions_time(
    line: Line, adjuster: Adjuster
) -> None:
    [click] = await line.click(sub1="mail", country="BR")
    conversion = line.make_conversion(1, click.click_id)
    await line.convert(conversion)
    await line.step_until_idle()
    await adjuster.adjust(conversion, "refunded", amount_minor=999)
    await line.step_until_idle()
    assert await raw(line) == [Sums(3, "pending", 1, 9000, 2700)]
    assert await rollup(line) == [Cell(3, 1, 1, 0, 0, 9000, 2700)]
    carried = "countIf(sub1 = 'mail' AND country = 'BR' AND click_time = (SELECT max(click_time)"
    assert await line.count(f"{carried} FROM conversions))) AS n FROM conversions") == 2
    assert (await line.audit()).clean


async def test_every_status_has_what_stands_in_it(line: Line, adjuster: Adjuster) -> None:
    conversions = [line.make_conversion(number) for number in range(4)]
    for conversion in conversions:
        await line.convert(conversion)
    await adjuster.adjust(conversions[0], "approved")
    await adjuster.adjust(conversions[1], "rejected")
    await adjuster.adjust(conversions[2], "rejected")
    await adjuster.adjust(conversions[2], "approved")
    await line.step_until_idle()
    assert await raw(line) == [
        Sums(3, "approved", 2, 19998, 5998),
        Sums(3, "pending", 1, 9999, 2999),
    ]
    assert await rollup(line) == [Cell(3, 3, 1, 2, 1, 29997, 8997)]
    assert await line.count(FACTS) == 8
    assert (await line.audit()).clean


async def test_what_is_given_to_an_affiliate_by_hand_leaves_nothing_behind(
    line: Line, adjuster: Adjuster
) -> None:
    lost = msgspec.structs.replace(
        line.make_conversion(1), attribution="none", affiliate=0, link=0, commission_minor=0
    )
    await line.convert(lost)
    await line.step_until_idle()
    await adjuster.adjust(lost, "attributed", payee={"campaign": 2, "affiliate": 9, "rule": 1})
    await line.step_until_idle()
    assert await raw(line) == [Sums(9, "pending", 1, 9999, 2999)]
    assert await rollup(line) == [Cell(0, 0, 0, 0, 0, 0, 0), Cell(9, 1, 1, 0, 0, 9999, 2999)]
    assert (await line.audit()).clean


async def test_an_adjustment_sent_again_counts_once(line: Line, adjuster: Adjuster) -> None:
    conversion = line.make_conversion(1)
    await line.convert(conversion)
    await adjuster.adjust(conversion, "refunded", amount_minor=999)
    await line.step_until_idle()
    stream = redis_keys.conversions(0)
    _, fields = (await read_stream(line.redis, stream.key, "-"))[-1]
    await call(line.redis, "XADD", stream.key, "*", "f", fields[b"f"], "r", "r")
    hour = now_ms() // 3_600_000
    await call(line.redis, "HINCRBY", stream.ledger_key, hour, 1)
    await line.step_until_idle()
    assert await raw(line) == [Sums(3, "pending", 1, 9000, 2700)]
    repeated = f"count()) AS n FROM rejects WHERE reason = '{Reason.repeated_event}'"
    assert await line.count(repeated) == 1
    assert (await line.audit()).clean


async def test_an_adjustment_of_what_is_not_stored_is_a_reject(
    line: Line, adjuster: Adjuster
) -> None:
    conversion = line.make_conversion(1)
    await line.convert(conversion)
    stream = redis_keys.conversions(0)
    await call(line.redis, "XTRIM", stream.key, "MAXLEN", "=", 0)
    await adjuster.adjust(conversion, "approved")
    await line.step_until_idle()
    missing = f"count()) AS n FROM rejects WHERE reason = '{Reason.conversion_missing}'"
    assert await line.count(missing) == 1
    assert await raw(line) == []


@pytest.mark.long
async def test_a_restore_brings_adjustments_back_once(line: Line, adjuster: Adjuster) -> None:
    conversions = [line.make_conversion(number) for number in range(6)]
    for conversion in conversions:
        await line.convert(conversion)
        await adjuster.adjust(conversion, "rejected")
        await adjuster.adjust(conversion, "approved")
        await adjuster.adjust(conversion, "refunded", amount_minor=999)
    await line.step_until_idle()
    before = await raw(line)
    delete = "ALTER TABLE conversions DELETE WHERE cityHash64(pos) % 2 = 0"
    await line.clickhouse.execute(f"{delete} SETTINGS mutations_sync = 2")
    assert await raw(line) != before
    done = await restore(line.redis, line.clickhouse, AggregatorSettings(batch_rows=10))
    assert done.complete
    assert await raw(line) == before == [Sums(3, "approved", 6, 54000, 16200)]
    assert (await rollup(line))[0].revenue_minor == 54000
    assert (await line.audit()).clean


async def test_a_conversion_from_before_there_were_adjustments_keeps_its_link_and_its_pay(
    line: Line, adjuster: Adjuster
) -> None:
    conversion = line.make_conversion(1)
    await line.convert(conversion)
    await line.step_until_idle()
    [key] = await call(line.redis, "KEYS", "lj:{0}:order:*")
    state = await call(line.redis, "GET", key)
    older_state = state.replace(b',"link":7', b"")
    assert older_state != state
    await call(line.redis, "SET", key, older_state)
    await adjuster.adjust(conversion, "refunded", amount_minor=999)
    await line.step_until_idle()
    assert await raw(line) == [Sums(3, "pending", 1, 9000, 2700)]
    by_link = "uniqExact(link)) AS n FROM conversions WHERE account != 0"
    assert await line.count(by_link) == 1
