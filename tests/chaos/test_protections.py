"""Closing never lowers a stream's last id, and trimming never passes what is stored."""

import pytest
from redis.asyncio import Redis

from aggregator.deliveries.skipped import SkippedEntries
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trimmer, trim_below_ms
from aggregator.delivery.visitor_salts import VisitorSalts
from linkjolt import redis_keys
from linkjolt.position import position
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, read_stream

STREAM = redis_keys.clicks(0)
LINE = b'{"click_id":"X","account":1,"link":1,"campaign":1,"affiliate":1}'


async def last_id(redis: Redis) -> int:
    """Reads the position of the last id that the stream generated."""
    info = await call(redis, "XINFO", "STREAM", STREAM.key)
    return position(info[b"last-generated-id"])


async def test_closing_an_emptied_stream_never_lowers_its_last_id(redis: Redis) -> None:
    streams = Streams(redis)
    now_ms = (await streams.close(STREAM, 500)).now_ms
    # Ids may be ahead of the clock after it stepped back.
    ahead = f"{now_ms + 60_000}-5"
    await call(redis, "XADD", STREAM.key, ahead, "f", LINE)
    await call(redis, "XTRIM", STREAM.key, "MAXLEN", "0")
    for _ in range(3):
        closed = await streams.close(STREAM, 500)
        assert await last_id(redis) >= position(ahead.encode())
        added = await call(redis, "XADD", STREAM.key, "*", "f", LINE)
        assert position(added) > position(ahead.encode())
        assert int(added.partition(b"-")[0]) >= closed.until_ms
        await call(redis, "XTRIM", STREAM.key, "MAXLEN", "0")


@pytest.mark.parametrize("pressed", [True, False])
def test_nothing_is_trimmed_beyond_what_is_stored(pressed: bool) -> None:
    assert trim_below_ms(1_000, 90_000_000, 0, over_memory=pressed) <= 1_000


async def test_a_full_memory_trims_what_is_stored_and_not_one_entry_more(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    settings = AggregatorSettings(slice_ms=50, stream_retention_hours=0, stream_memory_max_bytes=1)
    streams = Streams(redis)
    aggregation = Aggregation(streams, clickhouse, VisitorSalts(redis, 48), settings)
    # An exact trim drops what it may; the usual one only whole nodes, of a hundred entries.
    await call(redis, "CONFIG", "SET", "stream-node-max-entries", 1)
    try:
        await call(redis, "XADD", STREAM.key, "*", "f", LINE)
        while not await aggregation.position(STREAM):
            await aggregation.step()
        stored = await aggregation.position(STREAM)
        unread = [await call(redis, "XADD", STREAM.key, "*", "f", LINE) for _ in range(20)]
        skipped = SkippedEntries(redis)
        await Trimmer(streams, aggregation.position, settings, skipped.record).step()
    finally:
        await call(redis, "CONFIG", "SET", "stream-node-max-entries", 100)
    entries = [key for key, _ in await read_stream(redis, STREAM.key, "-")]
    assert [key for key in entries if position(key) > stored] == unread
