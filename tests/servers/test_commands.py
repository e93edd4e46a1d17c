"""Each command works on servers, and names a missing setting or server in one line."""

import msgspec
import pytest

from linkjolt.balance.balance import Balance
from linkjolt.runtime.redis_server import free_port
from tests.servers.installation import CODE, Installation, Warehouse
from tests.servers.processes import Linkjolt, answers
from tests.waiting import wait_until

TABLES = {
    "clicks",
    "conversions",
    "deliveries",
    "migrations",
    "registry",
    "rejects",
    "audit_log",
    "raw_retention",
    "rollup_day",
    "rollup_dimension",
    "rollup_minute",
    "rollup_quarter",
}


class Audit(msgspec.Struct, frozen=True):
    clean: bool
    balance: Balance


class Row(msgspec.Struct, frozen=True):
    link: str
    clicks: int
    conversions: int
    revenue: float
    commission: float


class Report(msgspec.Struct, frozen=True):
    data: list[Row]


async def test_migrate_creates_every_table_and_then_has_nothing_to_do(
    linkjolt: Linkjolt, warehouse: Warehouse
) -> None:
    first = await linkjolt.run("migrate")
    assert first.returncode == 0, first.stderr
    tables = "SELECT name AS text FROM system.tables WHERE database = currentDatabase()"
    assert set(await warehouse.texts(tables)) == TABLES
    second = await linkjolt.run("migrate")
    assert (second.returncode, second.stdout) == (0, "nothing to do\n")


@pytest.mark.parametrize(
    ("command", "missing", "line"),
    [
        ("aggregator", "LINKJOLT_CLICKHOUSE_URL", "Error: set LINKJOLT_CLICKHOUSE_URL"),
        ("reports", "LINKJOLT_CLICKHOUSE_URL", "Error: set LINKJOLT_CLICKHOUSE_URL"),
        ("edge", "LINKJOLT_REDIS_URL", "Error: nothing is running under"),
        ("aggregator", "LINKJOLT_REDIS_URL", "Error: nothing is running under"),
    ],
)
async def test_a_missing_server_is_one_clear_line(
    linkjolt: Linkjolt, command: str, missing: str, line: str
) -> None:
    ended = await linkjolt.run(command, **{missing: ""})
    assert (ended.returncode, ended.stdout) == (1, "")
    plain = [text for text in ended.stderr.splitlines() if not text.startswith("{")]
    assert len(plain) == 1
    assert plain[0].startswith(line)


@pytest.mark.parametrize("command", ["migrate", "audit"])
async def test_a_clickhouse_that_is_away_is_one_clear_line(
    linkjolt: Linkjolt, command: str
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/linkjolt"
    ended = await linkjolt.run(command, LINKJOLT_CLICKHOUSE_URL=nobody)
    assert (ended.returncode, ended.stdout) == (1, "")
    plain = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(plain) == 1
    assert plain[0].startswith("Error: ")


@pytest.mark.long
async def test_a_click_and_its_conversion_are_reported_within_seconds(
    installation: Installation,
) -> None:
    linkjolt = installation.linkjolt
    port = free_port()
    linkjolt.start("aggregator")
    linkjolt.start("reports", LINKJOLT_REPORTS_PORT=str(port))
    await wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
    await wait_until(lambda: linkjolt.says("aggregator", "aggregator started"))
    click_id = await installation.click()
    conversion = {"click_id": click_id, "order_value": "99.99", "order_id": "order_1"}
    await installation.post("/v1/conversions", **conversion)
    url = f"http://127.0.0.1:{port}/v1/reports?group_by=link"

    async def reported() -> bool:
        response = await installation.get(url)
        assert response.status_code == 200, response.text
        rows = msgspec.json.decode(response.content, type=Report).data
        return rows == [Row(CODE, clicks=1, conversions=1, revenue=99.99, commission=29.99)]

    await wait_until(reported)
    audit = await linkjolt.run("audit", "--json")
    assert audit.returncode == 0
    result = msgspec.json.decode(audit.stdout, type=Audit)
    assert result.clean
    assert [(s.stream, s.accepted, s.stored) for s in result.balance.streams] == [
        ("clicks/0", 1, 1),
        ("conversions/0", 1, 1),
    ]


@pytest.mark.long
async def test_an_event_that_nobody_stores_is_named_by_audit_balance_and_metrics(
    installation: Installation,
) -> None:
    linkjolt = installation.linkjolt
    soon = {"LINKJOLT_STALE_AFTER_SECONDS": "0.5"}
    assert (await linkjolt.run("migrate")).returncode == 0
    reports_url = f"http://127.0.0.1:{(port := free_port())}"
    linkjolt.start("reports", LINKJOLT_REPORTS_PORT=str(port), **soon)
    await wait_until(lambda: answers(f"{reports_url}/healthz"))
    await installation.click()

    async def stale() -> list[str]:
        response = await installation.get(f"{reports_url}/v1/balance")
        assert response.status_code == 200, response.text
        balance = msgspec.json.decode(response.content, type=Balance)
        return [waiting.where for waiting in balance.stale]

    async def named() -> bool:
        return await stale() == ["clicks/0"]

    await wait_until(named)
    metrics = (await installation.get(f"{reports_url}/metrics")).text
    assert "\nlinkjolt_balance_stale_backlogs 1.0\n" in metrics
    audit = await linkjolt.run("audit", **soon)
    assert audit.returncode == 1
    assert "\nclicks/0: 1 events wait too long, the oldest for " in audit.stdout
    assert (await linkjolt.run("audit")).stdout.endswith("\nclean\n")
    linkjolt.start("aggregator")

    async def stored() -> bool:
        return not await stale()

    await wait_until(stored)
    assert (await linkjolt.run("audit", **soon)).returncode == 0
