"""One worker's way to one stream: straight to Redis, or through the spool while it is away.

What is sent is in the stream once: frames are numbered one after the other, and a call repeated
under its number is recognised by the script. One failure opens the circuit; from then on frames
queue in the spool, behind one another, until it has been drained.
"""

import asyncio
import os
import random
import secrets
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import structlog
from redis.asyncio import Redis

from ingest import metrics
from ingest.publishing.frames import Frame, Numbered, Payload, Spooled
from ingest.publishing.spool import Spool, SpoolFull
from linkjolt.fault_points import fault
from linkjolt.reasons import Reason, Rejected
from linkjolt.redis_keys import Stream, StreamKind
from linkjolt.storage.lua import appending
from linkjolt.storage.redis import RedisError, ScriptCalls

_FOLDER = Path(__file__).parent
_PAUSE_FIRST_SECONDS = 0.05
_PAUSE_MAX_SECONDS = 1.0
_DRAIN_FRAMES = 64
# Far below the week for which Redis keeps a producer's record.
_IDLE_SECONDS = 86_400
log = structlog.get_logger()


class Call(msgspec.Struct, frozen=True):
    """One call of a publishing script."""

    keys: list[str]
    arguments: list[bytes | str | int]


class Answer(msgspec.Struct, frozen=True):
    """A script's reply: how the frame stands, the producer's accepted events, further outcomes."""

    stand: Literal["next", "there", "gap"]
    accepted: int
    outcomes: list[bytes]


class Publish(Protocol):
    """Makes calls in their order, on one connection; answers with their replies."""

    async def __call__(self, calls: Sequence[Call], /) -> list[Answer]: ...


def publish_through(redis: Redis, kind: StreamKind) -> Publish:
    """Publishes on streams of this kind."""
    script = appending(_FOLDER / "frame.lua", _FOLDER / f"publish_{kind}.lua")
    ask = ScriptCalls(redis, script)

    async def publish(calls: Sequence[Call]) -> list[Answer]:
        # Many calls share what costs most: the way there and back, and the fsync.
        replies = await ask([(call.keys, call.arguments) for call in calls])
        return [_answer(reply) for reply in replies]

    return publish


def _answer(reply: Any) -> Answer:
    stand, accepted, *outcomes = reply
    return Answer(stand.decode(), accepted, outcomes)


def new_producer() -> str:
    """A name for a numbering that nobody used before."""
    return secrets.token_hex(6)


def _end_process_on_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        # A fault of ours, and events would wait for ever: the supervisor starts us again.
        log.error("draining the spool failed", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


class Outlet:
    """Sends the frames of one stream; the caller has one `send` under way at a time."""

    def __init__(
        self, redis: Redis, stream: Stream, spool: Spool, drain_events_per_second: int
    ) -> None:
        self.publish = publish_through(redis, stream.kind)
        self._stream = stream
        self._spool = spool
        self._rate = drain_events_per_second
        self._at = Numbered(new_producer(), 0)
        self._used_at = time.monotonic()
        self._doubtful_seq = 0  # Frames up to this one were sent once before.
        self.draining: asyncio.Task[None] | None = None
        if self.waiting:
            self._start_drain()

    @property
    def waiting(self) -> int:
        """Events that are spooled for this stream."""
        return self._spool.waiting(self._stream.number)

    async def send(
        self,
        payload: Payload,
        spooled: Payload,
        events: int,
        conversion_ids: tuple[str, ...] = (),
    ) -> list[bytes] | None:
        """The script's outcomes, or None when `spooled` went to the spool: on disk both ways.

        Rejected(unavailable) when neither took it.
        """
        at: Numbered | None = None
        if not self.waiting:
            fault("edge_before_publish")
            answer = await self._straight(self._next(), payload)
            fault("edge_after_publish")
            if answer is not None:
                return answer.outcomes
            at = self._at.next()
        try:
            await self._spool.add(Frame(self._stream.number, events, spooled, conversion_ids, at))
        except SpoolFull as error:
            if at is not None:
                # The frame may stand in the stream under this number: it must not be given again.
                self._at = Numbered(new_producer(), 0)
            raise Rejected(Reason.unavailable, "Redis is away and the spool is full") from error
        metrics.SPOOLED.set(self._spool.total)
        self._start_drain()
        return None

    def _next(self) -> Numbered:
        now = time.monotonic()
        if now - self._used_at > _IDLE_SECONDS:
            # Redis may have let the record expire, which looks like a loss.
            self._at = Numbered(new_producer(), 0)
        self._used_at = now
        return self._at.next()

    async def _straight(self, at: Numbered, payload: Payload) -> Answer | None:
        """None when Redis did not answer, or refused."""
        try:
            with metrics.PUBLISH_SECONDS.time():
                [answer] = await self.publish([self._call(at, "", payload)])
                if answer.stand != "next":
                    self._tell_forgotten(at, answer)
                    # Redis knows this producer no more (restored, or idle for a week); and "there"
                    # is no answer to a number that was not sent before.
                    at = Numbered(new_producer(), 1)
                    self._at = Numbered(at.producer, 0)
                    [answer] = await self.publish([self._call(at, "r", payload)])
        except RedisError as error:
            log.warning("redis away, spooling", stream=self._stream.key, error=str(error)[:200])
            return None
        if answer.stand != "next":
            return None
        self._at = Numbered(at.producer, at.number, answer.accepted)
        return answer

    def _tell_forgotten(self, at: Numbered, answer: Answer) -> None:
        # Zero where it was told, and counted, before.
        if answer.stand == "gap" and (forgotten := at.acknowledged - answer.accepted) > 0:
            log.error("redis forgot acknowledged events", stream=self._stream.key, events=forgotten)

    def _call(self, at: Numbered, mark: str, payload: Payload) -> Call:
        stream = self._stream
        own = [stream.key, stream.producer(at.producer), stream.ledger]
        return Call([*own, *payload.keys], [at.number, at.acknowledged, mark, *payload.arguments])

    def _start_drain(self) -> None:
        if self.draining is None:
            self.draining = asyncio.create_task(self._drain())
            self.draining.add_done_callback(_end_process_on_fault)

    async def _drain(self) -> None:
        """Sends what is spooled, in order, until nothing is left; half-open while Redis is away."""
        pause_seconds = _PAUSE_FIRST_SECONDS
        while self.waiting:
            sent = await self._drain_some()
            if sent:
                pause_seconds = _PAUSE_FIRST_SECONDS
                await asyncio.sleep(sent / self._rate)
            else:
                # Jitter: the workers of a host do not probe in step.
                await asyncio.sleep(pause_seconds * random.uniform(0.5, 1))
                pause_seconds = min(pause_seconds * 2, _PAUSE_MAX_SECONDS)
        self.draining = None
        log.info("spool drained", stream=self._stream.key)

    async def _drain_some(self) -> int:
        """The number of events that went from the spool into the stream."""
        number = self._stream.number
        frames = await self._spool.first(number, _DRAIN_FRAMES)
        try:
            answers = await self._resend(frames)
        except RedisError:
            return 0
        stands = list(zip(frames, answers, strict=True))
        sent = [frame for frame, answer in stands if answer.stand != "gap"]
        behind = [stand for stand in stands if stand[1].stand == "gap"]
        fault("spool_mid_drain")
        try:
            await self._spool.remove(number, sent)
            if behind:
                self._tell_forgotten(behind[0][0].at, behind[0][1])
                await self._spool.renumber(number)
            elif not self.waiting:
                # At once: the next frame goes straight, and its number is one more than these.
                last = self._spool.last(number) or self._at
                self._at = Numbered(last.producer, last.number, answers[-1].accepted)
        except sqlite3.Error as error:
            # What was sent is sent again later, and recognised.
            log.warning("spool cannot be written", error=str(error))
            return 0
        metrics.SPOOLED.set(self._spool.total)
        return sum(frame.events for frame in sent)

    async def _resend(self, frames: Sequence[Spooled]) -> list[Answer]:
        """How each frame stands; all of them are in doubt where no answer comes."""
        if not frames:
            return []
        calls: list[Call] = []
        for frame in frames:
            doubtful = frame.marked or frame.seq <= self._doubtful_seq
            calls.append(self._call(frame.at, "r" if doubtful else "", frame.payload))
        self._doubtful_seq = frames[-1].seq
        return await self.publish(calls)
