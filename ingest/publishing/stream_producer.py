"""Publishes one worker's frames to one stream, or spools them while Redis is unavailable.

Each frame is appended once: frames carry consecutive numbers, and the script recognises a call
repeated under its number. One failure opens the circuit; from then on frames queue in the spool,
in order, until it is drained.
"""

import asyncio
import logging
import os
import random
import secrets
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog
from redis.asyncio import Redis

from ingest import metrics
from ingest.publishing.frames import Frame, FrameNumber, FrameStatus, Payload, SpooledFrame
from ingest.publishing.spool import Spool, SpoolFull
from linkjolt.fault_points import fault
from linkjolt.logs import MinuteLine
from linkjolt.reasons import Reason, Rejected
from linkjolt.redis_keys import Stream, StreamKind
from linkjolt.runtime.back_off import BackOff
from linkjolt.storage.lua import LuaScript, read_appending_script
from linkjolt.storage.redis import RedisError

_FOLDER = Path(__file__).parent
_BACK_OFF_FIRST_SECONDS = 0.05
_BACK_OFF_MAX_SECONDS = 1.0
_DRAIN_FRAMES = 64
# Far below the week after which Redis lets a producer's record expire.
_IDLE_SECONDS = 86_400
_STATUSES: dict[bytes, FrameStatus] = {status.value: status for status in FrameStatus}
_unavailable = MinuteLine(logging.WARNING, "redis unavailable, spooling")
log = structlog.get_logger()


class ScriptCall(msgspec.Struct, frozen=True):
    """One call of a publishing script."""

    keys: list[str]
    arguments: list[bytes | str | int]


class PublishReply(msgspec.Struct, frozen=True):
    """A script's reply: the frame's status, the producer's accepted events, further outcomes."""

    status: FrameStatus
    accepted_events: int
    outcomes: list[bytes]


class PublishCalls(Protocol):
    """Makes calls in order, on one connection, and returns their replies."""

    async def __call__(self, calls: Sequence[ScriptCall], /) -> list[PublishReply]: ...


def script_publisher(redis: Redis, kind: StreamKind) -> PublishCalls:
    """Returns the calls of the script that publishes to streams of this kind."""
    script = read_appending_script(_FOLDER / "frame.lua", _FOLDER / f"publish_{kind}.lua")
    ask = LuaScript(redis, script)

    async def publish(calls: Sequence[ScriptCall]) -> list[PublishReply]:
        # Many calls share the costly parts: the round trip and the fsync.
        replies = await ask([(call.keys, call.arguments) for call in calls])
        return [_read_reply(reply) for reply in replies]

    return publish


def _read_reply(reply: Any) -> PublishReply:
    status, accepted_events, *outcomes = reply
    return PublishReply(_STATUSES[status], accepted_events, outcomes)


def new_producer() -> str:
    """Makes up a name for a producer, unique by chance."""
    return secrets.token_hex(6)


def _end_process_on_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        # A fault of ours; events would wait for ever, so let the supervisor restart the process.
        log.error("spool not drained", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


class StreamProducer:
    """Sends frames to one stream; the caller has at most one `send` under way."""

    def __init__(
        self, redis: Redis, stream: Stream, spool: Spool, drain_events_per_second: int
    ) -> None:
        self.publish = script_publisher(redis, stream.kind)
        self._stream = stream
        self._spool = spool
        self._drain_events_per_second = drain_events_per_second
        self._last_number = FrameNumber(new_producer(), 0)
        self._used_at = time.monotonic()
        self._sent_once_seq = 0  # Frames up to this one were sent at least once.
        self.drain_task: asyncio.Task[None] | None = None
        if self.spooled_events:
            self._start_drain()

    @property
    def spooled_events(self) -> int:
        """The number of events spooled for this stream."""
        return self._spool.spooled_events(self._stream.number)

    async def send(
        self,
        payload: Payload,
        spooled: Payload | None,
        events: int,
        conversion_ids: tuple[str, ...] = (),
    ) -> list[bytes] | None:
        """Publishes a frame, or spools it as `spooled`; returns once it is on disk.

        `spooled` None: a frame that is not spooled; else `conversion_ids`, if given, are of all of
        its events. Returns the script's outcomes, or None for a spooled frame.
        Rejected(unavailable) when neither accepted it.
        """
        frame_number: FrameNumber | None = None
        if not self.spooled_events:
            fault("edge_before_publish")
            reply = await self._publish_direct(self._next_number(), payload, events)
            fault("edge_after_publish")
            if reply is not None:
                return reply.outcomes
            frame_number = self._last_number.next()
        if spooled is None:
            self._leave_number(frame_number)
            raise Rejected(Reason.unavailable, "Redis is unavailable")
        try:
            spooled_events = len(conversion_ids) or events
            await self._spool.add(
                Frame(self._stream.number, spooled_events, spooled, conversion_ids, frame_number)
            )
        except SpoolFull as error:
            self._leave_number(frame_number)
            raise Rejected(
                Reason.unavailable, "Redis is unavailable and the spool is full"
            ) from error
        metrics.SPOOLED.set(self._spool.total_events)
        self._start_drain()
        return None

    def _leave_number(self, frame_number: FrameNumber | None) -> None:
        """Leaves a number under which a frame may be in the stream, so that it is not reused."""
        if frame_number is not None:
            self._last_number = FrameNumber(new_producer(), 0)

    def _next_number(self) -> FrameNumber:
        now = time.monotonic()
        if now - self._used_at > _IDLE_SECONDS:
            # Redis may have let the record expire, which looks like a loss.
            self._last_number = FrameNumber(new_producer(), 0)
        self._used_at = now
        return self._last_number.next()

    async def _publish_direct(
        self, frame_number: FrameNumber, payload: Payload, events: int
    ) -> PublishReply | None:
        """Publishes without the spool; returns None when Redis did not answer, or refused."""
        try:
            with metrics.PUBLISH_SECONDS.time():
                [reply] = await self.publish([self._script_call(frame_number, "", payload, events)])
                if reply.status is not FrameStatus.appended:
                    self._log_forgotten(frame_number, reply)
                    # Redis has forgotten this producer (restored, or idle for a week); and a new
                    # number cannot be a duplicate.
                    frame_number = FrameNumber(new_producer(), 1)
                    self._last_number = FrameNumber(frame_number.producer, 0)
                    [reply] = await self.publish(
                        [self._script_call(frame_number, "r", payload, events)]
                    )
        except RedisError as error:
            _unavailable.count(f"{self._stream.key}: {type(error).__name__}")
            return None
        if reply.status is not FrameStatus.appended:
            return None
        self._last_number = FrameNumber(
            frame_number.producer, frame_number.number, reply.accepted_events
        )
        return reply

    def _log_forgotten(self, frame_number: FrameNumber, reply: PublishReply) -> None:
        # Zero where the loss was logged, and counted, before.
        if (
            reply.status is FrameStatus.gap
            and (forgotten := frame_number.acknowledged_events - reply.accepted_events) > 0
        ):
            log.error("redis forgot acknowledged events", stream=self._stream.key, events=forgotten)

    def _script_call(
        self, frame_number: FrameNumber, mark: str, payload: Payload, events: int
    ) -> ScriptCall:
        stream = self._stream
        producer_keys = [stream.key, stream.producer_key(frame_number.producer), stream.ledger_key]
        return ScriptCall(
            [*producer_keys, *payload.keys],
            [
                frame_number.number,
                frame_number.acknowledged_events,
                mark,
                events,
                *payload.arguments,
            ],
        )

    def _start_drain(self) -> None:
        if self.drain_task is None:
            self.drain_task = asyncio.create_task(self._drain())
            self.drain_task.add_done_callback(_end_process_on_fault)

    async def _drain(self) -> None:
        """Sends spooled frames in order until none is left; probes while Redis is unavailable."""
        probes = BackOff(_BACK_OFF_FIRST_SECONDS, _BACK_OFF_MAX_SECONDS)
        while self.spooled_events:
            sent = await self._drain_frames()
            if sent:
                probes.reset()
                await asyncio.sleep(sent / self._drain_events_per_second)
            else:
                # Jitter keeps the workers of a host from probing in step.
                await asyncio.sleep(next(probes) * random.uniform(0.5, 1))
        self.drain_task = None
        log.info("spool drained", stream=self._stream.key)

    async def _drain_frames(self) -> int:
        """Moves some frames from the spool to the stream; returns their number of events."""
        stream_number = self._stream.number
        frames = await self._spool.oldest_frames(stream_number, _DRAIN_FRAMES)
        try:
            replies_in_order = await self._resend(frames)
        except RedisError:
            return 0
        replies = list(zip(frames, replies_in_order, strict=True))
        sent = [frame for frame, reply in replies if reply.status is not FrameStatus.gap]
        behind_gap = [pair for pair in replies if pair[1].status is FrameStatus.gap]
        fault("spool_mid_drain")
        try:
            await self._spool.remove(stream_number, sent)
            if behind_gap:
                self._log_forgotten(behind_gap[0][0].frame_number, behind_gap[0][1])
                await self._spool.renumber(stream_number)
            elif not self.spooled_events:
                # Before anything is awaited: the next frame goes direct, under the next number.
                last_number = self._spool.last_number(stream_number) or self._last_number
                self._last_number = FrameNumber(
                    last_number.producer, last_number.number, replies_in_order[-1].accepted_events
                )
        except sqlite3.Error as error:
            # These frames are sent again later, and recognised as duplicates.
            log.warning("spool not written", error=str(error))
            return 0
        metrics.SPOOLED.set(self._spool.total_events)
        return sum(frame.events for frame in sent)

    async def _resend(self, frames: Sequence[SpooledFrame]) -> list[PublishReply]:
        """Sends frames and returns their replies; without replies all may have been appended."""
        if not frames:
            return []
        calls: list[ScriptCall] = []
        for frame in frames:
            mark = "r" if frame.marked or frame.seq <= self._sent_once_seq else ""
            call = self._script_call(frame.frame_number, mark, frame.payload, frame.events)
            calls.append(call)
        self._sent_once_seq = frames[-1].seq
        return await self.publish(calls)
