"""Connects to ClickHouse, the embedded engine or a server over HTTP, behind one class."""

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

from linkjolt.storage.array_parameters import STATEMENT_MAX_BYTES, Key, cut, fit_fields
from linkjolt.storage.fair_slots import FairSlots

DATABASE = "linkjolt"
Parameters = Mapping[str, object]
T = TypeVar("T")

# Sent with every statement: some defaults changed between versions (26.x). Each would break "one
# insert is one block is one part", or drop a batch as repeated that was never stored.
_STATEMENT_SETTINGS: dict[str, object] = {
    "async_insert": 0,
    "max_insert_threads": 1,
    "insert_deduplicate": 0,
    "input_format_parallel_parsing": 0,
    # No column has a default of its own; looking for one takes a tenth of an insert.
    "input_format_defaults_for_omitted_fields": 0,
    "max_insert_block_size": 100_000_000,
    "min_insert_block_size_rows": 100_000_000,
    "min_insert_block_size_bytes": 0,
    "output_format_json_quote_64bit_integers": 0,
}
_EXPORT_IN_MEMORY_BYTES = 8 << 20
_EXPORT_BATCH_ROWS = 1_000
# Newer servers (26.x) read this setting, on by default, and no longer `insert_deduplicate`.
_DEDUPLICATE_SETTING = "deduplicate_insert"


class ClickHouseFailed(Exception):
    """A statement failed or its answer was lost: it may or may not have been executed."""


class ClickHouse:
    """Runs up to `clients` statements at once, each in a thread on its own connection.

    API keys have them in turn (`slots`); Rejected where one has too many waiting.

    `remote`: a server, which may still execute a statement after its sender gave up.
    """

    def __init__(self, connect: Callable[[], Client], clients: int, *, remote: bool) -> None:
        self.remote = remote
        self._connect = connect
        self._idle_clients: queue.SimpleQueue[Client | None] = queue.SimpleQueue()
        self.slots = FairSlots(clients)
        for _ in range(clients):
            self._idle_clients.put(None)

    async def read(self, sql: str, row: type[T], parameters: Parameters | None = None) -> list[T]:
        """Returns the rows of a SELECT, each decoded to `row` by its column names."""
        statement, bound = self._fit(sql, parameters)

        def run(client: Client) -> list[T]:
            raw = client.raw_query(  # pyright: ignore[reportUnknownMemberType]
                statement, parameters=bound, fmt="JSONEachRow"
            )
            return [one for batch in _batches(raw.splitlines(), row) for one in batch]

        return await self._with_client(run)

    async def look_up(
        self,
        sql: str,
        row: type[T],
        arrays: Sequence[str],
        keys: Iterable[Key],
        parameters: Parameters | None = None,
    ) -> list[T]:
        """Returns the rows of a SELECT for any number of keys; there may be some for other keys.

        `arrays` names the parameter of each value of a key. Many keys are read in parts, sorted, so
        that each part is a range of a primary key that they begin; a row may come from two parts.
        """
        rows: list[T] = []
        for part in cut(sorted(set(keys)), STATEMENT_MAX_BYTES):
            columns = [sorted(set(column)) for column in zip(*part, strict=True)]
            bound = dict(zip(arrays, columns, strict=True))
            rows += await self.read(sql, row, {**bound, **(parameters or {})})
        return rows

    def _fit(self, sql: str, parameters: Parameters | None) -> tuple[str, dict[str, object]]:
        """Fits parameters into the form that they are sent to a server in."""
        bound = dict(parameters or {})
        return fit_fields(sql, bound) if self.remote else (sql, bound)

    @asynccontextmanager
    async def export(
        self, sql: str, row: type[T], parameters: Parameters | None = None
    ) -> AsyncGenerator[Iterator[list[T]]]:
        """Reads any number of rows in batches, from a temporary file.

        The statement has ended before the first batch, so a slow reader holds no connection.
        """
        statement, bound = self._fit(sql, parameters)
        with SpooledTemporaryFile[bytes](_EXPORT_IN_MEMORY_BYTES) as file:

            def run(client: Client) -> None:
                answer = client.raw_stream(  # pyright: ignore[reportUnknownMemberType]
                    statement, parameters=bound, fmt="JSONEachRow"
                )
                with closing(cast(IOBase, answer)) as lines:
                    copyfileobj(cast(IO[bytes], lines), file)

            await self._with_client(run)
            file.seek(0)
            yield _batches(file, row)

    async def execute(
        self, sql: str, parameters: Parameters | None = None, token: str = ""
    ) -> None:
        """Executes a statement without an answer; `token` as for `insert`."""

        def run(client: Client) -> None:
            client.command(  # pyright: ignore[reportUnknownMemberType]
                sql, parameters=dict(parameters or {}), settings=_insert_settings(token)
            )

        await self._with_client(run)

    async def insert(
        self, table: str, columns: Sequence[str], *lines: bytes, token: str = ""
    ) -> None:
        """Inserts newline-separated JSON objects with one INSERT: one block, one part a partition.

        `lines` is one text or its pieces in order. A table that remembers tokens silently drops
        rows with a token it has seen.
        """

        def run(client: Client) -> None:
            # clickhouse-connect sends bytes again when the connection breaks, though the insert
            # may have been executed; a generator can be sent only once.
            once = (piece for piece in lines)
            client.raw_insert(  # pyright: ignore[reportUnknownMemberType]
                table,
                column_names=columns,
                insert_block=once,
                fmt="JSONEachRow",
                settings=_insert_settings(token),
            )

        await self._with_client(run)

    async def _with_client(self, run: Callable[[Client], T]) -> T:
        async with self.slots.take():
            return await asyncio.to_thread(self._run_on_client, run)

    def _run_on_client(self, run: Callable[[Client], T]) -> T:
        client = self._idle_clients.get()
        try:
            client = client or self._connect()
            return run(client)
        except (ClickHouseError, OSError) as error:
            # chDB leaves half an answer of a failed statement for the next one: reconnect.
            _close(client)
            client = None
            raise ClickHouseFailed(str(error)) from error
        finally:
            self._idle_clients.put(client)

    async def close(self) -> None:
        """Closes the idle connections; call it when no statement runs."""
        while not self._idle_clients.empty():
            await asyncio.to_thread(_close, self._idle_clients.get())


def _batches(lines: Iterable[bytes], row: type[T]) -> Iterator[list[T]]:
    lines = iter(lines)
    while batch := list(islice(lines, _EXPORT_BATCH_ROWS)):
        yield msgspec.json.decode(b"[" + b",".join(batch) + b"]", type=list[row])


def _insert_settings(token: str) -> dict[str, object] | None:
    """Sets the token as query id too: a server refuses a second statement with a running id."""
    if not token:
        return None
    return {"insert_deduplicate": 1, "insert_deduplication_token": token, "query_id": token}


def _close(client: Client | None) -> None:
    if client is not None:
        with suppress(ClickHouseError, OSError):
            client.close()


def embedded(path: str, clients: int, database: str = DATABASE) -> ClickHouse:
    """Opens chDB in a directory that no other process uses; `linkjolt.runtime.instance` locks it.

    Creates the directory; the first connection creates the database.
    """

    def connect() -> Client:
        client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType]
            interface="chdb", path=path, settings=_STATEMENT_SETTINGS
        )
        client.command(  # pyright: ignore[reportUnknownMemberType]
            f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic"
        )
        client.database = database
        return client

    return ClickHouse(connect, clients, remote=False)


def server(url: str, clients: int) -> ClickHouse:
    """Connects to a ClickHouse server, `http://user:password@host:8123/database`, which exists."""
    parts = urlsplit(url)

    def connect() -> Client:
        client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType]
            interface=parts.scheme or "http",
            host=parts.hostname or "localhost",
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/") or DATABASE,
            settings=_STATEMENT_SETTINGS,
            query_retries=0,
            autogenerate_session_id=False,
        )
        if isinstance(client, HttpClient):
            client.http_retries = 0
        if _DEDUPLICATE_SETTING in client.server_settings:
            client.set_client_setting(_DEDUPLICATE_SETTING, "backward_compatible_choice")
        return client

    return ClickHouse(connect, clients, remote=True)
