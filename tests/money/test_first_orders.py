"""A rule for first orders pays the first stored sale of a customer, and each customer once."""

from typing import Any

import pytest

from tests.money.conftest import OpenShop
from tests.money.shop import Shop, lines, unique

_FIRST = {"kind": "percentage", "rate": "10", "first_order_only": True}


@pytest.fixture
def first_shop(open_shop: OpenShop) -> Shop:
    return open_shop(commission=_FIRST)


def _email() -> str:
    return f"{unique('buyer')}@shop.example"


def _earned(shop: Shop, **fields: Any) -> float:
    return shop.sale(**fields)["commission_amount"]


@pytest.mark.parametrize("event", ["signup", "lead"])
def test_a_customer_who_signed_up_before_still_has_a_first_order(
    first_shop: Shop, event: str
) -> None:
    email = _email()
    lead = {"tracking_code": first_shop.ann.code, "event": event, "customer_email": email}
    assert first_shop.post(**lead).status_code == 201
    assert _earned(first_shop, customer_email=email) == 10
    assert _earned(first_shop, customer_email=email) == 0


def test_an_order_that_is_refused_claims_no_customer(first_shop: Shop) -> None:
    p, q = _email(), _email()
    sale = first_shop.sale(customer_email=p)
    other = {"tracking_code": first_shop.ann.code, "order_id": sale["order_id"], "order_value": 100}
    assert first_shop.post(**other, customer_email=q).status_code == 409
    assert _earned(first_shop, customer_email=q) == 10


def test_a_post_that_is_invalid_claims_no_customer(first_shop: Shop) -> None:
    email = _email()
    bad = {"tracking_code": first_shop.ann.code, "order_id": unique(), "order_value": "ten"}
    assert first_shop.post(**bad, customer_email=email).status_code == 422
    assert _earned(first_shop, customer_email=email) == 10


def test_an_id_knows_its_customer_under_every_email(first_shop: Shop) -> None:
    customer = unique("customer")
    assert _earned(first_shop, customer_id=customer) == 10
    assert _earned(first_shop, customer_id=customer, customer_email=_email()) == 0
    assert _earned(first_shop, customer_id=customer, customer_email=_email()) == 0


def test_an_order_claims_its_email_beside_its_id(first_shop: Shop) -> None:
    email = _email()
    assert _earned(first_shop, customer_id=unique("customer"), customer_email=email) == 10
    assert _earned(first_shop, customer_email=email) == 0


def test_an_id_decides_where_id_and_email_disagree(first_shop: Shop) -> None:
    email = _email()
    for customer in (unique("customer"), unique("customer")):
        assert _earned(first_shop, customer_id=customer, customer_email=email) == 10


def test_an_order_that_is_not_the_first_says_so(first_shop: Shop) -> None:
    email = _email()
    _earned(first_shop, customer_email=email)
    second = first_shop.sale(customer_email=email)
    assert first_shop.api.read(second["conversion_id"])["commission_reason"] == "not_first_order"


def test_a_rejected_first_order_gives_its_claim_back(first_shop: Shop) -> None:
    email, customer = _email(), unique("customer")
    sale = first_shop.sale(customer_email=email, customer_id=customer)
    first_shop.adjusted(sale["conversion_id"], "reject")
    assert _earned(first_shop, customer_email=email, customer_id=customer) == 10
    assert _earned(first_shop, customer_email=email, customer_id=customer) == 0


def test_a_first_order_sent_again_keeps_what_it_earned(first_shop: Shop) -> None:
    body = {"tracking_code": first_shop.ann.code, "order_id": unique(), "order_value": 100}
    answers = [first_shop.post(**body, customer_email="a@shop.example") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert [answer.json()["commission_amount"] for answer in answers] == [10, 10]


def test_of_many_orders_at_once_one_is_the_first(first_shop: Shop) -> None:
    email = _email()
    bodies = [
        {
            "tracking_code": first_shop.ann.code,
            "order_id": unique(),
            "order_value": 100,
            "customer_email": email,
        }
        for _ in range(20)
    ]
    answer = first_shop.post_text(lines(bodies), **{"Content-Type": "application/x-ndjson"})
    earned = [entry["conversion"]["commission_amount"] for entry in answer.json()["data"]]
    assert sorted(earned) == [0] * 19 + [10]
