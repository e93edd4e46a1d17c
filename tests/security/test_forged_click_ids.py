"""Guesses of click ids are counted, bounded by sender, and blind; genuine ids are never refused."""

import pytest
from structlog.testing import capture_logs

from ingest import forged_clicks, metrics
from ingest.forged_clicks import ADDRESS_MAX, KEY_MAX, ForgedClicks
from linkjolt.logs import MinuteLine
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import ORDER, click_id


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _fresh_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the first warning of each test be written at once."""
    line = MinuteLine(30, "forged click ids over the limit")
    monkeypatch.setattr(forged_clicks, "_over_limit", line)


def forged(shop: Shop, number: int = 0) -> str:
    genuine = click_id(shop)
    return f"{genuine[:-4]}{number:04d}"


def total() -> float:
    [metric] = metrics.FORGED_CLICK_IDS.collect()
    return next(one.value for one in metric.samples if one.name.endswith("_total"))


async def pixel(shop: Shop, click: str, order: str, address: str = "") -> tuple[int, bytes, str]:
    headers = {"X-Forwarded-For": address} if address else {}
    path = f"/p.gif?click_id={click}&order_id={order}&amount=1"
    answer = await shop.client.get(path, headers=headers)
    return answer.status_code, answer.content, answer.headers.get("retry-after", "")


async def test_an_address_that_guesses_is_answered_429_and_learns_nothing(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    before = total()
    with capture_logs() as lines:
        answers = [await pixel(shop, forged(shop, n), f"f{n}", "9.9.9.9") for n in range(40)]
        own = await pixel(shop, click_id(shop), "mine", "9.9.9.9")
        other = await pixel(shop, click_id(shop, age_ms=2_000), "yours", "8.8.8.8")
    assert [status for status, _, _ in answers[: ADDRESS_MAX - 1]] == [200] * (ADDRESS_MAX - 1)
    assert set(answers[ADDRESS_MAX:]) == {own}
    assert (own[0], own[2], other[0]) == (429, "60", 200)
    assert own[1] == other[1]
    # Both were recorded.
    assert {one.order_id for one in await shop.conversions()} == {"mine", "yours"}
    assert total() - before == 40
    warnings = [one for one in lines if one["event"] == "forged click ids over the limit"]
    assert [one["by"] for one in warnings] == [{"without a key": 1}]
    assert "9.9.9.9" not in str(lines)


async def test_texts_that_are_no_click_ids_are_mistakes(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    before = total()
    for number in range(40):
        assert (await pixel(shop, f"%7Bclick_id%7D{number}", f"m{number}"))[0] == 200
        assert (await shop.post({**ORDER, "order_id": f"{number}", "click_id": "abc"})).is_success
    assert total() == before


async def test_a_key_that_guesses_still_posts_genuine_clicks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forged_clicks, "KEY_MAX", 5)
    before = total()
    with capture_logs() as lines:
        statuses = [
            (
                await shop.post({**ORDER, "order_id": f"f{n}", "click_id": forged(shop, n)})
            ).status_code
            for n in range(5)
        ]
        refused = await shop.post({**ORDER, "order_id": "f5", "click_id": forged(shop)})
    assert statuses == [201] * 5
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    problem = refused.json()
    assert (problem["code"], problem["errors"][0]["field"]) == ("too_many_forged", "click_id")
    assert total() - before == 6
    assert [one["by"] for one in lines if "forged" in one["event"]] == [{"key_1": 1}]
    # As its sender names it, of many at once, and by a postback.
    alias = await shop.post({**ORDER, "order_id": "f6", "clickId": forged(shop)})
    assert alias.json()["errors"][0]["field"] == "clickId"
    genuine = {**ORDER, "order_id": "g1", "click_id": click_id(shop)}
    entries = [{**ORDER, "order_id": "f7", "click_id": forged(shop)}, genuine]
    results = (await shop.post(entries)).json()["data"]
    assert [result["status"] for result in results] == [429, 201]
    several = {**ORDER, "order_id": "g2", "click_ids": [forged(shop), click_id(shop)]}
    assert (await shop.post(several)).status_code == 201
    path = f"/postback?click_id={forged(shop)}&payout=1&order_id=f8&key={shop.key}"
    assert (await shop.client.get(path)).status_code == 429
    # Another key has a limit of its own.
    other = await make_key(shop.registry, ["conversions:write"])
    posted = {**ORDER, "order_id": "o1", "click_id": forged(shop)}
    assert (await shop.post(posted, key=other)).status_code == 201


async def test_a_bound_key_that_guesses_is_counted_though_its_posts_are_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forged_clicks, "KEY_MAX", 5)
    bound = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    statuses = [
        (
            await shop.client.get(
                f"/postback?click_id={forged(shop, n)}&payout=1&order_id={n}&key={bound}"
            )
        ).status_code
        for n in range(12)
    ]
    assert statuses[0] == 422
    assert statuses[-1] == 429


def test_the_minute_ends_and_memory_is_bounded() -> None:
    clock = Clock()
    counts = ForgedClicks(clock)
    for _ in range(ADDRESS_MAX):
        assert not counts.is_over("192.0.2.1")
        counts.count_unsigned("192.0.2.1")
    assert counts.is_over("192.0.2.1")
    assert not counts.is_over("192.0.2.2")
    clock.now += 59.9
    assert counts.is_over("192.0.2.1")
    clock.now += 0.1
    assert not counts.is_over("192.0.2.1")
    for _ in range(ADDRESS_MAX):
        counts.count_unsigned("192.0.2.1")
    for number in range(9_999):
        counts.count_unsigned(f"10.0.{number >> 8}.{number & 255}")
    assert counts.is_over("192.0.2.1")
    counts.count_unsigned("10.1.0.1")
    # The one that was silent for the longest is forgotten.
    assert not counts.is_over("192.0.2.1")


def test_an_ipv6_address_counts_by_its_64() -> None:
    counts = ForgedClicks(Clock())
    for number in range(ADDRESS_MAX):
        counts.count_unsigned(f"2001:db8:0:1::{number:x}")
    assert counts.is_over("2001:db8:0:1:ffff::1")
    assert not counts.is_over("2001:db8:0:2::1")


def test_the_limit_of_a_key_lets_a_whole_batch_pass() -> None:
    assert KEY_MAX >= 10_000
