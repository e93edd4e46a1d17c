"""Formats the output of `linkjolt report` and `linkjolt top`; pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from reports.live.events import SecondCounts, Tick

JsonObject = dict[str, Any]
_RATES = {"clicks": "clicks", "conversions": "conversions", "others": "bots and others"}
_EVENT_FIELDS = {
    "click": "verdict reason link affiliate_name country device browser referrer_host",
    "conversion": "kind event order_value currency status link affiliate_name country order_id",
}
# Amounts keep the decimals of the answer.
decoder = msgspec.json.Decoder(JsonObject, float_hook=Decimal)


class TopState(msgspec.Struct, frozen=True):
    """The state of `top`: the counts of the last minute, and the last events as lines."""

    tick: Tick = Tick(None, datetime.fromtimestamp(0, UTC), [], 0, 0)
    last_minute: tuple[SecondCounts, ...] = ()
    events: tuple[str, ...] = ()


def printable(value: object) -> str:
    """Replaces characters that move a cursor: visitors control some of these values."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def format_table(answer: JsonObject) -> str:
    """Formats rows and totals as aligned columns, between lines on the period and on freshness."""
    meta, totals = answer["meta"], _flat(answer["totals"])
    rows = [row for row in map(_flat, answer["data"]) if row != totals]
    names = list(dict.fromkeys(name for row in (*rows, totals) for name in row))
    if names[0] in totals:
        names.insert(0, "")
    lines = [*rows, totals | {names[0]: "total"}]
    columns = [_column(name, [line.get(name) for line in lines]) for name in names]
    last = f"data_as_of {meta['data_as_of'] or 'not known'}, source {meta['source']}"
    last += ", INCOMPLETE" * meta["incomplete"]
    last += ", more rows follow: see --limit and --csv" * bool(answer["next_cursor"])
    table = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join([_period(meta), *table, last])


def _period(meta: JsonObject) -> str:
    """Formats the period of an answer in the report's time zone; its end is exclusive."""
    zone = ZoneInfo(meta["timezone"])
    start, end = (datetime.fromisoformat(meta[name]).astimezone(zone) for name in ("from", "to"))
    return f"from {start.isoformat(' ')} to {end.isoformat(' ')}, {zone.key}"


def _flat(row: JsonObject) -> JsonObject:
    previous = {f"previous_{name}": value for name, value in row.get("previous", {}).items()}
    return {name: value for name, value in row.items() if name != "previous"} | previous


def _column(name: str, values: Sequence[Any]) -> list[str]:
    if name.endswith("currencies"):
        values = [" ".join(value or ()) for value in values]
    empty = "-" if name else ""
    texts = [name, *(empty if value in (None, "") else printable(value) for value in values)]
    width = max(map(len, texts))
    numbers = all(value is None or isinstance(value, int | Decimal) for value in values)
    return [text.rjust(width) if numbers else text.ljust(width) for text in texts]


def apply_event(state: TopState, name: str, data: str) -> TopState:
    """Returns the state after one more event of the feed."""
    if name in _EVENT_FIELDS:
        shown = decoder.decode(data)
        values = [
            printable(shown[field]) for field in _EVENT_FIELDS[name].split() if shown.get(field)
        ]
        line = "  ".join([printable(shown["time"])[11:19], name, *values])
        return msgspec.structs.replace(state, events=(line, *state.events)[:10])
    if name not in ("hello", "tick"):
        return state
    tick = msgspec.json.decode(data, type=Tick)
    # `hello` repeats the counts from before a connection broke.
    seconds = (*(state.last_minute if name == "tick" else ()), *tick.seconds)
    recent = tuple(each for each in seconds if each.second > tick.now.timestamp() - 61)
    return TopState(tick, recent, state.events)


def per_second(state: TopState, name: str) -> list[int]:
    """Counts events in each complete second of the last minute."""
    now, counts = int(state.tick.now.timestamp()), Counter[int]()
    for each in state.last_minute:
        counts[each.second] += getattr(each, name)
    return [counts[second] for second in range(now - 60, now)]


def render_top(state: TopState) -> list[str]:
    """Formats freshness, three lines of rates, a sparkline of clicks, and the last events."""
    now, as_of = state.tick.now, state.tick.data_as_of
    age = f"{(now - as_of).total_seconds():.1f} s old" if as_of else "not known"
    lines = [f"{now:%H:%M:%S} UTC  data_as_of {age}"]
    for name, label in _RATES.items():
        counts = per_second(state, name)
        lines.append(
            f"{label}/s  {sum(counts[-10:]) / 10:.1f} (10 s)  {sum(counts) / 60:.1f} (60 s)"
        )
    return [*lines, sparkline(per_second(state, "clicks")), *state.events]


def sparkline(counts: Sequence[int]) -> str:
    """Draws a bar for each count, the highest for the largest."""
    most = max(counts) or 1
    return "".join("▁▂▃▄▅▆▇█"[-(-count * 7 // most)] for count in counts)
