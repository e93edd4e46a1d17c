"""Serves ClickHouse's HTTP interface over the embedded engine, as a process that can be killed.

`python -m tests.clickhouse_front PATH PORT`. It only implements the protocol: every answer and
error is the engine's. Sessions, users and the compression of answers are not supported.
"""

import asyncio
import gzip
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, cast

import chdb
import lz4.frame
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

# URL parameters that a server takes for itself; every other one is a setting.
_RESERVED_PARAMETERS = re.compile(
    "query|database|query_id|session_id|session_check|session_timeout|user|password|quota_key|role"
    "|compress|decompress|buffer_size|wait_end_of_query|client_protocol_version|default_format"
    "|stacktrace|param_.*"
)
_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "lz4": cast("Callable[[bytes], bytes]", lz4.frame.decompress),  # pyright: ignore[reportUnknownMemberType]
}
_CODE = re.compile(r"Code: (\d+)\.")
# The statuses of a server for its exception codes; 500 for any other.
_STATUSES = {60: 404, 81: 404, 62: 400, 27: 400, 36: 400, 53: 400, 164: 403, 48: 501}
_as_json = msgspec.json.encode


class Result(Protocol):
    """An answer of the engine; the counts of rows and bytes are those of tables."""

    def bytes(self) -> bytes | None: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...


class _Connection(Protocol):
    def query(
        self, query: str | bytes, format: str = "CSV", params: Mapping[str, str] | None = None
    ) -> Result: ...
    def close(self) -> None: ...


_connect = cast("Callable[[str], _Connection]", chdb.connect)  # pyright: ignore[reportUnknownMemberType]


class Statement(msgspec.Struct, frozen=True):
    """The statement of one request: SQL followed by its data, parameters, settings, database."""

    text: bytes
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str


def read_statement(method: str, query: Mapping[str, str], body: bytes) -> Statement:
    """Reads the statement of a request whose body is already decompressed."""
    parts = [part for part in (query.get("query", "").encode(), body) if part]
    settings = {name: v for name, v in query.items() if not _RESERVED_PARAMETERS.fullmatch(name)}
    if method == "GET":
        settings["readonly"] = "2"
    parameters = {name[6:]: v for name, v in query.items() if name.startswith("param_")}
    return Statement(b"\n".join(parts), parameters, settings, query.get("database", ""))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def execute(path: str, statement: Statement) -> Result:
    """Executes a statement; raises RuntimeError with the engine's text if it refuses.

    Each statement has its own connection (1.5 ms): settings and the rest of a failed answer
    would persist in a shared one.
    """
    connection = _connect(path)
    try:
        if statement.database:
            connection.query(f"USE `{statement.database}`")
        if statement.settings:
            pairs = (f"{name} = {_quoted(value)}" for name, value in statement.settings.items())
            connection.query(f"SET {', '.join(pairs)}")
        return connection.query(statement.text, "TabSeparated", dict(statement.parameters))
    finally:
        connection.close()


def _answer(result: Result, started_ns: int) -> Response:
    summary = {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "elapsed_ns": str(time.monotonic_ns() - started_ns),
    }
    body = result.bytes() or b""
    headers = {"X-ClickHouse-Summary": _as_json(summary).decode()}
    if body:
        headers["X-ClickHouse-Format"] = "TabSeparated"
    return Response(body, headers=headers)


def _refusal(text: str) -> Response:
    found = _CODE.search(text)
    code = int(found[1]) if found else 1001
    headers = {"X-ClickHouse-Exception-Code": str(code)}
    return PlainTextResponse(text + "\n", _STATUSES.get(code, 500), headers=headers)


def create_app(path: str) -> Starlette:
    """Creates the interface to the engine's data under `path`, for one statement at a time."""
    turn = asyncio.Lock()

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def run(request: Request) -> Response:
        started_ns = time.monotonic_ns()
        decompress = _DECOMPRESS.get(request.headers.get("Content-Encoding", ""))
        if decompress is None:
            return _refusal("Code: 48. DB::Exception: Unknown compression. (NOT_IMPLEMENTED)")
        body = decompress(await request.body())
        statement = read_statement(request.method, request.query_params, body)
        try:
            async with turn:
                result = await asyncio.to_thread(execute, path, statement)
        except RuntimeError as error:
            response = _refusal(str(error))
        else:
            response = _answer(result, started_ns)
        identity = request.query_params.get("query_id") or secrets.token_hex(16)
        response.headers["X-ClickHouse-Query-Id"] = identity
        return response

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        # The engine lives as long as a connection is open.
        engine = _connect(path)
        yield
        engine.close()

    routes = [Route("/ping", ping), Route("/", run, methods=["GET", "POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    # Idle connections stay open for 10 s, as on a server.
    port = int(sys.argv[2])
    uvicorn.run(create_app(sys.argv[1]), port=port, log_level="error", timeout_keep_alive=10)
