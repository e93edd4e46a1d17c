"""Computes limits by the generic cell rate algorithm: one instant holds all that was taken."""

from functools import lru_cache

import msgspec

# A limit's burst: 3 seconds' worth, so that a flood gets 5 % over it in its first minute at most.
_BURSTS_A_MINUTE = 20
# Of lower limits: a page that a person opens sends a few requests at once.
_BURST_MIN = 5
# A process leases this part of a burst, so that 16 processes may hold shares at once. Of a burst
# below it nothing is held, and every request asks: a cell elsewhere would be missed.
_BATCHES_A_BURST = 16


class Limit(msgspec.Struct, frozen=True):
    """So many cells a minute, one for each request; `burst` of them at once.

    A process leases `batch` cells ahead of use.
    """

    name: str
    per_minute: int
    burst: int
    batch: int = 0

    @property
    def interval_seconds(self) -> float:
        return 60 / self.per_minute


@lru_cache(1024)
def limit(name: str, per_minute: int) -> Limit | None:
    """Returns the limit of this many requests a minute; None for 0, which is none."""
    if not per_minute:
        return None
    burst = max(per_minute // _BURSTS_A_MINUTE, min(per_minute, _BURST_MIN))
    return Limit(name, per_minute, burst, burst // _BATCHES_A_BURST)


def minute_limit(name: str, per_minute: int) -> Limit | None:
    """Returns the limit whose burst is a whole minute's; None for 0, which is none."""
    return Limit(name, per_minute, per_minute) if per_minute else None


def shared_by(whole: Limit, processes: int) -> Limit:
    """Returns the part of a limit that one of so many processes may use by itself."""
    if processes <= 1:
        return whole
    per_minute = max(1, whole.per_minute // processes)
    return Limit(whole.name, per_minute, max(1, whole.burst // processes))


def retry_at(limit: Limit, full_at: float, now: float) -> float:
    """Returns when the next cell may be taken, given when all cells will be there again."""
    return max(full_at, now) + (1 - limit.burst) * limit.interval_seconds


def available(limit: Limit, full_at: float, now: float) -> int:
    """Counts the cells that may be taken at once."""
    missing_seconds = max(full_at - now, 0.0)
    return max(0, int(limit.burst - missing_seconds / limit.interval_seconds))
