"""Chooses the source that answers a report."""

from datetime import timedelta
from typing import Literal

from reports.period import to_milliseconds
from reports.query.request import ReportRequest
from reports.vocabulary import (
    BASE_DIMENSIONS,
    CONVERSION_DIMENSIONS,
    REASON_DIMENSION,
    SINGLE_DIMENSIONS,
)

Shape = Literal["minute", "quarter", "dimension", "ledger", "raw"]
Source = Literal["rollup", "raw"]

# The minute rollup is retained two hours longer than this.
_MINUTES_RETAINED = timedelta(hours=48, minutes=15)


def choose_shape(request: ReportRequest) -> Shape:
    """Chooses the smallest source that gives the exact answer."""
    used = request.used_dimensions
    single = [name for name in used if name in SINGLE_DIMENSIONS]
    by_conversion = any(name in CONVERSION_DIMENSIONS for name in used)
    if request.interval == "minute":
        retained = request.start >= request.asked_at - _MINUTES_RETAINED
        return (
            "minute"
            if retained and _is_aligned(request, 60) and {*used} <= {*BASE_DIMENSIONS}
            else "raw"
        )
    if REASON_DIMENSION in used or len(single) > 1 or not _is_aligned(request, 900):
        return "raw"
    if by_conversion:
        return "ledger"
    return "dimension" if single else "quarter"


def source_of(shape: Shape) -> Source:
    """Names the source of a shape in an answer: `rollup` if no raw event is read."""
    return "raw" if shape in ("ledger", "raw") else "rollup"


def _is_aligned(request: ReportRequest, seconds: int) -> bool:
    edges = (to_milliseconds(request.start), to_milliseconds(request.end))
    return all(edge % (seconds * 1000) == 0 for edge in edges)
