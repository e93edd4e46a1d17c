"""Each change of a conversion's money reaches the merchant, in an order that can be restored."""

import base64
import hashlib
import hmac

from tests.money.conftest import OpenShop
from tests.money.merchant import CONVERSION_EVENTS, Arrival, Hook, Merchant, ok
from tests.money.shop import Shop, eventually, lines, unique
from tests.system.conftest import wait_for

_NEWER_EVENTS = [f"conversion.{what}" for what in ("restated", "attributed", "paid", "reinstated")]


def test_the_events_of_a_conversion_have_a_sequence(shop: Shop, merchant: Merchant) -> None:
    endpoint = merchant.endpoint(shop)
    sales = [shop.sale()["conversion_id"] for _ in range(60)]
    for sale in sales:
        shop.adjusted(sale, "approve")
        shop.adjusted(sale, "refund", amount=10)
    endpoint.wait(180, 20)
    for sale in sales:
        told = {one.event: one.data["sequence"] for one in endpoint.told(sale)}
        created = told["conversion.created"]
        assert told == {
            "conversion.created": created,
            "conversion.approved": created + 1,
            "conversion.refunded": created + 2,
        }


def test_an_order_that_passed_the_least_value_is_followed_to_its_end(
    shop: Shop, merchant: Merchant
) -> None:
    endpoint = merchant.endpoint(shop, min_value=50)
    sale, small = shop.sale()["conversion_id"], shop.sale("49.99")["conversion_id"]
    for _ in range(2):
        shop.adjusted(sale, "refund", amount=30)
    shop.adjusted(sale, "reject")
    shop.adjusted(small, "restate", order_value=70)
    shop.adjusted(small, "approve")
    last = shop.sale()["conversion_id"]
    assert eventually(lambda: bool(endpoint.told(last)), 10)
    assert eventually(lambda: len(endpoint.told(sale)) == 4, 10)
    assert sorted(one.event for one in endpoint.told(sale)) == [
        "conversion.created",
        "conversion.refunded",
        "conversion.refunded",
        "conversion.rejected",
    ]
    assert endpoint.told(small) == []


def test_every_change_of_money_has_its_event(shop: Shop, merchant: Merchant) -> None:
    endpoint = merchant.endpoint(shop, events=CONVERSION_EVENTS + _NEWER_EVENTS, campaign_id=[])
    sale = shop.sale(status="approved")["conversion_id"]
    shop.adjusted(sale, "restate", order_value=200)
    shop.adjusted(sale, "refund", amount=50)
    shop.adjusted(sale, "reinstate")
    shop.adjusted(sale, "pay")
    lost = shop.post(click_id="0" * 26, order_id=unique(), order_value=100).json()["conversion_id"]
    by_hand = {"tracking_code": shop.ann.code, "adjustment_id": unique("hand")}
    answer = shop.api.send("POST", f"/v1/conversions/{lost}/attribute", json=by_hand)
    assert answer.status_code == 201, answer.text
    wait_for(
        "all are told", lambda: len(endpoint.told(sale)) >= 5 and len(endpoint.told(lost)) >= 2
    )
    money = {one.event: one.data["commission_amount"] for one in endpoint.told(sale)}
    assert money == {
        "conversion.created": 30,
        "conversion.restated": 60,
        "conversion.refunded": 45,
        "conversion.reinstated": 60,
        "conversion.paid": 60,
    }
    told = {one.event: one.data for one in endpoint.told(lost)}
    assert told["conversion.created"]["affiliate_id"] is None
    attributed = told["conversion.attributed"]
    assert (attributed["affiliate_id"], attributed["commission_amount"]) == (shop.ann.id, 30)


def _signs(arrival: Arrival, secret: str) -> bool:
    """Returns whether one of the signatures is by this secret."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{arrival.headers['webhook-id']}.{arrival.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key, text + arrival.body, hashlib.sha256).digest()
    wanted = f"v1,{base64.b64encode(digest).decode()}"
    return wanted in arrival.headers["webhook-signature"].split()


def test_every_secret_signs_until_it_expires(shop: Shop, merchant: Merchant) -> None:
    endpoint = merchant.endpoint(shop)
    secrets = [endpoint.webhook["secret"]]
    for _ in range(2):
        path = f"/v1/webhooks/{endpoint.id}/rotate"
        answer = shop.api.send("POST", path, json={"overlap_seconds": 3600})
        secrets.append(answer.json()["secret"])

    def signed_by_all() -> bool:
        shop.sale()
        return any(all(_signs(one, secret) for secret in secrets) for one in endpoint.arrived)

    assert eventually(signed_by_all, 5)


def test_a_rotation_lets_what_is_under_way_end(shop: Shop, merchant: Merchant) -> None:
    held = [unique("held") for _ in range(4)]
    released: list[bool] = []

    def reply(hook: Hook, arrival: Arrival) -> None:
        if arrival.data["order_id"] in held:
            wait_for("the answer is released", lambda: bool(released))
        ok(hook, arrival)

    endpoint = merchant.endpoint(shop, reply)
    for order in held:
        shop.sale(order_id=order)
    endpoint.wait(4)
    path = f"/v1/webhooks/{endpoint.id}/rotate"
    answer = shop.api.send("POST", path, json={"overlap_seconds": 3600})

    def rotated() -> bool:
        shop.sale()
        return any(_signs(one, answer.json()["secret"]) for one in endpoint.arrived)

    assert eventually(rotated, 5)
    released.append(True)
    wait_for("all are delivered", lambda: set(endpoint.states()) == {"delivered"}, 8)
    orders = [one.data["order_id"] for one in endpoint.arrived]
    assert sorted(order for order in orders if order in held) == sorted(held)


def test_the_rest_goes_to_the_new_url_and_nothing_more_to_a_deleted_endpoint(
    open_shop: OpenShop, merchant: Merchant
) -> None:
    shop, quiet = open_shop(), open_shop()

    def slow(hook: Hook, arrival: Arrival) -> None:
        hook.hold(0.1)
        ok(hook, arrival)

    first, second = merchant.endpoint(shop, slow), merchant.endpoint(quiet, slow)
    bodies = [
        {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 1} for _ in range(400)
    ]
    shop.post_text(lines(bodies), **{"Content-Type": "application/x-ndjson"})
    first.wait(8)
    first.patch(url=second.webhook["url"])
    second.wait(8)
    assert shop.api.send("DELETE", f"/v1/webhooks/{first.id}").status_code == 204
    later = merchant.endpoint(shop)

    def stopped() -> bool:
        """Returns whether only the later endpoint hears of a later order."""
        before = len(first.arrived) + len(second.arrived)
        sale = shop.sale()["conversion_id"]
        wait_for("the later endpoint hears of it", lambda: bool(later.told(sale)))
        assert first.told(sale) == second.told(sale) == []
        return len(first.arrived) + len(second.arrived) == before

    assert eventually(stopped)
    assert len(first.arrived) + len(second.arrived) < 300


def test_a_narrower_filter_holds_for_all_that_waits_or_for_none_of_it(
    open_shop: OpenShop, merchant: Merchant
) -> None:
    shop, other = open_shop(), open_shop()
    endpoint = merchant.endpoint(shop, campaign_id=[])
    endpoint.patch(status="disabled")
    waiting = [shop.sale()["conversion_id"] for _ in range(20)]
    wait_for("all wait", lambda: endpoint.states() == ["pending"] * 20)
    endpoint.patch(filter={"campaign_id": [other.campaign]})
    endpoint.patch(status="active")
    last = other.sale()["conversion_id"]
    assert eventually(lambda: bool(endpoint.told(last)), 10)
    wait_for("nothing waits", lambda: "pending" not in endpoint.states())
    assert sum(bool(endpoint.told(sale)) for sale in waiting) in (0, 20)


def test_an_endpoint_that_was_disabled_gets_all_that_came_meanwhile(
    shop: Shop, merchant: Merchant
) -> None:
    endpoint = merchant.endpoint(shop)
    endpoint.patch(status="disabled")
    sales = {shop.sale()["conversion_id"] for _ in range(50)}
    endpoint.patch(status="active")
    arrived = endpoint.wait(50)
    assert {one.data["conversion_id"] for one in arrived} == sales


def test_no_cookie_is_sent_back(shop: Shop, merchant: Merchant) -> None:
    def reply(hook: Hook, _: Arrival) -> None:
        hook.reply(200, Set_Cookie="session=1; Path=/")

    endpoint = merchant.endpoint(shop, reply)
    for number in range(1, 4):
        shop.sale()
        endpoint.wait(number)
    assert not any("cookie" in one.headers for one in endpoint.arrived)
