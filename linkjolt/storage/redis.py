"""How every process connects to the Redis-protocol server: short timeouts, no hidden retries."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import hiredis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = [
    "RedisConnectionError",
    "RedisError",
    "ResponseError",
    "ScriptCalls",
    "call",
    "connect",
    "entries",
]

# Few: all made at once by a burst, 64 took longer on a busy machine than an edge waits for Redis.
_CONNECTIONS_MAX = 16
_KEPT_MAX = 4
StreamEntry = tuple[bytes, dict[bytes, bytes]]


def connect(url: str, timeout_seconds: float = 5.0) -> Redis:
    """A client of bytes; each command is sent once, for a repeat is the caller's decision.

    redis-py by itself repeats a command ten times, on time-outs too, which doubles an XADD. And
    whoever finds all connections of a pool in use is told of an error: here he waits for one.
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


# Declared as if it took one word.
_pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]


class _Connection(AbstractConnection):
    """Packs commands in C, and turns uvloop's RuntimeError for a closed socket into RedisError."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # A name may hold a space, as in `CONFIG GET`. By redis-py's own way a word costs 1 us.
        name, *words = args
        return [_pack((*str(name).split(), *words))]

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop says of a write to a connection that was just reset.
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(error)) from error


# Connections at hand, by their pool; few, for the pool has none for others while they are kept.
_kept: WeakKeyDictionary[ConnectionPool, list[AbstractConnection]] = WeakKeyDictionary()


class ScriptCalls:
    """Calls of one script, at half the cost of the client's way.

    The client takes a connection from the pool for each call and sets a timer for each part of it;
    here a few are kept at hand, for all scripts of a client, with one timer a call.
    """

    def __init__(self, redis: Redis, script: str) -> None:
        self._pool = redis.connection_pool
        self._timeout_seconds: float | None = self._pool.connection_kwargs["socket_timeout"]
        self._kept = _kept.setdefault(self._pool, [])
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], /) -> list[Any]:
        """The replies to (keys, arguments), in order. RedisError where one of them failed or did
        not come: each call may have been executed, then."""
        commands = [("EVALSHA", self._sha, len(keys), *keys, *words) for keys, words in calls]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                replies = await self._ask(commands)
                if isinstance(replies[0], NoScriptError):
                    await self._ask([("SCRIPT", "LOAD", self._script)])
                    replies = await self._ask(commands)
        except TimeoutError:
            raise RedisTimeoutError("no reply in time") from None
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        connection = self._kept.pop() if self._kept else await self._pool.get_connection()
        connection.socket_timeout = None
        try:
            if await connection.can_read():
                # Nothing was asked: it has ended, which the pool overlooks.
                await connection.disconnect(nowait=True)
            packed = connection.pack_commands(commands)
            await connection.send_packed_command(packed, check_health=False)
            replies = [await _reply(connection) for _ in commands]
        except BaseException:
            # Replies may be under way, which nobody waits for any more.
            await connection.disconnect(nowait=True)
            await self._release(connection)
            raise
        if len(self._kept) < _KEPT_MAX:
            self._kept.append(connection)
        else:
            await self._release(connection)
        return replies

    async def _release(self, connection: AbstractConnection) -> None:
        connection.socket_timeout = self._timeout_seconds
        await self._pool.release(connection)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return cast(Any, await connection.read_response())
    except ResponseError as error:
        return error


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
