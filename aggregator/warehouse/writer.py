"""Writes raw events, with their position in the rows, so that it cannot disagree with the data."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
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
from aggregator.warehouse.insert_tokens import InsertStart, insert_once
from linkjolt.click_ids import ClickRef, decode_base32, unpack_click_number
from linkjolt.datasets import Dataset
from linkjolt.dimensions import DENSE, SPARSE
from linkjolt.events import Adjustment, OrderScope
from linkjolt.redis_keys import Stream, stream
from linkjolt.storage.clickhouse import ClickHouse

_SQL = Path(__file__).parent / "sql"
# The columns that a conversion takes over from its click.
_CARRIED_COLUMNS = ("click_id", "verdict", *DENSE, *SPARSE)
_POSITION = (_SQL / "position.sql").read_text(encoding="utf-8")
_CLICK_POSITIONS = "SELECT s, max(pos) AS pos FROM clicks WHERE account = 0 GROUP BY s"
_CLICK_ROWS = (_SQL / "click_rows.sql").read_text(encoding="utf-8")
_FACTS = (_SQL / "facts.sql").read_text(encoding="utf-8")
# The columns that an adjustment takes over from the conversion's first row, and its keys.
_FACT_COLUMNS = (
    *("conversion_id", "kind", "adjustment_id", "campaign", "affiliate", "link", "verdict"),
    *(*DENSE, *SPARSE),
)
_ORDERS = (_SQL / "orders.sql").read_text(encoding="utf-8")
_PIECE_ROWS = 500
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode


class _MarkedPosition(msgspec.Struct, frozen=True):
    pos: int


class _ClickStreamPosition(msgspec.Struct, frozen=True):
    s: int
    pos: int


class StoredOrder(msgspec.Struct, frozen=True):
    """A stored order and its conversion; `superseded`: that another conversion has it now."""

    account: Dataset
    event: str
    order_id: str
    conversion_id: str
    order_scope: OrderScope = ""
    campaign: int = 0
    click_id: str = ""
    superseded: bool = False


def encode_rows(rows: Iterable[ClickRow | ConversionRow]) -> Iterator[bytes]:
    """Encodes rows as JSON lines for `insert_clicks` and `insert_conversions`, piece by piece."""
    left = iter(rows)
    while part := list(islice(left, _PIECE_ROWS)):
        yield _encoder.encode_lines(part)


def _parse_click_id(click_id: str) -> ClickRef | None:
    number = decode_base32(click_id)
    return None if number is None else unpack_click_number(number)


class Warehouse:
    """The raw tables and the rejects: their inserts, and the look-ups that a batch needs."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def stored_position(self, stream: Stream, after: int = 0) -> int:
        """Returns the position up to which a stream is stored; 0 without any past `after`.

        `after` avoids reading older markers.
        """
        parameters = {"table": stream.kind, "s": stream.number, "after": after}
        return (await self._clickhouse.read(_POSITION, _MarkedPosition, parameters))[0].pos

    async def stored_click_positions(self) -> dict[int, int]:
        """Returns the stored positions of all click streams by number."""
        rows = await self._clickhouse.read(_CLICK_POSITIONS, _ClickStreamPosition)
        return {row.s: row.pos for row in rows}

    async def insert_clicks(
        self, rows: Iterable[bytes], stream_number: int, pos: int, after: int | None = None
    ) -> int:
        """Inserts one batch of JSON lines up to `pos` with its marker row: one INSERT, one part.

        `rows` are pieces of whole lines (`encode_rows`, `batches.encode_click_rows`). `after` is
        the stored position behind which the batch starts (None: it fills a hole). Returns the
        position that is stored now: on a server another batch from there may have won.
        """
        # Rows and position are stored together or not at all.
        lines = [*rows, _encode(click_marker(stream_number, pos))]
        return await self._insert(CLICK_COLUMNS, lines, stream_number, pos, after)

    async def insert_conversions(
        self, rows: Iterable[bytes], stream_number: int, pos: int, after: int | None = None
    ) -> int:
        """Inserts one batch of conversions, as `insert_clicks`."""
        lines = [*rows, _encode(conversion_marker(stream_number, pos))]
        return await self._insert(CONVERSION_COLUMNS, lines, stream_number, pos, after)

    async def _insert(
        self,
        columns: Sequence[str],
        lines: Sequence[bytes],
        stream_number: int,
        pos: int,
        after: int | None,
    ) -> int:
        target = stream(stream_number)
        if after is None or not self._clickhouse.remote:
            await self._clickhouse.insert(target.kind, columns, *lines)
            return pos
        return await insert_once(
            self._clickhouse,
            InsertStart(target.kind, stream_number, after),
            lambda token: self._clickhouse.insert(target.kind, columns, *lines, token=token),
            lambda: self.stored_position(target, after),
        )

    async def insert_rejects(self, rejects: Sequence[Reject]) -> None:
        """Inserts rejects, before their batch; repeating it changes nothing (keyed by place)."""
        if rejects:
            columns = Reject.__struct_fields__
            await self._clickhouse.insert("rejects", columns, _encoder.encode_lines(rejects))

    async def read_click_rows(self, keys: Sequence[tuple[int, str]]) -> dict[str, ClickRow]:
        """Reads stored clicks by click id, for (account, click id) pairs: a primary-key read.

        The rows hold the columns that a conversion takes over; the others are left at defaults.
        """
        refs = [(account, _parse_click_id(text), text) for account, text in keys]
        rows = await self._clickhouse.look_up(
            _CLICK_ROWS.replace("{columns}", ", ".join(_CARRIED_COLUMNS)),
            ClickRow,
            ("accounts", "links", "times_ms", "ids"),
            [
                (account, ref.link, ref.time_ms, text)
                for account, ref, text in refs
                if ref is not None
            ],
        )
        return {row.click_id: row for row in rows}

    async def read_orders(
        self, orders: Iterable[tuple[int, str]], conversion_ids: Iterable[tuple[int, str]]
    ) -> list[StoredOrder]:
        """Reads the conversions stored under an order id or a conversion id, some twice.

        Both come with their account.
        """
        look_up = self._clickhouse.look_up
        by_order = await look_up(_ORDERS, StoredOrder, ("accounts", "orders"), orders, {"ids": []})
        by_id = await look_up(
            _ORDERS, StoredOrder, ("accounts", "ids"), conversion_ids, {"orders": []}
        )
        return by_order + by_id

    async def read_facts(self, adjustments: Sequence[Adjustment]) -> list[ConversionRow]:
        """Reads the stored rows of the adjusted conversions.

        The rows hold keys and the columns that adjustments take over; the others are left at
        defaults.
        """
        return await self._clickhouse.look_up(
            _FACTS.replace("{columns}", ", ".join(_FACT_COLUMNS)),
            ConversionRow,
            ("accounts", "times_ms", "ids"),
            [(fact.account, fact.time_ms, fact.conversion_id) for fact in adjustments],
        )
