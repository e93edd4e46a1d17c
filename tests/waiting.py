"""Waiting for a promise that is kept soon: polled, never slept through."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

# How soon is for benches to say: on a busy machine a start takes many seconds.
_PATIENCE_SECONDS = 40.0


async def wait_until(predicate: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns once the predicate (plain or async) holds; AssertionError if it never does."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {_PATIENCE_SECONDS:g} s: {predicate}")
        await asyncio.sleep(0.005)
