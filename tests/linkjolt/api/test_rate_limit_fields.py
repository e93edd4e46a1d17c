"""A key's rate limit is set by who governs the key, and never above the own one."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from linkjolt.settings import SharedSettings
from tests.linkjolt.api.client import Api, serving

KEY = {"name": "shop", "scopes": ["links:read"]}
FIELD = "rate_limit_per_minute"


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


async def test_a_limit_is_set_at_creation_and_changed(api: Api) -> None:
    made = await api.post("/v1/keys", {**KEY, FIELD: 600})
    assert made[FIELD] == 600
    path = f"/v1/keys/{made['id']}"
    for change, limit in (({FIELD: 50}, 50), ({"name": "other"}, 50), ({FIELD: None}, None)):
        changed = await api.send("PATCH", path, change)
        assert (changed.status_code, changed.json()[FIELD]) == (200, limit)
        assert (await api.get(path))[FIELD] == limit


async def test_a_key_without_a_limit_has_that_of_the_settings(api: Api) -> None:
    assert (await api.post("/v1/keys", KEY))[FIELD] is None


@pytest.mark.parametrize("value", [0, -1, 60_000_001, 1.5, "60", True, 10**30])
async def test_a_bad_limit_is_refused_by_its_name(api: Api, value: object) -> None:
    refused = await api.refused("POST", "/v1/keys", {**KEY, FIELD: value})
    assert refused == (422, "invalid_field", [FIELD])


@pytest.mark.parametrize(("own", "granted", "allowed"), [
    (100, 100, True),
    (100, 101, False),
    (100, None, False),
    (None, 6_000, True),
    (None, 6_001, False),
    (None, None, True),
])  # fmt: skip
async def test_no_key_grants_more_than_it_has(
    api: Api, own: int | None, granted: int | None, allowed: bool
) -> None:
    made = await api.post("/v1/keys", {**KEY, FIELD: 10})
    await api.use_key("admin", rate_limit_per_minute=own)
    created = await api.send("POST", "/v1/keys", {**KEY, FIELD: granted})
    patched = await api.send("PATCH", f"/v1/keys/{made['id']}", {FIELD: granted})
    if allowed:
        assert (created.status_code, patched.status_code) == (201, 200)
        return
    for refused in (created, patched):
        problem = refused.json()
        assert (refused.status_code, problem["errors"][0]["field"]) == (403, FIELD)
    unchanged = (await api.get(f"/v1/keys/{made['id']}"))[FIELD]
    assert unchanged == 10


async def test_a_limited_key_may_create_no_unlimited_one_by_leaving_the_field_out(
    api: Api,
) -> None:
    await api.use_key("admin", rate_limit_per_minute=100)
    assert await api.refused("POST", "/v1/keys", KEY) == (403, "forbidden", [FIELD])


async def test_a_key_does_not_raise_its_own_limit(api: Api) -> None:
    own = await api.use_key("admin", rate_limit_per_minute=100)
    path = f"/v1/keys/key_{own.number}"
    for value in (101, None):
        assert await api.refused("PATCH", path, {FIELD: value}) == (403, "forbidden", [FIELD])


async def test_without_a_default_any_limit_may_be_granted(redis: Redis) -> None:
    settings = SharedSettings(rate_key_per_minute=0)
    async with serving(redis, settings=settings) as api:
        assert (await api.post("/v1/keys", {**KEY, FIELD: 100_000}))[FIELD] == 100_000
        assert (await api.get("/v1/me"))["limits"]["requests_per_minute"] is None


async def test_me_says_how_many_requests_the_key_may_send(api: Api) -> None:
    assert (await api.get("/v1/me"))["limits"]["requests_per_minute"] == 6_000
    await api.use_key("admin", rate_limit_per_minute=77)
    assert (await api.get("/v1/me"))["limits"]["requests_per_minute"] == 77
