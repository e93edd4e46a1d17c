"""A day of mixed traffic adds up to the minor unit in reports, list and raw, also with kills."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import httpx2
import pytest

from tests.system.conftest import Instance, start, wait_for
from tests.system.disputed_day import DisputedDay
from tests.system.model import DIGITS, Amounts, Sums, add, sums_of, without_zeros
from tests.system.test_webhooks import WebhookReceiver, post, shop

__all__ = ["shop"]
SEED = 20261126
_AMOUNTS = ("revenue", "commission", "clawback")
_STOPPED_SECONDS = 5.0
ACTIONS = 350
# The warehouse holds aggregator and reports.
VICTIMS = ("edge", "warehouse", "webhooks", "redis")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    running = start(tmp_path / "data", LINKJOLT_WEBHOOK_ALLOW_PRIVATE="1")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def day(instance: Instance) -> Iterator[DisputedDay]:
    day = DisputedDay(instance, SEED)
    day.open()
    yield day
    day.close()


def minor(amount: float, currency: str) -> int:
    return round(amount * 10 ** DIGITS[currency])


def reported(instance: Instance, source: str) -> tuple[Sums, int]:
    """Reads the sums by affiliate and currency, and the unverified, from rollups or raw events."""
    # Between quarters of an hour only raw events can answer.
    odd = timedelta(milliseconds=1 if source == "raw" else 0)
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    parameters = {
        "from": (begin + odd).isoformat().replace("+00:00", "Z"),
        "group_by": "affiliate,currency",
        "metrics": "conversions,revenue,commission,clawback,unverified_conversions",
        "limit": "1000",
    }
    report = instance.report(**parameters)
    assert report["meta"]["source"] == source
    found: Sums = {}
    for row in report["data"]:
        if row["currency"] is not None:
            amounts = [minor(row[name], row["currency"]) for name in _AMOUNTS]
            add(found, (row["affiliate"], row["currency"]), Amounts(row["conversions"], *amounts))
    unverified = sum(row["unverified_conversions"] for row in report["data"])
    return without_zeros(found), unverified


def listed(instance: Instance) -> tuple[Sums, int]:
    """Sums the list of conversions, page by page, and counts the unverified."""
    found: Sums = {}
    unverified = 0
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        answer = instance.api(
            "reports_url", path="/v1/conversions", params={"limit": "100", **cursor}
        )
        page: dict[str, Any] = answer.json()
        for one in page["data"]:
            counts = one["status"] != "rejected"
            unverified += counts and not one["verified"]
            currency = one["currency"]
            amounts = Amounts(
                int(counts and one["verified"]),
                *(
                    minor(one[name], currency)
                    for name in ("net_value", "commission_amount", "clawback")
                ),
            )
            add(found, (one["affiliate_id"], currency), amounts)
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    return without_zeros(found), unverified


def check(instance: Instance, day: DisputedDay) -> None:
    """Checks that list, raw events and rollups equal the model's sums."""
    day.wait_for_early_ones()
    expected = sums_of([*day.orders, *day.postback_orders])

    def nothing_waits() -> bool:
        try:
            answer = instance.api("reports_url", path="/v1/balance")
            assert answer.status_code in (200, 503), answer.text + instance.log[-3000:]
            balance = answer.json()
        except httpx2.HTTPError:
            # The warehouse is being started again.
            return False
        streams = balance.get("streams", [{"waiting": 1}])
        waiting = any(one["waiting"] or one["difference"] for one in streams)
        # An edge that found no Redis brings what it wrote to its disk a moment later.
        return not waiting and balance["spooled"] == 0

    wait_for("nothing waits", nothing_waits, 40)
    audit = instance.linkjolt("audit")
    assert audit.returncode == 0, audit.stdout
    sums, unverified = listed(instance)
    assert sums == expected
    assert reported(instance, "raw") == (expected, unverified)
    assert reported(instance, "rollup") == (expected, unverified)


@pytest.mark.long
def test_a_day_adds_up_to_the_minor_unit(instance: Instance, day: DisputedDay) -> None:
    def disturb(number: int) -> None:
        if number == ACTIONS // 3:
            day.suspend()
        if number == ACTIONS // 2:
            redis = instance.run["pids"]["redis"]
            os.kill(redis, signal.SIGSTOP)
            Timer(_STOPPED_SECONDS, os.kill, (redis, signal.SIGCONT)).start()

    day.run(ACTIONS, disturb)
    assert len(day.done) == 15
    check(instance, day)


@pytest.mark.parametrize(
    ("actions", "deaths"),
    [
        pytest.param(ACTIONS, VICTIMS * 2, marks=pytest.mark.long, id="each twice"),
        pytest.param(160, VICTIMS, id="each once"),
    ],
)
def test_a_day_of_kills_adds_up_and_every_conversion_has_its_webhook(
    instance: Instance,
    day: DisputedDay,
    shop: WebhookReceiver,
    actions: int,
    deaths: tuple[str, ...],
) -> None:
    post(instance, "/v1/webhooks", {"url": shop.url, "events": ["conversion.created"]})
    killed = Counter[str]()
    every = actions // (len(deaths) + 1)

    def kill(number: int) -> None:
        if number == every // 2:
            day.suspend()
        if number and number % every == 0 and number // every <= len(deaths):
            victim = deaths[number // every - 1]
            pids: int | list[int] | None = instance.run["pids"][victim]
            [alive, *_] = pids if isinstance(pids, list) and pids else [pids]
            if isinstance(alive, int):
                os.kill(alive, signal.SIGKILL)
                killed[victim] += 1

    day.run(actions, kill)
    assert killed.keys() == set(VICTIMS)
    check(instance, day)
    made = {order.conversion_id for order in day.orders}
    # Deliveries that a killed process had claimed are due again when its lease ends.
    wait_for("all webhooks arrive", lambda: made <= shop.ids_of().keys(), 60)
    assert all(len(ids) == 1 for ids in shop.ids_of().values())
    assert len(shop.ids_of()) == len(day.orders) + len(day.postback_orders)
