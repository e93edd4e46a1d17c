"""The lists' parameters: search, filters, sort, total; refused where they do not fit (API 3)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from linkjolt.api.resources import operations
from tests.linkjolt.api.client import Api, serving

CAMPAIGN = {"currency": "USD", "commission": {"kind": "percentage", "rate": 30}}


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    """Two campaigns, two affiliates, and links, coupons, keys and webhooks of theirs."""
    async with serving(redis) as api:
        for name in ("Spring", "Autumn"):
            await api.post("/v1/campaigns", {"name": name, **CAMPAIGN})
        await api.post("/v1/affiliates", {"name": "CashbackKing", "email": "king@cash.example"})
        await api.post("/v1/affiliates", {"name": "Ärzteblatt", "status": "suspended"})
        for number, (campaign, affiliate) in enumerate([(1, 1), (1, 2), (2, 1)], 1):
            of = {"campaign_id": f"cmp_{campaign}", "affiliate_id": f"aff_{affiliate}"}
            to = {"destination": f"https://Shop{number}.example/secret-path"}
            await api.post("/v1/links", of | to | {"tracking_code": f"Code{number}"})
            await api.post("/v1/coupons", of | {"code": f"SAVE{number}"})
        bound = {"name": "Network", "scopes": ["postback"], "campaign_id": "cmp_2"}
        await api.post("/v1/keys", bound)
        for campaign in ("cmp_1", "cmp_2"):
            hook = {"url": f"https://{campaign}.example/", "events": ["conversion.created"]}
            await api.post("/v1/webhooks", hook | {"filter": {"campaign_id": [campaign]}})
        yield api


async def ids(api: Api, path: str) -> list[str]:
    page = await api.get(path)
    found = [one["id"] for one in page["data"]]
    assert page["total"] == len(found)
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/affiliates?q=backk", ["aff_1"]),
        ("/v1/affiliates?q=KING@cash", ["aff_1"]),
        ("/v1/affiliates?q=ÄRZTE", ["aff_2"]),
        ("/v1/affiliates?q=aff_2", ["aff_2"]),
        ("/v1/affiliates?q=aff_", []),
        ("/v1/affiliates?q=%20%20", ["aff_1", "aff_2"]),
        ("/v1/affiliates?id=aff_2,aff_9", ["aff_2"]),
        ("/v1/affiliates?id=aff_1&q=blatt", []),
        ("/v1/affiliates?status=suspended", ["aff_2"]),
        ("/v1/affiliates?sort=-name", ["aff_2", "aff_1"]),
        ("/v1/affiliates?sort=-created_at", ["aff_2", "aff_1"]),
        ("/v1/campaigns?sort=name", ["cmp_2", "cmp_1"]),
        ("/v1/campaigns?q=SPR", ["cmp_1"]),
        ("/v1/links?q=code", ["lnk_1", "lnk_2", "lnk_3"]),
        ("/v1/links?q=shop2", ["lnk_2"]),
        ("/v1/links?q=secret-path", []),
        ("/v1/links?affiliate_id=aff_1", ["lnk_1", "lnk_3"]),
        ("/v1/links?affiliate_id=aff_1&campaign_id=cmp_1", ["lnk_1"]),
        ("/v1/links?affiliate_id=aff_1,aff_2&sort=-id", ["lnk_3", "lnk_2", "lnk_1"]),
        ("/v1/links?affiliate_id=aff_99", []),
        ("/v1/links?status=disabled", []),
        ("/v1/coupons?q=save3", ["cpn_3"]),
        ("/v1/coupons?affiliate_id=aff_2", ["cpn_2"]),
        ("/v1/coupons?sort=-code", ["cpn_3", "cpn_2", "cpn_1"]),
        ("/v1/keys?campaign_id=cmp_2", ["key_2"]),
        ("/v1/keys?q=netw", ["key_2"]),
        ("/v1/webhooks?q=cmp_2.example", ["whk_2"]),
        ("/v1/webhooks?campaign_id=cmp_1", ["whk_1"]),
        ("/v1/webhooks?status=active&sort=-url", ["whk_2", "whk_1"]),
        ("/v1/rates?q=usd", []),
    ],
)
async def test_a_list_has_what_is_sought_in_the_order_asked_for(
    api: Api, path: str, expected: list[str]
) -> None:
    await api.use_key("admin")
    assert await ids(api, path) == expected


async def test_an_empty_parameter_filters_nothing(api: Api) -> None:
    everything = ["lnk_1", "lnk_2", "lnk_3"]
    path = "/v1/links?q=&status=&campaign_id=&affiliate_id=&sort="
    assert await ids(api, path) == everything


async def test_the_total_counts_all_pages(api: Api) -> None:
    page = await api.get("/v1/links?limit=1&sort=-tracking_code")
    assert ([one["id"] for one in page["data"]], page["total"]) == (["lnk_3"], 3)
    path = f"/v1/links?limit=1&sort=-tracking_code&cursor={page['next_cursor']}"
    page = await api.get(path)
    assert ([one["id"] for one in page["data"]], page["total"]) == (["lnk_2"], 3)
    assert (await api.get("/v1/links?limit=1"))["total"] == 3


async def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    page = await api.get("/v1/links?limit=1&sort=tracking_code")
    for sort in ("id", "-created_at"):
        path = f"/v1/links?sort={sort}&cursor={page['next_cursor']}"
        assert await api.refused("GET", path) == (422, "invalid_field", ["cursor"])


CASES: list[tuple[str, str, str]] = [
    ("links?q=" + "x" * 201, "invalid_field", "q"),
    ("links?q=a%0Ab", "invalid_field", "q"),
    ("links?q=a&q=b", "invalid_field", "q"),
    ("links?status=suspended", "invalid_field", "status"),
    ("links?sort=name", "invalid_field", "sort"),
    ("links?sort=-", "invalid_field", "sort"),
    ("links?sort=--id", "invalid_field", "sort"),
    ("links?campaign_id=aff_1", "invalid_field", "campaign_id"),
    ("links?campaign_id=cmp_1,", "invalid_field", "campaign_id"),
    ("links?campaign_id=" + ",".join(["cmp_1"] * 101), "invalid_field", "campaign_id"),
    ("links?id=1", "invalid_field", "id"),
    ("links?cursor=", "invalid_field", "cursor"),
    ("links?sort=created_at&cursor=5", "invalid_field", "cursor"),
    ("links?sort=created_at&cursor=%F0%9F%98%80", "invalid_field", "cursor"),
    ("affiliates?affiliate_id=aff_1", "unknown_field", "affiliate_id"),
    ("coupons?status=active", "unknown_field", "status"),
    ("links?Q=a", "unknown_field", "Q"),
]


@pytest.mark.parametrize(("path", "code", "field"), CASES)
async def test_a_parameter_that_does_not_fit_is_refused_by_name(
    api: Api, path: str, code: str, field: str
) -> None:
    status, found, fields = await api.refused("GET", f"/v1/{path}")
    assert (found, fields) == (code, [field])
    assert status in (400, 422)


def test_the_document_names_each_lists_parameters() -> None:
    lists = {one.id: {p.name: p for p in one.parameters} for one in operations()}
    plain = {"limit", "cursor", "q", "id", "sort"}
    both = {"campaign_id", "affiliate_id"}
    assert lists["listLinks"].keys() == plain | both | {"status"}
    assert lists["listCoupons"].keys() == plain | both
    assert lists["listCampaigns"].keys() == plain | {"status"}
    sorts: dict[str, Any] = lists["listWebhooks"]["sort"].schema
    assert sorts["enum"] == ["id", "-id", "created_at", "-created_at", "url", "-url"]
