"""Provides directories that follow the feed, and reads that can be held half-way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.registry.entries import Link
from linkjolt.registry.store import Registry
from tests.linkjolt.registry import samples
from tests.waiting import wait_until


@asynccontextmanager
async def following(directory: Directory, registry: Registry) -> AsyncGenerator[None]:
    """Follows the feed; inside, the directory is known to receive changes."""
    link = await samples.stored_link(registry, "")
    await directory.route(link.tracking_code)
    await registry.patch(Link, Account(1), link.number, flip)
    task = asyncio.create_task(directory.follow())
    try:
        # The link is dropped when following starts, or by the change: either way it follows now.
        await wait_until(lambda: directory.cached_route(link.tracking_code) is None)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def flip(link: Link) -> Link:
    """Disables the link, or enables it again."""
    status = "active" if link.status == "disabled" else "disabled"
    return msgspec.structs.replace(link, status=status)


class Held(Redis):
    """The real client, but replies to reads of one key wait until released."""

    key = ""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await cast(Any, super()).execute_command(*args, **options)
        if self.key in args:
            self.reached.set()
            await self.released.wait()
        return reply

    def hold(self, key: str) -> None:
        self.key = key
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    def hold_no_more(self) -> None:
        """Lets later reads pass; the held one still waits."""
        self.key = ""
