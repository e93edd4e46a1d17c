"""What a campaign pays and to whom: rules by version, coupons, keys that are bound or for tests."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.money import Percentage
from linkjolt.registry import api_key_secrets
from linkjolt.registry.commission_rules import rule_at
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.api.test_registry import CAMPAIGN

COUPON = {"code": "spring-10", "campaign_id": "cmp_1", "affiliate_id": "aff_1"}
RULES = "/v1/campaigns/cmp_1/commissions"
SUSPENDED = {"status": "suspended"}


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        await api.post("/v1/campaigns", CAMPAIGN)
        await api.post("/v1/affiliates", {"name": "Ann"})
        yield api


async def paid(api: Api, *, affiliate: int, time_ms: int) -> tuple[int, Decimal]:
    """The version that pays an affiliate at an instant, and its rate."""
    campaign = await api.registry.get(Campaign, Account(1), 1)
    version, rule = rule_at(campaign, affiliate, time_ms)
    assert isinstance(rule, Percentage)
    return version, rule.rate


async def test_a_patched_commission_is_a_new_version_and_the_old_one_stays(api: Api) -> None:
    flat = {"kind": "flat", "amount": 5}
    answer = await api.send("PATCH", "/v1/campaigns/cmp_1", {"commission": flat})
    assert answer.json()["commission"] == flat
    data = (await api.get(RULES))["data"]
    assert [(rule["version"], rule["commission"]["kind"]) for rule in data] == [
        (1, "percentage"),
        (2, "flat"),
    ]
    # The same once more is no version.
    await api.send("PATCH", "/v1/campaigns/cmp_1", {"commission": flat})
    assert len((await api.get(RULES))["data"]) == 2


async def test_an_affiliate_has_a_rule_of_its_own(api: Api) -> None:
    rule = {"kind": "percentage", "rate": 40, "cap": 100, "first_order_only": True}
    made = await api.post(RULES, {"affiliate_id": "aff_1", "commission": rule})
    assert made["starts_at"].endswith("Z")
    assert made | {"starts_at": ""} == {
        "version": 2,
        "affiliate_id": "aff_1",
        "commission": rule,
        "starts_at": "",
    }
    # It alone is paid by it: others, and it before the rule began, by the campaign's.
    began_ms = round(datetime.fromisoformat(made["starts_at"]).timestamp() * 1000)
    assert await paid(api, affiliate=1, time_ms=began_ms) == (2, 40)
    assert await paid(api, affiliate=1, time_ms=began_ms - 1) == (1, 30)
    assert await paid(api, affiliate=2, time_ms=began_ms) == (1, 30)
    ended = await api.post(RULES, {"affiliate_id": "aff_1", "commission": None})
    assert ended["version"] == 3
    ended_ms = round(datetime.fromisoformat(ended["starts_at"]).timestamp() * 1000)
    assert await paid(api, affiliate=1, time_ms=ended_ms) == (1, 30)
    campaign = await api.get("/v1/campaigns/cmp_1")
    assert campaign["commission"] == {"kind": "percentage", "rate": 30}


async def test_a_bad_rule_is_refused_by_its_field(api: Api) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    rule = {"kind": "percentage", "rate": 1}
    refused = [
        ({"commission": None}, "commission"),
        ({"commission": rule, "starts_at": past}, "starts_at"),
        ({"commission": rule, "affiliate_id": "aff_9"}, "affiliate_id"),
        ({"commission": {"kind": "percentage", "rate": 101}}, "commission.rate"),
        ({"commission": {"kind": "flat", "amount": 1, "cap": -1}}, "commission.cap"),
    ]
    for body, field in refused:
        status, _, fields = await api.refused("POST", RULES, body)
        assert (status, fields) == (422, [field])
    assert len((await api.get(RULES))["data"]) == 1
    assert (await api.send("GET", "/v1/campaigns/cmp_9/commissions")).status_code == 404


async def suspended_at(api: Api, path: str, number: int) -> datetime | None:
    if path == "/v1/campaigns":
        return (await api.registry.get(Campaign, Account(1), number)).suspended_at
    return (await api.registry.get(Affiliate, Account(1), number)).suspended_at


@pytest.mark.parametrize("path", ["/v1/campaigns", "/v1/affiliates"])
async def test_a_campaign_or_affiliate_is_suspended_and_active_again(api: Api, path: str) -> None:
    body = CAMPAIGN if path == "/v1/campaigns" else {"name": "Bo"}
    active, suspended = await api.post(path, body), await api.post(path, body | SUSPENDED)
    assert (active["status"], suspended["status"]) == ("active", "suspended")
    one, number = f"{path}/{active['id']}", int(active["id"][4:])
    before = datetime.now(UTC)
    for _ in range(2):
        assert (await api.send("PATCH", one, SUSPENDED)).json()["status"] == "suspended"
        assert (await api.send("PATCH", one, {"name": "New"})).json()["status"] == "suspended"
    since = await suspended_at(api, path, number)
    assert since is not None
    # Suspended again, it stays so from the first time on.
    assert before <= since <= datetime.now(UTC)
    await api.send("PATCH", one, SUSPENDED)
    assert await suspended_at(api, path, number) == since
    assert (await api.send("PATCH", one, {"status": "active"})).json()["status"] == "active"
    assert await suspended_at(api, path, number) is None
    for status in ("paused", None, ""):
        assert (await api.refused("PATCH", one, {"status": status}))[2] == ["status"]


async def test_a_campaigns_pixel_and_customers_are_its_terms(api: Api) -> None:
    terms = {"pixel": "on", "pixel_max_value": 99.5, "lifetime": True}
    made = await api.post("/v1/campaigns", CAMPAIGN | terms)
    assert {name: made[name] for name in terms} == terms
    one = f"/v1/campaigns/{made['id']}"
    changed = {"pixel": "off", "pixel_max_value": None, "lifetime": False}
    patched = (await api.send("PATCH", one, changed)).json()
    assert {name: patched[name] for name in changed} == changed
    for name, value in (
        ("pixel", "maybe"),
        ("pixel_max_value", -1),
        ("pixel_max_value", "0.001"),
        ("pixel_max_value", "NaN"),
        ("lifetime", "yes"),
        ("lifetime", None),
    ):
        assert (await api.refused("PATCH", one, {name: value}))[::2] == (422, [name])
        assert (await api.refused("POST", "/v1/campaigns", CAMPAIGN | {name: value}))[2] == [name]
    assert (await api.send("PATCH", one, {"pixel_max_value": 0})).json()["pixel_max_value"] == 0


async def test_a_coupon_is_made_read_given_to_another_and_deleted(api: Api) -> None:
    made = await api.post("/v1/coupons", COUPON)
    assert (made["id"], made["code"]) == ("cpn_1", "SPRING-10")
    assert await api.refused("POST", "/v1/coupons", COUPON) == (409, "coupon_code_taken", ["code"])
    await api.post("/v1/affiliates", {"name": "Bo"})
    moved = await api.send("PATCH", "/v1/coupons/cpn_1", {"affiliate_id": "aff_2"})
    assert moved.json()["affiliate_id"] == "aff_2"
    assert (await api.get("/v1/coupons"))["data"] == [moved.json()]
    assert (await api.send("DELETE", "/v1/coupons/cpn_1")).status_code == 204
    assert (await api.send("GET", "/v1/coupons/cpn_1")).status_code == 404


async def test_a_bad_coupon_is_refused_by_its_field(api: Api) -> None:
    refused = [
        (COUPON | {"code": "a b"}, "code"),
        (COUPON | {"code": ""}, "code"),
        (COUPON | {"campaign_id": "cmp_9"}, "campaign_id"),
        (COUPON | {"affiliate_id": "x"}, "affiliate_id"),
    ]
    for body, field in refused:
        assert (await api.refused("POST", "/v1/coupons", body))[2] == [field]
    await api.post("/v1/coupons", COUPON)
    answer = await api.refused("PATCH", "/v1/coupons/cpn_1", {"affiliate_id": "aff_9"})
    assert answer == (422, "unknown_reference", ["affiliate_id"])
    assert (await api.refused("PATCH", "/v1/coupons/cpn_1", {"code": "x"}))[2] == ["code"]


async def test_an_edge_finds_a_coupon_however_it_is_written_and_hears_of_changes(
    api: Api, redis: Redis, directory: Directory
) -> None:
    await directory.start_at_feed_end()
    assert await directory.coupons.find(Account(1), "Spring-10") is None
    assert directory.coupons.is_known_missing(Account(1), "SPRING-10")
    await api.post("/v1/coupons", COUPON)
    await _follow(directory)
    found = await directory.coupons.find(Account(1), "Spring-10")
    assert found is not None
    assert (found.campaign.number, found.affiliate.name) == (1, "Ann")
    assert directory.coupons.cached(Account(1), "spring-10") == found
    assert await directory.coupons.find(Account(2), "spring-10") is None
    await api.send("DELETE", "/v1/coupons/cpn_1")
    await _follow(directory)
    assert await directory.coupons.find(Account(1), "spring-10") is None


async def _follow(directory: Directory) -> None:
    await directory._follow_once()  # pyright: ignore[reportPrivateUsage]


async def test_a_key_is_bound_to_a_campaign_only_for_postbacks(api: Api) -> None:
    body = {"name": "network", "scopes": ["postback"], "campaign_id": "cmp_1"}
    made = await api.post("/v1/keys", body)
    assert (made["campaign_id"], made["test"]) == ("cmp_1", False)
    for change in ({"scopes": ["postback", "links:read"]}, {"campaign_id": "cmp_9"}):
        assert (await api.refused("POST", "/v1/keys", body | change))[2] == ["campaign_id"]


async def test_a_test_key_makes_test_keys_only(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "trial", "scopes": ["admin"], "test": True})
    assert made["key"].startswith("lj_test_")
    assert api_key_secrets.is_well_formed(made["key"])
    api.client.headers["Authorization"] = f"Bearer {made['key']}"
    live = {"name": "live", "scopes": ["links:read"]}
    assert await api.refused("POST", "/v1/keys", live) == (403, "forbidden", ["test"])
    assert (await api.post("/v1/keys", live | {"test": True}))["key"].startswith("lj_test_")
    assert (await api.get("/v1/me"))["key"]["test"] is True


async def test_what_was_stored_before_there_were_terms_is_read_as_it_was(api: Api) -> None:
    campaign = await api.registry.get(Campaign, Account(1), 1)
    affiliate = await api.registry.get(Affiliate, Account(1), 1)
    key = await api.registry.get(ApiKey, Account(1), 1)
    assert (campaign.duplicates, campaign.attribution, campaign.rules) == ("refuse", "last", ())
    assert (affiliate.name, key.test, key.dataset) == ("Ann", False, 1)
