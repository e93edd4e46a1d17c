"""Waits for conditions by polling, without fixed sleeps."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

# Long, as a start takes many seconds on a busy machine; benches measure how long.
_PATIENCE_SECONDS = 40.0


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], patience_seconds: float = _PATIENCE_SECONDS
) -> None:
    """Returns once the predicate (plain or async) holds; raises AssertionError after 40 s."""
    deadline = time.monotonic() + patience_seconds
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {patience_seconds:g} s: {predicate}")
        await asyncio.sleep(0.005)
