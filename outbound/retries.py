"""Computes when a delivery is tried again; pure."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# The first at once, the last after about three days (the schedule of Standard Webhooks).
DELAYS_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
_JITTER = 0.2
_RETRY_AFTER_MAX_SECONDS = 86_400


def next_delay_seconds(
    attempt: int, delays: Sequence[float] = DELAYS_SECONDS, retry_after: float = 0.0
) -> float | None:
    """Computes the seconds to the next try after `attempt` failed ones; None after the last.

    They vary by a fifth, so that deliveries to one endpoint are not retried in step. A longer
    `retry_after` takes precedence.
    """
    if attempt >= len(delays):
        return None
    delay = delays[attempt] * random.uniform(1 - _JITTER, 1 + _JITTER)
    return max(delay, retry_after)


def retry_after_seconds(value: str, now: datetime) -> float:
    """Parses a Retry-After header (RFC 9110, 10.2.3) to seconds: a day at most, 0 if invalid."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX_SECONDS)
