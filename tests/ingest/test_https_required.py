"""Where https is required, plain requests reach nothing, on the short way and on the long one."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from ingest.app import open_edge
from loadtests.wire import Wire
from tests.conformance.cases import FIREFOX, post, request
from tests.ingest.conftest import Shop
from tests.security.edge_socket import edge_port
from tests.waiting import wait_until

HTTPS = "X-Forwarded-Proto: https"
HSTS = b"\r\nstrict-transport-security: max-age=31536000\r\n"
CLICK = "/tc_ABC123?sub1=a%20b"
ORDER = b'{"tracking_code": "tc_ABC123", "order_value": 5, "order_id": "%d"}'


@asynccontextmanager
async def wire(shop: Shop, **settings: object) -> AsyncGenerator[Wire]:
    """Opens a connection to an edge that differs from the shop's in settings."""
    changed = msgspec.structs.replace(shop.edge.settings, **settings)
    async with open_edge(changed, asyncio.Event()) as edge:
        directory = edge.directory

        async def is_in_memory() -> bool:
            await directory.route("tc_ABC123")
            await directory.key(shop.key)
            cached = directory.cached_route("tc_ABC123"), directory.cached_key(shop.key)
            return None not in cached

        # Only what needs nothing from Redis goes the short way.
        await wait_until(is_in_memory)
        async with edge_port(edge) as port, Wire.open(port) as opened:
            yield opened


def location_of(raw: bytes) -> str:
    found = re.search(rb"(?im)^location: ([^\r]*)\r$", raw)
    return found[1].decode() if found else ""


def order(shop: Shop, number: int, *lines: str) -> bytes:
    key = f"Authorization: Bearer {shop.key}"
    return post(ORDER % number, key, "Content-Type: application/json", *lines)


@pytest.mark.parametrize("fast", [False, True], ids=["ordinary", "fast"])
async def test_a_proxys_word_decides_request_by_request(shop: Shop, fast: bool) -> None:
    # The same again, as the short way takes only what the long one has seen.
    steps = [
        (request(CLICK, FIREFOX), 307, False),
        (request(CLICK, FIREFOX, HTTPS), 302, True),
        (request(CLICK, FIREFOX, HTTPS), 302, True),
        (request(CLICK, FIREFOX), 307, False),
        (request(CLICK, FIREFOX, "X-Forwarded-Proto: http"), 307, False),
        (request(CLICK, FIREFOX, "X-Forwarded-Proto: http", HTTPS), 307, False),
        (request(CLICK, FIREFOX, HTTPS, HTTPS), 302, True),
        (request(CLICK, FIREFOX, "x-forwarded-proto: HTTPS, http"), 302, True),
        (request(CLICK, FIREFOX, "X-Forwarded-Protocol: https"), 307, False),
        (order(shop, 1), 403, False),
        (order(shop, 2, HTTPS), 201, True),
        (order(shop, 3, HTTPS), 201, True),
        (order(shop, 4, "X-Forwarded-Proto: http"), 403, False),
        (order(shop, 5, "X-Forwarded-Proto: http", HTTPS), 403, False),
        (request("/nothing", HTTPS), 404, True),
    ]
    async with wire(shop, require_https=True, fast_clicks=fast) as edge:
        for number, (sent, status, has_hsts) in enumerate([*steps, *steps[:9]]):
            answer = await edge.ask(sent)
            assert (number, answer.statuses) == (number, (status,)), answer.raw
            assert answer.raw.count(HSTS) == has_hsts, number
    assert len(await shop.clicks()) == 8
    assert [one.order_id for one in await shop.conversions()] == ["2", "3"]


@pytest.mark.parametrize("fast", [False, True], ids=["ordinary", "fast"])
async def test_a_strangers_word_counts_for_nothing(shop: Shop, fast: bool) -> None:
    async with wire(shop, require_https=True, fast_clicks=fast, trusted_proxies="") as edge:
        for _ in range(2):
            for lines in ((HTTPS,), ()):
                for sent, status in (
                    (request(CLICK, *lines), 307),
                    (order(shop, 1, *lines), 403),
                ):
                    answer = await edge.ask(sent)
                    assert answer.statuses == (status,)
                    assert HSTS not in answer.raw
    assert await shop.clicks() == []
    assert await shop.conversions() == []


@pytest.mark.parametrize("fast", [False, True], ids=["ordinary", "fast"])
async def test_without_the_setting_plain_requests_are_served_and_https_has_hsts(
    shop: Shop, fast: bool
) -> None:
    async with wire(shop, fast_clicks=fast) as edge:
        for number in range(1, 4):
            for lines, has_hsts in (((), False), ((HTTPS,), True)):
                answer = await edge.ask(request(CLICK, FIREFOX, *lines))
                assert (answer.statuses, answer.raw.count(HSTS)) == ((302,), has_hsts)
                answer = await edge.ask(order(shop, 2 * number + has_hsts, *lines))
                assert (answer.statuses, answer.raw.count(HSTS)) == ((201,), has_hsts)
    assert len(await shop.clicks()) == 6
    assert len(await shop.conversions()) == 6


async def test_browsers_forget_https_where_the_operator_says_so(shop: Shop) -> None:
    async with wire(shop, hsts_seconds=0) as edge:
        for _ in range(2):
            answer = await edge.ask(request(CLICK, HTTPS))
            assert b"\r\nstrict-transport-security: max-age=0\r\n" in answer.raw


@pytest.mark.parametrize(
    ("public_url", "host", "location"),
    [
        ("", "go.example", "https://go.example/tc_ABC123?sub1=a%20b"),
        ("", "go.example:80", "https://go.example/tc_ABC123?sub1=a%20b"),
        ("", "[2001:db8::1]:8000", "https://[2001:db8::1]/tc_ABC123?sub1=a%20b"),
        ("", "[2001:db8::1]", "https://[2001:db8::1]/tc_ABC123?sub1=a%20b"),
        ("http://old.example", "go.example", "https://go.example/tc_ABC123?sub1=a%20b"),
        ("https://go.example", "evil.example", "https://go.example/tc_ABC123?sub1=a%20b"),
        ("https://a.example:8443/go/", "a", "https://a.example:8443/go/tc_ABC123?sub1=a%20b"),
    ],
)
async def test_visitors_are_led_to_the_public_address_or_to_the_host_they_asked_for(
    shop: Shop, public_url: str, host: str, location: str
) -> None:
    async with wire(shop, require_https=True, public_url=public_url) as edge:
        for method in ("GET", "HEAD"):
            head = f"{method} {CLICK} HTTP/1.1\r\nHost: {host}\r\n\r\n"
            answer = await edge.ask(head.encode())
            assert answer.statuses == (307,)
            assert location_of(answer.raw) == location
            assert b"\r\ncache-control: no-store\r\n" in answer.raw


@pytest.mark.parametrize(
    "target",
    ["//evil.example/x", "/%0d%0aSet-Cookie:a=b", "/a?b=%0d%0a", '/"<x>?{y}', "/\\evil.example"],
)
async def test_no_path_leads_to_another_host_or_into_another_header(
    shop: Shop, target: str
) -> None:
    async with wire(shop, require_https=True) as edge:
        answer = await edge.ask(f"GET {target} HTTP/1.1\r\nHost: go.example\r\n\r\n".encode())
        assert answer.statuses in ((307,), (400,))
        assert location_of(answer.raw).startswith("https://go.example/") or 400 in answer.statuses
        assert b"\r\nset-cookie" not in answer.raw.lower()


REFUSED = [
    request("/tc_ABC123", "Authorization: Bearer lj_live_x"),
    request("/v1/me"),
    request("/v1/campaigns", "Authorization: Bearer lj_live_x"),
    post(b"{}", target="/v1/links"),
    request("/postback?key=lj_live_x&order_id=1"),
    request("/postback/voluum?cid=1"),
    request("/p.gif?key=lj_live_x&click_id=1"),
    request("/p.gif?k%65y=lj_live_x&click_id=1"),
    post(b"a=b", target="/tc_ABC123"),
    request("/tc_ABC123", method="DELETE"),
    b"GET /tc_ABC123 HTTP/1.0\r\n\r\n",
]


async def test_plain_requests_that_may_carry_credentials_are_refused_with_a_reason(
    shop: Shop,
) -> None:
    for sent in REFUSED:
        async with wire(shop, require_https=True) as edge:
            answer = await edge.ask(sent)
            assert answer.statuses == (403,), sent
            assert b'"code":"https_required"' in answer.raw
            assert b"lj_live_x" not in answer.raw


async def test_probes_and_pages_without_credentials_are_reached(shop: Shop) -> None:
    async with wire(shop, require_https=True) as edge:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await edge.ask(request(path))).statuses == (200,)
        for path in ("/", "/docs", "/p.gif?click_id=1", "/v1", "/tc_ABC123+"):
            assert (await edge.ask(request(path, "Cookie: a=b"))).statuses == (307,)
