"""The one way into ClickHouse: the embedded engine or a server over HTTP, behind one class."""

import asyncio
import queue
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from io import IOBase
from itertools import islice
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, TypeVar, cast
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httpclient import HttpClient

DATABASE = "linkjolt"
Parameters = Mapping[str, object]
T = TypeVar("T")

# Sent with every statement: some defaults changed between versions (26.x), and each would break
# "one insert is one block is one part" or drop, as repeated, a batch that was never stored.
_SETTINGS: dict[str, object] = {
    "async_insert": 0,
    "max_insert_threads": 1,
    "insert_deduplicate": 0,
    "input_format_parallel_parsing": 0,
    # No column has a default of its own; to look for one takes a tenth of an insert.
    "input_format_defaults_for_omitted_fields": 0,
    "max_insert_block_size": 100_000_000,
    "min_insert_block_size_rows": 100_000_000,
    "min_insert_block_size_bytes": 0,
    "output_format_json_quote_64bit_integers": 0,
}
_EXPORT_IN_MEMORY_BYTES = 8 << 20
_EXPORT_BATCH_ROWS = 1_000
# Newer servers (26.x) look at this one, which is on, and no more at `insert_deduplicate`.
_DEDUPLICATE = "deduplicate_insert"


class ClickHouseFailed(Exception):
    """A statement failed or its answer was lost: it may have been executed or not."""


class ClickHouse:
    """Up to `clients` statements at once, each in a thread on a connection of its own.

    `remote`: a server, on which a statement may be executed after its sender gave it up.
    """

    def __init__(self, connect: Callable[[], Client], clients: int, *, remote: bool) -> None:
        self.remote = remote
        self._connect = connect
        self._idle: queue.SimpleQueue[Client | None] = queue.SimpleQueue()
        self._free = asyncio.Semaphore(clients)
        for _ in range(clients):
            self._idle.put(None)

    async def read(self, sql: str, row: type[T], parameters: Parameters | None = None) -> list[T]:
        """The rows of a SELECT, each decoded to `row` by its column names."""

        def run(client: Client) -> list[T]:
            raw = client.raw_query(  # pyright: ignore[reportUnknownMemberType]
                sql, parameters=dict(parameters or {}), fmt="JSONEachRow"
            )
            return msgspec.json.decode(b"[" + b",".join(raw.splitlines()) + b"]", type=list[row])

        return await self._with_client(run)

    @asynccontextmanager
    async def export(
        self, sql: str, row: type[T], parameters: Parameters | None = None
    ) -> AsyncGenerator[Iterator[list[T]]]:
        """As `read`, however many rows there are: by batches, from a temporary file.

        The statement is over before the first batch, so that a slow reader holds no connection.
        """
        with SpooledTemporaryFile[bytes](_EXPORT_IN_MEMORY_BYTES) as file:

            def run(client: Client) -> None:
                answer = client.raw_stream(  # pyright: ignore[reportUnknownMemberType]
                    sql, parameters=dict(parameters or {}), fmt="JSONEachRow"
                )
                with closing(cast(IOBase, answer)) as lines:
                    copyfileobj(cast(IO[bytes], lines), file)

            await self._with_client(run)
            file.seek(0)
            yield _batches(file, row)

    async def execute(
        self, sql: str, parameters: Parameters | None = None, token: str = ""
    ) -> None:
        """Any statement without an answer; `token` as for `insert`."""

        def run(client: Client) -> None:
            client.command(  # pyright: ignore[reportUnknownMemberType]
                sql, parameters=dict(parameters or {}), settings=_once(token)
            )

        await self._with_client(run)

    async def insert(
        self, table: str, columns: Sequence[str], *lines: bytes, token: str = ""
    ) -> None:
        """One INSERT of newline-separated JSON objects: one block, one part a partition.

        They may come as one text or in pieces of it.

        A table that remembers tokens drops what comes under one that it has seen, silently.
        """

        def run(client: Client) -> None:
            # Bytes would be sent again by clickhouse-connect itself when the connection breaks,
            # though the insert may have been executed; a generator can be sent only once.
            once = (piece for piece in lines)
            client.raw_insert(  # pyright: ignore[reportUnknownMemberType]
                table,
                column_names=columns,
                insert_block=once,
                fmt="JSONEachRow",
                settings=_once(token),
            )

        await self._with_client(run)

    async def _with_client(self, run: Callable[[Client], T]) -> T:
        async with self._free:
            return await asyncio.to_thread(self._run, run)

    def _run(self, run: Callable[[Client], T]) -> T:
        client = self._idle.get()
        try:
            client = client or self._connect()
            return run(client)
        except (ClickHouseError, OSError) as error:
            # chDB leaves half an answer of a failed statement for the next one: start anew.
            _close(client)
            client = None
            raise ClickHouseFailed(str(error)) from error
        finally:
            self._idle.put(client)

    async def close(self) -> None:
        """Closes the idle connections; call it when no statement runs."""
        while not self._idle.empty():
            await asyncio.to_thread(_close, self._idle.get())


def _batches(lines: Iterable[bytes], row: type[T]) -> Iterator[list[T]]:
    lines = iter(lines)
    while batch := list(islice(lines, _EXPORT_BATCH_ROWS)):
        yield msgspec.json.decode(b"[" + b",".join(batch) + b"]", type=list[row])


def _once(token: str) -> dict[str, object] | None:
    """As the statement's id, too: a server refuses one while another of that id is running."""
    if not token:
        return None
    return {"insert_deduplicate": 1, "insert_deduplication_token": token, "query_id": token}


def _close(client: Client | None) -> None:
    if client is not None:
        with suppress(ClickHouseError, OSError):
            client.close()


def embedded(path: str, clients: int, database: str = DATABASE) -> ClickHouse:
    """chDB under a directory that no other process has open; `linkjolt.runtime.instance` locks it.

    The directory is created; the database is made by the first connection.
    """

    def connect() -> Client:
        client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType]
            interface="chdb", path=path, settings=_SETTINGS
        )
        client.command(  # pyright: ignore[reportUnknownMemberType]
            f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic"
        )
        client.database = database
        return client

    return ClickHouse(connect, clients, remote=False)


def server(url: str, clients: int) -> ClickHouse:
    """A ClickHouse server, `http://user:password@host:8123/database`; the database exists."""
    parts = urlsplit(url)

    def connect() -> Client:
        client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType]
            interface=parts.scheme or "http",
            host=parts.hostname or "localhost",
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/") or DATABASE,
            settings=_SETTINGS,
            query_retries=0,
            autogenerate_session_id=False,
        )
        if isinstance(client, HttpClient):
            client.http_retries = 0
        if _DEDUPLICATE in client.server_settings:
            client.set_client_setting(_DEDUPLICATE, "backward_compatible_choice")
        return client

    return ClickHouse(connect, clients, remote=True)
