"""A worker's spool, and those that dead workers left: drained, then closed."""

import asyncio
from asyncio import TaskGroup
from pathlib import Path

import structlog
from redis.asyncio import Redis

from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import take_left, take_one
from ingest.publishing.stream_producer import Outlet, new_producer
from linkjolt import redis_keys
from linkjolt.redis_keys import Stream
from linkjolt.settings import Edge as Settings

_LOOK_SECONDS = 10.0
_STOP_LOOK_SECONDS = 0.2
# How long a stopping edge still tries to bring its spool to Redis; its successor does the rest.
_LAST_DRAIN_SECONDS = 2.0
log = structlog.get_logger()


class Spools:
    """Opens this worker's spool at once; `start` looks for abandoned ones from then on."""

    def __init__(self, folder: Path, redis: Redis, settings: Settings) -> None:
        self.folder = folder
        self._redis = redis
        self._settings = settings
        self._own = take_one(folder, settings.spool_max_bytes, new_producer)
        self._outlets: dict[int, Outlet] = {}
        self._stop = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Events on this worker's disk."""
        return self._own.total

    def outlet(self, stream: Stream) -> Outlet:
        """This worker's way to a stream; one for all who ask."""
        if stream.number not in self._outlets:
            self._outlets[stream.number] = self._outlet(self._own, stream)
        return self._outlets[stream.number]

    def _outlet(self, spool: Spool, stream: Stream) -> Outlet:
        rate = self._settings.spool_drain_events_per_second
        return Outlet(self._redis, stream, spool, rate)

    def start(self, tasks: TaskGroup) -> None:
        """Drains what was left: in this worker's file, and in files nobody holds any more."""
        for number in self._own.events:
            self.outlet(redis_keys.stream(number))
        tasks.create_task(self._adopt())

    async def _adopt(self) -> None:
        while not self._stop.is_set():
            left = await asyncio.to_thread(
                lambda: list(take_left(self.folder, self._settings.spool_max_bytes, new_producer))
            )
            for spool in left:
                await self._drain_left(spool)
            try:
                await asyncio.wait_for(self._stop.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue

    async def _drain_left(self, spool: Spool) -> None:
        outlets = [self._outlet(spool, redis_keys.stream(number)) for number in spool.events]
        draining = [outlet.draining for outlet in outlets if outlet.draining]
        if draining:
            log.warning("draining a dead worker's spool", events=sum(spool.events.values()))
        pending = set(draining)
        while pending and not self._stop.is_set():
            _, pending = await asyncio.wait(pending, timeout=_STOP_LOOK_SECONDS)
        await _end(pending)
        await spool.close()

    async def stop(self) -> None:
        """A last try at draining, then the file is closed with what is left."""
        self._stop.set()
        draining = {o.draining for o in self._outlets.values() if o.draining}
        if draining:
            await asyncio.wait(draining, timeout=_LAST_DRAIN_SECONDS)
        await _end({task for task in draining if not task.done()})
        await self._own.close()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
