"""Each operation lets in the keys that its document says, and no others."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Route

from ingest.app import open_edge, routed
from linkjolt.auth.tokens import issue_token, sign_token
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import SCOPES, ApiKey
from linkjolt.registry.keyring import load_token_keys
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings, ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.sealing import Sealer
from reports.app import create_app
from tests.linkjolt.registry import samples
from tests.project.openapi.conftest import DOCUMENTS
from tests.security.access_table import (
    CLIENTS_ONLY,
    LET_IN,
    Access,
    Called,
    accesses,
    expected,
    operations_of,
    refused_field,
)

# Operations without a key, beside those of `Server`: what visitors and their browsers ask for.
VISITORS = {
    *("followLink", "checkLink", "followLinkAlias", "checkLinkAlias", "trackPixel"),
    "getAuthorizationServer",
}
# The credentials of their examples are nobody's, which is all that their refusal says.
CREDENTIALS = {"signIn", "useOneTimeLink"}
OPEN = VISITORS | CREDENTIALS
# Streams do not end: who is let in asks for the head only.
STREAMS = {"streamEvents"}
# Listeners without an aggregator are not ready.
UNREADY = {"getReadiness"}
Apps = Mapping[str, Starlette]


@pytest.fixture
async def apps(
    redis: Redis, redis_server: RedisServer, clickhouse: ClickHouse, tmp_path: Path
) -> AsyncGenerator[Apps]:
    """Opens both listeners on one registry, in which the links of examples exist."""
    registry = Registry(redis)
    await samples.stored_link(registry)
    await registry.create(samples.campaign("Other"))
    settings = EdgeSettings(redis_url=redis_server.url, data=str(tmp_path), redis_timeout_seconds=5)
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    async with open_edge(settings, asyncio.Event()) as edge:
        registry.sealer = directory.clients.sealer = edge.sealer
        await directory.start_at_feed_end()
        # More keys than an address may get wrong, and more requests than a key may send.
        unlimited = ReportsSettings(
            rate_failures_per_minute=0, rate_key_per_minute=0, rate_account_per_minute=0
        )
        reports = create_app(unlimited, redis, clickhouse, directory, asyncio.Event(), edge.sealer)
        opened = {"edge": routed(edge), "reports": reports}
        await post_examples(opened["edge"], registry)
        yield opened


async def post_examples(edge: Starlette, registry: Registry) -> None:
    """Posts the conversion that other examples adjust, live and as a test."""
    (post,) = [one for one in operations_of(DOCUMENTS["edge"]) if one.id == "postConversions"]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=edge)) as client:
        for test in (False, True):
            secret = await make_secret(registry, Access(("admin",), test))
            for request in requests_of(post, secret):
                assert (await client.send(request)).status_code == 201


async def make_secret(registry: Registry, access: Access) -> str:
    """Makes a key or a token, and returns its secret; '' where a request carries none."""
    if access.token:
        return await make_token(registry, access)
    secret = api_key_secrets.make_secret(test=access.test)
    match access.validity:
        case "none":
            return ""
        case "malformed":
            return secret[:-1]
        case _:
            now = datetime.now(UTC)
            key = msgspec.structs.replace(
                samples.key(secret, *access.scopes),
                test=access.test,
                campaign=access.campaign,
                affiliate=access.affiliate,
                expires_at=now - timedelta(seconds=1) if access.validity == "expired" else None,
            )
            stored = await registry.create(key)
            if access.validity == "revoked":
                await registry.delete(ApiKey, ACCOUNT_DEFAULT, stored.number, now)
            return secret


async def make_token(registry: Registry, access: Access) -> str:
    """Makes a client, and returns a token of it."""
    now_ms = time.time_ns() // 1_000_000
    entry = samples.client("secret", *access.scopes, test=access.test)
    if access.validity == "revoked":
        entry = msgspec.structs.replace(entry, revoked_until_ms=now_ms)
    client = await registry.create(entry)
    issued_ms = now_ms - 2_000 if access.validity == "expired" else now_ms
    lifetime_seconds = 1 if access.validity == "expired" else 60
    claims = issue_token(client, access.scopes, issued_ms, lifetime_seconds)
    token = sign_token(claims, await load_token_keys(registry.redis, registry.opener))
    return token[:-1] if access.validity == "malformed" else token


def requests_of(one: Called, secret: str) -> Iterator[httpx2.Request]:
    """Yields a request for each place that a key may be in."""
    media, content = one.body or ("", b"")
    headers = {"Content-Type": media} if media else {}
    for scheme in sorted(one.schemes) or ["key"]:
        query = dict(one.query)
        if scheme == "keyInQuery" and secret:
            query["key"] = secret
        elif secret:
            headers["Authorization"] = f"Bearer {secret}"
        yield httpx2.Request(
            one.method, f"http://x{one.url}", params=query, headers=headers, content=content
        )
        headers.pop("Authorization", None)


def problem_of(one: Called, access: Access, answer: httpx2.Response) -> str:
    """Returns what is wrong with an answer; '' if nothing is."""
    wanted, field = expected(one, access), ""
    if wanted == LET_IN and (refused := refused_field(one, access)) is not None:
        wanted, field = (403, "forbidden"), refused
    if access.validity == "none" and "keyInQuery" in one.schemes:
        field = "key"
    if answer.status_code >= 500 and one.id not in UNREADY:
        return f"{answer.status_code}"
    if wanted == LET_IN:
        refused = answer.status_code in (401, 403) and one.id not in CREDENTIALS
        return f"{answer.status_code}, not let in: {answer.text}" if refused else ""
    if wanted == CLIENTS_ONLY:
        refused = answer.status_code == 401 and answer.json()["error"] == "invalid_client"
        return "" if refused else f"{answer.status_code}, for clients only: {answer.text}"
    status, code = wanted
    if answer.status_code != status:
        return f"{answer.status_code}, not {status}: {answer.text[:200]}"
    if one.method == "HEAD":
        return ""
    problem = answer.json()
    fields = [error["field"] for error in problem["errors"]]
    return "" if (problem["code"], fields) == (code, [field] * bool(field)) else answer.text


@pytest.mark.parametrize("listener", DOCUMENTS)
async def test_each_operation_lets_in_the_keys_that_it_declares(
    apps: Apps, redis: Redis, listener: str, tmp_path: Path
) -> None:
    registry = Registry(redis, Sealer(tmp_path / "secret.key"))
    transport = httpx2.ASGITransport(app=apps[listener], raise_app_exceptions=False)
    operations = list(operations_of(DOCUMENTS[listener]))
    wrong: list[str] = []
    async with httpx2.AsyncClient(transport=transport) as client:
        for access in accesses():
            secret = await make_secret(registry, access)
            for one in operations:
                endless = one.id in STREAMS and one.method == "GET"
                if endless and expected(one, access) == LET_IN:
                    continue
                for request in requests_of(one, secret):
                    answer = await client.send(request)
                    if problem := problem_of(one, access, answer):
                        wrong.append(f"{access.name}: {one.method} {one.path}: {problem}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


@pytest.mark.parametrize("listener", DOCUMENTS)
async def test_every_route_is_in_the_table(apps: Apps, listener: str) -> None:
    routes = {
        (method, route.path.replace(":path", ""))
        for route in cast(list[Route], apps[listener].routes)
        for method in route.methods or ()
    }
    assert {(one.method, one.path) for one in operations_of(DOCUMENTS[listener])} == routes


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_every_operation_declares_its_scopes(listener: str) -> None:
    document = DOCUMENTS[listener]
    for methods in document["paths"].values():
        for described in methods.values():
            is_open = described["operationId"] in OPEN or described["tags"] == ["Server"]
            assert is_open == ("security" not in described), described["operationId"]
    ways = [way for one in operations_of(document) for way in one.ways or ()]
    assert {scope for way in ways for scope in way} <= {*SCOPES} - {"admin"}
    # A key's own answer is the only one that needs a key and no scope.
    for_keys = [one for one in operations_of(document) if not one.schemes & {"client", "session"}]
    assert Counter(one.id for one in for_keys if one.ways == ((),)) == {"getMe": 2}


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_every_write_to_what_is_live_says_so(listener: str) -> None:
    modes = ("/v1/keys", "/v1/oauth-clients", "/oauth/", "/v1/session", "/v1/webhooks")
    modes += ("/v1/conversions", "/v1/adjustments", "/postback")
    for one in operations_of(DOCUMENTS[listener]):
        writes = one.ways is not None and one.method not in ("GET", "HEAD")
        is_live = (writes and not one.path.startswith(modes)) or one.id == "listAuditLog"
        assert one.live_only == is_live, one.id
