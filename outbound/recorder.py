"""Records the attempts of one endpoint in Redis as they finish, and nothing twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from linkjolt.runtime.back_off import BackOff
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.queue import ClaimedDelivery, Delivery, DeliveryQueue
from outbound.endpoint_state import EndpointState

_PAUSE_FIRST_SECONDS = 0.1
_PAUSE_MAX_SECONDS = 1.0
# A delivery as it was claimed, as it is now, and when it is due again (0: never).
Outcome = tuple[ClaimedDelivery, Delivery, int]
T = TypeVar("T")
log = structlog.get_logger()


async def until_done(action: Callable[[], Awaitable[T]]) -> T:
    """Repeats an action until Redis executes it."""
    pauses = BackOff(_PAUSE_FIRST_SECONDS, _PAUSE_MAX_SECONDS)
    while True:
        try:
            return await action()
        except RedisError as error:
            log.warning("webhook deliveries wait for redis", error=str(error)[:200])
            await asyncio.sleep(next(pauses))


class AttemptRecorder:
    """Writes what finishes during a write together with the next one."""

    def __init__(self, queue: DeliveryQueue, number: int, state: EndpointState) -> None:
        self._queue = queue
        self._number = number
        self._state = state
        self._waiting: list[Outcome] = []
        self._writing = asyncio.Lock()

    async def record(self, outcome: Outcome) -> None:
        """Returns when the attempt and the endpoint's state are stored."""
        self._waiting.append(outcome)
        async with self._writing:
            # Else it was written with an earlier one.
            if any(waiting is outcome for waiting in self._waiting):
                outcomes, self._waiting = self._waiting, []
                await until_done(lambda: self._write(outcomes))

    async def _write(self, outcomes: list[Outcome]) -> None:
        # Repeated after an error: an attempt that is recorded already stays as it is.
        await asyncio.gather(self._state.save(), self._queue.record(self._number, outcomes))
