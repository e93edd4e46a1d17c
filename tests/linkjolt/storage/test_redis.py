"""Every failure of the Redis client is a RedisError."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from redis.asyncio import Redis

from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.lua import LuaScript
from linkjolt.storage.redis import RedisError, ResponseError, call, connect
from tests.waiting import wait_until

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


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

    # With uvloop, as in production: asyncio's own transports raise nothing here.
    uvloop.run(write_to_a_closed_one())


async def wait_for_answer(add: LuaScript) -> int:
    """Adds nothing until a call is answered in time, then adds 1 and returns the sum."""
    answers: list[int] = []

    async def answered() -> bool:
        with suppress(RedisError):
            answers.extend(await add([(["n"], [0])]))
        return bool(answers)

    await wait_until(answered)
    return (await add([(["n"], [1])]))[0]


async def test_calls_of_a_script_are_answered_in_their_order(redis: Redis) -> None:
    add = LuaScript(redis, ADD)
    assert await add([(["n"], [1]), (["n"], ["2"]), (["m"], [b"5"])]) == [1, 3, 5]
    assert await asyncio.gather(add([(["n"], [1])]), add([(["n"], [1])])) == [[4], [5]]


async def test_a_script_is_loaded_again_on_a_server_that_forgot_it(redis: Redis) -> None:
    add = LuaScript(redis, ADD)
    await add([(["n"], [1])])
    await call(redis, "SCRIPT", "FLUSH")
    assert await add([(["n"], [1]), (["n"], [1])]) == [2, 3]


async def test_a_failed_call_raises_and_leaves_no_reply_behind(redis: Redis) -> None:
    add = LuaScript(redis, ADD)
    with pytest.raises(ResponseError, match="not an integer"):
        await add([(["n"], ["no number"]), (["n"], [1])])
    assert await add([(["n"], [1])]) == [2]


async def test_outcomes_hold_the_error_of_a_call_beside_the_replies_of_others(
    redis: Redis,
) -> None:
    add = LuaScript(redis, ADD)
    first, failed, last = await add.outcomes([(["n"], [1]), (["n"], ["no number"]), (["n"], [1])])
    assert (first, last) == (1, 2)
    assert isinstance(failed, ResponseError)


async def test_outcomes_execute_each_call_once_when_the_script_is_missing(redis: Redis) -> None:
    add = LuaScript(redis, ADD)
    assert await add.outcomes([(["n"], [1]), (["n"], [1])]) == [1, 2]


async def test_the_late_reply_of_a_server_given_up_is_not_taken_for_the_next_one(
    tmp_path: Path,
) -> None:
    server = RedisServer(tmp_path, appendfsync="everysec")
    child = server.start()
    server.wait_ready(child)
    async with connect(server.url) as redis, connect(server.url, timeout_seconds=0.1) as hasty:
        patient, add = LuaScript(redis, ADD), LuaScript(hasty, ADD)
        assert await patient([(["n"], [1])]) == [1]
        assert await wait_for_answer(add) == 2
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(RedisError):
            await add([(["n"], [1])])
        child.send_signal(signal.SIGCONT)
        assert await wait_for_answer(add) in (3, 4)
    child.terminate()
    child.wait(10)


async def test_a_connection_that_ended_between_two_calls_is_made_anew(redis: Redis) -> None:
    add = LuaScript(redis, ADD)
    await add([(["n"], [1])])
    await call(redis, "CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    # The server ends the others before it answers this one.
    await call(redis, "PING")
    assert await add([(["n"], [1])]) == [2]


async def test_more_commands_at_once_than_there_are_connections_wait_for_one(redis: Redis) -> None:
    asked = [call(redis, "ECHO", str(number)) for number in range(300)]
    assert await asyncio.gather(*asked) == [b"%d" % number for number in range(300)]


async def test_more_scripts_than_there_are_connections_leave_some_for_others(redis: Redis) -> None:
    scripts = [LuaScript(redis, ADD) for _ in range(100)]
    for number, add in enumerate(scripts, 1):
        assert await add([(["n"], [1])]) == [number]
    together = await asyncio.gather(*[add([(["n"], [1])]) for add in scripts])
    assert sorted(count for (count,) in together) == list(range(101, 201))
    assert await call(redis, "GET", "n") == b"200"
