"""Directories that hear of changes, and reads that can be held up half-way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt.directory.directory import Directory
from linkjolt.registry.entries import Link
from linkjolt.registry.store import Registry
from tests.linkjolt.registry import samples
from tests.waiting import wait_until


@asynccontextmanager
async def following(directory: Directory, registry: Registry) -> AsyncGenerator[None]:
    """Inside it the directory is known to hear of changes."""
    link = await samples.stored_link(registry, "")
    await directory.route(link.tracking_code)
    await registry.patch(Link, 1, link.number, flip)
    task = asyncio.create_task(directory.follow())
    try:
        # It forgets this link when it begins, or by the change when it goes on: then it is here.
        await wait_until(lambda: directory.route_now(link.tracking_code) is None)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def flip(link: Link) -> Link:
    """The link switched off, or on again."""
    status = "active" if link.status == "disabled" else "disabled"
    return msgspec.structs.replace(link, status=status)


class Held(Redis):
    """The real client, but the reply to reads of one key waits until it is let go."""

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
        """Later reads pass; the one held still waits."""
        self.key = ""
