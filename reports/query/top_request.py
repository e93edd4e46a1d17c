"""What the first rows by several dimensions are asked for, without any I/O."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from linkjolt.reasons import Reason, Rejected
from reports.query.request import ReportRequest, once, parse_request, read_words
from reports.vocabulary import DIMENSIONS

TOPS_MAX = 12
LIMIT_MAX = 100
_LIMIT = "10"
PARAMETERS = (
    *("dimensions", "from", "to", "timezone", "metrics", "time_basis", "sort", "limit"),
    *DIMENSIONS,
)


def parse_tops(parameters: Sequence[tuple[str, str]], now: datetime) -> ReportRequest:
    """A request with `tops`; Rejected, naming the parameter, for any other."""
    values = once(parameters, PARAMETERS)
    tops = read_words("dimensions", values.pop("dimensions", ""), DIMENSIONS)
    if not 1 <= len(tops) <= TOPS_MAX:
        raise _invalid("dimensions", f"must name 1 to {TOPS_MAX} dimensions")
    request = parse_request([*({"limit": _LIMIT} | values).items()], now)
    if request.limit > LIMIT_MAX:
        raise _invalid("limit", f"must be a number from 1 to {LIMIT_MAX}")
    return msgspec.structs.replace(request, tops=tops)


def _invalid(field: str, message: str) -> Rejected:
    return Rejected(Reason.invalid_field, message, field=field)
