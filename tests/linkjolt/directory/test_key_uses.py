"""The last use of a key is known to the minute, and costs a write a minute at most."""

from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import redis_keys
from linkjolt.directory.directory import Directory
from linkjolt.directory.key_uses import KeyUses, read_key_uses
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import call, connect
from tests.ingest.conftest import Shop, make_key, shop
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.directory.feeds import following
from tests.waiting import wait_until

__all__ = ["shop"]
MINUTE = 60_000
AT = 1_800_000_000_000 // MINUTE * MINUTE


def instant(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1_000, UTC)


async def writes(redis: Redis) -> int:
    """Counts the calls of scripts that the server has had."""
    stats: dict[str, Any] = await call(redis, "INFO", "commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


async def test_a_key_is_written_once_a_minute_however_often_it_is_used(redis: Redis) -> None:
    uses = KeyUses(redis)
    uses.noted[7] = AT + 1
    await uses.write()
    first = await writes(redis)
    for at_ms in range(AT + 2, AT + MINUTE, 5_000):
        uses.noted[7] = at_ms
        await uses.write()
    assert await writes(redis) == first
    assert await read_key_uses(redis, [7, 8]) == {7: instant(AT)}
    uses.noted |= {7: AT + MINUTE, 8: AT + MINUTE + 59_999}
    await uses.write()
    assert await writes(redis) == first + 1
    assert await read_key_uses(redis, [8, 7]) == dict.fromkeys((7, 8), instant(AT + MINUTE))


async def test_a_process_that_is_late_turns_no_clock_back(redis: Redis) -> None:
    early, late = KeyUses(redis), KeyUses(redis)
    late.noted[7] = AT
    early.noted[7] = AT + 3 * MINUTE
    await early.write()
    await late.write()
    assert await read_key_uses(redis, [7]) == {7: instant(AT + 3 * MINUTE)}


async def test_what_redis_did_not_take_is_written_later(
    redis: Redis, redis_server: RedisServer
) -> None:
    lost = connect(redis_server.url.replace(str(redis_server.port), "1"))
    uses = KeyUses(lost)
    uses.noted |= {7: AT, 8: AT}
    with pytest.raises(RedisError):
        await uses.write()
    await lost.aclose()
    assert uses.noted == {7: AT, 8: AT}


async def test_a_use_appears_in_the_answers(redis: Redis, registry: Registry) -> None:
    async with serving(redis) as api:
        made = await api.post("/v1/keys", {"name": "k", "scopes": ["links:read"]})
        assert made["last_used_at"] is None
        directory = Directory(redis, links_cached=10, unknown_cached=10)
        directory.key_uses.note(int(made["id"].removeprefix("key_")))
        before = datetime.now(UTC)
        async with following(directory, registry):

            async def written() -> bool:
                return (await api.get(f"/v1/keys/{made['id']}"))["last_used_at"] is not None

            await wait_until(written)
        await check_answers(api, made, before)


async def check_answers(api: Api, made: dict[str, Any], before: datetime) -> None:
    one = await api.get(f"/v1/keys/{made['id']}")
    used_at = datetime.fromisoformat(one["last_used_at"])
    assert (used_at.second, used_at.microsecond) == (0, 0)
    assert abs((before - used_at).total_seconds()) <= 60
    listed = {key["id"]: key["last_used_at"] for key in (await api.get("/v1/keys"))["data"]}
    assert listed[made["id"]] == one["last_used_at"]
    assert None in listed.values()
    changed = await api.send("PATCH", f"/v1/keys/{made['id']}", {"name": "other"})
    assert changed.json()["last_used_at"] == one["last_used_at"]


async def test_only_what_passed_authentication_is_a_use(shop: Shop) -> None:
    uses = shop.edge.directory.key_uses

    async def written() -> int:
        # The edge may have written them already.
        await uses.write()
        return await call(shop.registry.redis, "HLEN", redis_keys.KEY_USES)

    secrets = [
        await make_key(shop.registry, ["links:read"], **fields)
        for fields in (
            {"allowed_networks": ("192.0.2.1/32",)},
            {"expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
        )
    ]
    for secret in secrets:
        assert (await shop.get("/v1/me", secret)).status_code == 401
    assert await written() == 0
    # What its key may not do is a use, too.
    secret = await make_key(shop.registry, ["links:read"])
    assert (await shop.get("/v1/keys", secret)).status_code == 403
    assert await written() == 1


async def test_the_hash_of_uses_is_declared() -> None:
    assert redis_keys.KEY_USES == "lj:{r}:key-uses"
