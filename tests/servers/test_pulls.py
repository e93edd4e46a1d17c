"""A second pull of a rollup from one position is dropped whole, whatever it holds."""

import time

import msgspec
import pytest

from aggregator.rollups.statements import IN_ONE_PIECE, PULLS, ROLLUPS
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.migrate import migrate
from aggregator.warehouse.writer import Warehouse as Raw
from aggregator.warehouse.writer import encode_rows
from linkjolt.datasets import Dataset
from linkjolt.storage.months import month_of
from tests.servers.installation import Installation

BATCHES = 3


class Marks(msgspec.Struct, frozen=True):
    first: int
    last: int


def click(pos: int, number: int) -> ClickRow:
    """Makes a click with a referrer, hence a cell, of its own."""
    return ClickRow(
        account=Dataset(1),
        link=7,
        time=time.time(),
        click_id=f"{pos}-{number}",
        verdict="human",
        visitor=5,
        country="ZZ",
        referrer_host=f"host{number}.example",
        pos=pos,
    )


# The engine passes on some 65,000 rows at a time.
@pytest.mark.parametrize("clicks", [1, pytest.param(25_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("rollup", [rollup.table for rollup in ROLLUPS])
async def test_the_first_pull_from_a_place_is_the_only_one(
    installation: Installation, rollup: str, clicks: int
) -> None:
    client = installation.warehouse.client
    await migrate(client)
    begin = int(time.time() * 1000) << 20
    ends = [begin + batch + 1 for batch in range(BATCHES)]
    for end in ends:
        # Hosts of their own: each pull has another number of cells.
        rows = [click(end, number + end % BATCHES * clicks) for number in range(clicks)]
        await Raw(client).insert_clicks(encode_rows(rows), 0, end)
    for end_position in ends[1:] + ends[:1]:
        parameters = {
            "s": 0,
            "after": 0,
            "end_position": end_position,
            "month": month_of(end_position),
        }
        sql = PULLS[rollup, "clicks"] + IN_ONE_PIECE
        await client.execute(sql, parameters, "one token for all")
    marks = f"SELECT min(pos) AS first, max(pos) AS last FROM {rollup} WHERE account = 0"
    assert await client.read(marks, Marks) == [Marks(ends[1], ends[1])]
