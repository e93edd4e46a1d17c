"""Connects every process to the Redis-protocol server: short timeouts, no hidden retries."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

__all__ = [
    "RedisConnectionError",
    "RedisError",
    "ResponseError",
    "call",
    "connect",
    "is_out_of_memory",
    "read_stream",
    "rewrite_file",
    "server_time_ms",
]

# Few: a burst opens all of them at once, and on a busy machine opening 64 took longer than an edge
# waits for Redis.
_CONNECTIONS_MAX = 16
StreamEntry = tuple[bytes, dict[bytes, bytes]]


def connect(url: str, timeout_seconds: float = 5.0) -> Redis:
    """Returns a client of bytes that sends each command once: repeating it is up to the caller.

    redis-py by itself repeats a command ten times, after timeouts too, which doubles an XADD. It
    also raises an error if all connections of a pool are in use; this client waits for one.
    """
    pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        max_connections=_CONNECTIONS_MAX,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
    )
    pool.connection_class = type("Connection", (_Connection, pool.connection_class), {})
    return Redis.from_pool(pool)


# Its stub declares only one argument.
_pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class _Connection(AbstractConnection):
    """Packs commands in C and raises RedisError where uvloop raises RuntimeError."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # A name may hold a space, as in `CONFIG GET`. redis-py's packing costs 1 us an argument.
        name, *arguments = args
        return [_pack((*str(name).split(), *arguments))]

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # uvloop raises it for a write to a connection that was just reset.
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(error)) from error


def is_out_of_memory(error: ResponseError) -> bool:
    """Returns whether a command or a script was refused because Redis is full."""
    # Redis 6.2 reports it as an error of the script, with the text of the command's inside.
    return isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error)


async def call(redis: Redis, *arguments: str | bytes | int) -> Any:
    """Sends one command and returns redis-py's parsed reply, whose type the caller knows."""
    send = cast(
        "Callable[..., Awaitable[Any]]",
        redis.execute_command,  # pyright: ignore[reportUnknownMemberType]
    )
    return await send(*arguments)


async def read_stream(
    redis: Redis, stream: str, start: str, end: str = "+", count: int = 1_000
) -> list[StreamEntry]:
    """Reads at most `count` entries of a stream; `(` before an id excludes it."""
    return await call(redis, "XRANGE", stream, start, end, "COUNT", count)


async def server_time_ms(redis: Redis) -> int:
    """Returns the time of Redis's clock, which stream positions are of."""
    seconds, microseconds = await call(redis, "TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


async def rewrite_file(redis: Redis) -> None:
    """Starts a rewrite of the append-only file, which then holds nothing that was replaced."""
    with suppress(ResponseError):
        # One that runs already began before: a second one is scheduled.
        await call(redis, "BGREWRITEAOF")
