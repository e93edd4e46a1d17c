"""Runs the audit log beside the aggregator's loop, which never waits for it."""

import asyncio
import time
from contextlib import suppress

import structlog

from aggregator import metrics
from aggregator.audit_log.store import AuditLogStore
from aggregator.delivery.lease import LeaseLost
from linkjolt.runtime.back_off import BackOff
from linkjolt.storage.clickhouse import ClickHouseFailed
from linkjolt.storage.redis import RedisError

_EVERY_SECONDS = 0.5
_PAUSE_FIRST_SECONDS = 0.5
_PAUSE_MAX_SECONDS = 30.0
_FLUSH_SECONDS = 2.0
log = structlog.get_logger()


class AuditLogLoop:
    """Stores the audit log step by step; a failure is logged and tried again."""

    def __init__(self, store: AuditLogStore) -> None:
        self._store = store
        self._retries = BackOff(_PAUSE_FIRST_SECONDS, _PAUSE_MAX_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`, then stores what was written until then (2 s at most)."""
        while not stop.is_set():
            wait_seconds = await self._try_step()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_seconds)
        deadline = time.monotonic() + _FLUSH_SECONDS
        while await self._try_step() == 0 and time.monotonic() < deadline:
            pass
        await self._store.release()

    async def _try_step(self) -> float:
        """Runs one step and returns the seconds to wait before the next."""
        try:
            more = await self._store.step()
        except (ClickHouseFailed, RedisError, LeaseLost, OSError) as error:
            self._store.forget()
            metrics.AUDIT_LOG_RETRIES.inc()
            log.warning("audit log retries, nothing is lost", error=str(error)[:300])
            return next(self._retries)
        except Exception:
            # The aggregator goes on whatever becomes of this log.
            self._store.forget()
            metrics.AUDIT_LOG_RETRIES.inc()
            log.exception("audit log failed")
            return next(self._retries)
        self._retries.reset()
        return 0.0 if more else _EVERY_SECONDS
