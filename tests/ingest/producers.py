"""Outlets on a real server, with replies lost on the way, and what the server then holds."""

from collections.abc import Sequence

from redis.asyncio import Redis

from ingest.publishing.frames import Payload
from ingest.publishing.spool import Spool
from ingest.publishing.stream_producer import Answer, Call, Outlet, Publish
from linkjolt import redis_keys
from linkjolt.storage.redis import RedisConnectionError, StreamEntry, call, entries
from tests.waiting import wait_until

STREAM = redis_keys.clicks(0)
MAX_BYTES = 1 << 22


def outlet(redis: Redis, spool: Spool) -> Outlet:
    return Outlet(redis, STREAM, spool, 1_000_000)


async def send(made: Outlet, line: bytes) -> list[bytes] | None:
    payload = Payload([], [b"%d" % (line.count(b"\n") + 1), line])
    return await made.send(payload, payload, line.count(b"\n") + 1)


async def drained(made: Outlet) -> None:
    await wait_until(lambda: made.waiting == 0)


async def stream(redis: Redis) -> list[StreamEntry]:
    return await entries(redis, STREAM.key, "-")


async def lines(redis: Redis) -> list[bytes]:
    return [line for _, fields in await stream(redis) for line in fields[b"f"].split(b"\n")]


async def accepted(redis: Redis) -> int:
    hours: dict[bytes, bytes] = await call(redis, "HGETALL", STREAM.ledger)
    return sum(int(count) for count in hours.values())


class Lossy:
    """Stands in front of a publishing script: loses the first replies, executed or not."""

    def __init__(self, publish: Publish, lost: int, *, executed: bool) -> None:
        self.publish, self.lost, self.executed = publish, lost, executed

    async def __call__(self, calls: Sequence[Call], /) -> list[Answer]:
        if self.lost == 0:
            return await self.publish(calls)
        self.lost -= 1
        if self.executed:
            await self.publish(calls)
        raise RedisConnectionError("lost")


async def forget(redis: Redis) -> None:
    """The server knows no producer any more."""
    for key in await call(redis, "KEYS", "lj:{0}:producer:*"):
        await call(redis, "DEL", key)
