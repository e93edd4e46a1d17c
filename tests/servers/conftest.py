"""LinkJolt as an operator runs it: separate processes on a Redis and a ClickHouse server."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import clickhouse
from linkjolt.children import bound
from linkjolt.clickhouse import ClickHouse
from linkjolt.redis_server import RedisServer, free_port
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[2]
_CLICKS_MAX = 6_000
_CONNECTIONS = 8
_databases = itertools.count(1)


def _spawn(arguments: list[str], environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            bound([sys.executable, *arguments]),
            cwd=_ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def _plain_environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}


async def answers(url: str) -> bool:
    """True where a GET is answered with 200."""
    try:
        async with httpx2.AsyncClient() as client:
            return (await client.get(url)).status_code == 200
    except httpx2.HTTPError:
        return False


class Engine:
    """One ClickHouse server on one directory; killed and started again it has the same data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path, log = str(self._folder / "data"), self._folder / "server.log"
        arguments = ["-m", "tests.clickhouse_front", path, str(self.port)]
        self._process = _spawn(arguments, _plain_environ(), log)

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    async def ready(self) -> None:
        """Runs and answers after this."""
        if self._process is None:
            self.start()
        await wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/ping"), 30)


@pytest.fixture(scope="session")
def engine_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Generator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("clickhouse_server"))
    yield engine
    engine.kill()


class Row(msgspec.Struct, frozen=True):
    text: str


class Warehouse:
    """A database of the test's own on the ClickHouse server."""

    def __init__(self, engine: Engine, database: str) -> None:
        self.engine = engine
        self.database = database

    def url(self, port: int = 0) -> str:
        """Where it is reached: at the server's port, or at that of a proxy."""
        return f"http://127.0.0.1:{port or self.engine.port}/{self.database}"

    @asynccontextmanager
    async def client(self, database: str = "") -> AsyncGenerator[ClickHouse]:
        url = f"http://127.0.0.1:{self.engine.port}/{database or self.database}"
        client = clickhouse.server(url, clients=1)
        yield client
        await client.close()

    async def texts(self, sql: str) -> list[str]:
        """The column `text` of a query."""
        async with self.client() as client:
            return [row.text for row in await client.read(sql, Row)]

    async def stored(self, table: str = "clicks", column: str = "click_id") -> list[str]:
        """The ids of a raw table, sorted, each as often as it is there."""
        sql = f"SELECT {column} AS text FROM {table} WHERE account != 0 ORDER BY {column}"
        return await self.texts(sql)


@pytest.fixture
async def warehouse(engine_of_the_run: Engine) -> AsyncGenerator[Warehouse]:
    await engine_of_the_run.ready()
    made = Warehouse(engine_of_the_run, f"linkjolt_{next(_databases)}")
    async with made.client("default") as client:
        await client.execute(f"CREATE DATABASE {made.database} ENGINE = Atomic")
    yield made
    await made.engine.ready()
    async with made.client("default") as client:
        await client.execute(f"DROP DATABASE {made.database} SYNC")


class LogLine(msgspec.Struct, frozen=True):
    level: str
    event: str


class Linkjolt:
    """The command line with the environment of one installation."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._environ = _plain_environ() | {"LINKJOLT_DATA": str(folder / "data")} | variables
        self._running: list[subprocess.Popen[bytes]] = []

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself, with what it printed."""
        command = [sys.executable, "-m", "linkjolt", *arguments]
        return await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=_ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, command: str, **variables: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{command}.log"
        process = _spawn(["-m", "linkjolt", command], self._environ | variables, log)
        self._running.append(process)
        return process

    def log(self, command: str) -> list[LogLine]:
        """What all processes of a command logged."""
        lines = (self._folder / f"{command}.log").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=LogLine) for line in lines]

    def logged(self, command: str, event: str) -> int:
        return sum(line.event == event for line in self.log(command))

    def kill(self) -> None:
        """Ends every process that was started here."""
        for process in self._running:
            process.kill()
            process.wait()


class Installation:
    """Edge, aggregator and reports at work for one link, whose key is `key`."""

    def __init__(self, linkjolt: Linkjolt, warehouse: Warehouse, edge: str, reports: str) -> None:
        self.linkjolt = linkjolt
        self.warehouse = warehouse
        self.edge_url = edge
        self.reports_url = reports
        self.headers: dict[str, str] = {}
        self.code = "spring"

    async def post(self, path: str, **body: object) -> dict[str, str]:
        """A POST to the edge that makes something; answers what it made."""
        async with httpx2.AsyncClient(base_url=self.edge_url, headers=self.headers) as client:
            response = await client.post(path, json=body)
        assert response.status_code == 201, response.text
        return response.json()

    @asynccontextmanager
    async def clicks(self) -> AsyncGenerator[list[str]]:
        """The ids of ever more clicks, until the block is left or there are 6,000."""
        ids: list[str] = []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONNECTIONS):
                tasks.create_task(self._click(ids, stop))
            yield ids
            stop.set()

    async def _click(self, ids: list[str], stop: asyncio.Event) -> None:
        async with httpx2.AsyncClient(timeout=30) as client:
            while not stop.is_set() and len(ids) < _CLICKS_MAX:
                response = await client.get(f"{self.edge_url}/{self.code}")
                assert response.status_code == 302
                ids.append(response.headers["Location"].partition("click_id=")[2])

    async def all_stored(self, ids: list[str]) -> None:
        """Every click is in the warehouse within seconds, and nothing is there twice."""
        await wait_until(lambda: self._count_is(len(ids)), 15)
        assert await self.warehouse.stored() == sorted(ids)

    async def _count_is(self, least: int) -> bool:
        return len(await self.warehouse.stored()) >= least

    async def clean(self) -> bool:
        """What `linkjolt audit` says by its exit status."""
        return (await self.linkjolt.run("audit")).returncode == 0
