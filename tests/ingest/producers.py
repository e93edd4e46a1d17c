"""Provides producers on a real server, lost replies, and reads of the server's contents."""

from collections.abc import Sequence

from redis.asyncio import Redis

from ingest.publishing.frames import Payload
from ingest.publishing.spool import Spool
from ingest.publishing.stream_producer import PublishCalls, PublishReply, ScriptCall, StreamProducer
from linkjolt import redis_keys
from linkjolt.storage.redis import RedisConnectionError, StreamEntry, call, read_stream
from tests.waiting import wait_until

STREAM = redis_keys.clicks(0)
MAX_BYTES = 1 << 22


def make_producer(redis: Redis, spool: Spool) -> StreamProducer:
    return StreamProducer(redis, STREAM, spool, 1_000_000)


async def send(producer: StreamProducer, line: bytes) -> list[bytes] | None:
    payload = Payload([], [line])
    return await producer.send(payload, payload, line.count(b"\n") + 1)


async def drained(producer: StreamProducer) -> None:
    await wait_until(lambda: producer.spooled_events == 0)


async def stream(redis: Redis) -> list[StreamEntry]:
    return await read_stream(redis, STREAM.key, "-")


async def lines(redis: Redis) -> list[bytes]:
    return [line for _, fields in await stream(redis) for line in fields[b"f"].split(b"\n")]


async def accepted(redis: Redis) -> int:
    hours: dict[bytes, bytes] = await call(redis, "HGETALL", STREAM.ledger_key)
    return sum(int(count) for count in hours.values())


class Lossy:
    """Wraps a publishing script and loses the first replies, executed or not."""

    def __init__(self, publish: PublishCalls, lost: int, *, executed: bool) -> None:
        self.publish, self.lost, self.executed = publish, lost, executed

    async def __call__(self, calls: Sequence[ScriptCall], /) -> list[PublishReply]:
        if self.lost == 0:
            return await self.publish(calls)
        self.lost -= 1
        if self.executed:
            await self.publish(calls)
        raise RedisConnectionError("lost")


async def forget(redis: Redis) -> None:
    """Makes the server forget every producer."""
    for key in await call(redis, "KEYS", "lj:{0}:producer:*"):
        await call(redis, "DEL", key)
