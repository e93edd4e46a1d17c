"""Creates the warehouse's tables by numbered SQL files, filled in from settings, each run once."""

from pathlib import Path

import msgspec

from linkjolt.storage.clickhouse import ClickHouse

_FOLDER = Path(__file__).parent / "migrations"
_FSYNC = "fsync_after_insert = 1, fsync_part_directory = 1"
# The part of an insert is one file of columns then, not two files for each of 45, all fsynced: a
# fifth of a large insert. Parts merged to more than this are wide.
_COMPACT = "min_bytes_for_wide_part = 134217728"
# The number of inserts whose tokens a table remembers: more than an hour of one stream.
_WINDOW = "non_replicated_deduplication_window = 10000"
_WINDOW_REPLICATED = (
    "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
)
_MIGRATIONS = """CREATE TABLE IF NOT EXISTS migrations {on_cluster}
(name String, at DateTime DEFAULT now())
ENGINE = {merge_tree} ORDER BY name"""


class TableOptions(msgspec.Struct, frozen=True):
    """The kind of tables on a ClickHouse server, and their cluster ('': that server only)."""

    replicated: bool = False
    cluster: str = ""

    @property
    def on_cluster(self) -> str:
        return f"ON CLUSTER '{self.cluster}'" if self.cluster else ""


PLAIN_TABLES = TableOptions()


class _MigrationName(msgspec.Struct, frozen=True):
    name: str


def fill_migration(
    sql: str, tables: TableOptions, minute_rollup_hours: int, *, remote: bool
) -> str:
    """Fills engines and settings into a migration; only tables on a server know insert tokens."""
    kind = "Replicated" if tables.replicated else ""
    window = _WINDOW_REPLICATED if tables.replicated else _WINDOW
    durable = f"{_FSYNC}, {_COMPACT}"
    values = {
        "on_cluster": tables.on_cluster,
        "merge_tree": f"{kind}MergeTree",
        "replacing_merge_tree": f"{kind}ReplacingMergeTree",
        "replacing_merge_tree_by_version": f"{kind}ReplacingMergeTree(version)",
        "aggregating_merge_tree": f"{kind}AggregatingMergeTree",
        # An insert is on disk, with its directory entry, before it is acknowledged.
        "durable": f"SETTINGS {durable}",
        "durable_once": f"SETTINGS {durable}, {window}" if remote else f"SETTINGS {durable}",
        "minute_rollup_hours": str(minute_rollup_hours),
    }
    return sql.format_map(values)


def statements(sql: str) -> list[str]:
    """Splits a migration into its statements; a line between two of them holds only a semicolon."""
    return sql.split("\n;\n")


async def migrate(
    clickhouse: ClickHouse, minute_rollup_hours: int = 50, tables: TableOptions = PLAIN_TABLES
) -> list[str]:
    """Runs the migrations that were not run before, in order; returns their names."""

    def fill(sql: str) -> str:
        return fill_migration(sql, tables, minute_rollup_hours, remote=clickhouse.remote)

    await clickhouse.execute(fill(_MIGRATIONS))
    rows = await clickhouse.read("SELECT DISTINCT name FROM migrations", _MigrationName)
    finished = {row.name for row in rows}
    ran: list[str] = []
    for path in sorted(_FOLDER.glob("*.sql")):
        if path.stem in finished:
            continue
        for statement in statements(fill(path.read_text(encoding="utf-8"))):
            await clickhouse.execute(statement)
        # Every statement may run twice: a crash before this line repeats them.
        line = msgspec.json.encode({"name": path.stem})
        await clickhouse.insert("migrations", ["name"], line)
        ran.append(path.stem)
    return ran
