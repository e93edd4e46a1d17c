"""Many links in one request: one result each, in order; a bad one does not sink the others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.registry.entries import Link
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.registry import samples

LINK: dict[str, Any] = {
    "campaign_id": "cmp_1",
    "affiliate_id": "aff_1",
    "destination": "https://shop.example/",
}


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        await api.registry.create(samples.campaign())
        await api.registry.create(samples.affiliate())
        yield api


async def bulk(api: Api, links: list[object]) -> dict[str, Any]:
    response = await api.send("POST", "/v1/links/bulk", {"links": links})
    assert response.status_code == 200, response.text
    return response.json()


async def test_each_entry_has_its_own_result_in_order(api: Api) -> None:
    answer = await bulk(
        api,
        [
            LINK | {"tracking_code": "one"},
            LINK | {"tracking_code": "v1"},
            LINK | {"campaign_id": "cmp_7"},
            LINK | {"tracking_code": "one"},
            {"campaign_id": "cmp_1"},
            "no object",
            LINK | {"colour": "red"},
            LINK,
        ],
    )
    assert (answer["accepted"], answer["rejected"]) == (2, 6)
    results = answer["data"]
    assert [result["status"] for result in results] == [201, 422, 422, 409, 422, 422, 422, 201]
    assert results[0]["link"]["tracking_code"] == "one"
    refused = [
        (result["code"], result["errors"][0]["field"]) for result in results if "code" in result
    ]
    assert refused == [
        ("invalid_field", "tracking_code"),
        ("unknown_reference", "campaign_id"),
        ("tracking_code_taken", "tracking_code"),
        ("missing_field", "affiliate_id"),
        ("invalid_field", "body"),
        ("unknown_field", "colour"),
    ]
    stored = [link.tracking_code async for link in api.registry.iterate(Link, Account(1))]
    assert stored == [results[0]["link"]["tracking_code"], results[7]["link"]["tracking_code"]]


async def test_a_thousand_links_go_in_one_request(api: Api) -> None:
    answer = await bulk(api, [LINK] * 1000)
    assert answer["accepted"] == 1000
    codes = {result["link"]["tracking_code"] for result in answer["data"]}
    assert len(codes) == 1000


async def test_more_than_a_thousand_are_refused_whole(api: Api) -> None:
    body = {"links": [LINK] * 1001}
    assert await api.refused("POST", "/v1/links/bulk", body) == (422, "invalid_field", ["links"])
    assert [link async for link in api.registry.iterate(Link, Account(1))] == []


async def test_no_links_are_no_work(api: Api) -> None:
    assert await bulk(api, []) == {"data": [], "accepted": 0, "rejected": 0}


async def test_a_body_over_ten_megabytes_is_refused(api: Api) -> None:
    body = {"links": [LINK | {"destination": "x" * (10 << 20)}]}
    assert await api.refused("POST", "/v1/links/bulk", body) == (413, "body_too_large", [])


async def test_deep_nesting_is_refused(api: Api) -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    body = {"links": [deep]}
    assert await api.refused("POST", "/v1/links/bulk", body) == (400, "too_deep", [])
