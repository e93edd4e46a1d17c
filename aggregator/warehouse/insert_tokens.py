"""What keeps an INSERT from counting twice that is executed late, or by another aggregator.

On a server each carries a token that names where it starts. The table drops a second one from the
same place, whatever its length, so it is a compare-and-set; how far the winner reached is read
afterwards. See docs/decisions/two-aggregators.md.
"""

from collections.abc import Awaitable, Callable

import msgspec

from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed

_ENGINE = (
    "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {t:String}"
)
_TOKENS_SPENT_MAX = 10


class Start(msgspec.Struct, frozen=True):
    """Where an INSERT of stream `s` starts: behind `after`, which `table` holds already."""

    table: str
    s: int
    after: int

    def token(self, attempt: int) -> str:
        return f"linkjolt/{self.table}/{self.s}/{self.after}/{attempt}"


class _Engine(msgspec.Struct, frozen=True):
    engine: str


async def insert_once(
    clickhouse: ClickHouse,
    start: Start,
    insert: Callable[[str], Awaitable[None]],
    stored: Callable[[], Awaitable[int]],
) -> int:
    """Runs `insert(token)`; answers how far the table holds the stream now, by `stored()`.

    ClickHouseFailed leaves open whether it happened, as always.
    """
    for attempt in range(_TOKENS_SPENT_MAX):
        await insert(start.token(attempt))
        at = await stored()
        if at > start.after:
            return at
        if await _replicated(clickhouse, start.table):
            break
        # A MergeTree notes the token before the part is there: a server killed between the two
        # drops every repeat, so the next one takes another token. Nobody can use this one again.
    raise ClickHouseFailed(f"{start} was answered for and is not seen")


async def _replicated(clickhouse: ClickHouse, table: str) -> bool:
    """There token and part are one step in Keeper, and this replica is only behind."""
    [found] = await clickhouse.read(_ENGINE, _Engine, {"t": table})
    return found.engine.startswith("Replicated")
