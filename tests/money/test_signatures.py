"""A postback's signature covers its method, path, query and body, and nothing overrides it."""

import hashlib
import hmac
import time
from typing import Any

import httpx2

from tests.money.shop import Shop, money, unique

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _signed(query: str, key: dict[str, Any], what: str = "GET /postback", body: str = "") -> str:
    """Signs a query for a method, a path and a body by the key's signing secret."""
    method, path = what.split()
    now = int(time.time())
    query = f"{query}&key_id={key['id']}&ts={now}"
    text = f"{now}\n{method}\n{path}\n{query}\n{hashlib.sha256(body.encode()).hexdigest()}"
    secret = key["signing_secret"].encode()
    return f"{query}&sig={hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()}"


def _signed_as_before(query: str, key: dict[str, Any]) -> str:
    """Signs a query alone, in the form that is still taken for a GET without a body."""
    query = f"{query}&key_id={key['id']}&ts={int(time.time())}"
    secret = hashlib.sha256(key["key"].encode()).hexdigest()
    return f"{query}&sig={hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def _send(shop: Shop, what: str, query: str, body: str = "") -> httpx2.Response:
    method, path = what.split()
    more: dict[str, Any] = {"content": body, "headers": _FORM} if body else {}
    return shop.api.send(method, f"{path}?{query}", key="-", **more)


def test_a_signed_get_is_taken(shop: Shop) -> None:
    query = f"click_id={shop.click()}&payout=10&order_id={unique()}"
    assert _send(shop, "GET /postback", _signed(query, shop.bound_key())).status_code == 200
    assert shop.totals() == (1, 10, 3)


def test_a_signature_of_the_query_alone_is_still_taken_for_a_get(shop: Shop) -> None:
    query = f"click_id={shop.click()}&payout=10&order_id={unique()}"
    signed = _signed_as_before(query, shop.bound_key())
    assert _send(shop, "GET /postback", signed).status_code == 200
    assert shop.totals() == (1, 10, 3)


def test_a_signed_post_is_taken_with_its_body_and_refused_with_another(shop: Shop) -> None:
    click, key = shop.click(), shop.bound_key()
    body = f"payout=10&order_id={unique()}"
    query = _signed(f"click_id={click}", key, "POST /postback", body)
    assert _send(shop, "POST /postback", query, body).status_code == 200
    forged = _send(shop, "POST /postback", query, body.replace("payout=10", "payout=7777"))
    assert forged.status_code == 401
    assert shop.totals() == (1, 10, 3)


def test_a_body_added_to_a_signed_get_changes_no_order(shop: Shop) -> None:
    click, key, other = shop.click(), shop.bound_key(), unique()
    sale = shop.sale(click_id=click, order_id=other)
    query = f"click_id={click}&payout=10&order_id={unique()}&status=pending"
    for signed in (_signed(query, key), _signed_as_before(query, key)):
        for body in (
            f"order_id={unique()}&payout=7777&status=approved",
            f"order_id={other}&status=rejected",
        ):
            assert _send(shop, "POST /postback", signed, body).status_code in (401, 422)
    assert shop.api.read(sale["conversion_id"])["status"] == "pending"
    assert shop.totals() == (1, 100, 30)


def test_a_signed_pixel_in_a_page_is_no_signed_postback(shop: Shop) -> None:
    query = f"click_id={shop.click()}&payout=10&order_id={unique()}"
    signed = _signed(query, shop.bound_key(), "GET /p.gif")
    assert _send(shop, "GET /postback", signed).status_code == 401
    assert shop.listed() == []
    assert _send(shop, "GET /p.gif", signed).status_code == 200
    assert shop.totals() == (1, 10, 3)


def test_a_body_never_overrides_the_query(shop: Shop) -> None:
    query = f"click_id={shop.click()}&payout=10&order_id={unique()}&key={shop.api.key}"
    answer = _send(shop, "POST /postback", query, "payout=7777&status=approved")
    assert answer.status_code == 422
    assert shop.listed() == []


def test_the_merchants_post_takes_an_order_from_a_signed_postback(shop: Shop) -> None:
    order = unique()
    query = f"click_id={shop.click()}&payout=9999&order_id={order}"
    assert _send(shop, "GET /postback", _signed(query, shop.bound_key())).status_code == 200
    assert money(shop.sale(order_id=order, tracking_code=shop.ben.code)) == (100, 30)
    assert shop.totals() == (1, 100, 30)
