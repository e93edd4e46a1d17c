"""Whatever dies in mid-load or loses its answer: every accepted event is stored, and once."""

import asyncio
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.servers.installation import Installation, Warehouse
from tests.servers.processes import Linkjolt, kill
from tests.waiting import wait_until

_RESET = struct.pack("ii", 1, 0)


async def grows(ids: list[str], by: int) -> None:
    """Returns when so many more clicks were answered."""
    least = len(ids) + by
    await wait_until(lambda: len(ids) >= least, 20)


async def test_a_clickhouse_killed_in_mid_load_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    aggregator = linkjolt.start("aggregator")
    await wait_until(lambda: linkjolt.logged("aggregator", "aggregator started"), 20)
    async with installation.clicks() as ids:
        await wait_until(lambda: warehouse.holds(300), 10)
        warehouse.engine.kill()
        await wait_until(lambda: "warning" in levels(linkjolt), 10)
        await grows(ids, by=300)
        await warehouse.engine.ready()
        await grows(ids, by=300)
    await installation.stores(ids)
    assert aggregator.poll() is None
    assert "error" not in levels(linkjolt)


def levels(linkjolt: Linkjolt) -> set[str]:
    return {line.level for line in linkjolt.log("aggregator")}


async def test_an_aggregator_killed_in_mid_load_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    async with installation.clicks() as ids:
        for _ in range(3):
            aggregator = linkjolt.start("aggregator")
            held = await held_by(warehouse)
            await wait_until(lambda held=held: warehouse.holds(held + 1), 20)
            kill(aggregator)
        linkjolt.start("aggregator")
    await installation.stores(ids)
