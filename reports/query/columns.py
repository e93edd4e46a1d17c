"""The columns that a report's metrics need, and no others: in its cells, and summed from them.

The engine takes a third of a millisecond of a core to plan an expression, which over short periods
is most of what a report costs.
"""

from collections.abc import Iterable

from linkjolt.clicks.unique_visitors import PEOPLE

# The fields of `reports.answer.rows.Cell` a metric is made from, unless named as it is.
_FIELDS: dict[str, tuple[str, ...]] = {
    "revenue": ("revenue_minor", "currencies"),
    "commission": ("commission_minor", "currencies"),
    "cr": ("conversions", "clicks"),
    "epc": ("commission_minor", "clicks", "currencies"),
    "aov": ("revenue_minor", "conversions", "currencies"),
    "approval_rate": ("approved", "rejected"),
}
# Of a field, the sum that it is, $ its rows, and the column of cells it adds up. All cells have a
# verdict and a currency.
_SUMS: dict[str, tuple[str, str]] = {
    "clicks": ("sumIf($.clicks, {counted})", "clicks"),
    "unique_clicks": ("uniqCombined64MergeIf(16)($.visitors, {counted})", "visitors"),
    "day_unique_clicks": ("sum($.unique_clicks)", "unique_clicks"),
    "bot_clicks": ("sumIf($.clicks, $.verdict = 'bot')", "clicks"),
    "duplicate_clicks": ("sumIf($.clicks, $.verdict = 'duplicate')", "clicks"),
    **{
        name: (f"sum($.{name})", name)
        for name in (
            *("conversions", "pending", "approved", "rejected"),
            *("revenue_minor", "commission_minor"),
        )
    },
    "currencies": ("arraySort(groupUniqArrayIf(toString($.currency), $.currency != ''))", ""),
}
_COUNTED = f"$.verdict IN {PEOPLE}"
_ADDED = dict.fromkeys(column for _, column in _SUMS.values() if column)
_NO_VISITORS = "arrayReduce('uniqCombined64State(16)', emptyArrayUInt64())"
# What a cell's columns are in each source `r`.
ROLLUP = {column: f"r.{column}" for column in _ADDED} | {"unique_clicks": "toInt64(0)"}
COUNTED_DAYS = ROLLUP | {"visitors": _NO_VISITORS, "unique_clicks": "r.unique_clicks"}
CLICKS = dict.fromkeys(_ADDED, "toInt64(0)") | {
    "clicks": "toInt64(count())",
    "visitors": "uniqCombined64State(16)(r.visitor)",
}
FACTS = {column: f"toInt64(sum(r.{column}))" for column in _ADDED} | {
    "clicks": "toInt64(0)",
    "visitors": _NO_VISITORS,
    "unique_clicks": "toInt64(0)",
    "revenue_minor": "toInt64(sum(r.order_value_minor))",
}


def fields_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """The fields of a row's cell that these metrics need, each once."""
    found = (field for metric in metrics for field in _FIELDS.get(metric, (metric,)))
    return tuple(dict.fromkeys(found))


def added(fields: Iterable[str]) -> list[str]:
    """The columns of cells that these fields add up, each once."""
    return list(dict.fromkeys(_SUMS[field][1] for field in fields if _SUMS[field][1]))


def summed(fields: Iterable[str], row: str, *, every_verdict: bool) -> str:
    """The fields as columns of a statement, summed from rows of this name.

    Clicks are those of every verdict, or of people alone.
    """
    counted = "1" if every_verdict else _COUNTED
    texts = (f"{_SUMS[field][0].format(counted=counted)} AS {field}" for field in fields)
    return ", ".join(texts).replace("$", row)
