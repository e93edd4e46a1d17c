"""Applies early adjustments every second, as soon as their conversions are stored."""

import asyncio
import time

import structlog

from ingest import metrics
from ingest.edge import Edge
from linkjolt.reasons import Rejected
from linkjolt.storage.redis import RedisError

_SECONDS = 1.0
log = structlog.get_logger()


async def apply_early_adjustments(edge: Edge) -> None:
    """Applies, for ever, what waits for the orders that are stored by now."""
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        try:
            metrics.EARLY_WAITING.set(await edge.early.apply_due(time.time_ns() // 1_000_000))
        except (RedisError, OSError, Rejected) as error:
            log.debug("early adjustments wait on", error=type(error).__name__)
        except Exception:
            # One adjustment must not stop the redirects of every edge.
            log.exception("early adjustments not applied")
        for outcome, adjustments in edge.early.take_counts().items():
            metrics.EARLY_ADJUSTMENTS.labels(outcome).inc(adjustments)
        await asyncio.sleep(_SECONDS)
