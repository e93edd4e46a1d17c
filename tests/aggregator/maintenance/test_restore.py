"""A restore stores lost events again from the streams, each once, or reports them as missing."""

import msgspec
import pytest

from aggregator.delivery.already_stored import build_missing_clicks, build_missing_conversions
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.restore import RestoreResult, restore
from aggregator.rows.batches import EventLine
from aggregator.warehouse.writer import Warehouse
from linkjolt import redis_keys
from linkjolt.position import entry_id
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.redis import call
from tests.aggregator.conftest import Line

CLICKS = "count()) AS n FROM clicks WHERE account != 0"
CONVERSIONS = "count()) AS n FROM conversions WHERE account != 0"
LATE = "count()) AS n FROM conversions WHERE reason = 'click_late'"
SYNC = "SETTINGS mutations_sync = 2"
DAMAGES = {
    "both tables emptied": ("TRUNCATE TABLE clicks", "TRUNCATE TABLE conversions"),
    "rows in the middle": (
        f"ALTER TABLE clicks DELETE WHERE account != 0 AND cityHash64(click_id) % 3 = 0 {SYNC}",
        f"ALTER TABLE conversions DELETE WHERE cityHash64(order_id) % 2 = 0 {SYNC}",
    ),
    "the last rows": (
        "ALTER TABLE clicks DELETE WHERE pos > (SELECT median(pos) FROM clicks)"
        f" {SYNC}, allow_nondeterministic_mutations = 1",
    ),
    "markers only": (f"ALTER TABLE clicks DELETE WHERE account = 0 {SYNC}",),
}


async def run(line: Line) -> RestoreResult:
    return await restore(line.redis, line.clickhouse, AggregatorSettings(batch_rows=10))


async def fill(line: Line) -> None:
    """Stores three batches of clicks with a reject in each, and conversions."""
    for start in (0, 5, 10):
        clicks = await line.click(12, sub1="mail")
        await line.clicks.publish("not json")
        for index, click in enumerate(clicks[:5]):
            await line.convert(line.make_conversion(start + index, click.click_id))
        await line.step_until_idle()


@pytest.mark.parametrize(
    "damage",
    [
        "rows in the middle",
        *(pytest.param(name, marks=pytest.mark.long) for name in DAMAGES if "middle" not in name),
    ],
)
@pytest.mark.parametrize(
    "aggregator", [pytest.param("at work", marks=pytest.mark.long), "started again"]
)
async def test_what_raw_lost_comes_back_once(line: Line, damage: str, aggregator: str) -> None:
    await fill(line)
    for statement in DAMAGES[damage]:
        await line.clickhouse.execute(statement)
    done = await run(line)
    assert done.complete
    if aggregator == "started again":
        line.restart()
    await line.click(3)
    await line.step_until_idle()
    assert (await line.audit()).clean
    assert (await line.count(CLICKS), await line.count(CONVERSIONS)) == (39, 15)
    assert await line.count(LATE) == 0
    assert await line.count("countIf(sub1 = 'mail')) AS n FROM conversions") == 15


@pytest.mark.long
async def test_a_second_restore_changes_nothing(line: Line) -> None:
    await fill(line)
    await line.clickhouse.execute(DAMAGES["rows in the middle"][0])
    first, second = await run(line), await run(line)
    assert first.streams[0].restored > 0
    assert [(stream.restored, stream.rejected) for stream in second.streams] == [(0, 0), (0, 0)]
    assert second.rollups == ()


@pytest.mark.long
async def test_a_lost_reject_is_a_reject_again_and_no_event(line: Line) -> None:
    [click] = await line.click()
    await line.step_until_idle()
    frame, stream = msgspec.json.encode(click), redis_keys.clicks(0)
    at = (await call(line.redis, "XADD", stream.key, "*", "f", frame, "r", "r")).split(b"-")[0]
    await call(line.redis, "HINCRBY", stream.ledger_key, int(at) // 3_600_000, 1)
    await line.step_until_idle()
    await line.clickhouse.execute("TRUNCATE TABLE rejects")
    await line.clickhouse.execute("TRUNCATE TABLE clicks")
    done = await run(line)
    assert (done.streams[0].restored, done.streams[0].rejected) == (1, 1)
    assert (await line.audit()).clean


@pytest.mark.parametrize(("marked", "rejected"), [(False, 0), (True, 1)])
async def test_what_is_stored_elsewhere_is_a_reject_only_if_it_was_sent_again(
    line: Line, marked: bool, rejected: int
) -> None:
    [click] = await line.click()
    conversion = line.make_conversion(1)
    await line.convert(conversion)
    await line.step_until_idle()
    warehouse, salts = Warehouse(line.clickhouse), VisitorSalts(line.redis, 72)
    again = [EventLine(1, 0, msgspec.json.encode(click), marked)]
    rows, rejects = await build_missing_clicks(warehouse, salts, 0, again, stored=())
    assert (len(rows), len(rejects)) == (0, rejected)
    again = [EventLine(1, 0, msgspec.json.encode(conversion), marked)]
    sold, refused = await build_missing_conversions(warehouse, 1, again, stored=())
    assert (len(sold), len(refused)) == (0, rejected)


@pytest.mark.long
async def test_a_new_warehouse_reads_the_whole_stream_and_needs_no_restore(line: Line) -> None:
    await fill(line)
    for table in ("clicks", "conversions", "rollup_minute", "rollup_quarter", "rollup_dimension"):
        await line.clickhouse.execute(f"TRUNCATE TABLE {table}")
    line.restart()
    await line.step_until_idle()
    done = await run(line)
    assert [(stream.restored, stream.waiting) for stream in done.streams] == [(0, 0), (0, 0)]
    assert (await line.audit()).clean


async def test_what_waits_is_left_to_the_next_step(line: Line) -> None:
    await fill(line)
    await line.click(4)
    done = await run(line)
    assert (done.streams[0].waiting, done.streams[0].held) == (4, 43)
    assert done.complete
    await line.step_until_idle()
    assert await line.count(CLICKS) == 40


@pytest.mark.long
async def test_what_no_stream_holds_is_named_and_its_rollups_are_kept(line: Line) -> None:
    await fill(line)
    middle = await line.count("toUInt64(median(pos))) AS n FROM clicks")
    stream = redis_keys.clicks(0)
    await call(line.redis, "XTRIM", stream.key, "MINID", entry_id(middle))
    await line.clickhouse.execute("TRUNCATE TABLE clicks")
    await line.clickhouse.execute("OPTIMIZE TABLE rejects FINAL")
    done = await run(line)
    clicks = done.streams[0]
    assert not done.complete
    assert clicks.held + clicks.older == 39
    assert clicks.restored + clicks.missing == 36
    assert clicks.missing > 0
    assert await line.count("sum(clicks)) AS n FROM rollup_quarter WHERE account != 0") == 36
    assert all(partition.outcome.startswith("left alone") for partition in done.rollups)
