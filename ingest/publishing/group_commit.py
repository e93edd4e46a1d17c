"""Groups the events that one turn of the loop accepts for a stream into one frame."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from linkjolt.reasons import Reason, Rejected

EventT = TypeVar("EventT")
AnswerT = TypeVar("AnswerT")


class CommitFrame(Generic[EventT, AnswerT]):
    __slots__ = ("answer", "events", "size_bytes")

    def __init__(self) -> None:
        self.events: list[EventT] = []
        self.size_bytes = 0
        self.answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()


class GroupCommit(Generic[EventT, AnswerT]):
    """Sends one frame at a time; events added meanwhile make up the next frame.

    `send` publishes a frame's events and returns the answer; at most `waiting_max_bytes` wait.
    """

    def __init__(
        self,
        send: Callable[[list[EventT]], Awaitable[AnswerT]],
        *,
        frame_events_max: int,
        waiting_max_bytes: int,
    ) -> None:
        self._send = send
        self._frame_events_max = frame_events_max
        self._waiting_max_bytes = waiting_max_bytes
        self._waiting_bytes = 0
        self._frames: deque[CommitFrame[EventT, AnswerT]] = deque()
        # The last frame, while it accepts events.
        self._open_frame: CommitFrame[EventT, AnswerT] | None = None
        self._sender: asyncio.Task[None] | None = None

    def add(self, size_bytes: int, *events: EventT) -> tuple[asyncio.Future[AnswerT], int]:
        """Adds events; returns their frame's future answer, and the first event's index in it.

        Rejected(unavailable): raised where too much waits, or set on the future.
        """
        waiting_bytes = self._waiting_bytes + size_bytes
        if waiting_bytes > self._waiting_max_bytes:
            raise Rejected(Reason.unavailable, "too many events wait for Redis")
        frame = self._open_frame
        if frame is None or len(frame.events) + len(events) > self._frame_events_max:
            frame = self._new_frame()
        frame_index = len(frame.events)
        frame.events += events
        frame.size_bytes += size_bytes
        self._waiting_bytes = waiting_bytes
        return frame.answer, frame_index

    def _new_frame(self) -> CommitFrame[EventT, AnswerT]:
        frame = self._open_frame = CommitFrame[EventT, AnswerT]()
        self._frames.append(frame)
        if self._sender is None:
            # It runs first in the next turn, so that its frame holds all that this turn adds.
            self._sender = asyncio.create_task(self._send_frames())
        return frame

    async def _send_frames(self) -> None:
        while self._frames:
            frame = self._frames.popleft()
            if frame is self._open_frame:
                self._open_frame = None
            try:
                answer = await self._send(frame.events)
            except Exception as error:
                # The top of this task: waiters get the error, and the next frame is sent.
                frame.answer.set_exception(error)
                frame.answer.exception()  # Marked as retrieved: all waiters may be gone.
            else:
                frame.answer.set_result(answer)
            self._waiting_bytes -= frame.size_bytes
        self._sender = None

    async def wait_idle(self) -> None:
        """Waits until every frame has been answered."""
        while self._sender is not None:
            await self._sender
