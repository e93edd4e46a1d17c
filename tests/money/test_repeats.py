"""A request that is sent again counts once, however a shop or its library writes it."""

from typing import Any

import pytest

from tests.money.conftest import OpenShop
from tests.money.shop import Shop, days_ago, money, refused_field, unique

_EARLY, _LATER = days_ago(10), days_ago(9)


def _body(shop: Shop, **fields: Any) -> dict[str, Any]:
    return {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 100} | fields


@pytest.mark.parametrize("duplicates", ["rebill", "allow"])
def test_where_every_post_counts_each_must_be_told_apart(
    open_shop: OpenShop, duplicates: str
) -> None:
    shop = open_shop(duplicates=duplicates)
    body = _body(shop)
    assert refused_field(shop.post(**body)) == "timestamp"
    assert shop.listed() == []


@pytest.mark.parametrize("duplicates", ["rebill", "allow"])
@pytest.mark.parametrize("by", ["timestamp", "Idempotency-Key"])
def test_a_post_that_is_told_apart_counts_once_and_another_counts_again(
    open_shop: OpenShop, duplicates: str, by: str
) -> None:
    shop = open_shop(duplicates=duplicates)
    body = _body(shop)
    statuses: list[int] = []
    for first, again in ((_EARLY, _EARLY), (_LATER, _LATER)):
        for mark in (first, again):
            if by == "timestamp":
                answer = shop.post(**body, timestamp=mark)
            else:
                answer = shop.post({by: f"{body['order_id']} {mark}"}, **body)
            statuses.append(answer.status_code)
    assert statuses == [201, 200, 201, 200]
    assert shop.totals() == (2, 200, 60)


def test_an_idempotency_key_stands_for_one_body(shop: Shop) -> None:
    key, body = {"Idempotency-Key": unique("key")}, _body(shop)
    first = shop.post(key, **body)
    again = shop.post(key, **body)
    other = shop.post(key, **_body(shop))
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert again.json()["conversion_id"] == first.json()["conversion_id"]
    assert shop.totals() == (1, 100, 30)


def test_an_idempotency_key_of_a_refused_post_may_be_used_again(shop: Shop) -> None:
    key = {"Idempotency-Key": unique("key")}
    assert shop.post(key, **_body(shop, order_value="ten")).status_code == 422
    assert shop.post(key, **_body(shop)).status_code == 201


def test_an_idempotency_key_counts_a_lead_without_an_order_once(shop: Shop) -> None:
    key, lead = {"Idempotency-Key": unique("key")}, {"tracking_code": shop.ann.code}
    statuses = [shop.post(key, **lead, event="lead").status_code for _ in range(2)]
    assert statuses == [201, 200]


def test_a_quoted_idempotency_key_is_taken(shop: Shop) -> None:
    key, lead = {"Idempotency-Key": f'"{unique("key")}"'}, {"tracking_code": shop.ann.code}
    statuses = [shop.post(key, **lead, event="lead").status_code for _ in range(2)]
    assert statuses == [201, 200]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"timestamp": _LATER}, id="another time"),
        pytest.param({"customer_email": "late@shop.example"}, id="an e-mail added"),
        pytest.param({"status": "pending"}, id="the status spelt out"),
        pytest.param({"click_id": "", "tracking_code": None}, id="the click in place of the code"),
    ],
)
def test_a_retry_that_differs_names_the_first_conversion_and_adds_none(
    shop: Shop, change: dict[str, Any]
) -> None:
    body = _body(shop, timestamp=_EARLY)
    first = shop.post(**body).json()["conversion_id"]
    retry = {name: value for name, value in (body | change).items() if value is not None}
    if "click_id" in retry:
        retry["click_id"] = shop.click()
    answer = shop.post(**retry)
    assert answer.status_code in (200, 409)
    assert first in answer.text
    assert shop.totals() == (1, 100, 30)


@pytest.mark.parametrize(
    "change", [{"order_value": 99}, {"currency": "EUR"}], ids=["another value", "another currency"]
)
def test_another_amount_of_a_known_order_is_a_conflict(shop: Shop, change: dict[str, Any]) -> None:
    body = _body(shop)
    first = shop.post(**body).json()["conversion_id"]
    answer = shop.post(**(body | change))
    assert (answer.status_code, first in answer.text) == (409, True)
    assert shop.totals() == (1, 100, 30)


def test_the_same_content_written_otherwise_is_the_same_post(shop: Shop) -> None:
    order, code = unique(), shop.ann.code
    start = f'{{"tracking_code": "{code}", "order_id": "{order}"'
    bodies = [
        f'{start}, "order_value": 99.99, "metadata": {{"a": 1, "b": 2}}}}',
        f'{start}, "metadata": {{"b": 2, "a": 1}}, "order_value": "99.990"}}',
        f'{start}, "order_value": 99.99, "metadata": {{"a": 1, "b": 2}}, "currency": "USD"}}',
        f'{start}, "order_value": 99.99, "metadata": {{"a": 1, "b": 2}}, "items": null}}',
    ]
    answers = [shop.post_text(body) for body in bodies]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert len({answer.json()["conversion_id"] for answer in answers}) == 1


def test_an_older_post_that_comes_late_overwrites_no_newer_value(open_shop: OpenShop) -> None:
    shop = open_shop(duplicates="update")
    body = _body(shop)
    made = shop.post(**body, timestamp=_EARLY).json()["conversion_id"]
    assert shop.post(**(body | {"order_value": 80}), timestamp=_LATER).status_code == 200
    assert money(shop.api.read(made)) == (80, 24)
    assert shop.post(**body, timestamp=_EARLY).status_code == 200
    assert money(shop.api.read(made)) == (80, 24)


def test_the_merchants_second_post_of_an_order_in_another_campaign_is_a_conflict(
    open_shop: OpenShop,
) -> None:
    one, other = open_shop(), open_shop()
    sale = one.sale()
    answer = other.post(**_body(other, order_id=sale["order_id"]))
    assert (answer.status_code, sale["conversion_id"] in answer.text) == (409, True)
