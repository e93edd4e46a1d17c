"""A key with networks is refused from everywhere else, in every way that a key is sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from ingest.app import create_app
from ingest.conversions.protocol import PostBatcher
from linkjolt.auth.allowed_networks import are_within, is_inside, normalize_networks
from linkjolt.clicks.addresses import parse_networks
from linkjolt.clicks.client_address import AddressReader, address_reader
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.reasons import Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, public_id
from linkjolt.settings import EdgeSettings, ReportsSettings, SharedSettings
from linkjolt.storage.clickhouse import ClickHouse
from reports.app import create_app as create_reports
from tests.ingest.conftest import Shop, make_key, shop
from tests.ingest.postbacks.test_signatures import SIGNED
from tests.linkjolt.api.client import Api, serving
from tests.waiting import wait_until

__all__ = ["shop"]
NETWORKS = ("203.0.113.0/24", "2001:db8:1::/48", "198.51.100.7/32")
INSIDE = ["203.0.113.0", "203.0.113.255", "::ffff:203.0.113.9", "2001:db8:1::5", "198.51.100.7"]
OUTSIDE = ["203.0.112.255", "203.0.114.0", "2001:db8:2::5", "198.51.100.6", "::1", "", "x"]


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


def test_networks_hold_their_addresses_and_no_others() -> None:
    assert [address for address in INSIDE if not is_inside(address, NETWORKS)] == []
    assert [address for address in OUTSIDE if is_inside(address, NETWORKS)] == []


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
        ("2001:DB8:0::1", "2001:db8::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.9/32"),
    ],
)
def test_networks_are_written_one_way(sent: str, stored: str) -> None:
    assert normalize_networks([sent, sent]) == (stored,)


@pytest.mark.parametrize(
    "bad",
    [
        *("", " ", "shop.example", "203.0.113.0/33", "203.0.113.7/24", "203.0.113", "1", "*"),
        *("2001:db8::1/64", "fe80::1%eth0", "203.0.113.0/24,10.0.0.0/8", "010.0.0.1"),
        *("203.0.113.0/-1", "203.0.113.0/24 ", "::ffff:203.0.113.9/120"),
    ],
)
def test_what_is_no_network_is_refused_by_its_place(bad: str) -> None:
    with pytest.raises(Rejected) as refused:
        normalize_networks(["10.0.0.0/8", bad])
    assert refused.value.field == "allowed_networks[1]"


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ([], [], True),
        (["10.0.0.0/8"], [], True),
        ([], ["10.0.0.0/8"], False),
        (["10.1.0.0/16"], ["10.0.0.0/8"], True),
        (["10.0.0.0/8"], ["10.1.0.0/16"], False),
        (["10.0.0.0/8"], ["10.0.0.0/9", "10.128.0.0/9"], True),
        (["10.0.0.0/8", "192.0.2.1/32"], ["10.0.0.0/8"], False),
        (["2001:db8::/48"], ["2001:db8::/32", "10.0.0.0/8"], True),
        (["::/0"], ["0.0.0.0/0"], False),
    ],
)
def test_networks_within_others(inner: Sequence[str], outer: Sequence[str], within: bool) -> None:
    assert are_within(inner, outer) is within


def read(proxies: str, header: str, peer: str, *lines: tuple[str, str]) -> str:
    headers = [(name.encode(), value.encode()) for name, value in lines]
    addresses = AddressReader(parse_networks(proxies), header)
    return addresses.read({"client": (peer, 1), "headers": headers})


def test_only_a_trusted_proxy_names_the_client() -> None:
    forged = ("x-forwarded-for", "203.0.113.5")
    assert read("10.0.0.0/8", "x-forwarded-for", "192.0.2.1", forged) == "192.0.2.1"
    assert read("10.0.0.0/8", "x-forwarded-for", "10.0.0.1", forged) == "203.0.113.5"
    assert read("10.0.0.0/8", "x-forwarded-for", "::ffff:10.0.0.1", forged) == "203.0.113.5"
    # What the client itself put first is not believed, in one line or in two.
    chain = ("x-forwarded-for", "203.0.113.5, 192.0.2.1")
    assert read("10.0.0.0/8", "x-forwarded-for", "10.0.0.1", chain) == "192.0.2.1"
    lines = (forged, ("x-forwarded-for", "192.0.2.1, 10.0.0.2"))
    assert read("10.0.0.0/8", "x-forwarded-for", "10.0.0.1", *lines) == "192.0.2.1"
    for other in ("x-real-ip", "forwarded", "cf-connecting-ip"):
        assert read("10.0.0.0/8", other, "10.0.0.1", forged) == "10.0.0.1"
    node = ("forwarded", 'for="[2001:db8::7]:80";proto=https')
    assert read("10.0.0.0/8", "forwarded", "10.0.0.1", node) == "2001:db8::7"
    assert AddressReader((), "").read({"client": None, "headers": []}) == ""


@pytest.mark.parametrize("kind", [EdgeSettings, ReportsSettings])
def test_both_listeners_read_the_same_header(kind: type[SharedSettings]) -> None:
    settings = kind(trusted_proxies="10.0.0.0/8", client_ip_header="X-Real-IP")
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-real-ip", b"203.0.113.5")]}
    assert address_reader(settings).read(scope) == "203.0.113.5"


def client_from(shop: Shop, address: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=create_app(shop.edge), client=(address, 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://edge")


async def answers_to(shop: Shop, address: str, secret: str, key: str, sign: str) -> list[int]:
    """Sends the key in every way from an address; returns the statuses."""
    bearer = {"Authorization": f"Bearer {secret}"}
    code = f"tracking_code={shop.link.tracking_code}"
    order = {"tracking_code": shop.link.tracking_code, "order_value": 5, "order_id": address}
    async with client_from(shop, address) as client:
        signed = SIGNED(f"{code}&payout=4&order_id=s{address}", key, sign)
        answers = [
            await client.get("/v1/me", headers=bearer),
            await client.post("/v1/conversions", headers=bearer, json=order),
            await client.post(
                "/v1/conversions", headers=bearer, json=[order | {"order_id": "many"}]
            ),
            await client.get(f"/postback?{code}&payout=1&order_id=q{address}&key={secret}"),
            await client.get(f"/postback?{code}&payout=2&order_id=h{address}", headers=bearer),
            await client.post(
                "/postback", data={"tracking_code": "x", "payout": "3", "key": secret}
            ),
            await client.get(f"/postback?{signed}"),
        ]
        before = len(await shop.facts())
        await client.get(f"/p.gif?{code}&payout=6&order_id=p{address}&key={secret}")
        answers[5].status_code = 401 if answers[5].status_code == 401 else 200
        recorded = 200 if len(await shop.facts()) > before else 401
        return [*(answer.status_code for answer in answers), recorded]


async def test_every_way_to_send_a_key_asks_for_its_networks(shop: Shop) -> None:
    sign = api_key_secrets.make_signing_secret()
    secret = await make_key(
        shop.registry,
        ["conversions:write"],
        allowed_networks=("203.0.113.0/24",),
        signing_secret=sign,
    )
    keys = [one async for one in shop.registry.iterate(ApiKey, ACCOUNT_DEFAULT)]
    key = public_id("key", keys[-1].number)
    inside = await answers_to(shop, "203.0.113.9", secret, key, sign)
    assert [status for status in inside if status >= 400] == []
    facts = len(await shop.facts())
    assert await answers_to(shop, "192.0.2.1", secret, key, sign) == [401] * 8
    assert len(await shop.facts()) == facts


def raw_post(body: bytes, secret: str) -> bytes:
    lines = (
        "POST /v1/conversions HTTP/1.1",
        "Host: edge",
        f"Authorization: Bearer {secret}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


async def in_memory(shop: Shop, secret: str) -> bool:
    """Loads what a post needs; the feed drops what was just created once more."""
    directory, code = shop.edge.directory, shop.link.tracking_code
    await directory.key(secret)
    await directory.route(code)
    return bool(directory.cached_key(secret) and directory.cached_route(code))


async def test_the_fast_path_leaves_such_a_key_to_the_application(shop: Shop) -> None:
    """It knows no addresses."""
    code = shop.link.tracking_code
    body = msgspec.json.encode({"tracking_code": code, "order_value": 5, "order_id": "1"})
    for networks, is_fast in (((), True), (("127.0.0.0/8",), False), (("192.0.2.1/32",), False)):
        secret = await make_key(shop.registry, ["conversions:write"], allowed_networks=networks)
        await wait_until(lambda secret=secret: in_memory(shop, secret))
        pending = PostBatcher(shop.edge).accept(raw_post(body, secret))
        assert (pending is not None) is is_fast
        noted = shop.edge.directory.key_uses.noted
        newest = max([one.number async for one in shop.registry.iterate(ApiKey, ACCOUNT_DEFAULT)])
        assert (newest in noted) is is_fast


async def test_a_refusal_says_the_same_of_keys_that_are_unknown(
    redis: Redis, clickhouse: ClickHouse, shop: Shop
) -> None:
    secret = await make_key(shop.registry, ["admin"], allowed_networks=("203.0.113.0/24",))
    reports = create_reports(
        ReportsSettings(), redis, clickhouse, shop.edge.directory, asyncio.Event()
    )
    counter = "linkjolt_keys_refused_by_address_total"
    before = REGISTRY.get_sample_value(counter) or 0
    for app in (create_app(shop.edge), reports):
        transport = httpx2.ASGITransport(app=app, client=("192.0.2.1", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            problems: list[dict[str, Any]] = []
            for one in (secret, api_key_secrets.make_secret()):
                headers = {"Authorization": f"Bearer {one}"}
                answer = await client.get("/v1/me", headers=headers)
                assert answer.status_code == 401
                problems.append({**answer.json(), "request_id": ""})
            assert problems[0] == problems[1]
    assert (REGISTRY.get_sample_value(counter) or 0) == before + 2


async def test_networks_are_set_and_changed_over_http(api: Api) -> None:
    form = {"name": "k", "scopes": ["links:read"], "allowed_networks": ["203.0.113.7", "::1/128"]}
    made = await api.post("/v1/keys", form)
    assert made["allowed_networks"] == ["203.0.113.7/32", "::1/128"]
    path = f"/v1/keys/{made['id']}"
    changed = await api.send("PATCH", path, {"allowed_networks": ["10.0.0.0/8"]})
    assert changed.json()["allowed_networks"] == ["10.0.0.0/8"]
    renamed = await api.send("PATCH", path, {"name": "other"})
    assert renamed.json()["allowed_networks"] == ["10.0.0.0/8"]
    cleared = await api.send("PATCH", path, {"allowed_networks": []})
    assert cleared.json()["allowed_networks"] == []
    for bad, field in (
        (["10.0.0.1/8"], "allowed_networks[0]"),
        (["10.0.0.0/8"] * 65, "allowed_networks"),
        ("10.0.0.0/8", "allowed_networks"),
        ([7], "allowed_networks[0]"),
        (None, "allowed_networks"),
    ):
        sent = {"allowed_networks": bad}
        assert await api.refused("PATCH", path, sent) == (422, "invalid_field", [field])
        refused = await api.refused("POST", "/v1/keys", form | sent)
        assert refused == (422, "invalid_field", [field])
    assert (await api.get(path))["allowed_networks"] == []


async def test_no_key_reaches_beyond_its_own_networks(api: Api) -> None:
    made = [
        await api.post("/v1/keys", {"name": "k", "scopes": ["links:read"], **networks})
        for networks in ({}, {"allowed_networks": ["192.0.2.0/24"]})
    ]
    own = await api.use_key("admin", allowed_networks=("127.0.0.0/8", "10.0.0.0/8"))
    forbidden = (403, "forbidden", ["allowed_networks"])
    for other in made:
        path = f"/v1/keys/{other['id']}"
        assert await api.refused("PATCH", path, {"name": "mine"}) == forbidden
        assert await api.refused("POST", f"{path}/rotate", {}) == forbidden
        assert await api.refused("POST", f"{path}/signing-secret") == forbidden
        assert await api.refused("DELETE", path) == forbidden
    form: dict[str, object] = {"name": "k", "scopes": ["links:read"]}
    path = f"/v1/keys/{public_id('key', own.number)}"
    for wider in ([], ["0.0.0.0/0"], ["10.0.0.0/8", "192.0.2.1"]):
        sent = {"allowed_networks": wider}
        assert await api.refused("POST", "/v1/keys", form | sent) == forbidden
        assert await api.refused("PATCH", path, sent) == forbidden
    await api.post("/v1/keys", form | {"allowed_networks": ["10.1.0.0/16"]})
