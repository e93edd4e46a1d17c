"""A connection that breaks after a statement ran: what was stored is not stored again."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from tests.servers.installation import Installation
from tests.waiting import wait_until

TABLES = ("clicks", "conversions", "rollup_quarter")
_CHUNK_BYTES = 1 << 16
_AT_ONCE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to a server and, where it answers an INSERT into one of `tables`, resets instead."""

    def __init__(self, server_port: int, tables: Sequence[str]) -> None:
        self._server_port = server_port
        self.armed = list(tables)
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = bytearray()
        upstream, out = await asyncio.open_connection("127.0.0.1", self._server_port)
        asking = asyncio.create_task(_copy(reader, out, request))
        try:
            # Nothing is answered before the statement was executed.
            while answer := await upstream.read(_CHUNK_BYTES):
                if self._disarm(bytes(request)):
                    client: socket.socket = writer.get_extra_info("socket")
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    break
                request.clear()
                writer.write(answer)
        finally:
            asking.cancel()
            writer.transport.abort()
            out.close()

    def _disarm(self, request: bytes) -> bool:
        for table in self.armed:
            if re.search(rb"INSERT[ +]INTO[ +]%s\b" % table.encode(), request):
                self.armed.remove(table)
                return True
        return False


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK_BYTES):
            seen += chunk
            writer.write(chunk)
    writer.close()


async def test_an_insert_whose_answer_was_lost_is_there_once(installation: Installation) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    proxy = Proxy(warehouse.engine.port, TABLES)
    async with proxy.running():
        url = warehouse.url(proxy.port)
        aggregator = linkjolt.start("aggregator", LINKJOLT_CLICKHOUSE_URL=url)
        async with installation.clicks() as ids:
            await wait_until(lambda: bool(ids), 5)
            await installation.post(
                "/v1/conversions", click_id=ids[0], order_value="10.00", order_id="order_1"
            )
            await wait_until(lambda: not proxy.armed, 20)
        await installation.stores(ids)
    assert aggregator.poll() is None
    assert linkjolt.levels("aggregator") == {"info", "warning"}
    sql = "SELECT count() AS n FROM conversions WHERE account != 0"
    assert await warehouse.count(sql) == 1
