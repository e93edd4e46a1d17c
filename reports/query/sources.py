"""Which source answers a report."""

from datetime import timedelta
from typing import Literal

from reports.period import milliseconds
from reports.query.request import ReportRequest
from reports.vocabulary import BASE, FURTHER, LEDGER, REASON

Shape = Literal["minute", "quarter", "dimension", "ledger", "raw"]
Source = Literal["rollup", "raw"]

# The minute rollup is kept two hours longer than this.
_MINUTES_KEPT = timedelta(hours=48, minutes=15)


def choose_shape(request: ReportRequest) -> Shape:
    """The smallest source that holds the answer exactly."""
    used = request.used
    further = [name for name in used if name in FURTHER]
    facts = any(name in LEDGER for name in used)
    if request.interval == "minute":
        kept = request.start >= request.asked_at - _MINUTES_KEPT
        return "minute" if kept and _on(request, 60) and {*used} <= {*BASE} else "raw"
    if REASON in used or len(further) > 1 or not _on(request, 900):
        return "raw"
    if facts:
        return "ledger"
    return "dimension" if further else "quarter"


def source_of(shape: Shape) -> Source:
    """Whether rows are read from a rollup alone."""
    return "raw" if shape in ("ledger", "raw") else "rollup"


def _on(request: ReportRequest, seconds: int) -> bool:
    edges = (milliseconds(request.start), milliseconds(request.end))
    return all(edge % (seconds * 1000) == 0 for edge in edges)
