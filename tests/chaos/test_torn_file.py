"""A truncated append-only file of Redis doubles nothing, and leaves no entry unread.

A cut takes stream, ledger and producer number back together. The edge's next frame reveals the
loss and the ledger is corrected: the audit reports events that were cut before they were stored.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.events import Click
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import connect, read_stream
from tests.chaos.producer import Producer, new_worker
from tests.chaos.shop import spool_is_empty, store_all

CUT_EVENTS = 3


class OwnServer:
    """A server that is killed, its file truncated, and restarted under the same URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "redis"
        self.server = RedisServer(self.folder)
        self.start()

    def start(self) -> None:
        self.child = self.server.start()
        self.server.wait_ready(self.child)

    def cut(self, transactions: int, torn_bytes: int) -> None:
        """Kills the server, cuts its last transactions off except some bytes, and restarts it."""
        self.child.kill()
        self.child.wait()
        [file] = (self.folder / "appendonlydir").glob("*.incr.aof")
        written = file.read_bytes()
        at = len(written)
        for _ in range(transactions):
            at = written.rindex(b"*1\r\n$5\r\nMULTI\r\n", 0, at)
        file.write_bytes(written[: at + torn_bytes])
        self.start()


@pytest.fixture
async def own(tmp_path: Path) -> AsyncGenerator[OwnServer]:
    server = OwnServer(tmp_path)
    yield server
    server.child.kill()
    server.child.wait()


async def in_streams(url: str) -> set[str]:
    """Reads the ids of the clicks in the stream."""
    async with connect(url) as redis:
        found = await read_stream(redis, redis_keys.clicks(0).key, "-")
    lines = [line for _, fields in found for line in fields[b"f"].split(b"\n")]
    return {msgspec.json.decode(line, type=Click).click_id for line in lines}


@pytest.fixture
async def producer(own: OwnServer, tmp_path: Path) -> AsyncGenerator[Producer]:
    """Makes a producer that survives the restart: connections break, its numbering continues."""
    async with connect(own.server.url) as redis:
        made = new_worker(redis, tmp_path)
        yield made
        await made.spool.close()


@pytest.mark.parametrize(
    "torn_bytes",
    [pytest.param(0, marks=pytest.mark.long, id="between"), pytest.param(60, id="inside")],
)
@pytest.mark.parametrize("stored_before", [True, False], ids=["stored", "unstored"])
async def test_a_cut_file_doubles_nothing_and_leaves_nothing_unread(
    own: OwnServer,
    producer: Producer,
    clickhouse: ClickHouse,
    tmp_path: Path,
    stored_before: bool,
    torn_bytes: int,
) -> None:
    await producer.publish()
    if stored_before:
        assert (await store_all(own.server.url, clickhouse)).audit.clean
    own.cut(CUT_EVENTS, torn_bytes)
    remaining = await in_streams(own.server.url)
    assert len(remaining) < len(producer.click_ids)
    before = set(producer.click_ids)
    await producer.publish()
    await spool_is_empty(tmp_path)
    after = set(producer.click_ids) - before
    stored = await store_all(own.server.url, clickhouse)
    assert len(stored.clicks) == len(set(stored.clicks))
    assert len(stored.orders) == len(set(stored.orders))
    assert set(stored.clicks) == after | (before if stored_before else remaining)
    lost = (before | after) - set(stored.clicks)
    balance = {stream.stream: stream.difference for stream in stored.audit.balance.streams}
    assert balance["clicks/0"] == len(lost)
    assert stored.audit.clean == stored_before
