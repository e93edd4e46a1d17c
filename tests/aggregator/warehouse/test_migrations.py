"""Migrations run on existing tables; those of a cluster are only parsed here."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregator.maintenance.audit import find_differences
from aggregator.maintenance.repair import prepare_repair
from aggregator.rollups import pull as pulling
from aggregator.warehouse import migrate
from aggregator.warehouse.migrate import (
    PLAIN_TABLES,
    TableOptions,
    fill_migration,
    statements,
)
from linkjolt import redis_keys
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import call
from tests.aggregator.conftest import Line
from tests.aggregator.rollups.sample import insert_clicks, make_sample

_FILES = sorted((Path(migrate.__file__).parent / "migrations").glob("*.sql"))
MIGRATIONS = {path.stem: path.read_text("utf-8") for path in _FILES}
PULLED_OR_RAW = {
    name
    for name in MIGRATIONS
    if name.endswith(("_clicks", "_conversions", "_minute", "_quarter", "_dimension", "_day"))
}
INSERTED_BY_TOKEN = PULLED_OR_RAW | {"019_audit_log"}


@pytest.mark.parametrize("name", MIGRATIONS)
async def test_every_table_of_a_cluster_is_replicated(name: str, clickhouse: ClickHouse) -> None:
    sql = fill_migration(
        MIGRATIONS[name], TableOptions(replicated=True, cluster="main"), 50, remote=True
    )
    for statement in statements(sql):
        await clickhouse.execute(f"EXPLAIN AST {statement}")
        assert "ON CLUSTER 'main'" in statement
    expected = ["Replicated"] if "CREATE TABLE" in sql else []
    assert re.findall(r"ENGINE = (Replicated)?\w*MergeTree", sql) == expected


@pytest.mark.parametrize("name", MIGRATIONS)
def test_only_tables_on_a_server_know_tokens(name: str) -> None:
    assert "deduplication_window" not in fill_migration(
        MIGRATIONS[name], PLAIN_TABLES, 50, remote=False
    )
    on_server = fill_migration(MIGRATIONS[name], PLAIN_TABLES, 50, remote=True)
    assert ("deduplication_window" in on_server) == (name in INSERTED_BY_TOKEN)


async def test_rollups_of_an_older_version_are_made_anew_and_pulled_from_raw(
    clickhouse: ClickHouse,
) -> None:
    start = datetime(2026, 11, 10, 12, tzinfo=UTC)
    anew = sorted(name for name in MIGRATIONS if "rollup_" in MIGRATIONS[name])
    for name in anew:
        smaller = MIGRATIONS[name].replace("uniqCombined64(16)", "uniqCombined64(14)")
        for statement in statements(fill_migration(smaller, PLAIN_TABLES, 50, remote=False)):
            await clickhouse.execute(statement)
    await insert_clicks(clickhouse, make_sample(1, start, start + timedelta(hours=3)).clicks)
    with pytest.raises(ClickHouseFailed, match="uniqCombined64"):
        await prepare_repair(clickhouse)
    await clickhouse.execute(f"DELETE FROM migrations WHERE name IN {tuple(anew)}")
    assert await migrate.migrate(clickhouse) == anew
    await prepare_repair(clickhouse)
    assert await find_differences(clickhouse) == []


async def test_a_rollup_made_anew_is_no_report_up_to_an_instant_before_it_is_pulled(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.click(5)
    await line.step_until_idle()
    stream = redis_keys.clicks(0)
    before = await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number)
    await line.clickhouse.execute("TRUNCATE TABLE rollup_quarter SYNC")
    line.restart()
    seen: list[object] = []
    pull = pulling.pull

    async def look(*arguments: Any) -> int:
        seen.append(await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number))
        return await pull(*arguments)

    monkeypatch.setattr(pulling, "pull", look)
    await line.aggregation.position(stream)
    assert seen == [None]
    await line.step_until_idle()
    assert int(await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number)) >= int(before)
    assert (await line.audit()).clean


async def test_a_stream_that_has_stored_nothing_keeps_its_instant(line: Line) -> None:
    await line.click()
    await line.step_until_idle()
    stream = redis_keys.conversions(0)
    before = await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number)
    line.restart()
    await line.aggregation.position(stream)
    assert await call(line.redis, "HGET", redis_keys.PROGRESS, stream.number) == before is not None
