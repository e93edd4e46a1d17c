"""A warehouse of many synthetic events, with rollups pulled as the aggregator pulls them."""

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
from aggregator.warehouse.months import month_end, month_of
from linkjolt import redis_keys
from linkjolt.position import SEQUENCE_BITS
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from loadtests.bench.plan import Failed

_HERE = Path(__file__).parent
_MIGRATIONS = Path(__file__).parents[2] / "aggregator" / "warehouse" / "migrations"
ACCOUNT = redis_keys.ACCOUNT_DEFAULT
LAG_MS = 300
_CHUNK = 1_000_000
# The longest that the setting takes, so that a warehouse kept for days still has its minutes.
_MINUTE_ROLLUP_HOURS = 10_000
_MINUTES_PULLED = timedelta(hours=60)
_READERS = 3
_BYTES = "SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active"
_SAID_EVERY_SECONDS = 15.0


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What is made: so many clicks of one account over so many days, 15 conversions a thousand."""

    clicks: int
    days: int = 400
    links: int = 2_000
    campaigns: int = 20
    affiliates: int = 200
    visitors: int = 200_000

    def parameters(self) -> dict[str, object]:
        """For the SQL that makes events."""
        return {"account": ACCOUNT, **msgspec.structs.asdict(self)}

    @property
    def conversions(self) -> int:
        return self.clicks * 15 // 1000


class Built(msgspec.Struct, frozen=True):
    """What a folder holds: it is used again where `size` and `made_by` are the same."""

    size: Size
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
    """Events number `first` up to `end`, all of one ingest month, the last at position `pos`."""

    first: int
    end: int
    pos: int


class Events(msgspec.Struct, frozen=True):
    """So many events evenly over a span of UTC milliseconds."""

    start_ms: int
    span_ms: int
    count: int

    @classmethod
    def of(cls, size: Size, source: Source, end: datetime) -> Self:
        count = size.clicks if source == "clicks" else size.conversions
        span_ms = size.days * 86_400_000
        return cls(_milliseconds(end) - span_ms, span_ms, count)

    def pos(self, number: int) -> int:
        """Of an event: it reaches its stream a moment after its time."""
        ms = self.start_ms + number * self.span_ms // self.count
        return (ms + LAG_MS) << SEQUENCE_BITS

    def first_from(self, pos: int) -> int:
        """The number of the first event that stands at this position or behind it."""
        ms = (pos >> SEQUENCE_BITS) - LAG_MS - self.start_ms
        return min(self.count, -(-ms * self.count // self.span_ms))


def chunks(events: Events, most: int = _CHUNK) -> Iterator[Chunk]:
    """All events, cut at ingest months and after so many."""
    first = 0
    while first < events.count:
        month_over = events.first_from(month_end(month_of(events.pos(first))) + 1)
        end = min(first + most, month_over)
        yield Chunk(first, end, events.pos(end - 1))
        first = end


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def made_by() -> str:
    """A digest of the SQL that makes tables and events."""
    files = [*sorted(_MIGRATIONS.glob("*.sql")), *sorted(_HERE.glob("reports_*.sql"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def kept(folder: Path, size: Size) -> Built | None:
    """What the folder holds, where it is what would be built."""
    try:
        built = msgspec.json.decode((folder / "built.json").read_bytes(), type=Built)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return built if (built.size, built.made_by) == (size, made_by()) else None


@asynccontextmanager
async def open_warehouse(folder: Path, size: Size) -> AsyncGenerator[tuple[ClickHouse, Built]]:
    """The engine on the folder's warehouse, which is built first where it is not there."""
    built = kept(folder, size)
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
    """A folder that holds anything but a warehouse is not touched: Failed."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "clickhouse").is_dir():
        raise Failed(f"{folder} holds other files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _build(engine: ClickHouse, folder: Path, size: Size) -> Built:
    began = time.monotonic()
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    click.echo(f"reports: building {size.clicks:,} clicks in {folder}")
    await migrate(engine, _MINUTE_ROLLUP_HOURS)
    await fill(engine, size, end)
    used = (await engine.read(_BYTES, _Bytes))[0]
    seconds = round(time.monotonic() - began)
    built = Built(size, made_by(), end, seconds, used.bytes)
    click.echo(f"reports: built in {seconds} s, {built.bytes / 1e9:.1f} GB")
    _keep(built, folder)
    return built


def _keep(built: Built, folder: Path) -> None:
    (folder / "built.json").write_bytes(msgspec.json.encode(built))


async def fill(engine: ClickHouse, size: Size, end: datetime) -> None:
    """Names, events up to `end` and their rollups, into tables that are there and empty."""
    await _run(engine, "registry", size.parameters())
    said = time.monotonic()
    for stream in redis_keys.streams(1):
        events = Events.of(size, stream.kind, end)
        known = _minutes_left_out(stream, end)
        for chunk in chunks(events):
            await _store(engine, size, events, stream, chunk)
            await catch_up(engine, stream.kind, stream.number, chunk.pos, known)
            if time.monotonic() - said > _SAID_EVERY_SECONDS:
                said = time.monotonic()
                click.echo(f"reports: {chunk.end:,} {stream.kind}")
    await count_days(engine, int(end.timestamp()) // 86_400 * 86_400)


def _minutes_left_out(stream: redis_keys.Stream, end: datetime) -> Watermarks:
    """Minutes are pulled from here on: what is older, the rollup would forget at once."""
    since = end - _MINUTES_PULLED
    return {("rollup_minute", stream.number): _milliseconds(since) << SEQUENCE_BITS}


async def _store(
    engine: ClickHouse, size: Size, events: Events, stream: redis_keys.Stream, chunk: Chunk
) -> None:
    """The events, and the marker of the batch that they are."""
    about = size.parameters() | msgspec.structs.asdict(events) | chunk._asdict()
    await _run(engine, stream.kind, about | {"lag_ms": LAG_MS})
    await engine.insert(stream.kind, ["s", "pos"], _marker(stream, chunk.pos))


def _marker(stream: redis_keys.Stream, pos: int) -> bytes:
    return msgspec.json.encode({"s": stream.number, "pos": pos})


async def _run(engine: ClickHouse, name: str, parameters: Mapping[str, object]) -> None:
    sql = (_HERE / f"reports_{name}.sql").read_text(encoding="utf-8")
    await engine.execute(sql, parameters)
