"""Accepts many conversions in one body: an array, or NDJSON while it arrives; one result each.

Each complete entry is treated as if it had been posted alone, some hundred at a time. A body
refused as a whole (too large, too many entries, cut off) is not read further, but NDJSON entries
accepted before stay accepted: the refusal has their results.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from redis.exceptions import RedisError

from ingest.conversions.body import named_as_sent
from ingest.conversions.intake import Intake, PendingConversion, count_conversions
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests

BODY_MAX_BYTES = 10 << 20
ARRAY_MAX = 1_000
LINES_MAX = 10_000
ACCEPTED_STATUSES = (200, 201, 202)
# Entries accepted in one turn of the loop: some 2 ms, for which a redirect may have to wait.
_TURN_ENTRIES = 128
# Turns of one body awaiting their frames: while one is written the next one is prepared.
_TURNS_IN_FLIGHT_MAX = 4


async def read_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """Yields lines as they arrive, without blank ones; cuts a line that exceeds a post's bound.

    Rejected after LINES_MAX lines, however they arrive.
    """
    left, rest, begun = LINES_MAX, b"", False
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and not begun:
            begun, whole[0] = True, whole[0].removeprefix(requests.BYTE_ORDER_MARK)
        lines = [line for line in whole if line and not line.isspace()]
        yield lines[:left]
        left = _check_lines_left(left - len(lines))
        # Only as much as shows that it is too long.
        rest = rest[: requests.BODY_MAX_BYTES + 1]
    last = rest if begun else rest.removeprefix(requests.BYTE_ORDER_MARK)
    if last and not last.isspace():
        _check_lines_left(left - 1)
        yield [last]


def _check_lines_left(left: int) -> int:
    if left < 0:
        message = f"the body has over {LINES_MAX} lines: those beyond were not read"
        raise Rejected(Reason.body_too_large, message)
    return left


class BatchBrokenOffError(Exception):
    """A body was refused as a whole, after some of its entries; `results` are members of JSON."""

    def __init__(self, refused: Rejected, results: bytes) -> None:
        super().__init__(refused.message)
        self.refused = refused
        self.results = results


# An entry with the conversion that is being published of it, or its refusal.
_PendingEntry = tuple[bytes, PendingConversion | Exception]


class ConversionBatch:
    """Accepts the entries of one body in order, and collects their results."""

    def __init__(self, intake: Intake, key: ApiKey) -> None:
        self._intake = intake
        self._key = key
        self._turns_in_flight: deque[list[_PendingEntry]] = deque()
        self._results: list[bytes] = []
        self._statuses: Counter[int] = Counter()

    async def accept(self, entries: Sequence[bytes]) -> None:
        """Accepts entries; returns when all are being published and most have results."""
        for at in range(0, len(entries), _TURN_ENTRIES):
            now_ms = time.time_ns() // 1_000_000
            turn: list[_PendingEntry] = []
            for entry in entries[at : at + _TURN_ENTRIES]:
                pending = self._accept_now(entry, now_ms) or await self._accept(entry, now_ms)
                turn.append((entry, pending))
            self._turns_in_flight.append(turn)
            # Lets redirects run, and the accepted entries be sent.
            await asyncio.sleep(0)
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

    def _accept_now(self, entry: bytes, now_ms: int) -> PendingConversion | Exception | None:
        """As `_accept`; None where something must be read from Redis first."""
        try:
            requests.check_size(len(entry), requests.BODY_MAX_BYTES)
            return self._intake.accept_now(entry, self._key, now_ms)
        except (Rejected, RedisError) as error:
            return error

    async def _accept(self, entry: bytes, now_ms: int) -> PendingConversion | Exception:
        try:
            return await self._intake.accept(entry, self._key, now_ms)
        except (Rejected, RedisError) as error:
            return error

    async def _answer_oldest_turn(self) -> None:
        statuses: Counter[int] = Counter()
        for entry, pending in self._turns_in_flight.popleft():
            try:
                if isinstance(pending, Exception):
                    raise pending
                outcomes = await pending.outcomes
                if pending.is_settled(outcomes):
                    status, conversion = pending.answer(outcomes)
                else:
                    status, conversion = await self._intake.answer(pending)
            except (Rejected, RedisError) as error:
                refused = named_as_sent(requests.refusal_of(error), entry)
                status, result = refused.status, requests.encode(refused.entry())
            else:
                result = b'{"status":%d,"conversion":%b}' % (status, conversion)
            statuses[status] += 1
            self._results.append(result)
        for status, entries in statuses.items():
            count_conversions(status, entries)
        self._statuses += statuses
