"""Times reports from rollups over many clicks, and the same reports from raw events."""

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
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect
from loadtests.bench import budgets
from loadtests.bench.budgets import Budget
from loadtests.bench.plan import Bench, BenchPlan
from loadtests.bench.reports_bench.questions import QUESTIONS, Question, make_request
from loadtests.bench.reports_bench.warehouse import (
    ACCOUNT,
    BuiltWarehouse,
    WarehouseSize,
    open_warehouse,
)
from loadtests.bench.rows import BenchRow, Verdict, describe_spread
from loadtests.bench.streams import open_redis
from reports.answer.report import ReportBuilder
from reports.answer.rows import ReportRow
from reports.freshness import data_as_of
from reports.names import NameCache
from reports.query.query import rows_query, totals_query
from reports.query.request import ReportRequest
from reports.query.sources import Shape, choose_shape

BUDGET_CLICKS = 100_000_000
_RUNS = 100
_RUNS_MIN = 1
_RAW_MAX_SECONDS = 600.0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of a warm report: each run from rollups, one run from raw, CPU of a run."""

    question: str
    shape: Shape
    runs_ms: tuple[float, ...]
    cpu_ms: float
    raw_ms: float
    same: bool

    @property
    def p50_ms(self) -> float:
        return percentile(self.runs_ms, 0.5)

    @property
    def p99_ms(self) -> float:
        return percentile(self.runs_ms, 0.99)

    @property
    def ratio(self) -> float:
        return self.raw_ms / self.p50_ms


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that this share of all values does not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


async def read_report(
    engine: ClickHouse, request: ReportRequest, shape: Shape
) -> tuple[list[ReportRow], list[ReportRow]]:
    """Reads a report's rows and totals concurrently, as the engine answers them."""
    page = rows_query(request, ACCOUNT, _RAW_MAX_SECONDS, shape)
    totals = totals_query(request, ACCOUNT, _RAW_MAX_SECONDS, shape)
    answers = await asyncio.gather(
        *(engine.read(query.sql, ReportRow, query.parameters) for query in (page, totals))
    )
    return answers[0], answers[1]


async def time_question(
    engine: ClickHouse, redis: Redis, question: Question, warehouse: BuiltWarehouse, seconds: float
) -> Timing:
    """Times a report once from raw, then warm from rollups as a whole for some seconds."""
    request = make_request(question, warehouse.start, warehouse.end)
    shape = choose_shape(request)
    began = time.perf_counter()
    raw = await read_report(engine, request, "raw")
    raw_ms = _milliseconds_since(began)
    same = same_answers(await read_report(engine, request, shape), raw)
    names = NameCache(engine)
    runs: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    while len(runs) < _RUNS and (
        len(runs) < _RUNS_MIN or _milliseconds_since(started) < seconds * 1000
    ):
        runs.append(await time_report(engine, redis, request, names))
    cpu_ms = (time.process_time() - cpu) * 1000 / len(runs)
    return Timing(
        question=question.title,
        shape=shape,
        runs_ms=tuple(runs),
        cpu_ms=cpu_ms,
        raw_ms=raw_ms,
        same=same,
    )


async def time_report(
    engine: ClickHouse, redis: Redis, request: ReportRequest, names: NameCache
) -> float:
    """Builds one whole report; its milliseconds."""
    settings = ReportsSettings(report_raw_max_seconds=_RAW_MAX_SECONDS)
    began = time.perf_counter()
    as_of = await data_as_of(redis, engine, settings.shards)
    await ReportBuilder(ACCOUNT, redis, engine, settings, names).report(request, as_of)
    return _milliseconds_since(began)


def same_answers(
    from_rollups: tuple[list[ReportRow], list[ReportRow]],
    from_raw: tuple[list[ReportRow], list[ReportRow]],
) -> bool:
    """True if both answers agree; unique visitors, estimates in both, may differ by 2 %."""
    ours, theirs = ([row for rows in answer for row in rows] for answer in (from_rollups, from_raw))
    return [_without_estimates(cell) for cell in ours] == [
        _without_estimates(cell) for cell in theirs
    ] and all(
        abs(one.unique_visitors - other.unique_visitors) <= 0.02 * other.unique_visitors
        for one, other in zip(ours, theirs, strict=True)
    )


def _without_estimates(cell: ReportRow) -> ReportRow:
    return msgspec.structs.replace(cell, unique_clicks=0, day_unique_clicks=0)


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def timing_row(timing: Timing, clicks: int) -> BenchRow:
    """Judges one report; another answer than from raw events fails, however fast it came."""
    verdict = _verdict(budgets.REPORT_P99.allows(timing.p99_ms), clicks)
    figure = f"p50 {timing.p50_ms:,.1f}, p99 {timing.p99_ms:,.1f} ms, {timing.ratio:,.0f}x"
    return BenchRow(
        name=f"report: {timing.question}",
        target=f"p99 {budgets.REPORT_P99}",
        figure=figure if timing.same else f"{figure}, NOT as from raw",
        verdict=verdict if timing.same else "fail",
        detail=(
            f"{describe_spread(timing.runs_ms, ' ms', 1)},"
            f" {len(timing.runs_ms)} runs from {timing.shape}",
            f"CPU of a run {timing.cpu_ms:,.1f} ms, of all threads",
            f"from raw {timing.raw_ms:,.0f} ms",
        ),
    )


def _verdict(met: bool, clicks: int) -> Verdict:
    """Judges only where the reports are of as many clicks as the budgets."""
    if clicks < BUDGET_CLICKS:
        return "shown"
    return "pass" if met else "fail"


def rows_of_all(timings: Sequence[Timing], first_ms: float, clicks: int) -> list[BenchRow]:
    """Makes the rows of all reports together: the first one, and how many are short."""
    first = BenchRow(
        name="first report after a start",
        target=str(budgets.FIRST_REPORT),
        figure=f"{first_ms / 1000:.2f} s",
        verdict=_verdict(budgets.FIRST_REPORT.allows(first_ms / 1000), clicks),
        detail=(QUESTIONS[0].title,),
    )
    p50, p99 = [timing.p50_ms for timing in timings], [timing.p99_ms for timing in timings]
    return [
        first,
        _short_row("p50", p50, budgets.SHORT_P50_REPORTS, clicks),
        _short_row("p99", p99, budgets.SHORT_P99_REPORTS, clicks),
    ]


def _short_row(name: str, values: Sequence[float], budget: Budget, clicks: int) -> BenchRow:
    short = sum(value <= budgets.SHORT_REPORT_MS for value in values)
    return BenchRow(
        name=f"reports with {name} <= {budgets.SHORT_REPORT_MS:g} ms",
        target=str(budget),
        figure=f"{short} of {len(values)}",
        verdict=_verdict(budget.allows(short), clicks),
    )


def measure_reports(plan: BenchPlan) -> list[BenchRow]:
    """Makes a row for each question, then those of all together."""
    folder = plan.folder / "reports-redis"
    with _on_every_core(plan), open_redis(folder, plan.cores.redis, "everysec") as (url, _):
        first_ms, timings = asyncio.run(_measure(plan, url))
    rows = [timing_row(timing, plan.clicks) for timing in timings]
    return [*rows, *rows_of_all(timings, first_ms, plan.clicks)]


async def _measure(plan: BenchPlan, url: str) -> tuple[float, list[Timing]]:
    """Times the first report of a warehouse just opened, then each question."""
    size = WarehouseSize(clicks=plan.clicks, days=plan.days)
    async with connect(url) as redis, open_warehouse(plan.warehouse, size) as (engine, built):
        end_ms = int(built.end.timestamp() * 1000)
        progress = {stream.number: end_ms for stream in redis_keys.streams(1)}
        await call(redis, "HSET", redis_keys.PROGRESS, *itertools.chain(*progress.items()))
        request = make_request(QUESTIONS[0], built.start, built.end)
        first_ms = await time_report(engine, redis, request, NameCache(engine))
        timings: list[Timing] = []
        for question in QUESTIONS:
            timings.append(await time_question(engine, redis, question, built, plan.seconds))
            click.echo(f"reports: {timing_row(timings[-1], plan.clicks).figure} {question.title}")
    return first_ms, timings


@contextmanager
def _on_every_core(plan: BenchPlan) -> Generator[None]:
    """Lets the engine's threads use all cores of the plan, as they do in a server."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {plan.cores.worker, plan.cores.load, plan.cores.redis})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


REPORTS_BENCH = Bench("reports", "reports over many clicks", frozenset(), measure_reports)
