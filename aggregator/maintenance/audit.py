"""Audits the warehouse: the balance of accepted events, repeated ids, and rollups against raw."""

import msgspec
from redis.asyncio import Redis

from aggregator.rollups import pull as pulling
from aggregator.rollups.pull import RollupDifference
from aggregator.rollups.statements import SOURCES
from linkjolt.balance.balance import Balance, read_balance
from linkjolt.balance.stale import NEVER_STALE, StaleRule
from linkjolt.storage.clickhouse import ClickHouse


class RepeatedIds(msgspec.Struct, frozen=True):
    """The number of ids that are stored in a raw table more than once."""

    table: str
    ids: int


class Audit(msgspec.Struct, frozen=True):
    """The result of an audit.

    `clean` if nothing differs, no id is stored twice, and no event waits longer than it may.
    """

    clean: bool
    balance: Balance
    rollups: tuple[RollupDifference, ...]
    repeated: tuple[RepeatedIds, ...]

    def adds_up(self) -> bool:
        """Returns True if nothing differs, which it may for an instant while others write."""
        even = all(stream.difference == 0 for stream in self.balance.streams)
        return even and not self.rollups and not self.repeated


class _RepeatedCount(msgspec.Struct, frozen=True):
    ids: int


async def audit(
    redis: Redis, clickhouse: ClickHouse, shards: int, rule: StaleRule = NEVER_STALE
) -> Audit:
    """Audits everything anew; exact only while nobody writes to the warehouse."""
    balance = await read_balance(redis, clickhouse, shards, rule=rule)
    differences = await find_differences(clickhouse)
    repeated = [
        RepeatedIds("clicks", await _count_repeated(clickhouse, "clicks", "click_id")),
        RepeatedIds(
            "conversions", await _count_repeated(clickhouse, "conversions", "conversion_id")
        ),
    ]
    repeated = [row for row in repeated if row.ids]
    found = Audit(True, balance, tuple(differences), tuple(repeated))
    return msgspec.structs.replace(found, clean=found.adds_up() and not balance.stale)


async def find_differences(clickhouse: ClickHouse) -> list[RollupDifference]:
    """Finds every ingest month in which a rollup differs from raw."""
    return [
        difference
        for rollup in pulling.ROLLUPS
        for source in SOURCES
        for difference in await pulling.find_differing_months(clickhouse, source, rollup.table)
    ]


async def _count_repeated(clickhouse: ClickHouse, table: str, column: str) -> int:
    sql = f"""SELECT count() AS ids FROM (
        SELECT {column} FROM {table} WHERE account != 0 GROUP BY account, {column}
        HAVING count() > 1)"""
    if table == "conversions":
        sql = sql.replace("account != 0", "account != 0 AND kind = 'created'")
    return (await clickhouse.read(sql, _RepeatedCount))[0].ids


def summarize(result: Audit) -> str:
    """Formats an audit for people: a line a stream, then the differences."""
    lines = [
        f"{stream.stream}: accepted {stream.accepted} = stored {stream.stored}"
        f" + waiting {stream.waiting} + rejected {stream.rejected}"
        + (f"  DIFFERENCE {stream.difference}" if stream.difference else "")
        for stream in result.balance.streams
    ]
    lines += [
        f"{d.rollup} from {d.source}, {d.month}: {d.unequal} cells differ from raw"
        for d in result.rollups
    ]
    lines += [f"{row.table}: {row.ids} ids are stored more than once" for row in result.repeated]
    lines += [
        f"{row.where}: {row.events} events wait too long, the oldest for {row.seconds:.0f} s"
        for row in result.balance.stale
    ]
    lines.append("clean" if result.clean else "NOT CLEAN")
    return "\n".join(lines)
