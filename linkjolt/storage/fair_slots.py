"""Shares slots among keys in turn, so that no key's work makes another's wait behind all of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import msgspec

from linkjolt.reasons import Reason, Rejected

# The key of work that no request asked for: it has no bounds of its own.
_OWN_WORK = 0
_WAITING_MAX = 100


class Asker(msgspec.Struct, eq=False):
    """The numbers of the API keys for which work is done; each may have its turn used for it."""

    keys: set[int]


_asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


def ask_for(asker: Asker) -> None:
    """Does the work of the current task from now on for these keys."""
    _asker.set(asker)


def current_asker() -> Asker:
    return _asker.get() or Asker({_OWN_WORK})


class _Ticket(msgspec.Struct, eq=False):
    asker: Asker
    granted: asyncio.Future[int]


class FairSlots:
    """Grants up to `slots` at once: to the key whose last turn is longest ago, all but one to one.

    A key may wait for `waiting_max` of them; Rejected beyond.
    """

    def __init__(self, slots: int, waiting_max: int = _WAITING_MAX) -> None:
        self._free = slots
        self._per_key_max = max(1, slots - 1)
        self._waiting_max = waiting_max
        self._waiting: list[_Ticket] = []
        self._running = Counter[int]()
        self._last_turns: dict[int, int] = {}
        self._turn = 0

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None]:
        """Waits for a slot and holds it."""
        key = await self._wait(current_asker())
        try:
            yield
        finally:
            self._release(key)

    def join(self, shared: Asker, asker: Asker) -> None:
        """Does shared work for further keys, too, which may have their turn sooner."""
        if not asker.keys <= shared.keys:
            shared.keys |= asker.keys
            self._grant()

    async def _wait(self, asker: Asker) -> int:
        if all(self._is_full(key) for key in asker.keys):
            message = f"the API key has {self._waiting_max} queries waiting already: try again"
            raise Rejected(Reason.too_many_requests, message)
        ticket = _Ticket(asker, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        self._grant()
        try:
            return await ticket.granted
        except asyncio.CancelledError:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            elif not ticket.granted.cancelled():
                self._release(ticket.granted.result())
            raise

    def _is_full(self, key: int) -> bool:
        waiting = sum(key in ticket.asker.keys for ticket in self._waiting)
        return key != _OWN_WORK and waiting >= self._waiting_max

    def _release(self, key: int) -> None:
        self._free += 1
        self._running[key] -= 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (first := self._first_by_key()):
            key = min(first, key=lambda key: self._last_turns.get(key, 0))
            ticket = first[key]
            self._waiting.remove(ticket)
            self._free -= 1
            self._running[key] += 1
            self._turn += 1
            self._last_turns[key] = self._turn
            ticket.granted.set_result(key)
        if not self._waiting:
            self._last_turns.clear()
            self._running = +self._running

    def _first_by_key(self) -> dict[int, _Ticket]:
        """Returns the first ticket of each key that may have another slot."""
        first: dict[int, _Ticket] = {}
        for ticket in self._waiting:
            # Who was cancelled may not have run yet to leave the line.
            for key in () if ticket.granted.cancelled() else ticket.asker.keys:
                if key == _OWN_WORK or self._running[key] < self._per_key_max:
                    first.setdefault(key, ticket)
        return first
