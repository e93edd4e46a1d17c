"""Creates the warehouse's tables: numbered SQL, filled in from settings, each run once."""

from pathlib import Path

import msgspec

from linkjolt.clickhouse import ClickHouse

_FOLDER = Path(__file__).parent / "migrations"
_PLAIN = {
    "on_cluster": "",
    "merge_tree": "MergeTree",
    "replacing_merge_tree": "ReplacingMergeTree",
    "replacing_merge_tree_by_version": "ReplacingMergeTree(version)",
    "aggregating_merge_tree": "AggregatingMergeTree",
    # An insert is on disk, with its directory entry, before it is answered.
    "durable": "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
}
_APPLIED = """CREATE TABLE IF NOT EXISTS migrations (name String, at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY name"""


class _Name(msgspec.Struct, frozen=True):
    name: str


async def migrate(clickhouse: ClickHouse, minute_rollup_hours: int = 50) -> list[str]:
    """Runs what was not run before, in order; answers the names of what it ran."""
    await clickhouse.execute(_APPLIED)
    rows = await clickhouse.read("SELECT DISTINCT name FROM migrations", _Name)
    done = {row.name for row in rows}
    ran: list[str] = []
    for path in sorted(_FOLDER.glob("*.sql")):
        if path.stem in done:
            continue
        filled = _PLAIN | {"minute_rollup_hours": str(minute_rollup_hours)}
        await clickhouse.execute(path.read_text(encoding="utf-8").format_map(filled))
        # Every migration may run twice: a crash between it and this line repeats it.
        line = msgspec.json.encode({"name": path.stem})
        await clickhouse.insert("migrations", ["name"], line)
        ran.append(path.stem)
    return ran
