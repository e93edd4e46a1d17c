"""Builds the SQL of the conversion list, from constants only; every value is bound."""

from collections.abc import Sequence

import msgspec

from linkjolt.datasets import Dataset
from reports.log.conversion_request import FILTERS, ConversionListQuery
from reports.period import to_milliseconds
from reports.query.query import filter_parameters
from reports.query.request import Filter
from reports.query.source_sql import condition
from reports.query.templates import fill

# Dimensions that a conversion may change: the latest counts.
_LATEST = {name: f"last_{name}" for name in ("campaign", "affiliate", "link", "status")}
_KEYS = {
    "time": "time_ms",
    "order_value": "order_value_minor",
    "net_value": "net_value_minor",
    "commission_amount": "commission_minor",
}


class ListStatement(msgspec.Struct, frozen=True):
    """A statement with its parameters."""

    sql: str
    parameters: dict[str, object]


def page_statement(
    query: ConversionListQuery, account: Dataset, raw_max_seconds: float
) -> ListStatement:
    """Builds the statement of a page, and of one more row if another page follows."""
    value, conversion_id = query.after
    statement = _statement("conversions/page", query, account, raw_max_seconds)
    parameters = statement.parameters
    parameters |= {"after": value, "after_id": conversion_id, "limit": query.limit + 1}
    if query.sort == "time":
        # All rows of a conversion have its time, so those of former pages need not be read.
        bound = {"end_ms": min(to_milliseconds(query.end), value + 1)}
        if not query.descending:
            bound = {"start_ms": max(to_milliseconds(query.start), value)}
        parameters |= bound
    return statement


def count_statement(
    query: ConversionListQuery, account: Dataset, raw_max_seconds: float
) -> ListStatement:
    """Builds the statement of a list's total."""
    return _statement("conversions/count", query, account, raw_max_seconds)


def _statement(
    name: str, query: ConversionListQuery, account: Dataset, raw_max_seconds: float
) -> ListStatement:
    conversions = {
        "conditions": _conditions(query.filters, latest=False),
        "having": _conditions(query.filters, latest=True),
    }
    values = {
        "conversions": fill("conversions/now", conversions),
        "key": _KEYS[query.sort],
        "beyond": "<" if query.descending else ">",
        "direction": "DESC" if query.descending else "ASC",
    }
    parameters: dict[str, object] = {
        "account": account,
        "start_ms": to_milliseconds(query.start),
        "end_ms": to_milliseconds(query.end),
        "raw_max_seconds": raw_max_seconds,
        **{name: getattr(query, name) for name in FILTERS},
        **filter_parameters(query.filters),
    }
    return ListStatement(fill(name, values), parameters)


def _conditions(filters: Sequence[Filter], *, latest: bool) -> str:
    texts = [
        condition(index, chosen, _LATEST.get(chosen.name, f"c.{chosen.name}"))
        for index, chosen in enumerate(filters)
        if (chosen.name in _LATEST) == latest
    ]
    return " AND ".join(["1", *texts])
