"""Reports are ready only when the warehouse has all its tables."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggregator.warehouse import migrate as migrating
from linkjolt.storage import clickhouse as storage
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.warehouse_version import NEWEST_MIGRATION
from reports.readiness import wait_until_ready, why_not_ready

MIGRATIONS = sorted((Path(migrating.__file__).parent / "migrations").glob("*.sql"))
_databases = itertools.count(1)


@pytest.fixture
async def empty(clickhouse_path: Path) -> AsyncIterator[ClickHouse]:
    """A database without any table."""
    database = f"empty_{next(_databases)}"
    engine = storage.embedded(str(clickhouse_path), clients=2, database=database)
    yield engine
    await engine.execute(f"DROP DATABASE IF EXISTS {database} SYNC")
    await engine.close()


def test_the_newest_migration_is_the_last_file() -> None:
    assert MIGRATIONS[-1].stem == NEWEST_MIGRATION


async def test_reports_are_not_ready_before_the_last_migration(
    redis: Redis, empty: ClickHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waiting = asyncio.create_task(wait_until_ready(redis, empty))
    assert await why_not_ready(redis, empty) == "The warehouse's tables are not migrated yet"
    for path in MIGRATIONS[:-1]:
        (tmp_path / path.name).write_text(path.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "_FOLDER", tmp_path)
        await migrating.migrate(empty)
    assert await why_not_ready(redis, empty) == "The warehouse's tables are not migrated yet"
    assert not waiting.done()
    await migrating.migrate(empty)
    assert await why_not_ready(redis, empty) is None
    await waiting
