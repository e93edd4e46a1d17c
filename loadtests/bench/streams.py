"""Runs the Redis-protocol server of a turn and counts the events that a peer stored in it."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import call, connect, read_stream
from loadtests.bench.programs import pin, terminate

_PAGE = 1_000
_QUIET_SECONDS = 3.0
_LOOK_SECONDS = 0.05
SHOWN_SETTINGS = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "auto-aof-rewrite-percentage",
    "save",
    "maxmemory",
    "maxmemory-policy",
    "io-threads",
)


@contextmanager
def open_redis(folder: Path, core: int, appendfsync: str) -> Generator[tuple[str, int]]:
    """Runs a new server on a core for the block; yields its URL and process id."""
    server = RedisServer(folder, appendfsync=appendfsync)
    child = server.start()
    try:
        pin(child.pid, core)
        server.wait_ready(child)
        # Its threads started since then: bind them too.
        pin(child.pid, core)
        asyncio.run(disable_rewrites(server.url))
        yield server.url, child.pid
    finally:
        terminate(child)


async def disable_rewrites(url: str) -> None:
    """Disables rewrites of the append-only file, which would disturb one side of a pair."""
    async with connect(url) as redis:
        await call(redis, "CONFIG", "SET", "auto-aof-rewrite-percentage", "0")


async def read_settings(url: str) -> dict[str, str]:
    """Reads the server's settings that matter for durability and speed."""
    async with connect(url) as redis:
        settings: dict[bytes, bytes] = await call(redis, "CONFIG", "GET", *SHOWN_SETTINGS)
        server: dict[str, object] = await call(redis, "INFO", "server")
    version = server.get("valkey_version", server["redis_version"])
    by_name = {_text(name): _text(value) for name, value in settings.items()}
    return {"version": str(version)} | {
        name: by_name[name] for name in SHOWN_SETTINGS if name in by_name
    }


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def count_events(url: str, stream: str, at_least: int) -> int:
    """Counts the events in a stream's entries; each is a line of field `f`.

    While they are fewer than `at_least`, it waits until none has arrived for 3 s: an edge may
    have spooled some, which follow.
    """
    deadline = time.monotonic() + _QUIET_SECONDS
    after, count = "-", 0
    async with connect(url) as redis:
        while True:
            page = await read_stream(redis, stream, after, count=_PAGE)
            count += sum(fields[b"f"].count(b"\n") + 1 for _, fields in page)
            if page:
                after = f"({page[-1][0].decode()}"
                deadline = time.monotonic() + _QUIET_SECONDS
            elif count >= at_least or time.monotonic() > deadline:
                return count
            else:
                await asyncio.sleep(_LOOK_SECONDS)
