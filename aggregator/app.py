"""Runs the aggregator: its loop, its periodic work and its control socket."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.audit_log.loop import AuditLogLoop
from aggregator.audit_log.store import AuditLogStore
from aggregator.deliveries.loop import DeliveryLogLoop
from aggregator.deliveries.skipped import SkippedEntries
from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trimmer
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance import control_socket
from aggregator.privacy.loop import PrivacyLoop
from aggregator.retention.clicks import ClickRetention
from aggregator.retention.loop import run_retention
from aggregator.warehouse.migrate import TableOptions, migrate
from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.clicks.user_agent import build_patterns
from linkjolt.runtime.back_off import BackOff
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError

_PAUSE_FIRST_SECONDS = 0.2
_PAUSE_MAX_SECONDS = 5.0
_FLUSH_SECONDS = 4.0
# A salt must outlive every event that may still be read, and all readers must use the same one.
_SALT_MARGIN_HOURS = 48
log = structlog.get_logger()


class AggregatorLoop:
    """Runs one step after another; `paused` holds the next step back."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, settings: Settings) -> None:
        streams = Streams(redis)
        self._salts = VisitorSalts(redis, settings.stream_retention_hours + _SALT_MARGIN_HOURS)
        # Only one process can open the embedded engine, so its successor must not wait for a lease.
        leases = Leases(redis, settings.lease_seconds) if clickhouse.remote else None
        self._aggregation = Aggregation(streams, clickhouse, self._salts, settings, leases)
        self._mirror = RegistryMirror(redis, clickhouse)
        trimmable, skipped = self._aggregation.trimmable_position, SkippedEntries(redis)
        self._trimmer = Trimmer(streams, trimmable, settings, skipped.record)
        self.trimmable_position = trimmable
        self._step_lock = asyncio.Lock()
        self._retries = BackOff(_PAUSE_FIRST_SECONDS, _PAUSE_MAX_SECONDS)

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Keeps any step from running, so that others may pull and rebuild rollups meanwhile."""
        async with self._step_lock:
            try:
                yield
            finally:
                self._aggregation.forget()

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`, then until all events accepted before it are stored (4 s at most)."""
        build_patterns()
        while not stop.is_set():
            wait_seconds = await self._step()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_seconds)
        deadline = time.monotonic() + _FLUSH_SECONDS
        # The slice that was open at the stop has ended after the first wait.
        await asyncio.sleep(await self._step())
        while (wait_seconds := await self._step()) == 0 and time.monotonic() < deadline:
            pass
        await self._aggregation.release()

    async def _step(self) -> float:
        """Runs one step and returns the seconds to wait before the next."""
        try:
            async with self._step_lock:
                # Trimming comes first: a full Redis refuses the writes of the others.
                await self._trimmer.step()
                await self._salts.prepare(time.time_ns() // 1_000_000)
                await self._mirror.step()
                step = await self._aggregation.step()
        except (ClickHouseFailed, RedisError, LeaseLost, OSError) as error:
            metrics.RETRIES.inc()
            log.warning("aggregator retries, nothing is lost", error=str(error)[:300])
            self._aggregation.forget_and_shrink()
            return next(self._retries)
        self._retries.reset()
        return 0.0 if step.more_waiting else step.wait_seconds


async def _migrate_when_reachable(
    settings: Settings, clickhouse: ClickHouse, stop: asyncio.Event
) -> list[str]:
    """Migrates as soon as ClickHouse answers; it may be started after the aggregator."""
    replicated = settings.clickhouse_engine == "replicated"
    tables = TableOptions(replicated, settings.clickhouse_cluster)
    while not stop.is_set():
        try:
            return await migrate(clickhouse, settings.minute_rollup_hours, tables)
        except ClickHouseFailed as error:
            log.warning("clickhouse unavailable, aggregator waits", error=str(error)[:300])
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
    return []


async def run(
    settings: Settings,
    redis: Redis,
    clickhouse: ClickHouse,
    log_clickhouse: ClickHouse,
    stop: asyncio.Event,
    control_path: str,
) -> None:
    """Aggregates until `stop`, then flushes; serves the control socket meanwhile.

    The logs have connections of their own, so that events do not wait for it.
    """
    migrations = await _migrate_when_reachable(settings, clickhouse, stop)
    if migrations:
        log.info("migrated", migrations=migrations)
    loop = AggregatorLoop(redis, clickhouse, settings)
    log.info("aggregator started", shards=settings.shards)
    async with asyncio.TaskGroup() as tasks:
        if control_path:
            app = control_socket.create_app(redis, clickhouse, settings, loop.paused)
            tasks.create_task(control_socket.serve(app, control_path, stop))
        leases = Leases(redis, settings.lease_seconds) if log_clickhouse.remote else None
        audit_log = AuditLogStore(redis, log_clickhouse, settings.shards, leases)
        tasks.create_task(AuditLogLoop(audit_log).run(stop))
        tasks.create_task(DeliveryLogLoop(redis, log_clickhouse, settings).run(stop))
        if settings.raw_retention_months:
            months = settings.raw_retention_months
            retention = ClickRetention(redis, log_clickhouse, months, loop.paused)
            tasks.create_task(run_retention(retention, stop))
        privacy = PrivacyLoop(redis, log_clickhouse, settings, loop.trimmable_position)
        tasks.create_task(privacy.run(stop))
        tasks.create_task(loop.run(stop))
    log.info("aggregator stopped")
