"""Drives one installation over HTTP and reads its warehouse."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx2
import msgspec

from linkjolt.runtime.redis_server import free_port
from linkjolt.storage.clickhouse import ClickHouse
from tests.servers.processes import Engine, Linkjolt
from tests.waiting import wait_until

CODE = "spring"
_BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
_CLICKS_MAX = 3_000
_CONNECTIONS = 4
# Some 400 clicks a second, which leaves a share of a small machine to the tested processes.
_PAUSE_SECONDS = 0.008


class _Text(msgspec.Struct, frozen=True):
    text: str


class _Count(msgspec.Struct, frozen=True):
    n: int


class _Conversion(msgspec.Struct, frozen=True):
    conversion_id: str


class _Result(msgspec.Struct, frozen=True):
    status: int
    conversion: _Conversion


class _Results(msgspec.Struct, frozen=True):
    data: list[_Result]


class Warehouse:
    """A database of the test's own on a ClickHouse server."""

    def __init__(self, engine: Engine, database: str, client: ClickHouse) -> None:
        self.engine = engine
        self.client = client
        self._database = database

    def url(self, port: int = 0) -> str:
        """Returns its URL at the server's port, or at that of a proxy."""
        return f"http://127.0.0.1:{port or self.engine.port}/{self._database}"

    async def texts(self, sql: str) -> list[str]:
        """Reads the column `text` of a query."""
        return [row.text for row in await self.client.read(sql, _Text)]

    async def count(self, sql: str) -> int:
        """Reads the column `n` of a query with one row."""
        return (await self.client.read(sql, _Count))[0].n

    async def holds(self, clicks: int) -> bool:
        """Returns True if at least that many clicks are stored."""
        sql = "SELECT count() AS n FROM clicks WHERE account != 0"
        return await self.count(sql) >= clicks

    async def click_ids(self) -> list[str]:
        """Reads all stored click ids, sorted, repeated ones too."""
        return await self.texts(
            "SELECT click_id AS text FROM clicks WHERE account != 0 ORDER BY text"
        )


class Installation:
    """A running edge, its link, and the processes that a test starts beside it."""

    def __init__(self, linkjolt: Linkjolt, warehouse: Warehouse) -> None:
        port = free_port()
        self.linkjolt = linkjolt
        self.warehouse = warehouse
        self.edge = linkjolt.start("edge", LINKJOLT_EDGE_PORT=str(port))
        self.edge_url = f"http://127.0.0.1:{port}"
        self._headers: dict[str, str] = {}

    async def make_link(self) -> None:
        """Creates an API key, a campaign, an affiliate and a link with the tracking code `CODE`."""
        created = await self.linkjolt.run(
            "keys", "create", "--name", "t", "--scope", "admin", "--json"
        )
        assert created.returncode == 0, created.stderr
        key = msgspec.json.decode(created.stdout, type=dict[str, str])["key"]
        self._headers = {"Authorization": f"Bearer {key}"}
        commission = {"kind": "percentage", "rate": "30"}
        campaign = await self.post(
            "/v1/campaigns", name="Spring", currency="USD", commission=commission
        )
        affiliate = await self.post("/v1/affiliates", name="Blog of Ann")
        await self.post(
            "/v1/links",
            campaign_id=campaign["id"],
            affiliate_id=affiliate["id"],
            destination="https://shop.example/",
            tracking_code=CODE,
        )

    async def post(self, path: str, **body: object) -> dict[str, str]:
        """Posts to the edge and returns the created resource."""
        async with httpx2.AsyncClient(headers=self._headers) as client:
            response = await client.post(self.edge_url + path, json=body)
        assert response.status_code == 201, response.text
        return response.json()

    async def post_lines(self, lines: Sequence[Mapping[str, str]]) -> list[str]:
        """Posts conversions as NDJSON to the edge and returns their ids; some may be queued."""
        body = b"\n".join(map(msgspec.json.encode, lines))
        headers = {**self._headers, "Content-Type": "application/x-ndjson"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as client:
            response = await client.post(f"{self.edge_url}/v1/conversions", content=body)
        results = msgspec.json.decode(response.content, type=_Results).data
        assert {result.status for result in results} <= {201, 202}
        return [result.conversion.conversion_id for result in results]

    async def approve(self, conversion_ids: Sequence[str]) -> None:
        """Approves conversions over a few connections, and queued ones as soon as they exist."""
        body = {"kind": "approve", "adjustment_id": "approval"}

        async def approve_all(ids: Sequence[str]) -> None:
            async with httpx2.AsyncClient(headers=self._headers, timeout=60) as client:
                for conversion_id in ids:
                    url = f"{self.edge_url}/v1/conversions/{conversion_id}/adjustments"

                    async def approved(url: str = url) -> bool:
                        return (await client.post(url, json=body)).is_success

                    await wait_until(approved)

        shares = [conversion_ids[first::_CONNECTIONS] for first in range(_CONNECTIONS)]
        await asyncio.gather(*map(approve_all, shares))

    async def click(self) -> str:
        """Follows the link once and returns the click id."""
        async with httpx2.AsyncClient(headers=_BROWSER) as client:
            return await self._click(client)

    async def get(self, url: str) -> httpx2.Response:
        async with httpx2.AsyncClient(headers=self._headers) as client:
            return await client.get(url)

    @asynccontextmanager
    async def clicks(self) -> AsyncGenerator[list[str]]:
        """Clicks until the block ends or there are 3,000; yields the growing list of click ids."""
        ids: list[str] = []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONNECTIONS):
                tasks.create_task(self._click_on(ids, stop))
            try:
                yield ids
            finally:
                stop.set()

    async def _click_on(self, ids: list[str], stop: asyncio.Event) -> None:
        async with httpx2.AsyncClient(headers=_BROWSER, timeout=30) as client:
            while not stop.is_set() and len(ids) < _CLICKS_MAX:
                ids.append(await self._click(client))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _click(self, client: httpx2.AsyncClient) -> str:
        response = await client.get(f"{self.edge_url}/{CODE}")
        assert response.status_code == 302
        return response.headers["Location"].partition("click_id=")[2]

    async def stores(self, ids: list[str]) -> None:
        """Asserts that the warehouse soon holds each click once, and that the audit is clean."""
        await wait_until(lambda: self.warehouse.holds(len(ids)))
        audit = await self.linkjolt.run("audit")
        assert audit.returncode == 0, audit.stdout
        assert await self.warehouse.click_ids() == sorted(ids)
