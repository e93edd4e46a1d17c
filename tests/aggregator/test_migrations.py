"""Migrations with the engines of a cluster; the engine here can only read them, not run them."""

import re
from pathlib import Path

import pytest

from aggregator import migrate
from aggregator.migrate import Tables, filled
from linkjolt.clickhouse import ClickHouse

_FILES = sorted((Path(migrate.__file__).parent / "migrations").glob("*.sql"))
MIGRATIONS = {path.stem: path.read_text("utf-8") for path in _FILES}
PULLED_OR_RAW = {
    name for name in MIGRATIONS if "rollup" in name or name.endswith(("_clicks", "_conversions"))
}


@pytest.mark.parametrize("name", MIGRATIONS)
async def test_every_table_of_a_cluster_is_replicated(name: str, clickhouse: ClickHouse) -> None:
    sql = filled(MIGRATIONS[name], Tables(replicated=True, cluster="main"), 50, remote=True)
    await clickhouse.execute(f"EXPLAIN AST {sql}")
    made = ["Replicated"] if "CREATE TABLE" in sql else []
    assert re.findall(r"ENGINE = (Replicated)?\w*MergeTree", sql) == made
    assert "ON CLUSTER 'main'" in sql


@pytest.mark.parametrize("name", MIGRATIONS)
def test_only_tables_on_a_server_know_tokens(name: str) -> None:
    plain = Tables()
    assert "deduplication_window" not in filled(MIGRATIONS[name], plain, 50, remote=False)
    on_server = filled(MIGRATIONS[name], plain, 50, remote=True)
    assert ("deduplication_window" in on_server) == (name in PULLED_OR_RAW)
