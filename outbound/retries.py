"""Computes when a delivery is tried again, and when a failing endpoint is tested; pure."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from linkjolt.registry.whole_numbers import parse_whole_number

# The first at once, the last after about three days (the schedule of Standard Webhooks).
DELAYS_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
_JITTER = 0.2
_RETRY_AFTER_MAX_SECONDS = 86_400
_TEST_PAUSE_MAX_SECONDS = 60.0
# What a 429 without a Retry-After asks for.
_RATE_LIMITED_SECONDS = 1.0
_SETTLING_SECONDS = 60.0


def next_delay_seconds(
    attempt: int, delays: Sequence[float] = DELAYS_SECONDS, retry_after: float = 0.0
) -> float | None:
    """Computes the seconds to the next try after `attempt` failed ones; None after the last.

    They vary by a fifth, so that deliveries to one endpoint are not retried in step. A longer
    `retry_after` takes precedence.
    """
    if attempt >= len(delays):
        return None
    return max(delays[attempt] * _spread(), retry_after)


def pause_before_test_seconds(failed_tests: int) -> float:
    """Computes the pause before a failing endpoint is tested: a second, doubled up to a minute."""
    return min(2.0 ** min(failed_tests, 10), _TEST_PAUSE_MAX_SECONDS) * _spread()


def longest_seconds(delays: Sequence[float]) -> float:
    """Computes how long all tries of a delivery take at most, unless its endpoint asks to wait."""
    return sum(delays) * (1 + _JITTER) + _SETTLING_SECONDS


def pause_seconds(status: int, retry_after: str, now: datetime) -> float:
    """Computes how long an endpoint asks to be left alone by an answer: 429, or 503 with a time."""
    if status not in (429, 503):
        return 0.0
    asked = retry_after_seconds(retry_after, now)
    return max(asked, _RATE_LIMITED_SECONDS) if status == 429 else asked


def retry_after_seconds(value: str, now: datetime) -> float:
    """Parses a Retry-After header (RFC 9110, 10.2.3) to seconds: a day at most, 0 if invalid."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        number = parse_whole_number(text.lstrip("0") or "0")
        # More digits than it reads are many days.
        seconds = _RETRY_AFTER_MAX_SECONDS if number is None else float(number)
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX_SECONDS)


def _spread() -> float:
    return random.uniform(1 - _JITTER, 1 + _JITTER)
