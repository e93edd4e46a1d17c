"""A key bound to an affiliate reads what is of it: links and single conversions."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import Link
from tests.ingest.conftest import Shop, make_key, shop
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.registry import samples

__all__ = ["shop"]


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        for name in ("Ann", "Bea"):
            await api.registry.create(samples.affiliate(name))
        await api.registry.create(samples.campaign())
        yield api


async def listed(api: Api, limit: int) -> list[str]:
    """Follows the cursors of the list of links; returns their codes."""
    codes: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = await api.get(f"/v1/links?limit={limit}&cursor={cursor}")
        assert len(page["data"]) <= limit
        codes += [link["tracking_code"] for link in page["data"]]
        cursor = page["next_cursor"]
    return codes


async def test_it_lists_and_reads_its_links_alone(api: Api) -> None:
    owners = (1, 2, 2, 2, 2, 2, 2, 2, 1, 1, 2, 1)
    links = [
        await api.registry.create(samples.link(f"tc_{number}", affiliate=owner))
        for number, owner in enumerate(owners, 1)
    ]
    await api.registry.delete(Link, ACCOUNT_DEFAULT, 10, samples.NOW)
    await api.use_key("links:read", affiliate=1)
    for limit in (1, 2, 3, 100):
        assert await listed(api, limit) == ["tc_1", "tc_9", "tc_12"]
    for query, total in (("limit=1", 3), ("q=tc_1", 2), ("q=tc_2", 0), ("affiliate_id=aff_2", 0)):
        page = await api.get(f"/v1/links?{query}")
        assert page["total"] == total
        assert {link["affiliate_id"] for link in page["data"]} <= {"aff_1"}
    for link in links:
        status = 200 if link.affiliate == 1 and link.number != 10 else 404
        path = f"/v1/links/lnk_{link.number}"
        assert (await api.send("GET", path)).status_code == status
    foreign, missing = [await api.refused("GET", f"/v1/links/lnk_{n}") for n in (2, 999)]
    assert foreign == missing


async def test_a_key_is_bound_when_it_is_created_and_only_to_read(api: Api) -> None:
    reads = ["links:read", "reports:read", "events:read"]
    form = {"name": "partner", "scopes": reads, "affiliate_id": "aff_2"}
    made = await api.post("/v1/keys", form)
    assert (made["affiliate_id"], made["campaign_id"]) == ("aff_2", None)
    for scope in ("admin", "links:write", "conversions:write", "postback", "keys:write"):
        refused = await api.refused("POST", "/v1/keys", form | {"scopes": [*reads, scope]})
        assert refused == (422, "invalid_field", ["affiliate_id"])
    both = {"scopes": ["postback"], "campaign_id": "cmp_1"}
    refused = await api.refused("POST", "/v1/keys", form | both)
    assert refused == (422, "invalid_field", ["affiliate_id"])
    for unknown in ("aff_99", "cmp_1", "x"):
        refused = await api.refused("POST", "/v1/keys", form | {"affiliate_id": unknown})
        assert refused[1:] == ("unknown_reference", ["affiliate_id"])
    for value in ("aff_1", None):
        refused = await api.refused("PATCH", f"/v1/keys/{made['id']}", {"affiliate_id": value})
        assert refused == (422, "invalid_field", ["affiliate_id"])
    api.client.headers["Authorization"] = f"Bearer {made['key']}"
    assert (await api.get("/v1/me"))["key"]["affiliate_id"] == "aff_2"


async def test_a_conversion_is_read_by_its_affiliates_key_alone(shop: Shop) -> None:
    made = await shop.post(
        {"tracking_code": shop.link.tracking_code, "order_value": 5, "order_id": "1"}
    )
    path = f"/v1/conversions/{made.json()['conversion_id']}"
    await shop.registry.create(samples.affiliate("Bea"))
    keys = [
        await make_key(shop.registry, ["reports:read"], affiliate=shop.link.affiliate + other)
        for other in (0, 1)
    ]
    own, foreign = [await shop.get(path, key) for key in keys]
    assert (own.status_code, foreign.status_code) == (200, 404)
    assert own.json() == (await shop.get(path)).json()
    missing = await shop.get("/v1/conversions/conv_06EZ3GQ8N4T5W1Y7B2C9D0F6H8", keys[1])
    assert {**foreign.json(), "request_id": ""} == {**missing.json(), "request_id": ""}


async def test_a_moved_conversion_goes_with_its_affiliate(shop: Shop) -> None:
    """One that nobody earned is nobody's, until it is given to an affiliate."""
    made = await shop.post(
        {"click_id": "unknown", "order_value": 5, "order_id": "1", "currency": "USD"}
    )
    assert made.status_code == 201, made.text
    path = f"/v1/conversions/{made.json()['conversion_id']}"
    key = await make_key(shop.registry, ["reports:read"], affiliate=shop.link.affiliate)
    assert (await shop.get(path, key)).status_code == 404
    given = {"adjustment_id": "a", "tracking_code": shop.link.tracking_code}
    assert (await shop.post(given, path=f"{path}/attribute")).status_code == 201
    assert (await shop.get(path, key)).status_code == 200


async def test_even_an_admin_key_that_is_bound_writes_nothing(shop: Shop) -> None:
    """None can be created, but what a stored one says must not matter."""
    key = await make_key(shop.registry, ["admin"], affiliate=shop.link.affiliate)
    order = {"tracking_code": shop.link.tracking_code, "order_value": 5, "order_id": "1"}
    assert (await shop.post(order, key)).status_code == 403
    assert (await shop.post([order], key)).status_code == 403
    link = msgspec.to_builtins({"destination": "https://shop.example/", "campaign_id": "cmp_1"})
    assert (await shop.post(link, key, "/v1/links")).status_code == 403
    query = f"tracking_code={shop.link.tracking_code}&payout=1&key={key}"
    assert (await shop.client.get(f"/postback?{query}")).status_code == 403
    assert await shop.facts() == []
