"""While Redis does not answer, a change is refused with 503, and made when it is sent again."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.money.conftest import running
from tests.money.shop import Api, Shop, money, net, unique
from tests.system.conftest import wait_for

Call = Callable[[], httpx2.Response]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("frail")) as one:
        yield one


@pytest.fixture
def frail(installation: Api) -> Iterator[Api]:
    """Provides an installation whose Redis may be stopped; the next row finds it recovered."""
    probe = Shop(installation)
    yield installation
    body = {"tracking_code": probe.ann.code, "order_id": unique(), "order_value": 1}
    _again(lambda: probe.post(**body))


@contextmanager
def _redis_stopped(api: Api) -> Generator[None]:
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


# By what a postback asks of an approved order of 100: the status and the sums that it leaves.
_CHANGES: dict[str, tuple[dict[str, Any], str, tuple[float, float]]] = {
    "a rejection": ({"status": "rejected"}, "rejected", (0, 0)),
    "a chargeback": ({"status": "chargeback"}, "rejected", (0, 0)),
    "a refund": ({"status": "refunded"}, "approved", (0, 0)),
    "a refund of a part": ({"status": "refunded", "payout": 20}, "approved", (80, 24)),
    "a negative amount": ({"payout": -20}, "approved", (80, 24)),
    "another amount": ({"payout": 40}, "approved", (40, 12)),
    "another amount, approved": ({"payout": 40, "status": "approved"}, "approved", (40, 12)),
}


def test_postbacks_that_change_an_order_are_refused_and_then_made(frail: Api) -> None:
    shop, calls, orders = Shop(frail), dict[str, Call](), dict[str, str]()
    for name, (told, _, _) in _CHANGES.items():
        order = {"click_id": shop.click(), "order_id": unique()}
        assert shop.postback(**order, payout=100, status="approved").status_code == 200
        calls[name], orders[order["order_id"]] = partial(shop.postback, **order, **told), name
    ids = {orders[row["order_id"]]: row["conversion_id"] for row in shop.listed()}
    with _redis_stopped(frail), ThreadPoolExecutor() as threads:
        sent = {name: threads.submit(call) for name, call in calls.items()}
        refused = {name: answer.result() for name, answer in sent.items()}
    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(ids, 503)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused.values())
    untouched = {name: frail.read(one)["status"] for name, one in ids.items()}
    assert untouched == dict.fromkeys(ids, "approved")
    assert {name: _again(call).status_code for name, call in calls.items()} == dict.fromkeys(
        ids, 200
    )
    now = {name: frail.read(one) for name, one in ids.items()}
    assert {name: (one["status"], net(one)) for name, one in now.items()} == {
        name: (status, left) for name, (_, status, left) in _CHANGES.items()
    }


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


@pytest.mark.parametrize("path", ["by id", pytest.param("by order", marks=pytest.mark.long)])
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
