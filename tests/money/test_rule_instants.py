"""A rule begins at its instant, to the millisecond, whenever the order is posted."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.money.shop import Shop, lines, money, refused_field, unique

_NDJSON = {"Content-Type": "application/x-ndjson"}


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_the_rule_of_an_order_is_that_of_its_millisecond(shop: Shop) -> None:
    # Orders may be some minutes ahead of this machine's clock, and rules begin in the future.
    switch = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=2)
    rule = {"commission": {"kind": "percentage", "rate": "20"}, "starts_at": _written(switch)}
    path = f"/v1/campaigns/{shop.campaign}/commissions"
    assert shop.api.send("POST", path, json=rule).status_code == 201
    times = [switch + timedelta(milliseconds=offset) for offset in range(-500, 500)]
    bodies = [
        {
            "tracking_code": shop.ann.code,
            "order_id": unique(),
            "order_value": 100,
            "timestamp": _written(at),
        }
        for at in times
    ]
    answer = shop.post_text(lines(bodies), **_NDJSON)
    earned = [result["conversion"]["commission_amount"] for result in answer.json()["data"]]
    assert earned == [30] * 500 + [20] * 500


@pytest.mark.parametrize(
    "minutes", [-60 * 24 * 30, 0, 4], ids=["a month ago", "now", "4 minutes ahead"]
)
def test_an_order_of_the_past_or_of_a_clock_ahead_is_taken(shop: Shop, minutes: int) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    sale = shop.sale(timestamp=_written(at))
    assert (sale["timestamp"][:19], *money(sale)) == (_written(at)[:19], 100, 30)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(_written(datetime.now(UTC) + timedelta(hours=1)), id="in an hour"),
        pytest.param("2026-01-01T10:00:00", id="without a zone"),
        pytest.param(1767261600, id="seconds since 1970"),
        pytest.param("yesterday", id="a word"),
    ],
)
def test_a_time_that_is_no_instant_of_the_past_is_refused(shop: Shop, written: str | int) -> None:
    body = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 100}
    assert refused_field(shop.post(**body, timestamp=written)) == "timestamp"


def test_a_leap_second_is_taken_as_the_end_of_its_minute(shop: Shop) -> None:
    sale = shop.sale(timestamp="2016-12-31T23:59:60Z")
    midnight = datetime(2017, 1, 1, tzinfo=UTC)
    assert abs(datetime.fromisoformat(sale["timestamp"]) - midnight) <= timedelta(seconds=1)
