"""How long reports take from rollups over many clicks, beside the same reports from raw events."""

import asyncio
import itertools
import math
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import click
import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.settings import Reports
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect
from loadtests.bench.plan import Bench, Plan
from loadtests.bench.reports_questions import QUESTIONS, Question, request_of
from loadtests.bench.reports_warehouse import ACCOUNT, Built, Size, open_warehouse
from loadtests.bench.rows import Row, Verdict, spread
from loadtests.bench.streams import open_redis
from reports.answer.report import Reporter
from reports.answer.rows import Cell
from reports.freshness import data_as_of
from reports.names import NameCache
from reports.query.query import rows_query, totals_query
from reports.query.request import ReportRequest
from reports.query.sources import Shape, choose_shape

BUDGET_CLICKS = 100_000_000
P99_MAX_MS = 50.0
RATIO_MIN = 50.0
_RUNS = 100
_RUNS_MIN = 1
_RAW_MAX_SECONDS = 600.0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of a report, warm: each run from rollups, one run from raw, CPU of one run."""

    question: str
    shape: Shape
    runs_ms: tuple[float, ...]
    cpu_ms: float
    raw_ms: float
    same: bool

    @property
    def p50_ms(self) -> float:
        return at_share(self.runs_ms, 0.5)

    @property
    def p99_ms(self) -> float:
        return at_share(self.runs_ms, 0.99)

    @property
    def ratio(self) -> float:
        return self.raw_ms / self.p50_ms


def at_share(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of all does not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


async def ask(
    engine: ClickHouse, request: ReportRequest, shape: Shape
) -> tuple[list[Cell], list[Cell]]:
    """A report's rows and totals as the engine answers them, read at once."""
    page = rows_query(request, ACCOUNT, _RAW_MAX_SECONDS, shape)
    totals = totals_query(request, ACCOUNT, _RAW_MAX_SECONDS, shape)
    found = await asyncio.gather(
        *(engine.read(query.sql, Cell, query.parameters) for query in (page, totals))
    )
    return found[0], found[1]


async def time_question(
    engine: ClickHouse, redis: Redis, question: Question, built: Built, seconds: float
) -> Timing:
    """From raw once; then, warm, from rollups as a whole report, over so many seconds."""
    request = request_of(question, built.start, built.end)
    shape = choose_shape(request)
    began = time.perf_counter()
    raw = await ask(engine, request, "raw")
    raw_ms = _since(began)
    same = alike(await ask(engine, request, shape), raw)
    settings = Reports(report_raw_max_seconds=_RAW_MAX_SECONDS)
    named = NameCache(engine)
    runs: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    while len(runs) < _RUNS and (len(runs) < _RUNS_MIN or _since(started) < seconds * 1000):
        began = time.perf_counter()
        as_of = await data_as_of(redis, engine, settings.shards)
        await Reporter(ACCOUNT, redis, engine, settings, named).make(request, as_of)
        runs.append(_since(began))
    cpu_ms = (time.process_time() - cpu) * 1000 / len(runs)
    return Timing(
        question=question.says,
        shape=shape,
        runs_ms=tuple(runs),
        cpu_ms=cpu_ms,
        raw_ms=raw_ms,
        same=same,
    )


def alike(found: tuple[list[Cell], list[Cell]], raw: tuple[list[Cell], list[Cell]]) -> bool:
    """Whether both say the same; unique clicks are estimates in both, of days or of all."""
    ours, theirs = ([cell for cells in told for cell in cells] for told in (found, raw))
    return [_exact(cell) for cell in ours] == [_exact(cell) for cell in theirs] and all(
        abs(one.visitors - other.visitors) <= 0.02 * other.visitors
        for one, other in zip(ours, theirs, strict=True)
    )


def _exact(cell: Cell) -> Cell:
    return msgspec.structs.replace(cell, unique_clicks=0, day_unique_clicks=0)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def row_of(timing: Timing, clicks: int) -> Row:
    """The budget is one of 100 million clicks: over fewer, the figures are only shown."""
    met = timing.p99_ms <= P99_MAX_MS and timing.ratio >= RATIO_MIN
    verdict: Verdict = "pass" if met else "fail"
    if clicks < BUDGET_CLICKS:
        verdict = "shown"
    figure = f"p50 {timing.p50_ms:,.1f}, p99 {timing.p99_ms:,.1f} ms, {timing.ratio:,.0f}x"
    return Row(
        name=f"report: {timing.question}",
        target=f"p99 <= {P99_MAX_MS:g} ms, >= {RATIO_MIN:g}x",
        figure=figure if timing.same else f"{figure}, NOT as from raw",
        verdict=verdict if timing.same else "fail",
        detail=(
            f"{spread(timing.runs_ms, ' ms', 1)}, {len(timing.runs_ms)} runs from {timing.shape}",
            f"CPU of a run {timing.cpu_ms:,.1f} ms, of all threads",
            f"from raw {timing.raw_ms:,.0f} ms",
        ),
    )


def reports(plan: Plan) -> list[Row]:
    """A row for each question."""
    folder = plan.folder / "reports-redis"
    with _every_core(plan), open_redis(folder, plan.cores.redis, "everysec") as (url, _):
        timings = asyncio.run(_measure(plan, url))
    return [row_of(timing, plan.clicks) for timing in timings]


async def _measure(plan: Plan, url: str) -> list[Timing]:
    size = Size(clicks=plan.clicks, days=plan.days)
    async with connect(url) as redis, open_warehouse(plan.warehouse, size) as (engine, built):
        end_ms = int(built.end.timestamp() * 1000)
        progress = {stream.number: end_ms for stream in redis_keys.streams(1)}
        await call(redis, "HSET", redis_keys.PROGRESS, *itertools.chain(*progress.items()))
        timings: list[Timing] = []
        for question in QUESTIONS:
            timings.append(await time_question(engine, redis, question, built, plan.seconds))
            click.echo(f"reports: {row_of(timings[-1], plan.clicks).figure} {question.says}")
    return timings


@contextmanager
def _every_core(plan: Plan) -> Generator[None]:
    """The engine's threads may use all cores of the plan, as they do in a server."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {plan.cores.worker, plan.cores.load, plan.cores.redis})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


REPORTS_BENCH = Bench("reports", "reports over many clicks", frozenset(), reports)
