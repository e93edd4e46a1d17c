"""Every route needs a valid key with the scope that the route names."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import SCOPES, ApiKey
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from tests.linkjolt.api.client import Api, application, serving
from tests.linkjolt.registry import samples

ROUTES = [
    *(
        (method, f"/v1/{plural}", scope)
        for plural in ("campaigns", "affiliates", "links")
        for method, scope in (("GET", "links:read"), ("POST", "links:write"))
    ),
    *(
        (method, f"/v1/{plural}/{identity}", scope)
        for plural, identity in (
            ("campaigns", "cmp_9"),
            ("affiliates", "aff_9"),
            ("links", "lnk_9"),
        )
        for method, scope in (
            ("GET", "links:read"),
            ("PATCH", "links:write"),
            ("DELETE", "links:write"),
        )
    ),
    ("HEAD", "/v1/links", "links:read"),
    ("POST", "/v1/links/bulk", "links:write"),
    ("GET", "/v1/keys", "keys:write"),
    ("POST", "/v1/keys", "keys:write"),
    ("GET", "/v1/keys/key_99", "keys:write"),
    ("PATCH", "/v1/keys/key_99", "keys:write"),
    ("DELETE", "/v1/keys/key_99", "keys:write"),
]


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_a_route_opens_to_its_scope_and_to_admin_alone(
    api: Api, method: str, path: str, scope: str
) -> None:
    for allowed in (scope, "admin"):
        await api.use_key(allowed)
        assert (await api.send(method, path)).status_code not in (401, 403)
    await api.use_key(*(other for other in SCOPES if other not in (scope, "admin")))
    response = await api.send(method, path)
    assert response.status_code == 403
    if method != "HEAD":
        problem = response.json()
        assert problem["code"] == "forbidden"
        assert scope in problem["detail"]


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p, _ in ROUTES] + [("GET", "/v1/me")])
async def test_no_route_opens_without_a_key(api: Api, method: str, path: str) -> None:
    del api.client.headers["Authorization"]
    response = await api.send(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "lj_live_x"])
async def test_a_header_without_a_bearer_key_is_unauthorized(api: Api, header: str) -> None:
    api.client.headers["Authorization"] = header
    assert await api.refused("GET", "/v1/me") == (401, "unauthorized", [])


async def test_the_scheme_is_read_in_any_case(api: Api) -> None:
    value = api.client.headers["Authorization"].replace("Bearer", "bearer")
    api.client.headers["Authorization"] = value
    assert (await api.send("GET", "/v1/me")).status_code == 200


async def test_unknown_mistyped_and_revoked_keys_get_the_same_answer(api: Api) -> None:
    revoked = api_key_secrets.make_secret()
    key = await api.registry.create(samples.key(revoked, "admin"))
    await api.registry.delete(ApiKey, Account(1), key.number, samples.NOW)
    details: set[str] = set()
    for secret in (revoked, api_key_secrets.make_secret(), "lj_live_mistyped"):
        api.client.headers["Authorization"] = f"Bearer {secret}"
        response = await api.send("GET", "/v1/me")
        assert response.status_code == 401
        assert secret not in response.text
        details.add(response.json()["detail"])
    assert len(details) == 1


async def test_an_expired_key_is_unauthorized(api: Api) -> None:
    now = datetime.now(UTC)
    for seconds, status in ((-1, 401), (60, 200)):
        secret = api_key_secrets.make_secret()
        expires_at = now + timedelta(seconds=seconds)
        await api.registry.create(samples.key(secret, "admin", expires_at=expires_at))
        api.client.headers["Authorization"] = f"Bearer {secret}"
        assert (await api.send("GET", "/v1/me")).status_code == status


async def test_a_key_grants_no_scope_that_it_lacks(api: Api) -> None:
    await api.use_key("keys:write", "links:read")
    body = {"name": "x", "scopes": ["links:read", "links:write"]}
    assert await api.refused("POST", "/v1/keys", body) == (403, "forbidden", ["scopes"])
    await api.post("/v1/keys", {"name": "x", "scopes": ["links:read", "keys:write"]})


async def test_a_key_prolongs_no_key_above_itself(api: Api) -> None:
    admin = await api.post("/v1/keys", {"name": "boss", "scopes": ["admin"]})
    await api.use_key("keys:write")
    path = f"/v1/keys/{admin['id']}"
    body = {"expires_at": "2099-01-01T00:00:00Z"}
    assert await api.refused("PATCH", path, body) == (403, "forbidden", ["scopes"])


async def test_a_created_key_grants_its_scopes(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "reader", "scopes": ["links:read"]})
    api.client.headers["Authorization"] = f"Bearer {made['key']}"
    assert (await api.send("GET", "/v1/links")).status_code == 200
    assert (await api.send("POST", "/v1/links", {})).status_code == 403


async def test_a_registry_that_cannot_be_reached_is_unavailable(redis_server: RedisServer) -> None:
    lost = connect(redis_server.url.replace(str(redis_server.port), "1"))
    transport = httpx2.ASGITransport(app=application(lost))
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
        client.headers["Authorization"] = f"Bearer {api_key_secrets.make_secret()}"
        response = await client.get("/v1/campaigns")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    await lost.aclose()
