"""While Redis does not answer, a change is refused with 503, and made when it is sent again."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.money.conftest import SETTINGS
from tests.money.shop import Api, Shop, money, net, unique
from tests.system.conftest import start, wait_for

Call = Callable[[], httpx2.Response]


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation whose Redis server is stopped by these rows."""
    instance = start(tmp_path_factory.mktemp("frail") / "data", **SETTINGS)
    yield Api(instance)
    instance.stop()


@contextmanager
def _redis_stopped(api: Api) -> Iterator[None]:
    redis = api.instance.run["pids"]["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis, signal.SIGCONT)


def _again(call: Call) -> httpx2.Response:
    """Repeats a call until Redis is found to be back."""
    answers: list[httpx2.Response] = []

    def answered() -> bool:
        answers.append(call())
        return answers[-1].status_code not in (202, 503)

    wait_for("Redis is back", answered)
    return answers[-1]


def _call_later(shop: Shop, sale: dict[str, Any], told: dict[str, Any]) -> Call:
    """Makes a postback of a sale's click and order."""
    return lambda: shop.postback(click_id=sale["click_id"], order_id=sale["order_id"], **told)


@pytest.mark.parametrize(
    ("told", "status", "left"),
    [
        ({"status": "rejected"}, "rejected", (0, 0)),
        ({"status": "chargeback"}, "rejected", (0, 0)),
        ({"status": "refunded"}, "approved", (0, 0)),
        ({"status": "refunded", "payout": 20}, "approved", (80, 24)),
        ({"payout": -20}, "approved", (80, 24)),
        ({"payout": 40}, "approved", (40, 12)),
        ({"payout": 40, "status": "approved"}, "approved", (40, 12)),
    ],
)
def test_a_postback_that_changes_an_order_is_refused_and_then_made(
    frail: Api, told: dict[str, Any], status: str, left: tuple[float, float]
) -> None:
    shop = Shop(frail)
    first = {"click_id": shop.click(), "order_id": unique(), "payout": 100, "status": "approved"}
    assert shop.postback(**first).status_code == 200
    order = shop.only(order_id=first["order_id"])
    call = _call_later(shop, order, told)
    with _redis_stopped(frail):
        answer = call()
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert _again(call).status_code == 200
    now = frail.read(order["conversion_id"])
    assert (now["status"], *net(now)) == (status, *left)
    assert shop.totals("revenue,commission") == left


def test_the_rejection_of_a_new_click_leaves_no_sale(frail: Api) -> None:
    shop = Shop(frail)
    told = {"click_id": shop.click(), "order_id": unique(), "payout": 100, "status": "rejected"}
    with _redis_stopped(frail):
        assert shop.postback(**told).status_code == 503
    assert _again(lambda: shop.postback(**told)).status_code == 200
    now = shop.only(order_id=told["order_id"])
    assert (now["status"], *net(now)) == ("rejected", 0, 0)
    assert shop.totals() == (0, 0, 0)


def test_a_post_that_may_update_an_order_is_refused_and_then_made(frail: Api) -> None:
    shop = Shop(frail, duplicates="update")
    sale = shop.sale()
    body = {"tracking_code": shop.ann.code, "order_id": sale["order_id"], "order_value": 60}
    with _redis_stopped(frail):
        answer = shop.post(**body)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert _again(lambda: shop.post(**body)).status_code == 200
    assert money(frail.read(sale["conversion_id"])) == (60, 18)


@pytest.mark.parametrize("path", ["by id", "by order"])
def test_an_adjustment_is_refused_and_then_made(frail: Api, path: str) -> None:
    shop = Shop(frail)
    sale = shop.sale()
    body = {"kind": "refund", "amount": 40, "adjustment_id": unique("refund")}
    where = f"/v1/conversions/{sale['conversion_id']}/adjustments"
    if path == "by order":
        where, body["order_id"] = "/v1/adjustments", sale["order_id"]

    def call() -> httpx2.Response:
        return frail.send("POST", where, json=body)

    with _redis_stopped(frail):
        answer = call()
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert _again(call).status_code in (200, 201)
    assert money(frail.read(sale["conversion_id"]))[1] == 18


def test_a_plain_new_post_is_queued_and_counts_once(frail: Api) -> None:
    shop = Shop(frail)
    shop.sale()
    body = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 50}
    with _redis_stopped(frail):
        queued = shop.post(**body)
    assert (queued.status_code, queued.json()["status"]) == (202, "queued")
    assert _again(lambda: shop.post(**body)).status_code == 200
    stored = frail.read(queued.json()["conversion_id"])
    assert (stored["order_id"], *money(stored)) == (body["order_id"], 50, 15)
    assert shop.totals() == (2, 150, 45)
