"""What `linkjolt report` and `linkjolt top` show, as text; pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from reports.live.events import Second, Tick

Row = dict[str, Any]
_RATES = {"clicks": "clicks", "conversions": "conversions", "others": "bots and others"}
_TOLD = {
    "click": "verdict reason link affiliate_name country device browser referrer_host",
    "conversion": "kind event order_value currency status link affiliate_name country order_id",
}
# Amounts keep the decimals that they were answered with.
decoder = msgspec.json.Decoder(Row, float_hook=Decimal)


class Board(msgspec.Struct, frozen=True):
    """What `top` has heard: the seconds of the last minute, and the last events as lines."""

    tick: Tick = Tick(None, datetime.fromtimestamp(0, UTC), [], 0, 0)
    seconds: tuple[Second, ...] = ()
    events: tuple[str, ...] = ()


def plain(value: object) -> str:
    """Text without what moves a cursor: whoever clicks writes some of it."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def table(answer: Row) -> str:
    """Aligned columns, the totals under them, and a line of how it came about."""
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
    return "\n".join([*("  ".join(cells).rstrip() for cells in zip(*columns, strict=True)), last])


def _flat(row: Row) -> Row:
    before = {f"previous_{name}": value for name, value in row.get("previous", {}).items()}
    return {name: value for name, value in row.items() if name != "previous"} | before


def _column(name: str, values: Sequence[Any]) -> list[str]:
    if name.endswith("currencies"):
        values = [" ".join(value or ()) for value in values]
    empty = "-" if name else ""
    texts = [name, *(empty if value in (None, "") else plain(value) for value in values)]
    width = max(map(len, texts))
    numbers = all(value is None or isinstance(value, int | Decimal) for value in values)
    return [text.rjust(width) if numbers else text.ljust(width) for text in texts]


def heard(board: Board, name: str, data: str) -> Board:
    """The board after one more event of the feed."""
    if name in _TOLD:
        told = decoder.decode(data)
        words = [plain(told[field]) for field in _TOLD[name].split() if told.get(field)]
        line = "  ".join([plain(told["time"])[11:19], name, *words])
        return msgspec.structs.replace(board, events=(line, *board.events)[:10])
    if name not in ("hello", "tick"):
        return board
    tick = msgspec.json.decode(data, type=Tick)
    # The first event tells again what was counted before the connection broke.
    seconds = (*(board.seconds if name == "tick" else ()), *tick.seconds)
    kept = tuple(one for one in seconds if one.second > tick.now.timestamp() - 61)
    return Board(tick, kept, board.events)


def per_second(board: Board, name: str) -> list[int]:
    """Events in each second of the last minute, the second that still runs left out."""
    now, found = int(board.tick.now.timestamp()), Counter[int]()
    for one in board.seconds:
        found[one.second] += getattr(one, name)
    return [found[second] for second in range(now - 60, now)]


def picture(board: Board) -> list[str]:
    """How fresh it is, three lines of rates, a sparkline of clicks, the last events."""
    now, as_of = board.tick.now, board.tick.data_as_of
    age = f"{(now - as_of).total_seconds():.1f} s old" if as_of else "not known"
    lines = [f"{now:%H:%M:%S} UTC  data_as_of {age}"]
    for name, label in _RATES.items():
        found = per_second(board, name)
        lines.append(f"{label}/s  {sum(found[-10:]) / 10:.1f} (10 s)  {sum(found) / 60:.1f} (60 s)")
    return [*lines, sparkline(per_second(board, "clicks")), *board.events]


def sparkline(counts: Sequence[int]) -> str:
    """A bar for each, the highest one for the most."""
    most = max(counts) or 1
    return "".join("▁▂▃▄▅▆▇█"[-(-count * 7 // most)] for count in counts)
