"""Many conversions in one body: an array, or NDJSON taken while it comes in; one result each.

What is in a whole entry that came in is taken as if it had been posted alone, some hundred at a
time. A body that is refused as a whole (too large, too many entries, cut off) takes nothing more
from there on, but what of NDJSON was taken before stays taken: there is no answer that lists it,
and to send the same again is answered 200 for each order that was.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec
from redis.exceptions import RedisError

from ingest.conversions.intake import Intake, Taken, count
from linkjolt.api.registry_answers import bulk_refused
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests

BODY_MAX_BYTES = 10 << 20
ARRAY_MAX = 1_000
LINES_MAX = 10_000
ACCEPTED = (200, 201, 202)
# As many as are taken in one turn of the loop: some 2 ms, for which a redirect may have to wait.
_AT_ONCE = 128
# Turns that one body has under way: while a frame is being written the next one is made.
_UNDER_WAY = 4
_read_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_array(body: bytes) -> list[bytes]:
    """The entries of a JSON array, none of them looked at; Rejected for anything else."""
    try:
        entries = _read_array(body)
    except RecursionError:
        raise Rejected(
            Reason.too_deep, f"nests deeper than {requests.NESTING_MAX} levels"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.malformed_json, f"is not JSON: {error}") from None
    if len(entries) > ARRAY_MAX:
        message = f"has over {ARRAY_MAX} entries"
        raise Rejected(Reason.invalid_field, message, field="body")
    return [bytes(entry) for entry in entries]


async def read_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """Lines as they come in, blank ones left out; a line over the bound of a post is cut there."""
    count, rest = 0, b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        lines = [line for line in whole if line and not line.isspace()]
        count = _counted(count + len(lines))
        yield lines
        # No more of it than shows that it is too long.
        rest = rest[: requests.BODY_MAX_BYTES + 1]
    if rest and not rest.isspace():
        _counted(count + 1)
        yield [rest]


def _counted(lines: int) -> int:
    if lines > LINES_MAX:
        raise Rejected(Reason.body_too_large, f"the body has over {LINES_MAX} lines")
    return lines


class Batch:
    """The entries of one body, taken in order, and their results."""

    def __init__(self, intake: Intake, key: ApiKey) -> None:
        self._intake = intake
        self._key = key
        self._under_way: deque[list[Taken | Exception]] = deque()
        self._results: list[bytes] = []
        self._statuses: Counter[int] = Counter()

    async def take(self, entries: Sequence[bytes]) -> None:
        """Returns when all are on their way and most have their results."""
        for at in range(0, len(entries), _AT_ONCE):
            now_ms = time.time_ns() // 1_000_000
            some = entries[at : at + _AT_ONCE]
            self._under_way.append([await self._take_one(entry, now_ms) for entry in some])
            # Redirects go on meanwhile, and what was taken is sent.
            await asyncio.sleep(0)
            while len(self._under_way) > _UNDER_WAY:
                await self._settle()

    async def answer(self) -> bytes:
        """`data`, a result for each entry, `accepted` and `rejected`, when all are on disk."""
        while self._under_way:
            await self._settle()
        accepted = sum(self._statuses[status] for status in ACCEPTED)
        counts = b'],"accepted":%d,"rejected":%d}' % (accepted, len(self._results) - accepted)
        return b'{"data":[' + b",".join(self._results) + counts

    async def _take_one(self, entry: bytes, now_ms: int) -> Taken | Exception:
        try:
            requests.check_size(len(entry), requests.BODY_MAX_BYTES)
            taken = self._intake.take_now(entry, self._key, now_ms)
            return taken or await self._intake.take(entry, self._key, now_ms)
        except (Rejected, RedisError) as error:
            return error

    async def _settle(self) -> None:
        statuses: Counter[int] = Counter()
        for taken in self._under_way.popleft():
            try:
                if isinstance(taken, Exception):
                    raise taken
                if taken.updates:
                    status, conversion = await self._intake.answer(taken, self._key)
                else:
                    status, conversion = taken.answer(await taken.frame)
            except (Rejected, RedisError) as error:
                refused = requests.refusal_of(error)
                status, result = refused.status, requests.encode(bulk_refused(refused))
            else:
                result = b'{"status":%d,"conversion":%b}' % (status, conversion)
            statuses[status] += 1
            self._results.append(result)
        for status, entries in statuses.items():
            count(status, entries)
        self._statuses += statuses
