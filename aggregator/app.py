"""The aggregator as a process part: its loop, its chores, its control socket."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trim
from aggregator.delivery.visitor_salts import Salts
from aggregator.maintenance import control_socket
from aggregator.warehouse.migrate import Tables, migrate
from aggregator.warehouse.registry_mirror import Mirror
from linkjolt.settings import Aggregator as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError

_PAUSE_FIRST_SECONDS = 0.1
_PAUSE_MAX_SECONDS = 5.0
_FLUSH_SECONDS = 4.0
# A salt must outlive every event that may still be read, and be the same for all readers.
_SALT_MARGIN_HOURS = 48
log = structlog.get_logger()


class Loop:
    """Runs step after step, but for whoever needs the warehouse to stand still: `quiet`."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, settings: Settings) -> None:
        streams = Streams(redis)
        self._salts = Salts(redis, settings.stream_retention_hours + _SALT_MARGIN_HOURS)
        # The embedded engine is open in one process only; a successor must not wait for a lease.
        leases = Leases(redis, settings.lease_seconds) if clickhouse.remote else None
        self._aggregation = Aggregation(streams, clickhouse, self._salts, settings, leases)
        self._mirror = Mirror(redis, clickhouse)
        self._trim = Trim(streams, self._aggregation.trimmable, settings)
        self._turn = asyncio.Lock()
        self._pause_seconds = _PAUSE_FIRST_SECONDS

    @asynccontextmanager
    async def quiet(self) -> AsyncGenerator[None]:
        """No step is under way; rollups may be pulled and rebuilt by others meanwhile."""
        async with self._turn:
            try:
                yield
            finally:
                self._aggregation.forget()

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`, then until all that was accepted before is stored (4 s at most)."""
        while not stop.is_set():
            wait_seconds = await self._step()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_seconds)
        deadline = time.monotonic() + _FLUSH_SECONDS
        # The slice that was open at the stop is over after the first wait.
        await asyncio.sleep(await self._step())
        while (wait_seconds := await self._step()) == 0 and time.monotonic() < deadline:
            pass
        await self._aggregation.release()

    async def _step(self) -> float:
        """One step and the seconds to wait before the next."""
        try:
            async with self._turn:
                # First, for a full Redis refuses what the others write to it.
                await self._trim.step()
                await self._salts.prepare(time.time_ns() // 1_000_000)
                await self._mirror.step()
                step = await self._aggregation.step()
        except (ClickHouseFailed, RedisError, LeaseLost) as error:
            metrics.RETRIES.inc()
            log.warning("aggregator retries, nothing is lost", error=str(error)[:300])
            self._aggregation.forget()
            self._pause_seconds = min(self._pause_seconds * 2, _PAUSE_MAX_SECONDS)
            return self._pause_seconds
        self._pause_seconds = _PAUSE_FIRST_SECONDS
        return 0.0 if step.behind else step.wait_seconds


async def _migrated(settings: Settings, clickhouse: ClickHouse, stop: asyncio.Event) -> list[str]:
    """Migrates as soon as ClickHouse answers; it may well be started after us."""
    replicated = settings.clickhouse_engine == "replicated"
    tables = Tables(replicated, settings.clickhouse_cluster)
    while not stop.is_set():
        try:
            return await migrate(clickhouse, settings.minute_rollup_hours, tables)
        except ClickHouseFailed as error:
            log.warning("ClickHouse is away, the aggregator waits", error=str(error)[:300])
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
    return []


async def run(
    settings: Settings,
    redis: Redis,
    clickhouse: ClickHouse,
    stop: asyncio.Event,
    control_path: str,
) -> None:
    """Aggregates until `stop`, then flushes; serves the control socket meanwhile."""
    ran = await _migrated(settings, clickhouse, stop)
    if ran:
        log.info("migrated", migrations=ran)
    loop = Loop(redis, clickhouse, settings)
    log.info("aggregator started", shards=settings.shards)
    async with asyncio.TaskGroup() as tasks:
        if control_path:
            app = control_socket.create_app(redis, clickhouse, settings, loop.quiet)
            tasks.create_task(control_socket.serve(app, control_path, stop))
        tasks.create_task(loop.run(stop))
    log.info("aggregator stopped")
