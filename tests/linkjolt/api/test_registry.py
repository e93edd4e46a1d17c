"""The registry over HTTP: create, read, list, patch, delete, many at once (API §3)."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.linkjolt.api.client import EDGE_URL, Api, serving

CAMPAIGN: dict[str, Any] = {
    "name": "Spring",
    "currency": "USD",
    "commission": {"kind": "percentage", "rate": "30"},
    "click_id_param": "click_id",
    "window_days": 30,
}
LINK: dict[str, Any] = {
    "campaign_id": "cmp_1",
    "affiliate_id": "aff_1",
    "destination": "https://shop.example/p?ref={affiliate_id}",
    "tracking_code": "tc_ABC123",
    "pass_params": "all",
}


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        await api.post("/v1/campaigns", CAMPAIGN)
        await api.post("/v1/affiliates", {"name": "Blog of Ann"})
        yield api


async def test_a_created_campaign_is_answered_whole(api: Api) -> None:
    campaign = await api.post("/v1/campaigns", CAMPAIGN)
    assert campaign.pop("created_at").endswith("Z")
    assert campaign == CAMPAIGN | {
        "id": "cmp_2",
        "commission": {"kind": "percentage", "rate": 30},
        "window_min_seconds": 0,
        "conversion_status": "pending",
        "events": [],
        "duplicates": "refuse",
        "attribution": "last",
        "pixel": "off",
        "pixel_max_value": None,
        "lifetime": False,
        "status": "active",
    }


async def test_every_kind_of_commission_comes_back_exactly(api: Api) -> None:
    for rule in (
        {"kind": "flat", "amount": 9.99},
        {"kind": "tiered", "tiers": [{"from": 0, "rate": 5}, {"from": 100.5, "rate": 12.25}]},
    ):
        campaign = await api.post("/v1/campaigns", CAMPAIGN | {"commission": rule})
        assert campaign["commission"] == rule
        assert await api.get(f"/v1/campaigns/{campaign['id']}") == campaign


async def test_a_created_link_tells_its_url(api: Api) -> None:
    link = await api.post("/v1/links", LINK)
    assert link.pop("created_at").endswith("Z")
    assert link == LINK | {
        "id": "lnk_1",
        "url": f"{EDGE_URL}/tc_ABC123",
        "status": "active",
        "fallback_url": "",
    }


async def test_a_link_gets_a_code_when_it_brings_none(api: Api) -> None:
    body = {name: value for name, value in LINK.items() if name != "tracking_code"}
    link = await api.post("/v1/links", body | {"pass_params": ["sub1", "utm_source"]})
    assert link["tracking_code"].startswith("tc_")
    assert link["url"] == f"{EDGE_URL}/{link['tracking_code']}"
    assert link["pass_params"] == ["sub1", "utm_source"]


async def test_a_taken_code_is_a_conflict(api: Api) -> None:
    await api.post("/v1/links", LINK)
    assert await api.refused("POST", "/v1/links", LINK) == (
        409,
        "tracking_code_taken",
        ["tracking_code"],
    )


@pytest.mark.parametrize("field", ["campaign_id", "affiliate_id"])
async def test_a_link_needs_a_campaign_and_an_affiliate_that_exist(api: Api, field: str) -> None:
    prefix = LINK[field][:4]
    expected = (422, "unknown_reference", [field])
    assert await api.refused("POST", "/v1/links", LINK | {field: f"{prefix}9"}) == expected
    plural = {"cmp_": "campaigns", "aff_": "affiliates"}[prefix]
    assert (await api.send("DELETE", f"/v1/{plural}/{prefix}1")).status_code == 204
    assert await api.refused("POST", "/v1/links", LINK) == expected


async def test_a_keys_secret_is_shown_once(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["conversions:write"]})
    secret, _ = made.pop("key"), made.pop("signing_secret")
    assert secret.startswith("lj_live_")
    assert made["expires_at"] is None
    assert await api.get(f"/v1/keys/{made['id']}") == made
    assert made in (await api.get("/v1/keys"))["data"]
    assert secret not in (await api.send("GET", "/v1/keys")).text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/campaigns/cmp_9"),
        ("GET", "/v1/campaigns/aff_1"),
        ("GET", "/v1/campaigns/1"),
        ("PATCH", "/v1/affiliates/aff_9"),
        ("DELETE", "/v1/links/lnk_99999999999999999999"),
        ("GET", "/v1/links/bulk"),
    ],
)
async def test_what_is_not_there_is_not_found(api: Api, method: str, path: str) -> None:
    assert await api.refused(method, path, {"name": "x"}) == (404, "not_found", [])


async def test_a_wrong_method_names_the_right_ones(api: Api) -> None:
    response = await api.send("PUT", "/v1/campaigns", CAMPAIGN)
    assert response.status_code == 405
    allowed = {method.strip() for method in response.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "POST"}


async def test_a_patch_changes_what_it_names_and_answers_the_whole(api: Api) -> None:
    before = await api.post("/v1/links", LINK)
    change = {"status": "disabled", "fallback_url": "https://shop.example/"}
    response = await api.send("PATCH", "/v1/links/lnk_1", change)
    assert response.status_code == 200
    assert response.json() == before | change
    assert await api.get("/v1/links/lnk_1") == before | change


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/campaigns/cmp_1", "currency", "EUR"),
        ("/v1/campaigns/cmp_1", "id", "cmp_2"),
        ("/v1/links/lnk_1", "tracking_code", "other"),
        ("/v1/links/lnk_1", "campaign_id", "cmp_1"),
        ("/v1/links/lnk_1", "affiliate_id", "aff_1"),
        ("/v1/keys/key_1", "scopes", ["admin"]),
    ],
)
async def test_what_is_settled_cannot_be_patched(
    api: Api, path: str, field: str, value: object
) -> None:
    await api.post("/v1/links", LINK)
    assert await api.refused("PATCH", path, {field: value}) == (422, "invalid_field", [field])


async def test_a_patch_is_refused_by_field_like_a_creation(api: Api) -> None:
    expected = (422, "unknown_field", ["colour"])
    assert await api.refused("PATCH", "/v1/campaigns/cmp_1", {"colour": "red"}) == expected
    expected = (422, "invalid_field", ["window_days"])
    assert await api.refused("PATCH", "/v1/campaigns/cmp_1", {"window_days": -1}) == expected
    expected = (422, "invalid_field", ["name"])
    assert await api.refused("PATCH", "/v1/campaigns/cmp_1", {"name": None}) == expected


async def test_what_was_deleted_is_gone_from_every_answer(api: Api) -> None:
    assert (await api.send("DELETE", "/v1/affiliates/aff_1")).status_code == 204
    assert (await api.refused("GET", "/v1/affiliates/aff_1"))[0] == 404
    assert (await api.refused("DELETE", "/v1/affiliates/aff_1"))[0] == 404
    assert await api.get("/v1/affiliates") == {"data": [], "total": 0, "next_cursor": None}


async def test_pages_join_to_the_whole_list(api: Api) -> None:
    for name in ("B", "C", "D", "E"):
        await api.post("/v1/affiliates", {"name": name})
    found: list[str] = []
    page = await api.get("/v1/affiliates?limit=2")
    while page["next_cursor"]:
        found += [entry["id"] for entry in page["data"]]
        page = await api.get(f"/v1/affiliates?limit=2&cursor={page['next_cursor']}")
    found += [entry["id"] for entry in page["data"]]
    assert found == ["aff_1", "aff_2", "aff_3", "aff_4", "aff_5"]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limit=0", "invalid_field", "limit"),
        ("limit=1001", "invalid_field", "limit"),
        ("limit=ten", "invalid_field", "limit"),
        ("limit=", "invalid_field", "limit"),
        ("cursor=x", "invalid_field", "cursor"),
        ("cursor=-1", "invalid_field", "cursor"),
        ("cursor=99999999999", "invalid_field", "cursor"),
        ("page=2", "unknown_field", "page"),
    ],
)
async def test_a_bad_page_is_refused_by_parameter(
    api: Api, query: str, code: str, field: str
) -> None:
    assert await api.refused("GET", f"/v1/links?{query}") == (422, code, [field])


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    url = "/v1/campaigns"
    response = await api.client.post(
        url, content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")
    response = await api.client.post(url, content=b"a=b", headers={"Content-Type": "text/plain"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_instants_are_rfc_3339_in_utc(api: Api) -> None:
    body = {"name": "shop", "scopes": ["admin"], "expires_at": "2099-01-01T02:00:00+02:00"}
    made = await api.post("/v1/keys", body)
    assert made["expires_at"] == "2099-01-01T00:00:00Z"
    assert datetime.fromisoformat(made["created_at"]).utcoffset() is not None


async def test_me_tells_a_key_what_it_is(api: Api) -> None:
    await api.use_key("links:read", "postback")
    me = await api.get("/v1/me")
    assert me["account"] == "default"
    assert me["key"]["scopes"] == ["links:read", "postback"]
    assert me["limits"] == {
        "body_max_bytes": 65_536,
        "batch_max_bytes": 10_485_760,
        "bulk_links_max": 1000,
        "page_max": 1000,
        "requests_per_minute": 6000,
    }
