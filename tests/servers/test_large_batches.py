"""What is accepted is stored, however many ids one batch has, and however long they are."""

from collections.abc import Iterator, Sequence

import pytest

from tests.servers.installation import Installation
from tests.waiting import wait_until

UPLOAD_LINES = 10_000
# The bytes of some characters are many, and some are sent with a backslash.
HARD = " it's `a` \\ é 字 "
ID_CHARACTERS = 128
# As it is unless set: a batch that takes longer than its lease is cut, and takes longer still.
_LEASE = {"LINKJOLT_LEASE_SECONDS": "10"}
# 50,000 conversions take a busy machine a while.
_PATIENCE_SECONDS = 150


def uploads(click_ids: Sequence[str], conversions: int) -> Iterator[list[dict[str, str]]]:
    """Yields uploads, whose order and customer ids are as long as they may be."""
    for begin in range(0, conversions, UPLOAD_LINES):
        numbers = range(begin, min(begin + UPLOAD_LINES, conversions))
        ids = [f"{number}{HARD * ID_CHARACTERS}"[: ID_CHARACTERS - 1] + "." for number in numbers]
        yield [
            {
                "click_id": click_ids[number % len(click_ids)],
                "order_value": "10.00",
                "order_id": text,
                "customer_id": text,
            }
            for number, text in zip(numbers, ids, strict=True)
        ]


async def click(installation: Installation, clicks: int) -> list[str]:
    async with installation.clicks() as ids:
        await wait_until(lambda: len(ids) >= clicks)
    return ids


async def expect_stored(installation: Installation, orders: Sequence[str]) -> None:
    """Waits until these orders are stored, each once, and the audit is clean."""
    warehouse = installation.warehouse
    sql = "SELECT count() AS n FROM conversions WHERE kind = 'created'"

    async def stored() -> bool:
        return await warehouse.count(sql) >= len(orders)

    await wait_until(stored, _PATIENCE_SECONDS)
    sql = "SELECT order_id AS text FROM conversions WHERE kind = 'created'"
    assert sorted(await warehouse.texts(sql)) == sorted(orders)
    assert await warehouse.count("SELECT countIf(reason = 'click_late') AS n FROM conversions") == 0
    audit = await installation.linkjolt.run("audit")
    assert audit.returncode == 0, audit.stdout


@pytest.mark.parametrize(
    ("clicks", "conversions"), [(100, 1_000), pytest.param(3_000, 10_000, marks=pytest.mark.long)]
)
async def test_an_upload_of_long_ids_is_stored_whole(
    installation: Installation, clicks: int, conversions: int
) -> None:
    aggregator = installation.linkjolt.start("aggregator", **_LEASE)
    await wait_until(lambda: installation.linkjolt.says("aggregator", "aggregator started"))
    [upload] = uploads(await click(installation, clicks), conversions)
    await installation.post_lines(upload)
    await expect_stored(installation, [line["order_id"] for line in upload])
    assert aggregator.poll() is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("clicks", "conversions", "approved"),
    [(100, 2_000, 100), (3_000, 50_000, 5_000)],
)
async def test_what_was_accepted_while_clickhouse_was_unavailable_is_stored_whole(
    installation: Installation, clicks: int, conversions: int, approved: int
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    aggregator = linkjolt.start("aggregator", **_LEASE)
    await wait_until(lambda: linkjolt.says("aggregator", "aggregator started"))
    warehouse.engine.kill()
    posted = list(uploads(await click(installation, clicks), conversions))
    ids = [name for upload in posted for name in await installation.post_lines(upload)]
    await installation.approve(ids[:approved])
    await wait_until(lambda: "warning" in linkjolt.levels("aggregator"))
    await warehouse.engine.ready()
    await expect_stored(installation, [line["order_id"] for upload in posted for line in upload])
    sql = "SELECT count() AS n FROM conversions WHERE kind = 'approved'"
    assert await warehouse.count(sql) == approved
    assert aggregator.poll() is None
