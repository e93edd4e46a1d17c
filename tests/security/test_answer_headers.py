"""No cache keeps an answer of the API, no browser takes it for another type, or frames a page."""

from collections.abc import Mapping, Sequence

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from ingest.operations import operations as edge_operations
from linkjolt.registry.entries import SCOPES
from linkjolt.registry.store import Registry
from linkjolt.web.answer_headers import RequestIds
from linkjolt.web.openapi import Operation
from linkjolt.web.requests import HEAD_MAX_BYTES, URL_MAX_BYTES
from loadtests.wire import Wire
from reports.operations import operations as reports_operations
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import ORDER
from tests.reports.conftest import Client
from tests.security.edge_socket import edge_port

# A client alone may keep these, and asks each time, or they are the same for everybody.
_KEPT = {
    "getReport": "private, no-cache",
    "getTopRows": "private, no-cache",
    "getDashboard": "no-cache",
    "getAsset": "no-cache",
    "openDocs": "no-cache",
    "openErrors": "no-cache",
    "getRobots": "public, max-age=86400",
    "getTrafficAdvice": "public, max-age=86400",
    "getViewerFile": "public, max-age=31536000, immutable",
}
_PARTS = {
    "{tracking_code}": "tc_ABC123+",
    "{dialect}": "voluum",
    "{name}": "swagger-ui.css",
    "{conversion_id}": "conv_1",
    "{webhook_id}": "msg_1",
}


def check(answer: httpx2.Response, kept: str = "no-store") -> None:
    headers = [(name.lower(), value) for name, value in answer.headers.multi_items()]
    found = [value for name, value in headers if name == "cache-control"]
    assert found == [kept], (answer.request.url, answer.status_code, found)
    found = [value for name, value in headers if name == "x-content-type-options"]
    assert found == ["nosniff"], (answer.request.url, answer.status_code, found)


def path_of(one: Operation) -> str:
    path = one.path
    for part, text in _PARTS.items():
        path = path.replace(part, text)
    return path.replace("{id}", "cmp_1").replace("swagger-ui.css", _asset(one))


def _asset(one: Operation) -> str:
    return "app.js" if one.path.startswith("/assets/") else "swagger-ui.css"


async def ask_each(
    http: httpx2.AsyncClient, operations: Sequence[Operation], headers: Mapping[str, str]
) -> set[int]:
    statuses: set[int] = set()
    for one in operations:
        if one.path == "/v1/live" and headers:
            continue
        body = one.bodies[0] if one.bodies else None
        content = msgspec.json.encode(body.example) if body else None
        media = {"Content-Type": body.media} if body else {}
        answer = await http.request(
            one.method, path_of(one), content=content, headers={**headers, **media}
        )
        statuses.add(answer.status_code)
        kept = _KEPT.get(one.id, "no-store") if answer.status_code == 200 else "no-store"
        check(answer, kept)
    return statuses


async def test_every_answer_of_an_edge_forbids_caches_and_sniffing(shop: Shop) -> None:
    secret = await make_key(shop.registry, SCOPES)
    operations = edge_operations()
    statuses = await ask_each(shop.client, operations, {"Authorization": f"Bearer {secret}"})
    assert {200, 201, 204, 404, 422} <= statuses
    assert 401 in await ask_each(shop.client, operations, {})


async def test_every_answer_of_the_reports_forbids_caches_and_sniffing(
    client: Client, redis: Redis
) -> None:
    secret = await make_key(Registry(redis), SCOPES)
    operations = reports_operations()
    statuses = await ask_each(client.http, operations, {"Authorization": f"Bearer {secret}"})
    assert {200, 201, 204, 404, 422} <= statuses
    assert 401 in await ask_each(client.http, operations, {})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/me"),
        ("POST", "/healthz"),
        ("GET", "/" + "a" * URL_MAX_BYTES),
    ],
)
async def test_paths_that_nobody_serves_are_answered_alike(
    shop: Shop, client: Client, method: str, path: str
) -> None:
    for http in (shop.client, client.http):
        answer = await http.request(method, path)
        assert answer.status_code in (404, 405, 414)
        check(answer)


async def test_a_failure_of_ours_is_answered_alike() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a bug")

    transport = httpx2.ASGITransport(app=RequestIds(failing), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as http:
        answer = await http.get("/v1/me")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert answer.headers["x-request-id"]
    check(answer)


async def test_a_report_is_kept_by_its_client_alone_and_revalidated(client: Client) -> None:
    for parameters in ({}, {"format": "csv"}, {"format": "csv", "limit": "all"}):
        answer = await client.get("/v1/reports", **parameters)
        check(answer, "no-store" if parameters else "private, no-cache")
    first = await client.get("/v1/reports")
    headers = {"Authorization": f"Bearer {client.secret}", "If-None-Match": first.headers["etag"]}
    again = await client.http.get("/v1/reports", headers=headers)
    assert again.status_code == 304
    # RFC 9110, 15.4.5: as the 200 would have it.
    check(again, "private, no-cache")


async def test_a_redirect_is_no_longer_than_it_was(shop: Shop) -> None:
    answer = await shop.client.get(f"/{shop.link.tracking_code}")
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    assert "x-content-type-options" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/errors"])
async def test_no_page_can_be_framed(shop: Shop, client: Client, path: str) -> None:
    for http in [client.http] if path == "/" else [client.http, shop.client]:
        page = await http.get(path)
        assert page.status_code == 200
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"


def wire_post(key: str, body: bytes) -> bytes:
    return (
        b"POST /v1/conversions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    ) % (key.encode(), len(body), body)


async def test_answers_written_to_the_socket_have_the_headers(shop: Shop) -> None:
    order = msgspec.json.encode(ORDER)
    other = msgspec.json.encode({**ORDER, "order_value": 1})
    async with edge_port(shop.edge) as port:
        sent = {
            201: wire_post(shop.key, order),
            200: wire_post(shop.key, order),
            409: wire_post(shop.key, other),
            400: b"NOT HTTP\r\n\r\n",
            431: b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_MAX_BYTES + b"a" * 1_000,
        }
        # With the key and the link in memory, no post reaches the application.
        assert await shop.edge.directory.key(shop.key)
        assert await shop.edge.directory.route(shop.link.tracking_code)
        for status, request in sent.items():
            async with Wire.open(port) as wire:
                wire.send(request)
                head = (await wire.reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 %d " % status)
            assert head.count(b"\r\ncache-control: no-store\r\n") == 1
            assert head.count(b"\r\nx-content-type-options: nosniff\r\n") == 1
