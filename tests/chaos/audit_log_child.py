"""Runs the storing of the audit log as a process of its own, which a fault point may kill.

`python -m tests.chaos.audit_log_child CLICKHOUSE_DIR REDIS_URL` stores all there is, and prints a
`LeftLog` as JSON.
"""

import asyncio
import sys

import msgspec

from aggregator.audit_log.store import AuditLogStore
from aggregator.audit_log.verify import verify
from aggregator.warehouse.migrate import migrate
from linkjolt.storage import clickhouse
from linkjolt.storage.redis import connect


class LeftLog(msgspec.Struct, frozen=True):
    """The objects of the stored rows in their order, and whether they are verified."""

    clean: bool
    objects: list[str]


class _Object(msgspec.Struct, frozen=True):
    object: str


async def _main(path: str, redis_url: str) -> LeftLog:
    redis = connect(redis_url)
    engine = clickhouse.embedded(path, clients=1)
    await migrate(engine)
    store = AuditLogStore(redis, engine, 1)
    while await store.step():
        pass
    found = await verify(redis, engine)
    rows = await engine.read("SELECT object FROM audit_log ORDER BY seq", _Object)
    await engine.close()
    await redis.aclose()
    return LeftLog(found.clean, [row.object for row in rows])


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_main(sys.argv[1], sys.argv[2]))).decode())
