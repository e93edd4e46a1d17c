"""Webhooks leave little in Redis, and a Redis that is full can still be relieved."""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest
from redis import Redis

from tests.money.conftest import PATIENT, running
from tests.money.merchant import HookEndpoint, Merchant
from tests.money.shop import BROWSER, Api, Shop, eventually, unique
from tests.system.conftest import wait_for

_CLICKS = 1_000
_STREAM = "lj:{0}:clicks"
_MEMORY_BYTES = 64 << 20
# Stored events leave the streams after two seconds.
_SETTINGS = {
    "LINKJOLT_REDIS_MAX_MEMORY_BYTES": str(_MEMORY_BYTES),
    "LINKJOLT_STREAM_RETENTION_HOURS": "0.0005",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation with little memory for Redis and short streams."""
    with running(tmp_path_factory.mktemp("small"), **_SETTINGS, **PATIENT) as one:
        yield one


@pytest.fixture
def redis(small: Api) -> Iterator[Any]:
    with cast(Any, Redis).from_url(small.instance.run["redis_url"]) as client:
        yield client


def _used(redis: Any) -> tuple[int, int]:
    """Returns Redis's keys and bytes of data."""
    return redis.dbsize(), redis.info("memory")["used_memory_dataset"]


def _wait_for_trim(redis: Any, shop: Shop) -> None:
    """Waits until the clicks made so far have left the stream, while others come."""

    def place(entry: tuple[bytes, Any]) -> list[int]:
        return [int(part) for part in entry[0].split(b"-")]

    last = place(redis.xrevrange(_STREAM, count=1)[0])

    def trimmed() -> bool:
        shop.click()
        return place(redis.xrange(_STREAM, count=1)[0]) > last

    wait_for("the stream is trimmed", trimmed, 30)


def _click(shop: Shop, count: int) -> None:
    for _ in range(count):
        shop.click()


def _watch_clicks(merchant: Merchant, shop: Shop) -> HookEndpoint:
    """Registers an endpoint for clicks, and returns it once it hears of them."""
    endpoint = merchant.endpoint(shop, events=["click.created"])

    def heard() -> bool:
        shop.click()
        return bool(endpoint.arrived)

    wait_for("the endpoint hears of clicks", heard)
    return endpoint


@pytest.mark.long
def test_delivered_clicks_leave_nothing_but_the_last_outcomes(
    small: Api, redis: Any, merchant: Merchant
) -> None:
    shop = Shop(small)
    endpoint = _watch_clicks(merchant, shop)
    _click(shop, 100)
    endpoint.wait(100)
    _wait_for_trim(redis, shop)
    keys, size = _used(redis)
    before = len(endpoint.arrived)
    _click(shop, _CLICKS)
    endpoint.wait(before + _CLICKS, 30)
    _wait_for_trim(redis, shop)
    keys_now, size_now = _used(redis)
    # A hundred outcomes were there before, too.
    assert keys_now - keys < 50
    assert size_now - size < 100 * _CLICKS
    assert 0 < len(endpoint.deliveries()) <= 100


@pytest.mark.long
def test_clicks_are_trimmed_after_the_only_endpoint_that_heard_of_them_is_deleted(
    small: Api, redis: Any, merchant: Merchant
) -> None:
    shop = Shop(small)
    endpoint = _watch_clicks(merchant, shop)
    assert small.send("DELETE", f"/v1/webhooks/{endpoint.id}").status_code == 204
    _click(shop, 50)
    _wait_for_trim(redis, shop)


def test_a_deleted_endpoint_leaves_none_of_its_deliveries(
    small: Api, redis: Any, merchant: Merchant
) -> None:
    # Another test fills Redis: until all is back in it, posts are queued.
    wait_for("the spool is empty", lambda: _spooled_events(small) == 0, 60)
    shop = Shop(small)
    endpoint = merchant.endpoint(shop)
    for _ in range(20):
        shop.sale()
    endpoint.wait(20)
    number = endpoint.id.removeprefix("whk_")

    def left() -> list[bytes]:
        return list(redis.scan_iter(f"lj:{{w:{number}}}:*", count=1_000))

    assert left()
    assert small.send("DELETE", f"/v1/webhooks/{endpoint.id}").status_code == 204
    assert eventually(lambda: not left(), 10)


def test_the_endpoints_of_an_account_are_bounded(small: Api) -> None:
    body = {"url": "http://127.0.0.1:1/hook", "events": ["conversion.created"]}
    made: list[str] = []

    def create() -> int:
        answer = small.send("POST", "/v1/webhooks", json=body)
        if answer.status_code == 201:
            made.append(answer.json()["id"])
        return answer.status_code

    try:
        assert any(create() == 409 for _ in range(200))
        assert small.send("DELETE", f"/v1/webhooks/{made.pop()}").status_code == 204
        assert create() == 201
    finally:
        for webhook in made:
            small.send("DELETE", f"/v1/webhooks/{webhook}")


def _sell(shop: Shop, note: str = "") -> int:
    order = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 1}
    return shop.post(**order, items=[{"note": note}]).status_code


def _fill(shop: Shop) -> None:
    """Posts large orders until Redis takes no more, then fills the rest with small entries."""
    note = "x" * 60_000
    posts = _MEMORY_BYTES // len(note) + 100
    assert any(_sell(shop, note) != 201 for _ in range(posts)), "Redis has no bound"
    refused = 0
    for _ in range(2_000):
        made = shop.api.send("POST", "/v1/affiliates", json={"name": unique("x" * 100)})
        refused = 0 if made.status_code == 201 else refused + 1
        if refused == 10:
            return


def _spooled_events(api: Api) -> float:
    metrics = api.send("GET", "/metrics", key="-").text
    found = re.search(r"^linkjolt_spool_events(?:\{.*\})? (\S+)$", metrics, re.MULTILINE)
    assert found, metrics
    return float(found[1])


@pytest.mark.long
def test_a_full_redis_redirects_and_is_relieved(small: Api, merchant: Merchant) -> None:
    shop = Shop(small)
    endpoint = merchant.endpoint(shop)
    key = small.create("keys", name=unique("key"), scopes=["links:read"])
    warehouse = small.instance.run["pids"]["warehouse"]
    # Nothing is stored, so that nothing can be trimmed.
    os.kill(warehouse, signal.SIGSTOP)
    try:
        _fill(shop)
        redirect = small.send("GET", f"/{shop.ann.code}", key="-", headers=BROWSER)
        deleted = small.send("DELETE", f"/v1/webhooks/{endpoint.id}")
        revoked = small.send("DELETE", f"/v1/keys/{key['id']}")

        def refused() -> bool:
            return small.send("GET", "/v1/me", key=key["key"]).status_code == 401

        is_refused = eventually(refused)
    finally:
        os.kill(warehouse, signal.SIGCONT)
    statuses = [answer.status_code for answer in (redirect, deleted, revoked)]
    assert (statuses, is_refused) == ([302, 204, 204], True)

    wait_for("there is room again", lambda: _sell(shop) == 201, 30)
    # What waits in the spool fills Redis once more before it is stored, for the tests after this.
    wait_for("the spool is empty", lambda: _spooled_events(small) == 0, 60)
    body = {"name": "the last one"}
    wait_for(
        "the registry takes writes",
        lambda: small.send("POST", "/v1/affiliates", json=body).status_code == 201,
        60,
    )
