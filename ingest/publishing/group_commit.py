"""Group commit: what one turn of the loop accepts for a stream travels as one frame."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from linkjolt.reasons import Reason, Rejected

E = TypeVar("E")
R = TypeVar("R")


class _Frame(Generic[E, R]):
    __slots__ = ("answer", "events", "size_bytes")

    def __init__(self) -> None:
        self.events: list[E] = []
        self.size_bytes = 0
        self.answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()


class Lane(Generic[E, R]):
    """One frame is under way at a time; what is added meanwhile makes up the next one.

    `send` publishes a frame's events and returns its answer; at most `waiting_max_bytes` wait.
    """

    def __init__(
        self,
        send: Callable[[list[E]], Awaitable[R]],
        *,
        frame_events_max: int,
        waiting_max_bytes: int,
    ) -> None:
        self._send = send
        self._frame_events_max = frame_events_max
        self._waiting_max_bytes = waiting_max_bytes
        self._waiting_bytes = 0
        self._frames: deque[_Frame[E, R]] = deque()
        self._open: _Frame[E, R] | None = None  # The last of them, while it takes events.
        self._drain: asyncio.Task[None] | None = None

    def add(self, size_bytes: int, *events: E) -> tuple[asyncio.Future[R], int]:
        """The answer to come of the frame that takes the events, and the first one's place in it.

        Rejected(unavailable), at once where too much waits, else from the future.
        """
        waiting_bytes = self._waiting_bytes + size_bytes
        if waiting_bytes > self._waiting_max_bytes:
            raise Rejected(Reason.unavailable, "too many events wait for Redis")
        frame = self._open
        if frame is None or len(frame.events) + len(events) > self._frame_events_max:
            frame = self._new_frame()
        place = len(frame.events)
        frame.events += events
        frame.size_bytes += size_bytes
        self._waiting_bytes = waiting_bytes
        return frame.answer, place

    def _new_frame(self) -> _Frame[E, R]:
        frame = self._open = _Frame[E, R]()
        self._frames.append(frame)
        if self._drain is None:
            # It first runs in the next turn: all that this turn adds is in its frame.
            self._drain = asyncio.create_task(self._send_frames())
        return frame

    async def _send_frames(self) -> None:
        while self._frames:
            frame = self._frames.popleft()
            if frame is self._open:
                self._open = None
            try:
                answer = await self._send(frame.events)
            except Exception as error:
                # The top of this task: whoever waits is told, and the next frame goes on.
                frame.answer.set_exception(error)
                frame.answer.exception()  # Read here too: every waiter may have hung up.
            else:
                frame.answer.set_result(answer)
            self._waiting_bytes -= frame.size_bytes
        self._drain = None

    async def idle(self) -> None:
        """Returns when nothing waits."""
        while self._drain is not None:
            await self._drain
