"""Webhooks reach the networks that the operator allows and public addresses, nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import BadSetting, SharedSettings, load
from linkjolt.webhooks.allowed_targets import PrivateTargets, parse_target, private_targets
from outbound.resolver import Resolver
from outbound.transport import EndpointClient, EndpointResponse
from tests.linkjolt.api.client import EDGE_URL, Api, serving
from tests.outbound.receiver import receiving

NETWORKS = "127.0.0.0/30, 10.1.0.0/16, fd00:1::/32"
SETTINGS = SharedSettings(public_url=EDGE_URL, webhook_allowed_networks=NETWORKS)
ALLOWED = private_targets(SETTINGS)
INSIDE = [
    "http://127.0.0.1:8002/",
    "http://10.1.255.255/",
    "https://10.1.0.0:9000/",
    "http://[fd00:1::5]:80/",
    "http://[::ffff:10.1.2.3]/",
    # Names are judged once it is known where they lead.
    "http://shop.internal:8080/",
    "https://localhost/",
    "https://shop.example/",
    "https://93.184.215.14/",
]
OUTSIDE = [
    "http://127.0.0.4/",
    "https://127.0.0.4/",
    "http://10.2.0.0/",
    "https://192.168.0.1/",
    "https://169.254.169.254/",
    "http://[fd00:2::5]/",
    "http://[::1]/",
    "http://[::ffff:10.2.0.1]/",
    "http://[64:ff9b::10.2.0.1]/",
    # What the web would not have is for the allowed networks only.
    "http://93.184.215.14/",
    "https://93.184.215.14:22/",
    # An address inside, but not in its usual notation.
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
]


@pytest.mark.parametrize("url", INSIDE)
def test_a_target_inside_an_allowed_network_is_registered(url: str) -> None:
    assert parse_target(url, ALLOWED).url == url


@pytest.mark.parametrize("url", OUTSIDE)
def test_a_target_outside_is_refused_when_it_is_registered(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_target(url, ALLOWED)
    assert (refused.value.reason, refused.value.field) == (Reason.target_refused, "url")


@pytest.mark.parametrize("url", OUTSIDE)
def test_all_targets_are_allowed_where_everything_is(url: str) -> None:
    settings = SharedSettings(webhook_allow_private=True, webhook_allowed_networks=NETWORKS)
    assert parse_target(url, private_targets(settings)).url == url


@pytest.mark.parametrize(
    "variable", ["LINKJOLT_WEBHOOK_ALLOWED_NETWORKS", "LINKJOLT_TRUSTED_PROXIES"]
)
@pytest.mark.parametrize("bad", ["10.0.0.0/33", "10.0.0.1/8", "shop", "fd00::/129", "10.0.0.0-9"])
def test_a_bad_network_stops_the_start_and_names_its_variable(variable: str, bad: str) -> None:
    with pytest.raises(BadSetting, match=f"{variable}: '{bad}' is no network"):
        load(SharedSettings, {variable: f"10.0.0.0/8, {bad}"})


def test_a_bad_network_in_the_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "linkjolt.toml"
    file.write_text("webhook_allowed_networks = '10.0.0.0/40'\n")
    with pytest.raises(BadSetting, match="LINKJOLT_WEBHOOK_ALLOWED_NETWORKS"):
        load(SharedSettings, {"LINKJOLT_CONFIG": str(file)})


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis, settings=SETTINGS) as api:
        yield api


async def test_the_api_registers_and_changes_targets_by_the_allowed_networks(api: Api) -> None:
    hook = {"url": "http://10.1.2.3:8080/", "events": ["conversion.created"]}
    await api.post("/v1/webhooks", hook)
    for method, path in (("POST", "/v1/webhooks"), ("PATCH", "/v1/webhooks/whk_1")):
        refused = await api.refused(method, path, hook | {"url": "http://10.2.0.1:8080/"})
        assert refused == (422, "target_refused", ["url"])
    assert (await api.get("/v1/webhooks/whk_1"))["url"] == hook["url"]


async def post(url: str, *addresses: str, allowed: PrivateTargets = ALLOWED) -> EndpointResponse:
    """Posts to a URL whose name leads to these addresses."""
    resolver = Resolver(lambda _: list(addresses))
    async with EndpointClient(url, resolver, connections=1, allowed=allowed) as endpoint:
        response = await endpoint.post(b"{}", {})
    await asyncio.sleep(0)
    return response


def named(url: str) -> str:
    """Returns a receiver's URL with a name for its host."""
    return url.replace("127.0.0.1", "shop.example")


async def test_a_name_that_leads_into_an_allowed_network_is_delivered_to() -> None:
    async with receiving() as shop:
        assert (await post(shop.url)).status == 200
        assert (await post(named(shop.url), "127.0.0.1")).status == 200
    assert len(shop.arrived) == 2


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.5"],
        ["127.0.0.1", "127.0.0.5"],
        ["127.0.0.1", "93.184.215.14"],
        ["::ffff:127.0.0.5"],
        ["::1"],
        ["::1%lo"],
        ["127.1"],
    ],
)
async def test_a_name_of_which_one_address_is_outside_gets_no_connection(
    addresses: list[str],
) -> None:
    async with receiving() as shop:
        response = await post(named(shop.url), *addresses)
    assert response.error == "shop.example leads to an address that is not allowed for its URL."
    assert shop.arrived == []


async def test_a_name_is_judged_anew_at_each_delivery() -> None:
    """A name that led inside when it was registered may lead elsewhere later (DNS rebinding)."""
    leads_to = ["127.0.0.1"]
    resolver = Resolver(lambda _: list(leads_to))
    async with receiving() as shop:
        url = named(shop.url)
        async with EndpointClient(url, resolver, connections=1, allowed=ALLOWED) as endpoint:
            assert (await endpoint.post(b"{}", {})).status == 200
            leads_to[0] = "127.0.0.5"
            resolver.forget("shop.example")
            assert (await endpoint.post(b"{}", {})).status == 0
    assert len(shop.arrived) == 1


async def test_without_networks_no_private_name_gets_a_connection() -> None:
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "64:ff9b::127.0.0.1", "::1%lo"):
        response = await post("https://shop.example/", address, allowed=PrivateTargets())
        assert response.error == "shop.example leads to an address that is not public."
