"""How every process connects to the Redis-protocol server: short timeouts, no hidden retries."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

__all__ = ["RedisConnectionError", "RedisError", "ResponseError", "call", "connect", "entries"]

StreamEntry = tuple[bytes, dict[bytes, bytes]]


def connect(url: str, timeout_seconds: float = 5.0) -> Redis:
    """A client of bytes; each command is sent once, for a repeat is the caller's decision.

    redis-py by itself repeats a command ten times, on time-outs too, which doubles an XADD.
    """
    redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
    )
    pool = redis.connection_pool
    pool.connection_class = type("Connection", (_ClosedIsLost, pool.connection_class), {})
    return redis


class _ClosedIsLost(AbstractConnection):
    """uvloop's RuntimeError for a write to a connection that was just reset is no RedisError."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(error)) from error


async def call(redis: Redis, *words: str | bytes | int) -> Any:
    """One command and its reply, as redis-py parses it; the caller knows the reply's type."""
    send = cast(
        "Callable[..., Awaitable[Any]]",
        redis.execute_command,  # pyright: ignore[reportUnknownMemberType]
    )
    return await send(*words)


async def entries(
    redis: Redis, stream: str, start: str, end: str = "+", count: int = 1_000
) -> list[StreamEntry]:
    """At most `count` entries of a stream; `(` before an id leaves it out."""
    return await call(redis, "XRANGE", stream, start, end, "COUNT", count)
