"""The event log as a table: clicks, conversions and adjustments under one header."""

from linkjolt.events import RECORDED
from reports.csv import Value
from reports.log.rows import Logged, LoggedClick, LoggedFact, Whose

_FIRST = ("type", "time", "click_id", "conversion_id", "kind", "adjustment_id")
_OF = Whose.__struct_fields__
_JUDGED = ("verdict", "reason")
_MIDDLE = (
    *("event", "order_id", "status", "order_value", "commission_amount", "currency"),
    *("attribution", "attribution_reason", "commission_reason", "given_click_id", "author", "note"),
    *("ip", "country", "region", "language", "device", "os", "browser", "user_agent", "referrer"),
)
COLUMNS = (*_FIRST, *_OF, *_JUDGED, *_MIDDLE, *RECORDED)


def csv_row(one: Logged) -> list[Value]:
    """The values of a record under COLUMNS."""
    verdict, reason = _verdict(one)
    recorded: list[Value] = [one.parameters.get(name) for name in RECORDED]
    kind = "click" if isinstance(one, LoggedClick) else "conversion"
    return [
        kind,
        *(getattr(one, name, None) for name in _FIRST[1:]),
        *(getattr(one.of, name) for name in _OF),
        *(verdict, reason),
        *(getattr(one, name, None) for name in _MIDDLE),
        *recorded,
    ]


def _verdict(one: Logged) -> tuple[str | None, str | None]:
    match one:
        case LoggedClick():
            return one.judged.verdict, one.judged.reason
        case LoggedFact():
            return one.click_verdict, None
