"""Reads newly stored events once for all listeners of the live feed."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from linkjolt.logs import MinuteLine
from linkjolt.storage.clickhouse import ClickHouseFailed
from linkjolt.storage.redis import RedisError
from reports import metrics
from reports.live.events import (
    Positions,
    SecondCounts,
    Tick,
    add_seconds,
    clamp_positions,
    live_event,
    resume_token,
    sse,
)
from reports.live.store import SHOWN_MAX, Audience, LiveStore

_EVERY_SECONDS = 0.5
# A client this many steps behind is dropped: about ten seconds.
_QUEUED_MAX = 20
_RESUMED_MAX = 500
_RESUMED_SECONDS = 3_600
_COUNTED_SECONDS = 1_800
_waits = MinuteLine(logging.WARNING, "live feed waits")


class Listener:
    """A client of the feed: the texts still to be sent, and the reason it ended, if it did."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.ended = ""
        self._texts: deque[bytes] = deque()
        self._changed = asyncio.Event()

    def put(self, text: bytes) -> None:
        if len(self._texts) >= _QUEUED_MAX:
            metrics.LIVE_CLIENTS_DROPPED.inc()
            self._texts.clear()
            self.end("slow_client")
        elif not self.ended:
            self._texts.append(text)
            self._changed.set()

    def end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self._changed.set()

    async def next_text(self) -> bytes | None:
        """Waits for the next text; None at the end."""
        while not self._texts:
            if self.ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._texts.popleft()


class SecondCounters:
    """Counts events of one audience by the second of their time, over the last half hour."""

    def __init__(self, seconds: Iterable[SecondCounts]) -> None:
        self._seconds: dict[int, SecondCounts] = {}
        self.add(seconds)

    def add(self, seconds: Iterable[SecondCounts]) -> None:
        add_seconds(self._seconds, seconds)
        oldest = int(time.time()) - _COUNTED_SECONDS
        for second in [second for second in self._seconds if second < oldest]:
            del self._seconds[second]

    def all(self) -> list[SecondCounts]:
        return [self._seconds[second] for second in sorted(self._seconds)]


class LiveFeed:
    """Reads every half second while there are listeners, and not otherwise."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._counters: dict[Audience, SecondCounters] = {}
        self._positions: dict[int, int] = {}
        self._has_listeners = asyncio.Event()
        self._lock = asyncio.Lock()

    async def join(self, audience: Audience, since: Positions | None) -> Listener:
        """Adds a listener: it gets a `hello`, the events stored `since`, then each new one.

        Raises ClickHouseFailed.
        """
        listener = Listener(audience)
        async with self._lock:
            if not self._listeners:
                self._positions = await self._store.read_positions()
            # Added first, so that a leaving listener does not drop the counters of its audience.
            self._listeners.append(listener)
            try:
                await self._send_first_texts(listener, since)
            except BaseException:
                self.leave(listener)
                raise
            metrics.LIVE_CLIENTS.set(len(self._listeners))
            self._has_listeners.set()
        return listener

    async def _send_first_texts(self, listener: Listener, since: Positions | None) -> None:
        audience = listener.audience
        if audience not in self._counters:
            self._counters[audience] = SecondCounters(await self._recent_counts(audience))
        listener.put(await self._hello_text(audience))
        if since is not None:
            listener.put(await self._missed_text(audience, since))

    def leave(self, listener: Listener) -> None:
        with suppress(ValueError):
            self._listeners.remove(listener)
        metrics.LIVE_CLIENTS.set(len(self._listeners))
        if all(other.audience != listener.audience for other in self._listeners):
            # Without a listener the counters are no longer updated.
            self._counters.pop(listener.audience, None)
        if not self._listeners:
            self._has_listeners.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads and publishes until `stop`, then ends every listener."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            has_listeners = asyncio.create_task(self._has_listeners.wait())
            await asyncio.wait({stopped, has_listeners}, return_when=asyncio.FIRST_COMPLETED)
            has_listeners.cancel()
            if not stop.is_set():
                await self._step()
                await asyncio.wait({stopped}, timeout=_EVERY_SECONDS)
        for listener in self._listeners:
            listener.end("shutdown")

    async def _step(self) -> None:
        try:
            async with self._lock:
                await self._publish()
        except (ClickHouseFailed, RedisError, OSError) as error:
            _waits.count(type(error).__name__)

    async def _publish(self) -> None:
        as_of = await self._store.data_as_of()
        ends = await self._store.read_positions()
        audiences = {listener.audience for listener in self._listeners}
        counts = await self._store.read_counts(audiences, self._positions, ends)
        events = await self._store.read_events(audiences, self._positions, ends)
        for audience in audiences:
            seconds = counts[audience]
            if audience in self._counters:
                self._counters[audience].add(seconds)
            names = await self._store.read_names(audience.account, events[audience])
            shown = [live_event(row, names) for row in events[audience][-SHOWN_MAX:]]
            tick = _tick(as_of, seconds, len(shown))
            text = b"".join([*shown, sse("tick", tick, resume_token(ends))])
            for listener in self._listeners:
                if listener.audience == audience:
                    listener.put(text)
        self._positions = ends

    async def _recent_counts(self, audience: Audience) -> list[SecondCounts]:
        begins = clamp_positions(dict.fromkeys(self._positions, 0), _ago_ms(_COUNTED_SECONDS))
        return (await self._store.read_counts([audience], begins, self._positions))[audience]

    async def _hello_text(self, audience: Audience) -> bytes:
        tick = _tick(await self._store.data_as_of(), self._counters[audience].all(), 0)
        return b"retry: 2000\n\n" + sse("hello", tick, resume_token(self._positions))

    async def _missed_text(self, audience: Audience, since: Positions) -> bytes:
        begins = clamp_positions(since, _ago_ms(_RESUMED_SECONDS))
        read = await self._store.read_events([audience], begins, self._positions, _RESUMED_MAX)
        events = read[audience]
        names = await self._store.read_names(audience.account, events)
        return b"".join(live_event(row, names) for row in events)


def _tick(as_of: datetime | None, seconds: list[SecondCounts], shown: int) -> Tick:
    stored = sum(each.clicks + each.others + each.conversions for each in seconds)
    return Tick(as_of, datetime.now(UTC), seconds, stored, shown)


def _ago_ms(seconds: int) -> int:
    return int((time.time() - seconds) * 1000)
