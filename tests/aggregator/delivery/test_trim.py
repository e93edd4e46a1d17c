"""A trim keeps entries that some consumer group has not read or not acknowledged."""

from aggregator.deliveries.skipped import SkippedEntries
from aggregator.delivery.streams import GROUP, MAX_POSITION, Streams
from aggregator.delivery.trim import Trimmer, memory_bound
from linkjolt import redis_keys
from linkjolt.position import position
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.redis import call, read_stream
from tests.aggregator.conftest import Line

STREAM = redis_keys.conversions(0)


def trimmer(line: Line, settings: AggregatorSettings) -> Trimmer:
    position, skipped = line.aggregation.trimmable_position, SkippedEntries(line.redis)
    return Trimmer(Streams(line.redis), position, settings, skipped.record)


async def test_a_stream_is_kept_from_the_oldest_entry_that_a_group_still_needs(line: Line) -> None:
    streams = Streams(line.redis)
    assert await streams.lowest_needed_position(STREAM) == MAX_POSITION
    for number in range(3):
        await line.convert(line.make_conversion(number))
    ids = [identity for identity, _ in await read_stream(line.redis, STREAM.key, "-")]
    await call(line.redis, "XGROUP", "CREATE", STREAM.key, GROUP, "0")
    assert await streams.lowest_needed_position(STREAM) == MAX_POSITION
    await call(line.redis, "XGROUP", "CREATE", STREAM.key, "readers", "0")
    assert await streams.lowest_needed_position(STREAM) == 0
    args = ("XREADGROUP", "GROUP", "readers", "one", "COUNT", 2, "STREAMS", STREAM.key, ">")
    await call(line.redis, *args)
    assert await streams.lowest_needed_position(STREAM) == position(ids[0])
    await call(line.redis, "XACK", STREAM.key, "readers", ids[0])
    assert await streams.lowest_needed_position(STREAM) == position(ids[1])
    await call(line.redis, "XACK", STREAM.key, "readers", ids[1])
    assert await streams.lowest_needed_position(STREAM) == position(ids[1])


async def test_a_reader_that_is_gone_does_not_fill_redis(line: Line) -> None:
    for number in range(500):
        await line.convert(line.make_conversion(number))
    await call(line.redis, "XGROUP", "CREATE", STREAM.key, "gone", "0")
    await line.step_until_idle()
    unbounded = AggregatorSettings(stream_retention_hours=0)
    await trimmer(line, unbounded).step()
    assert await call(line.redis, "XLEN", STREAM.key) == 500
    bounded = AggregatorSettings(stream_retention_hours=0, stream_memory_max_bytes=1)
    await trimmer(line, bounded).step()
    assert await call(line.redis, "XLEN", STREAM.key) < 500


def test_retention_is_given_up_at_half_of_a_small_redis() -> None:
    assert memory_bound(1 << 30, 48 << 20) == 24 << 20
    assert memory_bound(1 << 30, 8 << 30) == 1 << 30
    assert memory_bound(1 << 30, 0) == 1 << 30
