"""Owns a worker's spool, and drains and closes those that dead workers left."""

import asyncio
from pathlib import Path

import structlog
from redis.asyncio import Redis

from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_abandoned_spools, open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt import redis_keys
from linkjolt.redis_keys import Stream
from linkjolt.settings import EdgeSettings as Settings

_ABANDONED_LOOK_SECONDS = 10.0
_STOP_LOOK_SECONDS = 0.2
# How long a stopping edge still tries to drain its spool; its successor does the rest.
_LAST_DRAIN_SECONDS = 2.0
log = structlog.get_logger()


class Spools:
    """Opens this worker's spool, and looks for abandoned ones."""

    def __init__(self, folder: Path, redis: Redis, settings: Settings) -> None:
        self.folder = folder
        self._redis = redis
        self._settings = settings
        self._worker_spool = open_spool(folder, settings.spool_max_bytes, new_producer)
        self._producers: dict[int, StreamProducer] = {}
        self._stop = asyncio.Event()

    @property
    def spooled_events(self) -> int:
        """The number of events in this worker's spool."""
        return self._worker_spool.total_events

    def producer(self, stream: Stream) -> StreamProducer:
        """Returns this worker's only producer for a stream, created on first use."""
        if stream.number not in self._producers:
            self._producers[stream.number] = self._make_producer(self._worker_spool, stream)
        return self._producers[stream.number]

    def _make_producer(self, spool: Spool, stream: Stream) -> StreamProducer:
        rate = self._settings.spool_drain_events_per_second
        return StreamProducer(self._redis, stream, spool, rate)

    def start_draining(self) -> None:
        """Starts draining this worker's file."""
        for number in self._worker_spool.events_by_stream:
            self.producer(redis_keys.stream(number))

    async def drain_abandoned(self) -> None:
        """Drains the files that no process holds any more, until `stop`."""
        while not self._stop.is_set():
            abandoned = open_abandoned_spools(
                self.folder, self._settings.spool_max_bytes, new_producer
            )
            # One after the other: an error must not leave any locked that nobody drains.
            while spool := await asyncio.to_thread(next, abandoned, None):
                await self._drain_spool(spool)
            try:
                await asyncio.wait_for(self._stop.wait(), _ABANDONED_LOOK_SECONDS)
            except TimeoutError:
                continue

    async def _drain_spool(self, spool: Spool) -> None:
        producers = [
            self._make_producer(spool, redis_keys.stream(number))
            for number in spool.events_by_stream
        ]
        drain_tasks = [producer.drain_task for producer in producers if producer.drain_task]
        if drain_tasks:
            log.warning(
                "draining a dead worker's spool", events=sum(spool.events_by_stream.values())
            )
        pending = set(drain_tasks)
        while pending and not self._stop.is_set():
            _, pending = await asyncio.wait(pending, timeout=_STOP_LOOK_SECONDS)
        await _cancel(pending)
        await spool.close()

    async def stop(self) -> None:
        """Tries once more to drain, then closes the file with the rest in it."""
        self._stop.set()
        drain_tasks = {
            producer.drain_task for producer in self._producers.values() if producer.drain_task
        }
        if drain_tasks:
            await asyncio.wait(drain_tasks, timeout=_LAST_DRAIN_SECONDS)
        await _cancel({task for task in drain_tasks if not task.done()})
        await self._worker_spool.close()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
