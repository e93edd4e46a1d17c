"""Test keys act on test data, and change nothing that is live."""

import pytest
from redis.asyncio import Redis

from linkjolt.api.resources import operations
from linkjolt.datasets import ACCOUNT_DEFAULT, live_dataset
from linkjolt.registry.entries import ApiKey, Webhook
from linkjolt.registry.store import Registry
from linkjolt.storage.redis import call
from linkjolt.web.openapi import Operation
from tests.linkjolt.api.client import Api
from tests.linkjolt.registry import samples
from tests.security.registry_api import api

__all__ = ["api"]
# What has a mode of its own: a test key reaches those for tests.
_HAVE_MODES = ("/v1/keys", "/v1/webhooks", "/v1/oauth-clients")
WRITES = [one for one in operations() if one.method not in ("GET", "HEAD")]
LIVE = [one for one in WRITES if not one.path.startswith(_HAVE_MODES)]
_IDS = {
    "campaigns": "cmp",
    "affiliates": "aff",
    "links": "lnk",
    "coupons": "cpn",
    "rates": "rate",
    "privacy": "prv",
    "users": "usr",
}


async def registry_of(redis: Redis) -> dict[bytes, object]:
    """Reads every entry, but for keys."""
    names = await call(redis, "KEYS", "lj:*")
    entries = [name for name in names if b":campaign:" in name or b":link:" in name]
    entries += [name for name in names if b":affiliate:" in name or b":webhook:" in name]
    return {name: await redis.get(name) for name in entries if b":index" not in name}


@pytest.mark.parametrize("one", LIVE, ids=lambda one: one.id)
async def test_a_test_key_writes_nothing_to_the_registry(
    api: Api, redis: Redis, one: Operation
) -> None:
    await samples.stored_link(api.registry)
    before = await registry_of(redis)
    assert before
    await api.use_key("admin", test=True)
    kind = one.path.split("/")[2]
    path = one.path.replace("{id}", f"{_IDS[kind]}_1")
    body = one.bodies[0].example if one.bodies else None
    assert await api.refused(one.method, path, body) == (403, "forbidden", [])
    answer = await api.send(one.method, path, body)
    assert "use a live key" in answer.json()["detail"]
    assert await registry_of(redis) == before


async def test_a_test_key_reads_the_registry(api: Api) -> None:
    await samples.stored_link(api.registry)
    await api.use_key("links:read", test=True)
    for path in ("/v1/links", "/v1/links/lnk_1", "/v1/links/lnk_1/preview", "/v1/campaigns/cmp_1"):
        assert (await api.send("GET", path)).status_code == 200


async def test_a_test_key_reaches_no_live_key_and_no_live_webhook(api: Api) -> None:
    registry = api.registry
    key = await api.use_key("webhooks:write")
    created = await registry.create(samples.webhook(live_dataset(ACCOUNT_DEFAULT)))
    webhook = await registry.get(Webhook, created.account, created.number)
    await api.use_key("admin", test=True)
    hook = f"/v1/webhooks/whk_{webhook.number}"
    calls = [("DELETE", hook, None), ("PATCH", hook, {"status": "disabled"})]
    calls += [("POST", f"{hook}/{verb}", {}) for verb in ("rotate", "test", "replay")]
    calls += [
        ("POST", f"{hook}/deliveries/msg_1/resend", None),
        ("GET", f"{hook}/deliveries", None),
    ]
    for method, path, body in calls:
        assert (await api.refused(method, path, body))[:2] == (404, "not_found"), path
    path = f"/v1/keys/key_{key.number}"
    assert await api.refused("DELETE", path) == (403, "forbidden", ["test"])
    assert await _stored(registry, key) == key
    assert await registry.get(Webhook, webhook.account, webhook.number) == webhook


async def _stored(registry: Registry, key: ApiKey) -> ApiKey:
    return await registry.get(ApiKey, ACCOUNT_DEFAULT, key.number)


async def test_a_test_key_keeps_its_own_webhooks_and_keys(api: Api) -> None:
    await api.use_key("admin", test=True)
    made = await api.post("/v1/keys", {"name": "k", "scopes": ["links:read"], "test": True})
    assert (await api.send("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
    form = {"url": "https://hooks.shop.example/", "events": ["conversion.created"]}
    hook = await api.post("/v1/webhooks", form)
    assert (await api.send("DELETE", f"/v1/webhooks/{hook['id']}")).status_code == 204
