"""What the registry's request bodies may say: each refusal has its reason and names its field."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from linkjolt.api import affiliates, api_keys, campaigns, links
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Campaign, Link
from linkjolt.registry.tracking_codes import RESERVED_CODES, is_tracking_code, make_tracking_code
from linkjolt.web.requests import decode
from tests.linkjolt.registry import samples

CAMPAIGN: dict[str, Any] = {
    "name": "Spring",
    "currency": "USD",
    "commission": {"kind": "percentage", "rate": "30"},
}
LINK: dict[str, Any] = {
    "campaign_id": "cmp_1",
    "affiliate_id": "aff_1",
    "destination": samples.DESTINATION,
}
KEY: dict[str, Any] = {"name": "shop", "scopes": ["conversions:write"]}


def make_campaign(body: bytes) -> Campaign:
    return campaigns.new_campaign(decode(body, campaigns.CampaignForm), Account(1), samples.NOW)


def make_affiliate(body: bytes) -> object:
    return affiliates.new_affiliate(decode(body, affiliates.AffiliateForm), Account(1), samples.NOW)


def make_link(body: bytes) -> Link:
    return links.new_link(
        decode(body, links.LinkForm), Account(1), samples.NOW, "https://go.example"
    )


def make_key(body: bytes) -> object:
    return api_keys.new_key(
        decode(body, api_keys.ApiKeyForm), Account(1), samples.NOW, "digest", "hint"
    )


def refusal(make: Callable[[bytes], object], body: dict[str, Any]) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        make(msgspec.json.encode(body))
    return caught.value.reason, caught.value.field


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"nmae": "x"}, Reason.unknown_field, "nmae"),
        ({"name": ""}, Reason.invalid_field, "name"),
        ({"name": "  "}, Reason.invalid_field, "name"),
        ({"name": "x" * 201}, Reason.invalid_field, "name"),
        ({"name": "a\nb"}, Reason.invalid_field, "name"),
        ({"name": "a\u2028b"}, Reason.invalid_field, "name"),
        ({"name": 7}, Reason.invalid_field, "name"),
        ({"currency": "usd"}, Reason.invalid_field, "currency"),
        ({"currency": "XXX"}, Reason.invalid_field, "currency"),
        ({"commission": {"kind": "percentage"}}, Reason.missing_field, "commission.rate"),
        ({"commission": {"kind": "gift", "rate": 1}}, Reason.invalid_field, "commission.kind"),
        (
            {"commission": {"kind": "percentage", "rate": "101"}},
            Reason.invalid_field,
            "commission.rate",
        ),
        (
            {"commission": {"kind": "flat", "amount": "1.001"}},
            Reason.invalid_field,
            "commission.amount",
        ),
        ({"commission": {"kind": "tiered", "tiers": []}}, Reason.invalid_field, "commission.tiers"),
        ({"click_id_param": "1st"}, Reason.invalid_field, "click_id_param"),
        ({"click_id_param": "a b"}, Reason.invalid_field, "click_id_param"),
        ({"click_id_param": "a" * 63 + "\n"}, Reason.invalid_field, "click_id_param"),
        ({"click_id_param": "a" * 65}, Reason.invalid_field, "click_id_param"),
        ({"window_days": -1}, Reason.invalid_field, "window_days"),
        ({"window_days": 3651}, Reason.invalid_field, "window_days"),
        ({"window_days": 10**30}, Reason.invalid_field, "window_days"),
        ({"window_min_seconds": -1}, Reason.invalid_field, "window_min_seconds"),
        ({"conversion_status": "paid"}, Reason.invalid_field, "conversion_status"),
        ({"events": ["trial", "Trial"]}, Reason.invalid_field, "events[1]"),
        ({"events": ["a" * 33]}, Reason.invalid_field, "events[0]"),
        ({"events": ["trial\n"]}, Reason.invalid_field, "events[0]"),
    ],
)
def test_a_bad_campaign_is_refused_by_field(
    change: dict[str, Any], reason: Reason, field: str
) -> None:
    assert refusal(make_campaign, CAMPAIGN | change) == (reason, field)


@pytest.mark.parametrize("field", ["name", "currency", "commission"])
def test_a_campaign_needs_name_currency_and_commission(field: str) -> None:
    body = {name: value for name, value in CAMPAIGN.items() if name != field}
    assert refusal(make_campaign, body) == (Reason.missing_field, field)


def test_a_campaign_keeps_what_was_sent_and_has_the_documented_defaults() -> None:
    campaign = make_campaign(msgspec.json.encode(CAMPAIGN))
    assert campaign == samples.campaign()
    assert (campaign.click_id_param, campaign.window_days) == ("click_id", 30)


def test_an_affiliate_needs_a_name() -> None:
    assert refusal(make_affiliate, {}) == (Reason.missing_field, "name")
    assert refusal(make_affiliate, {"name": "\x7f"}) == (Reason.invalid_field, "name")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"url": "https://x.example"}, Reason.unknown_field, "url"),
        ({"campaign_id": "1"}, Reason.unknown_reference, "campaign_id"),
        ({"campaign_id": "aff_1"}, Reason.unknown_reference, "campaign_id"),
        ({"affiliate_id": "aff_01"}, Reason.unknown_reference, "affiliate_id"),
        ({"tracking_code": ""}, Reason.invalid_field, "tracking_code"),
        ({"tracking_code": "a b"}, Reason.invalid_field, "tracking_code"),
        ({"tracking_code": "robots.txt"}, Reason.invalid_field, "tracking_code"),
        ({"tracking_code": "x" * 65}, Reason.invalid_field, "tracking_code"),
        ({"tracking_code": "abc\n"}, Reason.invalid_field, "tracking_code"),
        ({"tracking_code": "MeTrIcS"}, Reason.invalid_field, "tracking_code"),
        ({"pass_params": "some"}, Reason.invalid_field, "pass_params"),
        ({"pass_params": ["a"] * 51}, Reason.invalid_field, "pass_params"),
        ({"pass_params": ["sub1", "a=b"]}, Reason.invalid_field, "pass_params[1]"),
        ({"pass_params": [""]}, Reason.invalid_field, "pass_params[0]"),
        ({"status": "paused"}, Reason.invalid_field, "status"),
        ({"destination": ""}, Reason.invalid_field, "destination"),
        ({"fallback_url": "javascript:alert(1)"}, Reason.invalid_field, "fallback_url"),
        ({"fallback_url": "https://x.example/{what}"}, Reason.invalid_field, "fallback_url"),
    ],
)
def test_a_bad_link_is_refused_by_field(change: dict[str, Any], reason: Reason, field: str) -> None:
    assert refusal(make_link, LINK | change) == (reason, field)


@pytest.mark.parametrize("word", ["v1", "c", "healthz", "readyz", "docs", "p", "oauth"])
def test_the_words_of_our_own_routes_are_no_codes(word: str) -> None:
    assert word in RESERVED_CODES
    body = LINK | {"tracking_code": word}
    assert refusal(make_link, body) == (Reason.invalid_field, "tracking_code")


def test_a_made_code_is_a_fitting_one() -> None:
    code = make_tracking_code()
    assert code.startswith("tc_")
    assert len(code) == 11
    assert is_tracking_code(code)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"scopes": []}, Reason.invalid_field, "scopes"),
        ({"scopes": ["everything"]}, Reason.invalid_field, "scopes[0]"),
        ({"scopes": "admin"}, Reason.invalid_field, "scopes"),
        ({"expires_at": "2026-01-02T03:04:05Z"}, Reason.invalid_field, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, Reason.invalid_field, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:00"}, Reason.invalid_field, "expires_at"),
        ({"key": "lj_live_mine"}, Reason.unknown_field, "key"),
    ],
)
def test_a_bad_key_is_refused_by_field(change: dict[str, Any], reason: Reason, field: str) -> None:
    assert refusal(make_key, KEY | change) == (reason, field)


def test_an_expiry_in_any_zone_is_kept_in_utc() -> None:
    form = api_keys.ApiKeyForm(
        name="shop",
        scopes=("admin",),
        expires_at=datetime.fromisoformat("2030-01-01T02:00:00+02:00"),
    )
    key = api_keys.new_key(form, Account(1), samples.NOW, "digest", "hint")
    assert key.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert msgspec.json.encode(key.expires_at) == b'"2030-01-01T00:00:00Z"'


def test_a_patch_changes_only_what_it_names() -> None:
    patch = campaigns.CampaignPatch(window_days=7)
    patched = campaigns.patched_campaign(samples.campaign(), patch, samples.NOW)
    assert patched == msgspec.structs.replace(samples.campaign(), window_days=7)


def test_a_patch_is_checked_like_a_creation() -> None:
    patch = decode(b'{"commission":{"kind":"flat","amount":"0.001"}}', campaigns.CampaignPatch)
    with pytest.raises(Rejected) as caught:
        campaigns.patched_campaign(samples.campaign(), patch, samples.NOW)
    assert caught.value.field == "commission.amount"


def test_an_expired_key_can_still_be_renamed_and_made_unlimited() -> None:
    key = samples.key("secret", "admin", expires_at=samples.NOW)
    later = samples.NOW.replace(year=2027)
    assert api_keys.patched_key(key, api_keys.ApiKeyPatch(name="new"), later).name == "new"
    assert (
        api_keys.patched_key(key, api_keys.ApiKeyPatch(expires_at=None), later).expires_at is None
    )
