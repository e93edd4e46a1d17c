"""Each event of a stream is stored exactly once, by any aggregator and after any failure."""

import asyncio
import time

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import ClosedSlices, Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.rollups import pull as pulling
from aggregator.rollups.schedule import RollupPulls
from aggregator.warehouse.writer import Warehouse
from linkjolt import redis_keys
from linkjolt.balance.edge_status import publish_edge_status
from linkjolt.datasets import Dataset
from linkjolt.position import position
from linkjolt.redis_keys import Stream
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import call, read_stream
from tests.aggregator.conftest import Line, ids

CLICKS = "count()) AS n FROM clicks WHERE account != 0"
CONVERSIONS = "count()) AS n FROM conversions WHERE account != 0"


class Text(msgspec.Struct, frozen=True):
    text: str


async def texts(clickhouse: ClickHouse, sql: str) -> list[str]:
    return [row.text for row in await clickhouse.read(sql, Text)]


async def test_every_published_click_is_stored_once(line: Line) -> None:
    clicks = await line.click(30)
    await line.step_until_idle()
    stored = await texts(line.clickhouse, "SELECT click_id AS text FROM clicks WHERE account = 1")
    assert sorted(stored) == sorted(ids(clicks))
    assert (await line.audit()).clean


async def test_a_batch_is_one_part_with_its_marker(line: Line) -> None:
    await asyncio.gather(*(line.click() for _ in range(5)))
    await line.step_until_idle()
    await line.step()
    await line.step()
    assert await line.count("count()) AS n FROM clicks WHERE account = 0") == 1
    parts = "count()) AS n FROM system.parts WHERE active AND table = 'clicks'"
    assert await line.count(f"{parts} AND database = currentDatabase()") == 1


async def test_another_aggregator_goes_on_where_the_rows_say(line: Line) -> None:
    await line.click(3)
    await line.step_until_idle()
    line.restart()
    await line.click(4)
    await line.step_until_idle()
    assert await line.count(CLICKS) == 7
    assert (await line.audit()).clean


async def test_a_crash_after_the_base_insert_is_recovered_by_the_pull(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise ClickHouseFailed("the process died here")

    await line.click(6)
    with monkeypatch.context() as patch:
        patch.setattr(pulling, "pull", crash)
        with pytest.raises(ClickHouseFailed):
            await line.step_until_idle()
    assert await line.count(CLICKS) == 6
    assert (
        not (await line.audit()).clean
        or await line.count("sum(clicks)) AS n FROM rollup_quarter WHERE account != 0") == 0
    )
    line.restart()
    await line.step_until_idle()
    assert await line.count(CLICKS) == 6
    assert await line.count("sum(clicks)) AS n FROM rollup_quarter WHERE account != 0") == 6
    assert (await line.audit()).clean


@pytest.mark.parametrize(
    "batches", [3, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 4, 7))]
)
async def test_rollups_that_lag_behind_a_long_queue_are_complete_at_its_end(
    line: Line, batches: int
) -> None:
    line.restart(batch_rows=5)
    await line.click(40)
    for _ in range(batches):
        await line.step()
    # The next aggregator pulls the unpulled rows.
    line.restart(batch_rows=5)
    await line.step_until_idle()
    while (await line.step()).more_waiting:
        pass
    assert await line.count("sum(clicks)) AS n FROM rollup_quarter") == 40
    assert (await line.audit()).clean


async def test_far_behind_rollups_follow_by_so_many_rows_at_once(
    line: Line,
) -> None:
    line.restart(batch_rows=5)
    await line.click(30)
    pulled: list[int] = []
    while (await line.step()).more_waiting:
        pulled.append(await line.count("sum(clicks)) AS n FROM rollup_quarter"))
    # Two batches at first; then it depends on how long the pull took.
    assert pulled[:2] == [0, 10]
    assert await line.count("sum(clicks)) AS n FROM rollup_quarter") == 30
    assert (await line.audit()).clean


async def test_a_doubtful_insert_that_was_done_is_not_done_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Warehouse.insert_clicks

    async def insert_and_lose_the_reply(*arguments: object) -> None:
        await real(*arguments)  # type: ignore[arg-type]
        raise ClickHouseFailed("the reply was lost")

    await line.click(5)
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "insert_clicks", insert_and_lose_the_reply)
        with pytest.raises(ClickHouseFailed):
            await line.step_until_idle()
    line.aggregation.forget()
    await line.step_until_idle()
    assert await line.count(CLICKS) == 5
    assert (await line.audit()).clean


async def test_a_line_nobody_can_read_is_a_reject_and_blocks_nothing(line: Line) -> None:
    await line.clicks.publish('{"click_id": 7}')
    await line.clicks.publish("not json")
    await line.clicks.publish('{"click_id":"X","account":1,"link":1,"campaign":1,"affiliate":1}')
    await line.click(2)
    await line.step_until_idle()
    reasons = "SELECT reason AS text FROM rejects FINAL ORDER BY pos, line"
    assert await texts(line.clickhouse, reasons) == ["undecodable"] * 3
    audit = await line.audit()
    assert audit.clean
    clicks = audit.balance.streams[0]
    assert (clicks.accepted, clicks.stored, clicks.rejected) == (5, 2, 3)


async def test_a_batch_of_nothing_but_rejects_moves_the_position(line: Line) -> None:
    await line.clicks.publish("not json")
    await line.step_until_idle()
    [(last, _)] = await read_stream(line.redis, redis_keys.clicks(0).key, "-")
    stored = await Warehouse(line.clickhouse).stored_position(redis_keys.clicks(0))
    assert stored >= position(last)


async def test_a_frame_sent_again_that_was_stored_before_is_a_reject(line: Line) -> None:
    [click] = await line.click()
    await line.step_until_idle()
    frame = msgspec.json.encode(click)
    stream = redis_keys.clicks(0)
    await call(line.redis, "XADD", stream.key, "*", "f", frame, "r", "r")
    hour = (await read_stream(line.redis, stream.key, "-"))[-1][0].split(b"-")[0]
    await call(line.redis, "HINCRBY", stream.ledger_key, int(hour) // 3_600_000, 1)
    await line.step_until_idle()
    assert await line.count(CLICKS) == 1
    reasons = "SELECT reason AS text FROM rejects FINAL"
    assert await texts(line.clickhouse, reasons) == ["repeated_event"]
    assert (await line.audit()).clean


async def test_a_conversion_carries_its_clicks_dimensions(line: Line) -> None:
    [click] = await line.click(country="BR", sub3="spring", referrer="https://www.blog.example/")
    await line.convert(line.make_conversion(1, click.click_id))
    await line.step_until_idle()
    sql = "SELECT concat(country, ' ', sub3, ' ', referrer_host) AS text FROM conversions"
    assert await texts(line.clickhouse, f"{sql} WHERE account = 1") == ["BR spring blog.example"]


async def test_a_conversion_waits_for_the_click_that_came_before_it(line: Line) -> None:
    await line.step()
    [click] = await line.click()
    await line.convert(line.make_conversion(1, click.click_id))
    await line.step_until_idle()
    late = "count()) AS n FROM conversions WHERE reason = 'click_late'"
    assert await line.count(late) == 0
    assert await line.count(CONVERSIONS) == 1


async def test_a_conversion_whose_click_was_never_stored_is_stored_as_late(line: Line) -> None:
    lost = line.make_click()
    await line.convert(line.make_conversion(1, lost.click_id))
    await line.step_until_idle()
    late = "count()) AS n FROM conversions WHERE reason = 'click_late'"
    assert await line.count(f"{late} AND click_time > '2026-01-01'") == 1
    assert (await line.audit()).clean


async def test_a_conversion_waits_for_a_click_that_an_edge_still_holds(line: Line) -> None:
    spooled = line.make_click()
    await publish_edge_status(line.redis, 1, spooled=1, newly_shed=0)
    await line.convert(line.make_conversion(1, spooled.click_id))
    for _ in range(60):
        await line.step()
    assert await line.count(CONVERSIONS) == 0
    await line.clicks.publish(msgspec.json.encode(spooled).decode())
    await publish_edge_status(line.redis, 1, spooled=0, newly_shed=0)
    await line.step_until_idle()
    assert await line.count("count()) AS n FROM conversions WHERE verdict != ''") == 1


async def test_an_order_stored_before_is_a_reject_even_if_redis_forgot_it(line: Line) -> None:
    first = line.make_conversion(1)
    await line.convert(first)
    await line.step_until_idle()
    digest = redis_keys.order_digest(Dataset(1), "sale", "order_1")
    await call(line.redis, "DEL", redis_keys.order(0, digest))
    again = msgspec.structs.replace(first, conversion_id="conv_" + "1" * 26)
    await line.convert(again)
    await line.step_until_idle()
    assert await line.count(CONVERSIONS) == 1
    reasons = "SELECT reason AS text FROM rejects FINAL"
    assert await texts(line.clickhouse, reasons) == ["repeated_order"]
    assert (await line.audit()).clean


async def test_visitors_are_the_same_within_a_day_and_addresses_are_cut(line: Line) -> None:
    await line.click(3, ip="203.0.113.9", user_agent="Mozilla/5.0 Firefox/140.0")
    await line.click(1, ip="203.0.113.10", user_agent="Mozilla/5.0 Firefox/140.0")
    await line.step_until_idle()
    assert await line.count("uniq(visitor)) AS n FROM clicks WHERE account = 1") == 2
    cut = await texts(line.clickhouse, "SELECT DISTINCT ip AS text FROM clicks WHERE account = 1")
    assert cut == ["203.0.113.0"]


class RecordingStreams(Streams):
    """Records by stream key where its last closing ended."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.closed_until_ms: dict[str, int] = {}

    async def close(self, stream: Stream, slice_ms: int, stored: int = 0) -> ClosedSlices:
        closed = await super().close(stream, slice_ms, stored)
        self.closed_until_ms[stream.key] = closed.until_ms
        return closed


async def test_progress_is_published_with_the_step_that_stores(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = RecordingStreams(line.redis)
    line.aggregation = Aggregation(
        streams, line.clickhouse, VisitorSalts(line.redis, 72), AggregatorSettings(slice_ms=50)
    )
    seconds: list[float] = []
    pulled_at = 0.0
    pull, publish = RollupPulls.pull, Streams.publish_progress

    async def pull_and_look(pulls: RollupPulls, stream: Stream, *rest: int) -> None:
        nonlocal pulled_at
        await pull(pulls, stream, *rest)
        pulled_at = time.monotonic()

    async def publish_and_look(streams: Streams, stream: Stream, *rest: int) -> None:
        await publish(streams, stream, *rest)
        seconds.append(time.monotonic() - pulled_at)

    monkeypatch.setattr(RollupPulls, "pull", pull_and_look)
    monkeypatch.setattr(Streams, "publish_progress", publish_and_look)
    for count in range(1, 4):
        await line.click()
        while await line.count(CLICKS) < count:
            await line.step()
        # Published by the very step that stored the click, up to the end of the slices it closed.
        for stream in redis_keys.streams(1):
            published_ms = await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number)
            assert int(published_ms) == streams.closed_until_ms[stream.key]
        [group] = await call(line.redis, "XINFO", "GROUPS", redis_keys.clicks(0).key)
        cursor = position(group[b"last-delivered-id"])
        assert cursor == await line.aggregation.position(redis_keys.clicks(0))
    # Publishing is two calls to Redis; the fastest of several, for the machine may be busy.
    assert min(seconds) < 0.25


async def test_progress_lags_no_slice_behind(line: Line) -> None:
    await line.click()
    await line.step_until_idle()
    step = await line.step()
    published_ms = await call(line.redis, "HGET", redis_keys.PROGRESS, "0")
    seconds, microseconds = await call(line.redis, "TIME")
    now = int(seconds) * 1000 + int(microseconds) // 1000
    assert now - int(published_ms) < 1_000
    assert step.wait_seconds <= 0.05
