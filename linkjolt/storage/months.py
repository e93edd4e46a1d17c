"""Computes ingest months, YYYYMM in UTC: the partitions of the raw tables and the rollups."""

from datetime import UTC, datetime

from linkjolt.position import SEQUENCE_BITS, time_ms


def month_at(second: int) -> int:
    """Returns the month of a UTC second."""
    date = datetime.fromtimestamp(second, UTC)
    return date.year * 100 + date.month


def month_of(pos: int) -> int:
    """Returns the ingest month of a position: the partition of its row."""
    return month_at(time_ms(pos) // 1000)


def month_start(month: int) -> int:
    """Returns the first position of an ingest month."""
    begin = datetime(month // 100, month % 100, 1, tzinfo=UTC)
    return int(begin.timestamp()) * 1000 << SEQUENCE_BITS


def month_end(month: int) -> int:
    """Returns the last position of an ingest month."""
    following = month + 1 if month % 100 < 12 else month + 89
    return month_start(following) - 1
