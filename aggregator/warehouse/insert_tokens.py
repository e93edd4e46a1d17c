"""Keeps an INSERT that is executed late, or by two aggregators, from being stored twice.

On a server each INSERT carries a token that names its start position. The table drops a second one
from the same position, whatever its length, so that it is a compare-and-set; the winner's end is
read afterwards. See docs/decisions/two-aggregators.md.
"""

from collections.abc import Awaitable, Callable

import msgspec

from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed

_ENGINE = (
    "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {t:String}"
)
_TOKENS_SPENT_MAX = 10


class InsertStart(msgspec.Struct, frozen=True):
    """The start of an INSERT of a stream: behind position `after`, which `table` holds already."""

    table: str
    stream_number: int
    after: int

    def token(self, attempt: int) -> str:
        return f"linkjolt/{self.table}/{self.stream_number}/{self.after}/{attempt}"


class _EngineRow(msgspec.Struct, frozen=True):
    engine: str


async def insert_once(
    clickhouse: ClickHouse,
    start: InsertStart,
    insert: Callable[[str], Awaitable[None]],
    read_stored_position: Callable[[], Awaitable[int]],
) -> int:
    """Runs `insert(token)` and returns the position up to which the table holds the stream now.

    ClickHouseFailed leaves open whether the INSERT was executed, as always.
    """
    for attempt in range(_TOKENS_SPENT_MAX):
        await insert(start.token(attempt))
        position = await read_stored_position()
        if position > start.after:
            return position
        if await _is_replicated(clickhouse, start.table):
            break
        # A MergeTree records the token before the part exists: a server killed between the two
        # drops every repeat, so the next attempt takes another token. This one is spent.
    raise ClickHouseFailed(f"{start} was answered for and is not seen")


async def _is_replicated(clickhouse: ClickHouse, table: str) -> bool:
    """Returns True for a replicated table: Keeper records token and part at once.

    The replica that was asked is then only behind.
    """
    [row] = await clickhouse.read(_ENGINE, _EngineRow, {"t": table})
    return row.engine.startswith("Replicated")
