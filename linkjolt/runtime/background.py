"""Keeps loops in the background running through errors of the operating system."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import structlog

from linkjolt.runtime.back_off import BackOff

_DELAY_FIRST_SECONDS = 0.2
_DELAY_MAX_SECONDS = 5.0
log = structlog.get_logger()


async def outlive_os_errors(loop: Callable[[], Awaitable[None]]) -> None:
    """Runs a loop that ends by cancellation or by its own decision, again after each OSError.

    No descriptor, no memory or a full disk for a moment must not end what serves visitors.
    """
    delays = BackOff(_DELAY_FIRST_SECONDS, _DELAY_MAX_SECONDS)
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        try:
            return await loop()
        except (OSError, sqlite3.OperationalError) as error:
            seconds = next(delays)
            log.warning(
                "background loop begins anew",
                loop=getattr(loop, "__qualname__", "loop"),
                error=str(error)[:200],
                restart_in_seconds=seconds,
            )
            await asyncio.sleep(seconds)
    return None
