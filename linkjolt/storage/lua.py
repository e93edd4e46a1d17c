"""Reads Lua scripts and calls them: every script of the product is called through `LuaScript`."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

_APPEND = Path(__file__).parent / "append.lua"
_IDLE_MAX = 4
# The keys and the arguments of each call.
Calls = Sequence[tuple[Sequence[str], Sequence[Any]]]

# Open connections by their pool; few, for the pool cannot give them to others meanwhile.
_idle_connections: WeakKeyDictionary[ConnectionPool, list[AbstractConnection]] = WeakKeyDictionary()


def read_script(path: Path) -> str:
    """Reads the text of a script."""
    return path.read_text(encoding="utf-8")


def read_appending_script(*parts: Path) -> str:
    """Reads the parts of a script that writes to a stream by `append` of `append.lua`."""
    return "\n".join(read_script(path) for path in (_APPEND, *parts))


class LuaScript:
    """Calls one script, at half the cost of redis-py's way.

    redis-py takes a connection from the pool for each call and sets a timer for each part of it;
    here all scripts of a client share a few open connections, with one timer for a batch of calls.
    """

    def __init__(self, redis: Redis, text: str) -> None:
        self._pool = redis.connection_pool
        self._timeout_seconds: float | None = self._pool.connection_kwargs["socket_timeout"]
        self._idle = _idle_connections.setdefault(self._pool, [])
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, calls: Calls, /) -> list[Any]:
        """Returns the replies in order; raises RedisError if one is an error or missing.

        Then each call may have been executed. If the server lacks the script at the first call, all
        are sent again in their order, so that a call may be executed twice.
        """
        commands = self._commands(calls)
        replies = await self._send(commands)
        if isinstance(replies[0], NoScriptError):
            await self._load()
            replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def outcomes(self, calls: Calls) -> list[Any]:
        """Returns the replies in order, errors of single calls among them.

        Each call is executed once at most. Raises RedisError if a reply is missing.
        """
        commands = self._commands(calls)
        replies = await self._send(commands)
        missed = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missed:
            # Another client may load the script meanwhile: some calls may have been executed.
            await self._load()
            resent = await self._send([commands[i] for i in missed])
            for i, reply in zip(missed, resent, strict=True):
                replies[i] = reply
        return replies

    def _commands(self, calls: Calls) -> list[tuple[Any, ...]]:
        return [("EVALSHA", self._sha, len(keys), *keys, *args) for keys, args in calls]

    async def _load(self) -> None:
        await self._send([("SCRIPT", "LOAD", self._text)])

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._exchange(commands)
        except TimeoutError:
            raise RedisTimeoutError("no reply in time") from None

    async def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        connection = self._idle.pop() if self._idle else await self._pool.get_connection()
        connection.socket_timeout = None
        try:
            if await connection.can_read():
                # No reply is due: the connection has ended, which the pool does not notice.
                await connection.disconnect(nowait=True)
            packed = connection.pack_commands(commands)
            await connection.send_packed_command(packed, check_health=False)
            replies = [await _read_reply(connection) for _ in commands]
        except BaseException:
            # Replies may still arrive that nobody awaits.
            await connection.disconnect(nowait=True)
            await self._release(connection)
            raise
        if len(self._idle) < _IDLE_MAX:
            self._idle.append(connection)
        else:
            await self._release(connection)
        return replies

    async def _release(self, connection: AbstractConnection) -> None:
        connection.socket_timeout = self._timeout_seconds
        await self._pool.release(connection)


async def _read_reply(connection: AbstractConnection) -> Any:
    try:
        return cast(Any, await connection.read_response())
    except ResponseError as error:
        return error
