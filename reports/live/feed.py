"""One reading of what is stored for all who listen: clicks, conversions, counters by the second."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from linkjolt.storage.clickhouse import ClickHouseFailed
from linkjolt.storage.redis import RedisError
from reports import metrics
from reports.live.events import (
    Positions,
    Second,
    Tick,
    live_event,
    merge,
    not_before,
    sse,
    token,
)
from reports.live.store import SHOWN_MAX, LiveStore

_EVERY_SECONDS = 0.5
# A client that is so many steps behind is dropped: about ten seconds.
_QUEUED_MAX = 20
_RESUMED_MAX = 500
_RESUMED_SECONDS = 3_600
_COUNTED_SECONDS = 1_800
_log = structlog.get_logger()


class Listener:
    """One client: the texts that it has not been sent yet, and why it has come to an end."""

    def __init__(self, account: int) -> None:
        self.account = account
        self.ended = ""
        self._texts: deque[bytes] = deque()
        self._news = asyncio.Event()

    def put(self, text: bytes) -> None:
        if len(self._texts) >= _QUEUED_MAX:
            metrics.LIVE_DROPPED.inc()
            self._texts.clear()
            self.end("slow_client")
        elif not self.ended:
            self._texts.append(text)
            self._news.set()

    def end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self._news.set()

    async def next(self) -> bytes | None:
        """The next text, as soon as there is one; None at the end."""
        while not self._texts:
            if self.ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._texts.popleft()


class Counters:
    """Events of one account by the second of their time, of the last half hour."""

    def __init__(self, seconds: Iterable[Second]) -> None:
        self._seconds: dict[int, Second] = {}
        self.add(seconds)

    def add(self, seconds: Iterable[Second]) -> None:
        merge(self._seconds, seconds)
        least = int(time.time()) - _COUNTED_SECONDS
        for second in [second for second in self._seconds if second < least]:
            del self._seconds[second]

    def all(self) -> list[Second]:
        return [self._seconds[second] for second in sorted(self._seconds)]


class Feed:
    """Reads every half second while somebody listens, and not at all otherwise."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._counters: dict[int, Counters] = {}
        self._positions: dict[int, int] = {}
        self._somebody = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def listening(self) -> int:
        return len(self._listeners)

    async def join(self, account: int, since: Positions | None) -> Listener:
        """A listener that is sent a `hello`, what it missed `since`, then all that is stored.

        Raises ClickHouseFailed.
        """
        listener = Listener(account)
        async with self._turn:
            if not self._listeners:
                self._positions = await self._store.positions()
            # From now on others may leave: what is read for this account is kept for it.
            self._listeners.append(listener)
            try:
                await self._welcome(listener, since)
            except BaseException:
                self.leave(listener)
                raise
            metrics.LIVE_CLIENTS.set(len(self._listeners))
            self._somebody.set()
        return listener

    async def _welcome(self, listener: Listener, since: Positions | None) -> None:
        account = listener.account
        if account not in self._counters:
            self._counters[account] = Counters(await self._recent(account))
        listener.put(await self._hello(account))
        if since is not None:
            listener.put(await self._missed(account, since))

    def leave(self, listener: Listener) -> None:
        with suppress(ValueError):
            self._listeners.remove(listener)
        metrics.LIVE_CLIENTS.set(len(self._listeners))
        if all(other.account != listener.account for other in self._listeners):
            # Nobody keeps them up to date.
            self._counters.pop(listener.account, None)
        if not self._listeners:
            self._somebody.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then every listener is told that it ends."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            somebody = asyncio.create_task(self._somebody.wait())
            await asyncio.wait({stopped, somebody}, return_when=asyncio.FIRST_COMPLETED)
            somebody.cancel()
            if not stop.is_set():
                await self._step()
                await asyncio.wait({stopped}, timeout=_EVERY_SECONDS)
        for listener in self._listeners:
            listener.end("shutdown")

    async def _step(self) -> None:
        try:
            async with self._turn:
                await self._tell()
        except (ClickHouseFailed, RedisError) as error:
            _log.warning("live_feed_waits", error=str(error)[:300])

    async def _tell(self) -> None:
        as_of = await self._store.as_of()
        ends = await self._store.positions()
        accounts = {listener.account for listener in self._listeners}
        counts = await self._store.counts(accounts, self._positions, ends)
        events = await self._store.events(accounts, self._positions, ends)
        for account in accounts:
            seconds = counts[account]
            if account in self._counters:
                self._counters[account].add(seconds)
            names = await self._store.names(account, events[account])
            shown = [live_event(row, names) for row in events[account][-SHOWN_MAX:]]
            tick = _tick(as_of, seconds, len(shown))
            text = b"".join([*shown, sse("tick", tick, token(ends))])
            for listener in self._listeners:
                if listener.account == account:
                    listener.put(text)
        self._positions = ends

    async def _recent(self, account: int) -> list[Second]:
        begins = not_before(dict.fromkeys(self._positions, 0), _ago_ms(_COUNTED_SECONDS))
        return (await self._store.counts([account], begins, self._positions))[account]

    async def _hello(self, account: int) -> bytes:
        tick = _tick(await self._store.as_of(), self._counters[account].all(), 0)
        return b"retry: 2000\n\n" + sse("hello", tick, token(self._positions))

    async def _missed(self, account: int, since: Positions) -> bytes:
        begins = not_before(since, _ago_ms(_RESUMED_SECONDS))
        found = await self._store.events([account], begins, self._positions, _RESUMED_MAX)
        names = await self._store.names(account, found[account])
        return b"".join(live_event(row, names) for row in found[account])


def _tick(as_of: datetime | None, seconds: list[Second], shown: int) -> Tick:
    stored = sum(one.clicks + one.others + one.conversions for one in seconds)
    return Tick(as_of, datetime.now(UTC), seconds, stored, shown)


def _ago_ms(seconds: int) -> int:
    return int((time.time() - seconds) * 1000)
