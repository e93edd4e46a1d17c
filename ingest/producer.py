"""The idempotent producer: what it sends is in the stream once, whatever happens to a reply."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from redis.asyncio import Redis

from linkjolt.errors import Reason, Rejected
from linkjolt.names import Stream
from linkjolt.redis_client import RedisError, ResponseError

_FOLDER = Path(__file__).parent
_HEAD = (_FOLDER / "frame.lua").read_text(encoding="utf-8")
_FIRST_PAUSE_SECONDS = 0.02

Argument = bytes | str | int


class Script(Protocol):
    """A Lua script: called with its keys and arguments, it answers with the reply."""

    async def __call__(self, *, keys: Sequence[str], args: Sequence[Argument]) -> Any: ...


def script_text(name: str) -> str:
    """A publishing script with its shared head."""
    return _HEAD + (_FOLDER / name).read_text(encoding="utf-8")


class Producer:
    """Numbers the calls of one script on one stream; the caller keeps one under way at a time."""

    def __init__(self, redis: Redis, stream: Stream, script: str, attempts: int) -> None:
        self.script: Script = redis.register_script(script_text(script))
        self._stream = stream
        self._attempts = attempts
        self._renew()

    def _renew(self) -> None:
        self.id = secrets.token_hex(6)
        self._number = 0

    async def send(self, keys: Sequence[str], arguments: Sequence[Argument]) -> list[bytes]:
        """The script's answer to one call, sent again after a doubtful end; else Rejected.

        A call sent again carries the mark `r`: where Redis forgot that it executed the first
        one, the aggregator finds the events in the warehouse.
        """
        mark = ""
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
            try:
                answer = await self._call(keys, [self._number + 1, mark, *arguments])
            except ResponseError as error:
                raise Rejected(Reason.unavailable, "Redis refused the event") from error
            except RedisError:
                mark = "r"
                continue
            if answer[0] != b"gap":
                self._number += 1
                return answer
            # Redis no longer knows this producer (restored, or idle for a week).
            self._renew()
            mark = "r"
        # What is doubtful may still arrive under its number: later calls take another producer.
        self._renew()
        raise Rejected(Reason.unavailable, "Redis cannot be reached")

    async def _call(self, keys: Sequence[str], arguments: Sequence[Argument]) -> list[bytes]:
        stream = self._stream
        own = [stream.key, stream.producer(self.id), stream.ledger]
        answer: Any = await self.script(keys=[*own, *keys], args=list(arguments))
        return answer
