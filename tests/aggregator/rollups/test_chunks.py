"""A pull ends at its end position, at a month's end or after enough rows."""

from datetime import UTC, datetime

import pytest

from aggregator.rollups.pull import RawSpan, chunk_end
from linkjolt.storage.months import month_end, month_of, month_start


def pos(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) << 20


def test_a_month_reaches_to_the_last_position_before_the_next() -> None:
    assert month_of(month_end(202612)) == 202612
    assert month_of(month_end(202612) + 1) == 202701
    assert month_start(202701) == month_end(202612) + 1


@pytest.mark.parametrize(
    ("span", "base", "end"),
    [
        (RawSpan(0, 0, 0), pos("2026-11-05"), pos("2026-11-05")),
        (RawSpan(pos("2026-11-01"), pos("2026-11-02"), 9), pos("2026-11-05"), pos("2026-11-05")),
        (RawSpan(pos("2026-11-01"), pos("2026-11-02"), 10), pos("2026-11-05"), pos("2026-11-02")),
        (RawSpan(pos("2026-10-31"), pos("2026-11-02"), 9), pos("2026-11-05"), month_end(202610)),
        (RawSpan(pos("2026-10-31"), pos("2026-11-02"), 10), pos("2026-11-05"), month_end(202610)),
    ],
)
def test_a_pull_ends_at_the_base_at_a_months_end_or_after_enough_rows(
    span: RawSpan, base: int, end: int
) -> None:
    assert chunk_end(span, base, rows=10) == end
