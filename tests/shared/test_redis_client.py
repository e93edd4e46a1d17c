"""The client of the Redis-protocol server: what goes wrong is always a RedisError."""

import pytest
import uvloop

from linkjolt.redis_client import RedisError, call, connect
from linkjolt.redis_server import RedisServer


def test_a_write_to_a_connection_that_was_just_reset_is_a_redis_error(
    redis_server: RedisServer,
) -> None:
    async def write_to_a_closed_one() -> None:
        async with connect(redis_server.url) as redis:
            connection = await redis.connection_pool.get_connection()
            assert connection._writer  # pyright: ignore[reportPrivateUsage]
            connection._writer.transport.abort()  # pyright: ignore[reportPrivateUsage]
            with pytest.raises(RedisError):
                await connection.send_command("PING")
            await redis.connection_pool.release(connection)
            assert await call(redis, "PING")

    # uvloop, as every process of ours: asyncio's own transports say nothing here.
    uvloop.run(write_to_a_closed_one())
