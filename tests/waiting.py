"""Waiting for a promise that is kept soon: polled, never slept through."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], timeout_seconds: float = 5.0
) -> None:
    """Returns once the predicate (plain or async) holds; AssertionError if not in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {timeout_seconds:g} s: {predicate}")
        await asyncio.sleep(0.005)
