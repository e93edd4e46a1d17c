"""Divides long work on an event loop into slices, between which the loop does other work.

Of all the long work in a process one slice runs in a turn of the loop: however many clients ask for
some at a time, a redirect waits for one slice.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar
from weakref import WeakKeyDictionary

_SLICE_SECONDS = 0.005
T = TypeVar("T")


class LoopSlices:
    """The slices of one piece of work, each some milliseconds long."""

    def __init__(self) -> None:
        self._end = 0.0

    @property
    def is_over(self) -> bool:
        """Returns True if the current slice is over; so it is before the first one."""
        return perf_counter() >= self._end

    async def next_if_over(self) -> None:
        """Waits for the next slice if the current one is over."""
        if perf_counter() >= self._end:
            await self.next()

    async def next(self) -> None:
        """Lets the loop do other work, then waits until it is this work's turn again."""
        await _queue().wait()
        self._end = perf_counter() + _SLICE_SECONDS


async def in_slices(items: Iterable[T], slices: LoopSlices | None = None) -> AsyncIterator[T]:
    """Yields items as long as there is time for them, in slices of the work that takes them."""
    slices = slices or LoopSlices()
    for item in items:
        await slices.next_if_over()
        yield item


class _Queue:
    """The work that waits for a slice of one loop; one piece of it is woken in each turn."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    def wait(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        self._waiting.append(woken)
        if len(self._waiting) == 1:
            loop.call_soon(self._wake_next)
        return woken

    def _wake_next(self) -> None:
        while self._waiting:
            woken = self._waiting.popleft()
            # One that was cancelled needs no slice.
            if not woken.done():
                woken.set_result(None)
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_next)


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()


def _queue() -> _Queue:
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop)
    if queue is None:
        queue = _queues[loop] = _Queue()
    return queue
