"""Sends clicks and orders to edge processes and records those that were acknowledged."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import msgspec

from aggregator.maintenance.audit import Audit, audit
from linkjolt.balance.balance import read_balance
from linkjolt.fault_points import VARIABLE
from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.redis_server import free_port
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import connect
from loadtests.chaos_instance import spooled_under
from tests.aggregator.conftest import new_aggregation
from tests.chaos.environment import ROOT, plain_environ
from tests.waiting import wait_until

CODE = "tc_ABC123"
_CLICK_ID = re.compile(r"click_id=([0-9A-Z]{26})")
_BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


class EdgeProcess:
    """`linkjolt edge` on one port and data directory, which can be started repeatedly."""

    def __init__(self, data: Path, redis_url: str, **variables: str) -> None:
        self._data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = plain_environ() | {
            "LINKJOLT_REDIS_URL": redis_url,
            "LINKJOLT_DATA": str(data),
            "LINKJOLT_EDGE_PORT": str(self.port),
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, fault: str = "") -> None:
        """Starts the edge; returns once it serves, or was killed by its fault."""
        self.process = self._spawn(fault)
        await wait_until(self._serves_or_ended)

    def _spawn(self, fault: str) -> subprocess.Popen[bytes]:
        with open(self._data / "edge.log", "ab") as log:
            return subprocess.Popen(
                bound([sys.executable, "-P", "-m", "linkjolt", "edge"]),
                env=self._environ | {VARIABLE: fault, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    async def _serves_or_ended(self) -> bool:
        if self.ended() is not None:
            return True
        try:
            async with httpx2.AsyncClient() as client:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx2.HTTPError:
            return False

    def ended(self) -> int | None:
        """Returns the exit status; None while the edge runs."""
        assert self.process
        return self.process.poll()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Custom:
    """Sends requests one by one; `clicks` and `orders` are the acknowledged ones."""

    url: str
    key: str
    clicks: list[str] = field(default_factory=list[str])
    orders: dict[str, str] = field(default_factory=dict[str, str])
    _open: list[str] = field(default_factory=list[str])
    _numbers: int = 0

    async def visit(self, client: httpx2.AsyncClient, **query: str) -> int:
        """Clicks and returns the status; 0 without an answer."""
        try:
            answer = await client.get(f"{self.url}/{CODE}", params=query, headers=_BROWSER)
        except httpx2.TransportError:
            return 0
        if answer.status_code == 302:
            self.clicks += _CLICK_ID.findall(answer.headers["location"])
        return answer.status_code

    async def order(self, client: httpx2.AsyncClient) -> httpx2.Response | None:
        """Posts a new order, or again the unanswered one; returns None without an answer."""
        if not self._open:
            self._numbers += 1
            self._open.append(f"order_{self._numbers}")
        order_id = self._open[-1]
        body = {"tracking_code": CODE, "order_value": "99.99", "order_id": order_id}
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            answer = await client.post(f"{self.url}/v1/conversions", json=body, headers=headers)
        except httpx2.TransportError:
            return None
        if answer.status_code in (200, 201, 202):
            self._open.pop()
            self.orders[order_id] = answer.json()["conversion_id"]
        return answer

    async def until_ended(self, edge: EdgeProcess, requests_max: int) -> None:
        """Sends clicks and orders until the edge has ended or `requests_max` were sent."""
        async with httpx2.AsyncClient(timeout=20) as client:
            for number in range(requests_max):
                if edge.ended() is not None:
                    return
                if number % 3 == 2:
                    await self.order(client)
                else:
                    await self.visit(client)


class _Id(msgspec.Struct, frozen=True):
    id: str


class StoredEvents(msgspec.Struct, frozen=True):
    """The ids in the warehouse, and the audit."""

    clicks: Sequence[str]
    orders: Sequence[str]
    audit: Audit

    def holds_once(self, custom: Custom) -> bool:
        """True if all acknowledged events are stored, each once, and the audit is clean."""
        once = len(set(self.clicks)) == len(self.clicks) and len(set(self.orders)) == len(
            self.orders
        )
        there = set(custom.clicks) <= set(self.clicks) and custom.orders.keys() <= set(self.orders)
        return once and there and self.audit.clean


async def store_all(redis_url: str, engine: ClickHouse) -> StoredEvents:
    """Aggregates until the streams are empty, then reads what is stored."""
    async with connect(redis_url) as redis:
        aggregation = new_aggregation(redis, engine)

        async def nothing_waits() -> bool:
            await aggregation.step()
            balance = await read_balance(redis, engine, 1)
            return all(stream.waiting == 0 for stream in balance.streams)

        await wait_until(nothing_waits)
        found = await audit(redis, engine, 1)
    return StoredEvents(
        await _ids(engine, "SELECT click_id AS id FROM clicks WHERE account != 0"),
        await _ids(engine, "SELECT order_id AS id FROM conversions WHERE account != 0"),
        found,
    )


async def _ids(engine: ClickHouse, sql: str) -> list[str]:
    return [row.id for row in await engine.read(sql, _Id)]


async def spool_is_empty(data: Path) -> None:
    """Returns once no event waits in an edge's spool."""
    await wait_until(lambda: spooled_under(data) == 0)
