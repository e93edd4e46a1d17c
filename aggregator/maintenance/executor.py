"""Runs an operation on the warehouse: in the running instance, on servers, or in this process."""

import asyncio
import http.client
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from redis.asyncio import Redis

from aggregator.delivery.lease import Leases
from aggregator.maintenance.operations import WarehouseOperation
from aggregator.warehouse.migrate import migrate
from linkjolt import redis_keys
from linkjolt.reasons import Problem, Rejected
from linkjolt.redis_keys import Stream
from linkjolt.runtime import lifecycle
from linkjolt.runtime.instance import hold, read_run
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import AggregatorSettings, load
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError, connect

_TRIES = 6
_START_SECONDS = 5.0
Q = TypeVar("Q")
A = TypeVar("A")


def access_warehouse(operation: WarehouseOperation[Q, A], data: str | None, request: Q) -> A:
    """Runs an operation and returns its answer; a failure is one clear line and exit status 1."""
    settings = load(AggregatorSettings, overrides={"data": data})
    run = read_run(settings.data)
    if run is not None and run.control:
        answer = _post_to_control_socket(
            run.control, f"/{operation.name}", msgspec.json.encode(request)
        )
        return msgspec.json.decode(answer, type=operation.answer_type)
    answers: list[A] = []

    async def main(stop: asyncio.Event) -> None:
        work = asyncio.create_task(_access_directly(operation, settings, request))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        try:
            answers.append(await work)
        except (ClickHouseFailed, RedisError, Rejected) as error:
            raise click.ClickException(str(error)) from None
        except asyncio.CancelledError:
            raise click.ClickException("stopped on the way: run the command again") from None

    lifecycle.run(main)
    return answers[0]


async def _access_directly(
    operation: WarehouseOperation[Q, A], settings: AggregatorSettings, request: Q
) -> A:
    if settings.redis_url and settings.clickhouse_url:
        async with _redis_access(settings.redis_url) as redis:
            engine = clickhouse.server(settings.clickhouse_url, clients=1)
            answer = await _access_servers(operation, redis, engine, settings, request)
            await engine.close()
            return answer
    async with (
        _embedded_access(settings) as (redis_url, engine),
        _redis_access(redis_url) as redis,
    ):
        return await operation.run(redis, engine, settings, request)


async def _access_servers(
    operation: WarehouseOperation[Q, A],
    redis: Redis,
    engine: ClickHouse,
    settings: AggregatorSettings,
    request: Q,
) -> A:
    """Runs an operation on servers, where an aggregator may be running.

    It is kept out by leases, or the operation is repeated until its answer is settled.
    """
    if operation.exclusive:
        async with _exclusive_leases(redis, settings):
            return await operation.run(redis, engine, settings, request)
    answer = await operation.run(redis, engine, settings, request)
    for _ in range(_TRIES - 1):
        if operation.is_settled(answer):
            break
        answer = await operation.run(redis, engine, settings, request)
    return answer


@asynccontextmanager
async def _exclusive_leases(redis: Redis, settings: AggregatorSettings) -> AsyncGenerator[None]:
    """Holds the leases of all streams, so that no aggregator stores; cancels its task on a loss."""
    leases = Leases(redis, settings.lease_seconds)
    streams = redis_keys.streams(settings.shards)
    keeping: asyncio.Task[None] | None = None
    try:
        for stream in streams:
            if await leases.acquire(stream) == "foreign":
                raise click.ClickException(
                    "an aggregator is at work on this Redis: stop it first (one that was killed"
                    f" is forgotten after {settings.lease_seconds:g} s)"
                )
        keeping = asyncio.create_task(
            _renew_leases(leases, streams, settings, asyncio.current_task())
        )
        yield
    finally:
        if keeping:
            keeping.cancel()
        await leases.release()


async def _renew_leases(
    leases: Leases,
    streams: Sequence[Stream],
    settings: AggregatorSettings,
    user: asyncio.Task[object] | None,
) -> None:
    """Renews the leases; cancels the task that needs them once one is lost."""
    while True:
        await asyncio.sleep(settings.lease_seconds / 6)
        with suppress(RedisError):
            renewed = [await leases.acquire(stream) == "held" for stream in streams]
            if user and not all(renewed):
                user.cancel()
                return


@asynccontextmanager
async def _redis_access(redis_url: str) -> AsyncGenerator[Redis]:
    redis = connect(redis_url)
    try:
        yield redis
    finally:
        await redis.aclose()


@asynccontextmanager
async def _embedded_access(settings: AggregatorSettings) -> AsyncGenerator[tuple[str, ClickHouse]]:
    """Starts the embedded servers of a stopped instance for as long as the command takes."""
    folder = Path(settings.data)
    if not (folder / "redis").exists():
        raise click.ClickException(f"there is no instance under {settings.data}")
    with hold(settings.data):
        server = RedisServer(folder / "redis")
        child = server.start()
        try:
            await asyncio.to_thread(server.wait_ready, child)
            engine = clickhouse.embedded(str(folder / "clickhouse"), clients=1)
            await migrate(engine, settings.minute_rollup_hours)
            yield server.url, engine
            await engine.close()
        finally:
            child.terminate()
            child.wait()


class _UnixConnection(http.client.HTTPConnection):
    # No time-out: an audit or a restore takes as long as there are events.
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._connected():
            if time.monotonic() > deadline:
                raise ConnectionRefusedError("its control socket is not served")
            time.sleep(0.05)

    def _connected(self) -> bool:
        """Connects; returns False while the process does not listen yet."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            self.sock.close()
            return False
        return True


def _post_to_control_socket(control: str, route: str, request: bytes) -> bytes:
    """Posts to the warehouse process and returns its answer; fails with one clear line."""
    try:
        with closing(_UnixConnection(control)) as connection:
            connection.request("POST", route, request)
            response = connection.getresponse()
            body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"the warehouse process does not answer: {error}") from None
    if response.status != 200:
        raise click.ClickException(_problem_detail(body))
    return body


def _problem_detail(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Problem).detail
    except msgspec.DecodeError:
        return f"the warehouse process answers {body[:200]!r}"
