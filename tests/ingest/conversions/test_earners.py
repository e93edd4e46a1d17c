"""A rebill earns for its sale's affiliate, and a customer for the first one where that is set."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.events import Conversion
from linkjolt.money import Percentage
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, Link
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import DAY_MS, click_id
from tests.waiting import wait_until

ID, EMAIL = {"customer_id": "c1"}, {"customer_email": "ann@shop.example"}
CODE = {"tracking_code": "tc_ABC123"}


async def add_affiliate(shop: Shop, **fields: Any) -> Link:
    """Creates another affiliate with a link of the shop's campaign, or of another one."""
    affiliate = await shop.registry.create(
        Affiliate(number=0, account=Account(1), name="Bo", created_at=datetime.now(UTC))
    )
    return await shop.add_link(affiliate=affiliate.number, **fields)


async def change_affiliate(shop: Shop, number: int, **fields: Any) -> None:
    """Changes an affiliate, and waits until the edge has heard of it."""
    await shop.registry.patch(
        Affiliate, Account(1), number, lambda entry: msgspec.structs.replace(entry, **fields)
    )

    async def heard() -> bool:
        affiliate = await shop.edge.directory.affiliate(number)
        return all(getattr(affiliate, name) == value for name, value in fields.items())

    await wait_until(heard)


def order(number: str, **fields: object) -> dict[str, object]:
    return {"order_id": number, "order_value": 100, **fields}


def rebill(**fields: object) -> dict[str, object]:
    return {"event": "rebill", "order_value": 50, **fields}


async def accepted(shop: Shop, body: Mapping[str, object]) -> dict[str, Any]:
    answer = await shop.post(body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def earned(answer: dict[str, Any]) -> tuple[str | None, float, str]:
    method = answer["attribution"]["method"]
    return answer["affiliate_id"], answer["commission_amount"], method


async def stored(shop: Shop, answer: dict[str, Any]) -> Conversion:
    [one] = [c for c in await shop.conversions() if c.conversion_id == answer["conversion_id"]]
    return one


@pytest.fixture
async def lifetime(shop: Shop) -> Shop:
    """A shop whose campaign remembers each customer's first affiliate."""
    await change_campaign(shop, lifetime=True)
    return shop


async def test_a_rebill_earns_for_the_affiliate_of_its_order(shop: Shop) -> None:
    await change_campaign(shop, window_days=60)
    click = click_id(shop, 40 * DAY_MS)
    sale = await accepted(shop, order("o1", click_id=click))
    await change_campaign(shop, window_days=1)
    later = await accepted(shop, rebill(order_id="o1"))
    assert (earned(sale), earned(later)) == (("aff_1", 30, "click"), ("aff_1", 15, "order"))
    assert later["click_id"] == click
    assert (await stored(shop, later)).link == shop.link.number


@pytest.mark.parametrize("named", ["click_id", "tracking_code", "unknown code"])
async def test_a_rebill_earns_for_its_sales_affiliate_whoever_is_named(
    shop: Shop, named: str
) -> None:
    await accepted(shop, order("o1", **CODE))
    other = await add_affiliate(shop)
    beside = {
        "click_id": {"click_id": click_id(shop, link=other)},
        "tracking_code": {"tracking_code": other.tracking_code},
        "unknown code": {"tracking_code": "tc_none"},
    }
    answer = await accepted(shop, rebill(order_id="o1", **beside[named]))
    assert earned(answer) == ("aff_1", 15, "order")


async def test_a_rebill_of_an_unknown_order_or_customer_earns_for_whom_it_names(
    shop: Shop,
) -> None:
    answer = await accepted(shop, rebill(order_id="o1", **CODE))
    assert earned(answer) == ("aff_1", 15, "tracking_code")
    for fields in ({"order_id": "o2"}, {"order_id": "o3", **ID}, ID, EMAIL):
        # Its sale may be in another system: it may still be attributed by hand.
        assert earned(await accepted(shop, rebill(**fields))) == (None, 0, "none")
    refused = await shop.post(rebill(order_id="o4", coupon_code="unknown"))
    assert refused.json()["errors"][0]["field"] == "coupon_code"


async def test_a_rebill_of_a_sale_that_nobody_earned_is_recorded_as_that(shop: Shop) -> None:
    sale = await accepted(shop, order("o1", click_id="forged"))
    assert earned(await accepted(shop, rebill(order_id="o1"))) == (None, 0, "none")
    body = {"adjustment_id": "a1", **CODE}
    path = f"/v1/conversions/{sale['conversion_id']}/attribute"
    assert (await shop.post(body, path=path)).status_code == 201
    await change_campaign(shop, duplicates="allow")
    again = rebill(order_id="o1", timestamp=datetime.now(UTC).isoformat())
    assert earned(await accepted(shop, again)) == ("aff_1", 15, "order")


async def test_the_rebill_that_a_campaign_makes_of_another_post_earns_for_the_first_ones_affiliate(
    shop: Shop,
) -> None:
    await change_campaign(shop, duplicates="rebill")
    other = await add_affiliate(shop)
    now = datetime.now(UTC)
    first = order("o1", **CODE, timestamp=now.isoformat())
    second = order("o1", tracking_code=other.tracking_code)
    second["timestamp"] = (now + timedelta(seconds=1)).isoformat()
    answers = [await accepted(shop, first), await accepted(shop, second)]
    assert [one["event"] for one in answers] == ["sale", "rebill"]
    assert [earned(one) for one in answers] == [
        ("aff_1", 30, "tracking_code"),
        ("aff_1", 30, "order"),
    ]
    assert (await shop.post(second)).json() == {**answers[1], "duplicate": True}


async def test_a_known_customer_earns_for_the_first_affiliate_for_life(lifetime: Shop) -> None:
    first = {**order("o1", **ID, **EMAIL), "click_id": click_id(lifetime, 29 * DAY_MS)}
    assert earned(await accepted(lifetime, first)) == ("aff_1", 30, "click")
    await change_campaign(lifetime, window_days=0)
    for number, who in enumerate((ID, EMAIL, {**ID, "customer_email": "new@shop.example"})):
        answer = await accepted(lifetime, order(f"later-{number}", **who))
        assert earned(answer) == ("aff_1", 30, "customer")
        assert (await stored(lifetime, answer)).link == lifetime.link.number


async def test_a_click_that_earns_beats_the_customers_affiliate_and_a_late_one_does_not(
    lifetime: Shop,
) -> None:
    await accepted(lifetime, order("o1", **ID, **CODE))
    other = await add_affiliate(lifetime)
    fresh = click_id(lifetime, link=other)
    answer = await accepted(lifetime, order("o2", **ID, click_id=fresh))
    assert earned(answer) == ("aff_2", 30, "click")
    late = click_id(lifetime, 99 * DAY_MS, link=other)
    answer = await accepted(lifetime, order("o3", **ID, click_id=late))
    assert earned(answer) == ("aff_1", 30, "customer")
    assert (answer["attribution"]["reason"], answer["click_id"]) == ("click_too_old", late)
    forged = await accepted(lifetime, order("o4", **ID, click_id="0" * 26))
    assert earned(forged) == ("aff_1", 30, "customer")


async def test_a_rebill_of_a_known_customer_earns_for_the_first_affiliate(lifetime: Shop) -> None:
    await accepted(lifetime, {"event": "signup", **ID, **CODE})
    other = await add_affiliate(lifetime)
    body = rebill(order_id="r1", **ID, tracking_code=other.tracking_code)
    assert earned(await accepted(lifetime, body)) == ("aff_1", 15, "customer")


async def test_a_customer_is_known_only_where_the_campaign_says_so(shop: Shop) -> None:
    await accepted(shop, order("o1", **ID, **CODE))
    assert await call(shop.redis, "KEYS", redis_keys.earner(0, "*")) == []
    assert (await shop.post(order("o2", **ID))).status_code == 422
    await change_campaign(shop, lifetime=True)
    # Known from the first conversion on that is stored while it does.
    assert (await shop.post(order("o2", **ID))).status_code == 422
    await accepted(shop, order("o3", **ID, **CODE))
    assert earned(await accepted(shop, order("o4", **ID))) == ("aff_1", 30, "customer")
    await change_campaign(shop, lifetime=False)
    assert (await shop.post(order("o5", **ID))).status_code == 422


async def test_a_customer_of_two_campaigns_is_known_to_each(lifetime: Shop) -> None:
    campaign = await lifetime.registry.create(
        Campaign(
            number=0,
            account=Account(1),
            name="Autumn",
            currency="EUR",
            commission=Percentage(Decimal(10)),
            lifetime=True,
            created_at=datetime.now(UTC),
        )
    )
    other = await add_affiliate(lifetime, campaign=campaign.number)
    await accepted(lifetime, order("o1", **ID, **CODE))
    await accepted(lifetime, order("o2", **ID, tracking_code=other.tracking_code))
    for campaign_id, affiliate in ((None, "aff_1"), ("cmp_2", "aff_2"), ("cmp_1", "aff_1")):
        named = {"campaign_id": campaign_id} if campaign_id else {}
        answer = await accepted(lifetime, order(f"later-{campaign_id}", **ID, **named))
        assert (answer["affiliate_id"], answer["attribution"]["method"]) == (affiliate, "customer")


async def test_a_conversion_that_is_refused_or_rejected_does_not_claim_its_customer(
    lifetime: Shop,
) -> None:
    await accepted(lifetime, order("taken", **CODE))
    other = await add_affiliate(lifetime)
    assert (await lifetime.post(order("taken", **ID, **CODE))).status_code == 409
    assert await call(lifetime.redis, "KEYS", redis_keys.earner(0, "*")) == []
    first = await accepted(lifetime, order("o1", **ID, **CODE))
    path = f"/v1/conversions/{first['conversion_id']}/adjustments"
    body = {"kind": "reject", "adjustment_id": "r1", "reason": "fraud"}
    assert (await lifetime.post(body, path=path)).status_code == 201
    assert (await lifetime.post(order("o2", **ID))).status_code == 422
    await accepted(lifetime, order("o3", **ID, tracking_code=other.tracking_code))
    assert earned(await accepted(lifetime, order("o4", **ID))) == ("aff_2", 30, "customer")


async def test_a_networks_conversions_never_take_a_customer_from_the_merchant(
    lifetime: Shop,
) -> None:
    other = await add_affiliate(lifetime)
    bound = lifetime.link.campaign
    network = await make_key(lifetime.registry, ["conversions:write"], campaign=bound)
    by_network = order("n1", **ID, tracking_code=other.tracking_code)
    assert (await lifetime.post(by_network, network)).status_code == 201
    in_campaign = {"campaign_id": f"cmp_{bound}"}
    # A network's customer is known in its campaign only.
    assert (await lifetime.post(order("o1", **ID))).status_code == 422
    known = await accepted(lifetime, order("o1", **ID, **in_campaign))
    assert known["affiliate_id"] == "aff_2"
    await accepted(lifetime, order("o2", **ID, **CODE))
    for number, fields in enumerate((in_campaign, {})):
        known = await accepted(lifetime, order(f"later-{number}", **ID, **fields))
        assert known["affiliate_id"] == "aff_1"
    again = order("n2", **ID, tracking_code=other.tracking_code)
    assert (await lifetime.post(again, network)).status_code == 201
    assert (await accepted(lifetime, order("last", **ID)))["affiliate_id"] == "aff_1"


async def test_customers_of_a_test_key_are_kept_apart(lifetime: Shop) -> None:
    test_key = await make_key(lifetime.registry, ["conversions:write"], test=True)
    assert (await lifetime.post(order("o1", **ID, **CODE), test_key)).status_code == 201
    assert (await lifetime.post(order("o2", **ID))).status_code == 422
    assert (await lifetime.post(order("o2", **ID), test_key)).status_code == 201


async def test_keys_of_customers_tell_nothing_of_them(lifetime: Shop) -> None:
    who = {"customer_id": "shop-customer", "customer_email": "ann@shop.example"}
    await accepted(lifetime, order("o1", **who, **CODE))
    for name in (redis_keys.earner(0, "*"), redis_keys.customer(0, "*")):
        for key in await call(lifetime.redis, "KEYS", name):
            value: bytes = await call(lifetime.redis, "GET", key)
            assert not any(part in key + value for part in (b"shop", b"@"))


async def test_a_coupon_of_another_affiliate_does_not_take_a_clicks_or_codes_order(
    shop: Shop,
) -> None:
    other = await add_affiliate(shop)
    for code, affiliate in (("OTHER", other.affiliate), ("OWN", shop.link.affiliate)):
        await shop.registry.create(
            Coupon(
                number=0,
                account=Account(1),
                code=code,
                campaign=shop.link.campaign,
                affiliate=affiliate,
                created_at=datetime.now(UTC),
            )
        )
    by_click, by_code = {"click_id": click_id(shop)}, CODE
    for number, (named, method) in enumerate(((by_click, "click"), (by_code, "tracking_code"))):
        answer = await accepted(shop, order(f"a{number}", coupon_code="other", **named))
        assert earned(answer) == ("aff_1", 30, method)
        assert answer["attribution"]["reason"] == "coupon_of_another"
        answer = await accepted(shop, order(f"b{number}", coupon_code="own", **named))
        assert answer["attribution"]["reason"] is None


async def test_a_click_earns_whatever_affiliate_and_code_a_composite_names_beside_it(
    shop: Shop,
) -> None:
    other = await add_affiliate(shop)
    click = click_id(shop)
    composites = [
        f"{shop.link.tracking_code}_aff_2_cid_{click}",
        f"{other.tracking_code}_aff_2_cid_{click}",
        f"tc_unknown_aff_9_cid_{click}",
    ]
    for number, composite in enumerate(composites):
        answer = await accepted(shop, order(f"o{number}", tracking_code=composite))
        assert earned(answer) == ("aff_1", 30, "click")
    contradicted = await shop.post(order("o9", click_id=click, affiliate_id="aff_2"))
    assert contradicted.json()["errors"][0]["field"] == "affiliate_id"
