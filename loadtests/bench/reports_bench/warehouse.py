"""Builds a warehouse of many synthetic events, with rollups pulled as the aggregator does."""

import hashlib
import shutil
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import click
import msgspec

from aggregator.rollups.day_counts import count_days
from aggregator.rollups.pull import Source, Watermarks, catch_up
from aggregator.warehouse.migrate import migrate
from linkjolt import datasets, redis_keys
from linkjolt.position import SEQUENCE_BITS
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_end, month_of
from loadtests.bench.plan import BenchFailed

_HERE = Path(__file__).parent
_MIGRATIONS = Path(__file__).parents[3] / "aggregator" / "warehouse" / "migrations"
ACCOUNT = datasets.live_dataset(datasets.ACCOUNT_DEFAULT)
LAG_MS = 300
_CHUNK = 1_000_000
# The maximum of the setting, so that a warehouse used for days still has its minutes.
_MINUTE_ROLLUP_HOURS = 10_000
_MINUTES_PULLED = timedelta(hours=60)
_READERS = 3
_BYTES = "SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active"
_PROGRESS_EVERY_SECONDS = 15.0


class WarehouseSize(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a warehouse: clicks of one account over days, 15 conversions per thousand."""

    clicks: int
    days: int = 400
    links: int = 2_000
    campaigns: int = 20
    affiliates: int = 200
    visitors: int = 200_000

    def parameters(self) -> dict[str, object]:
        """Returns the parameters of the SQL that generates events."""
        return {"account": ACCOUNT, **msgspec.structs.asdict(self)}

    @property
    def conversions(self) -> int:
        return self.clicks * 15 // 1000


class BuiltWarehouse(msgspec.Struct, frozen=True):
    """The record of a built warehouse, which is reused if `size` and `made_by` are the same."""

    size: WarehouseSize
    made_by: str
    end: datetime
    seconds: int
    bytes: int

    @property
    def start(self) -> datetime:
        return self.end - timedelta(days=self.size.days)


class _Bytes(msgspec.Struct, frozen=True):
    bytes: int


class Chunk(NamedTuple):
    """Events number `first` up to `end`, in one ingest month, the last at position `pos`."""

    first: int
    end: int
    pos: int


class EventSpan(msgspec.Struct, frozen=True):
    """Events spread evenly over a span of UTC milliseconds."""

    start_ms: int
    span_ms: int
    count: int

    @classmethod
    def of(cls, size: WarehouseSize, source: Source, end: datetime) -> Self:
        count = size.clicks if source == "clicks" else size.conversions
        span_ms = size.days * 86_400_000
        return cls(_milliseconds(end) - span_ms, span_ms, count)

    def pos(self, number: int) -> int:
        """Returns the stream position of an event, which is `LAG_MS` after its time."""
        ms = self.start_ms + number * self.span_ms // self.count
        return (ms + LAG_MS) << SEQUENCE_BITS

    def first_from(self, pos: int) -> int:
        """Returns the number of the first event at or after this position."""
        ms = (pos >> SEQUENCE_BITS) - LAG_MS - self.start_ms
        return min(self.count, -(-ms * self.count // self.span_ms))


def chunks(events: EventSpan, events_max: int = _CHUNK) -> Iterator[Chunk]:
    """Cuts all events at ingest months and after `events_max`."""
    first = 0
    while first < events.count:
        next_month = events.first_from(month_end(month_of(events.pos(first))) + 1)
        end = min(first + events_max, next_month)
        yield Chunk(first, end, events.pos(end - 1))
        first = end


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def digest_sources() -> str:
    """Digests the SQL that creates tables and events."""
    files = [*sorted(_MIGRATIONS.glob("*.sql")), *sorted(_HERE.glob("*.sql"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def find_existing(folder: Path, size: WarehouseSize) -> BuiltWarehouse | None:
    """Reads the record of the folder's warehouse; None unless it is the one to be built."""
    try:
        built = msgspec.json.decode((folder / "built.json").read_bytes(), type=BuiltWarehouse)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return built if (built.size, built.made_by) == (size, digest_sources()) else None


@asynccontextmanager
async def open_warehouse(
    folder: Path, size: WarehouseSize
) -> AsyncGenerator[tuple[ClickHouse, BuiltWarehouse]]:
    """Opens the folder's warehouse, and builds it first if it does not exist."""
    built = find_existing(folder, size)
    if built is None:
        _empty(folder)
    else:
        click.echo(f"reports: using {folder}, {built.bytes / 1e9:.1f} GB")
    engine = clickhouse.embedded(str(folder / "clickhouse"), clients=_READERS)
    try:
        if built is None:
            built = await _build(engine, folder, size)
        yield engine, built
    finally:
        await engine.close()


def _empty(folder: Path) -> None:
    """Empties the folder; fails if it contains anything but a warehouse."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "clickhouse").is_dir():
        raise BenchFailed(f"{folder} holds other files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _build(engine: ClickHouse, folder: Path, size: WarehouseSize) -> BuiltWarehouse:
    began = time.monotonic()
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    click.echo(f"reports: building {size.clicks:,} clicks in {folder}")
    await migrate(engine, _MINUTE_ROLLUP_HOURS)
    await fill(engine, size, end)
    used = (await engine.read(_BYTES, _Bytes))[0]
    seconds = round(time.monotonic() - began)
    built = BuiltWarehouse(size, digest_sources(), end, seconds, used.bytes)
    click.echo(f"reports: built in {seconds} s, {built.bytes / 1e9:.1f} GB")
    _save(built, folder)
    return built


def _save(built: BuiltWarehouse, folder: Path) -> None:
    (folder / "built.json").write_bytes(msgspec.json.encode(built))


async def fill(engine: ClickHouse, size: WarehouseSize, end: datetime) -> None:
    """Inserts names, events up to `end` and their rollups into empty tables."""
    await _run(engine, "registry", size.parameters())
    shown_at = time.monotonic()
    for stream in redis_keys.streams(1):
        events = EventSpan.of(size, stream.kind, end)
        watermarks = _minute_watermarks(stream, end)
        for chunk in chunks(events):
            await _store(engine, size, events, stream, chunk)
            await catch_up(engine, stream.kind, stream.number, chunk.pos, watermarks)
            if time.monotonic() - shown_at > _PROGRESS_EVERY_SECONDS:
                shown_at = time.monotonic()
                click.echo(f"reports: {chunk.end:,} {stream.kind}")
    await count_days(engine, int(end.timestamp()) // 86_400 * 86_400)


def _minute_watermarks(stream: redis_keys.Stream, end: datetime) -> Watermarks:
    """Returns watermarks from which minutes are pulled: older ones would expire at once."""
    since = end - _MINUTES_PULLED
    return {("rollup_minute", stream.number): _milliseconds(since) << SEQUENCE_BITS}


async def _store(
    engine: ClickHouse,
    size: WarehouseSize,
    events: EventSpan,
    stream: redis_keys.Stream,
    chunk: Chunk,
) -> None:
    """Inserts the events of a chunk and the marker of their batch."""
    parameters = size.parameters() | msgspec.structs.asdict(events) | chunk._asdict()
    await _run(engine, stream.kind, parameters | {"lag_ms": LAG_MS})
    await engine.insert(stream.kind, ["s", "pos"], _marker(stream, chunk.pos))


def _marker(stream: redis_keys.Stream, pos: int) -> bytes:
    return msgspec.json.encode({"s": stream.number, "pos": pos})


async def _run(engine: ClickHouse, name: str, parameters: Mapping[str, object]) -> None:
    sql = (_HERE / f"{name}.sql").read_text(encoding="utf-8")
    await engine.execute(sql, parameters)
