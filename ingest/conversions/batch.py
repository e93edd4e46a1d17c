"""Accepts many conversions in one body: an array, or NDJSON while it arrives; one result each.

Each complete entry is treated as if it had been posted alone, some hundred at a time. A body
refused as a whole (too large, too many entries, cut off) is not read further, but NDJSON entries
accepted before stay accepted: the refusal has their results.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from ingest.conversions.body import named_as_sent
from ingest.conversions.intake import Intake, PendingConversion, count_conversions
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.runtime.loop_slices import LoopSlices
from linkjolt.web import requests

BODY_MAX_BYTES = 10 << 20
ARRAY_MAX = 1_000
LINES_MAX = 10_000
ACCEPTED_STATUSES = (200, 201, 202)
# Entries accepted in one turn of the loop at most, so that a frame stays small: some 2 ms.
_TURN_ENTRIES = 128
# Turns of one body awaiting their frames: while one is written the next one is prepared.
_TURNS_IN_FLIGHT_MAX = 4


class BatchBrokenOffError(Exception):
    """A body was refused as a whole, after some of its entries; `results` are members of JSON."""

    def __init__(self, refused: Rejected, results: bytes) -> None:
        super().__init__(refused.message)
        self.refused = refused
        self.results = results


class _Refusal(NamedTuple):
    """The result of a refused entry: not its exception, which keeps all that was decoded."""

    status: int
    result: bytes


# An entry with the conversion that is being published of it, or its refusal.
_PendingEntry = tuple[bytes, PendingConversion | _Refusal]


class ConversionBatch:
    """Accepts the entries of one body in order, and collects their results."""

    def __init__(self, intake: Intake, key: ApiKey) -> None:
        self._intake = intake
        self._key = key
        self._turns_in_flight: deque[list[_PendingEntry]] = deque()
        self._results: list[bytes] = []
        self._statuses: Counter[int] = Counter()
        self._slices = LoopSlices()

    async def accept(self, entries: Sequence[bytes]) -> None:
        """Accepts entries; returns when all are being published and most have results."""
        for at in range(0, len(entries), _TURN_ENTRIES):
            now_ms = time.time_ns() // 1_000_000
            turn: list[_PendingEntry] = []
            for entry in entries[at : at + _TURN_ENTRIES]:
                if self._slices.is_over:
                    await self._slices.next()
                pending = self._accept_now(entry, now_ms) or await self._accept(entry, now_ms)
                turn.append((entry, pending))
            self._turns_in_flight.append(turn)
            # Lets redirects run, and the accepted entries be sent.
            await self._slices.next()
            while len(self._turns_in_flight) > _TURNS_IN_FLIGHT_MAX:
                await self._answer_oldest_turn()

    async def results(self) -> bytes:
        """Returns the members `data` (a result per entry), `accepted` and `rejected` of an answer.

        Waits until all entries are on disk.
        """
        while self._turns_in_flight:
            await self._answer_oldest_turn()
        accepted = sum(self._statuses[status] for status in ACCEPTED_STATUSES)
        counts = b'],"accepted":%d,"rejected":%d' % (accepted, len(self._results) - accepted)
        return b'"data":[' + b",".join(self._results) + counts

    def _accept_now(self, entry: bytes, now_ms: int) -> PendingConversion | _Refusal | None:
        """As `_accept`; None where something must be read from Redis first."""
        try:
            requests.check_size(len(entry), requests.BODY_MAX_BYTES)
            return self._intake.accept_now(entry, self._key, now_ms)
        except (Rejected, RedisError) as error:
            return _refuse(error, entry)

    async def _accept(self, entry: bytes, now_ms: int) -> PendingConversion | _Refusal:
        try:
            return await self._intake.accept(entry, self._key, now_ms)
        except (Rejected, RedisError) as error:
            return _refuse(error, entry)

    async def _answer_oldest_turn(self) -> None:
        statuses: Counter[int] = Counter()
        frame: asyncio.Future[list[bytes] | None] | None = None
        outcomes: list[bytes] | None = None
        # Its answers take a slice at most: refusals were written when they were made.
        await self._slices.next_if_over()
        for entry, pending in self._turns_in_flight.popleft():
            try:
                if isinstance(pending, _Refusal):
                    status, result = pending
                else:
                    # Mostly that of the entry before.
                    if pending.outcomes is not frame:
                        outcomes = await pending.outcomes
                        frame = pending.outcomes
                    settled = pending.answer_if_settled(outcomes)
                    status, conversion = settled or await self._intake.answer(pending)
                    result = b'{"status":%d,"conversion":%b}' % (status, conversion)
            except (Rejected, RedisError) as error:
                status, result = _refuse(error, entry)
            statuses[status] += 1
            self._results.append(result)
        for status, entries in statuses.items():
            count_conversions(status, entries)
        self._statuses += statuses


def _refuse(error: Exception, entry: bytes) -> _Refusal:
    refused = named_as_sent(requests.refusal_of(error), entry)
    return _Refusal(refused.status, requests.encode(refused.entry()))
