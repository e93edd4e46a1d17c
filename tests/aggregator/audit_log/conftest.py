"""Provides the audit log of one Redis: written to, stored, read and tampered with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.audit_log.chain import COLUMNS, AuditRow
from aggregator.audit_log.store import AuditLogStore, read_sql
from aggregator.audit_log.verify import AuditLogFault, verify
from linkjolt.audit_log.entries import AuditSource
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.registry.entries import Affiliate
from linkjolt.registry.store import Registry
from linkjolt.storage.clickhouse import ClickHouse
from tests.linkjolt.registry import samples

SOURCE = AuditSource(
    actor="key_7", actor_name="Shop", operation="createAffiliate", status=201, request_id="r1"
)


@dataclass
class AuditLog:
    """Writes to the registry, and stores what that leaves in the log."""

    redis: Redis
    clickhouse: ClickHouse
    registry: Registry = field(init=False)
    store: AuditLogStore = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(self.redis, source=SOURCE)
        self.restart()

    def restart(self) -> None:
        """Replaces the store by one that remembers nothing."""
        self.store = AuditLogStore(self.redis, self.clickhouse, 2)

    async def write(self, count: int, account: Account = ACCOUNT_DEFAULT) -> list[Affiliate]:
        """Creates affiliates, and stores their entries."""
        drafts = [samples.affiliate(f"A{number}", account) for number in range(count)]
        created = [await self.registry.create(draft) for draft in drafts]
        await self.step()
        return created

    async def step(self) -> None:
        while await self.store.step():
            pass

    async def rows(self) -> list[AuditRow]:
        sql = read_sql("rows").replace("{columns}", ", ".join(COLUMNS))
        return await self.clickhouse.read(sql, AuditRow)

    async def replace_rows(self, rows: Sequence[AuditRow]) -> None:
        """Does what somebody with access to the warehouse can do."""
        await self.clickhouse.execute("TRUNCATE TABLE audit_log")
        lines = msgspec.json.Encoder().encode_lines(rows)
        await self.clickhouse.insert("audit_log", COLUMNS, lines)

    async def faults(self) -> list[tuple[str, int, int]]:
        found = await verify(self.redis, self.clickhouse)
        faults: list[AuditLogFault] = [one for chain in found.accounts for one in chain.faults]
        assert found.clean == (not faults)
        return [(one.fault, one.seq, one.last_seq) for one in faults]


@pytest.fixture
def audit_log(redis: Redis, clickhouse: ClickHouse) -> AuditLog:
    return AuditLog(redis, clickhouse)
