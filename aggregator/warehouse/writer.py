"""Writes raw events: the position lives in the rows, so it cannot disagree with the data."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from aggregator.rows.batches import Reject
from aggregator.rows.rows import (
    CLICK_COLUMNS,
    CONVERSION_COLUMNS,
    ClickRow,
    ConversionRow,
    click_marker,
    conversion_marker,
)
from aggregator.warehouse.insert_tokens import Start, insert_once
from linkjolt.click_ids import ClickRef, decode_base32, unverified
from linkjolt.dimensions import DENSE, SPARSE
from linkjolt.events import Adjustment
from linkjolt.redis_keys import Stream, stream
from linkjolt.storage.clickhouse import ClickHouse

_SQL = Path(__file__).parent / "sql"
# What a conversion takes over from its click.
_TAKEN = ("click_id", "verdict", *DENSE, *SPARSE)
_POSITION = (_SQL / "position.sql").read_text(encoding="utf-8")
_CLICK_POSITIONS = "SELECT s, max(pos) AS pos FROM clicks WHERE account = 0 GROUP BY s"
_CLICK_ROWS = (_SQL / "click_rows.sql").read_text(encoding="utf-8")
_FACTS = (_SQL / "facts.sql").read_text(encoding="utf-8")
# What an adjustment takes over from the conversion's first row, and how it is known.
_OF_FACTS = (
    *("conversion_id", "kind", "adjustment_id", "campaign", "affiliate", "link", "verdict"),
    *(*DENSE, *SPARSE),
)
_ORDERS = (_SQL / "orders.sql").read_text(encoding="utf-8")
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode


class _Position(msgspec.Struct, frozen=True):
    pos: int


class _StreamPosition(msgspec.Struct, frozen=True):
    s: int
    pos: int


class Order(msgspec.Struct, frozen=True):
    """An order in the warehouse and the conversion that holds it."""

    account: int
    event: str
    order_id: str
    conversion_id: str


def encode_rows(rows: Iterable[ClickRow | ConversionRow]) -> list[bytes]:
    """JSON lines for `insert_clicks` and `insert_conversions`."""
    return [_encoder.encode_lines(rows)]


def _ref(click_id: str) -> ClickRef | None:
    number = decode_base32(click_id)
    return None if number is None else unverified(number)


class Warehouse:
    """The raw tables, the rejects, and what a batch must know of what is stored."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def position(self, stream: Stream, after: int = 0) -> int:
        """The position up to which a stream is stored; 0 at its beginning, or if not past `after`.

        `after` spares the reading of older markers.
        """
        parameters = {"table": stream.kind, "s": stream.number, "after": after}
        return (await self._clickhouse.read(_POSITION, _Position, parameters))[0].pos

    async def click_positions(self) -> dict[int, int]:
        """The positions of all click streams by number."""
        rows = await self._clickhouse.read(_CLICK_POSITIONS, _StreamPosition)
        return {row.s: row.pos for row in rows}

    async def insert_clicks(
        self, rows: Sequence[bytes], s: int, pos: int, after: int | None = None
    ) -> int:
        """One batch of JSON lines up to `pos`: one INSERT, one part, its marker row with them.

        The lines come in pieces, each of whole lines (`encode_rows`, `batches.click_rows`).

        `after` is the stored position, which the batch starts behind (None: it fills a hole).
        Answers the position that is stored now: on a server another batch from there may have won.
        """
        # Rows and position land together or not at all.
        lines = [*rows, _encode(click_marker(s, pos))]
        return await self._insert(CLICK_COLUMNS, lines, s, pos, after)

    async def insert_conversions(
        self, rows: Sequence[bytes], s: int, pos: int, after: int | None = None
    ) -> int:
        """As `insert_clicks`."""
        lines = [*rows, _encode(conversion_marker(s, pos))]
        return await self._insert(CONVERSION_COLUMNS, lines, s, pos, after)

    async def _insert(
        self, columns: Sequence[str], lines: Sequence[bytes], s: int, pos: int, after: int | None
    ) -> int:
        of = stream(s)
        if after is None or not self._clickhouse.remote:
            await self._clickhouse.insert(of.kind, columns, *lines)
            return pos
        return await insert_once(
            self._clickhouse,
            Start(of.kind, s, after),
            lambda token: self._clickhouse.insert(of.kind, columns, *lines, token=token),
            lambda: self.position(of, after),
        )

    async def insert_rejects(self, rejects: Sequence[Reject]) -> None:
        """Before the batch's insert; doing it again changes nothing (keyed by where they stand)."""
        if rejects:
            columns = Reject.__struct_fields__
            await self._clickhouse.insert("rejects", columns, _encoder.encode_lines(rejects))

    async def click_rows(self, wanted: Sequence[tuple[int, str]]) -> dict[str, ClickRow]:
        """Stored clicks by click id, for (account, click id) pairs: a primary-key read.

        The rows hold what a conversion takes over; their other columns are left at defaults.
        """
        refs = [(account, _ref(text), text) for account, text in wanted]
        known = [(account, ref, text) for account, ref, text in refs if ref is not None]
        if not known:
            return {}
        rows = await self._clickhouse.read(
            _CLICK_ROWS.replace("{columns}", ", ".join(_TAKEN)),
            ClickRow,
            {
                "accounts": sorted({account for account, _, _ in known}),
                "links": sorted({ref.link for _, ref, _ in known}),
                "times_ms": sorted({ref.time_ms for _, ref, _ in known}),
                "ids": [text for _, _, text in known],
            },
        )
        return {row.click_id: row for row in rows}

    async def orders(
        self, accounts: Iterable[int], orders: Iterable[str], conversion_ids: Iterable[str]
    ) -> list[Order]:
        """The conversions stored under any of these order ids or conversion ids."""
        parameters = {
            "accounts": sorted(set(accounts)),
            "orders": sorted(set(orders)),
            "ids": sorted(set(conversion_ids)),
        }
        return await self._clickhouse.read(_ORDERS, Order, parameters)

    async def facts(self, adjustments: Sequence[Adjustment]) -> list[ConversionRow]:
        """What is stored of the conversions that are adjusted; other columns are left at defaults.

        The rows hold what their adjustments take over, and which they are.
        """
        if not adjustments:
            return []
        return await self._clickhouse.read(
            _FACTS.replace("{columns}", ", ".join(_OF_FACTS)),
            ConversionRow,
            {
                "accounts": sorted({fact.account for fact in adjustments}),
                "times_ms": sorted({fact.time_ms for fact in adjustments}),
                "ids": sorted({fact.conversion_id for fact in adjustments}),
            },
        )
