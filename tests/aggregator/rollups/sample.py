"""Makes seeded random events as raw rows, and stores and pulls them."""

import random
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec

from aggregator.rollups.day_counts import count_days
from aggregator.rollups.pull import ROLLUPS, catch_up
from aggregator.rows.rows import (
    CLICK_COLUMNS,
    CONVERSION_COLUMNS,
    ClickRow,
    ConversionRow,
    click_marker,
    conversion_marker,
)
from linkjolt.datasets import Dataset
from linkjolt.dimensions import SPARSE
from linkjolt.storage.clickhouse import ClickHouse

ACCOUNT = Dataset(7)
_VERDICTS = ("human",) * 7 + ("duplicate", "bot", "prefetch")
_CURRENCIES = ("USD", "USD", "EUR", "JPY")
_END_OF_TIME = (1 << 32) - 1
_TABLES = ("clicks", "conversions", *(rollup.table for rollup in ROLLUPS))
_encoder = msgspec.json.Encoder()
# By the digest of a sample: the database that holds it, of the one engine of this run.
_pulled: dict[bytes, str] = {}


class Sample(msgspec.Struct, frozen=True):
    clicks: list[ClickRow]
    conversions: list[ConversionRow]


def pos_at(ms: int, sequence: int = 0) -> int:
    return ms << 20 | sequence


def _values(rng: random.Random) -> dict[str, str]:
    dense = {
        "country": rng.choice(("US", "BR", "IN", "")),
        "language": rng.choice(("en", "pt", "hi")),
        "device": rng.choice(("mobile", "desktop")),
        "os": rng.choice(("Android", "iOS", "Windows")),
        "browser": rng.choice(("Chrome", "Safari")),
        "referrer_host": rng.choice(("", "", "blog.example", "=cmd.example")),
    }
    sparse = {
        name: rng.choice(("a", "b,c", "d'e\\n", "é")) for name in SPARSE if rng.random() < 0.15
    }
    return dense | sparse


def _link(rng: random.Random) -> dict[str, int]:
    link = rng.randint(1, 6)
    return {"link": link, "campaign": 1 + link % 3, "affiliate": 11 + link % 2}


def _click(rng: random.Random, ms: int, stored_ms: int) -> ClickRow:
    facts = {
        "account": ACCOUNT if rng.random() < 0.95 else ACCOUNT + 1,
        "time": ms / 1000,
        "click_id": f"{rng.getrandbits(128):032x}",
        "verdict": rng.choice(_VERDICTS),
        # Few enough for the engine to count them exactly; others every UTC day.
        "visitor": ms // 86_400_000 * 1_000 + rng.randrange(300),
        "s": rng.choice((0, 2)),
        # Several rows of one entry share its position.
        "pos": pos_at(stored_ms, rng.randrange(3)),
    }
    facts["reason"] = (
        rng.choice(("crawler_list", "http_library")) if facts["verdict"] == "bot" else ""
    )
    return msgspec.convert(_link(rng) | _values(rng) | facts, ClickRow)


def _conversion(rng: random.Random, ms: int, stored_ms: int) -> ConversionRow:
    clicked = rng.random() < 0.8
    sign, status = rng.choice(((1, "pending"), (1, "approved"), (1, "approved"), (-1, "rejected")))
    origin = _link(rng) | {"click_time": (ms - rng.randrange(10**9)) / 1000} if clicked else {}
    names = _values(rng) | {"verdict": rng.choice(_VERDICTS)} if clicked else {}
    facts = {
        "account": ACCOUNT,
        "time": ms / 1000,
        "conversion_id": f"conv_{rng.getrandbits(64):x}",
        "currency": rng.choice(_CURRENCIES),
        "order_value_minor": sign * rng.randrange(20_000),
        "commission_minor": sign * rng.randrange(5_000),
        "conversions": sign,
        "pending": int(status == "pending"),
        "approved": int(status == "approved"),
        "rejected": int(status == "rejected"),
        "status": status,
        "event": rng.choice(("sale", "sale", "lead")),
        "s": rng.choice((1, 3)),
        "pos": pos_at(stored_ms),
    }
    return msgspec.convert(origin | names | facts, ConversionRow)


def make_sample(
    seed: int, start: datetime, end: datetime, clicks: int = 3000, conversions: int = 300
) -> Sample:
    """Makes events spread over [start, end), each stored up to a minute after its time."""
    rng = random.Random(seed)
    low, high = int(start.timestamp() * 1000), int(end.timestamp() * 1000)

    def times(count: int) -> list[int]:
        return sorted(rng.randrange(low, high) for _ in range(count))

    return Sample(
        [_click(rng, ms, ms + rng.randrange(60_000)) for ms in times(clicks)],
        [_conversion(rng, ms, ms + rng.randrange(60_000)) for ms in times(conversions)],
    )


async def insert_clicks(clickhouse: ClickHouse, rows: Sequence[ClickRow]) -> None:
    """Inserts rows, and behind them a marker for each stream, as the aggregator does."""
    ends = {s: max(row.pos for row in rows if row.s == s) for s in {row.s for row in rows}}
    marked = [*rows, *(click_marker(s, pos) for s, pos in ends.items())]
    await clickhouse.insert("clicks", CLICK_COLUMNS, _encoder.encode_lines(marked))


async def insert_conversions(clickhouse: ClickHouse, rows: Sequence[ConversionRow]) -> None:
    ends = {s: max(row.pos for row in rows if row.s == s) for s in {row.s for row in rows}}
    marked = [*rows, *(conversion_marker(s, pos) for s, pos in ends.items())]
    await clickhouse.insert("conversions", CONVERSION_COLUMNS, _encoder.encode_lines(marked))


async def store(clickhouse: ClickHouse, sample: Sample) -> None:
    """Inserts a sample into empty tables and pulls all rollups up to its end, with days counted.

    Only the first time, for this takes a core for two seconds; later databases get the same parts.
    """
    digest = blake2b(_encoder.encode(sample)).digest()
    if digest in _pulled:
        for table in _TABLES:
            source = f"{_pulled[digest]}.{table}"
            await clickhouse.execute(f"ALTER TABLE {table} ATTACH PARTITION ALL FROM {source}")
        return
    await _pull(clickhouse, sample)
    database = f"sample_{len(_pulled)}"
    await clickhouse.execute(f"CREATE DATABASE {database} ENGINE = Atomic")
    for table in _TABLES:
        copy = f"{database}.{table}"
        await clickhouse.execute(f"CREATE TABLE {copy} AS {table}")
        await clickhouse.execute(f"ALTER TABLE {copy} ATTACH PARTITION ALL FROM {table}")
    _pulled[digest] = database


async def _pull(clickhouse: ClickHouse, sample: Sample) -> None:
    await insert_clicks(clickhouse, sample.clicks)
    await insert_conversions(clickhouse, sample.conversions)
    for s in (0, 2):
        await catch_up(clickhouse, "clicks", s, max(row.pos for row in sample.clicks))
    for s in (1, 3):
        await catch_up(clickhouse, "conversions", s, max(row.pos for row in sample.conversions))
    await count_days(clickhouse, _END_OF_TIME)
