"""The mix holds its shares, follows Zipf's law, and is the same for the same seed."""

from collections import Counter

import msgspec
import pytest

from loadtests.mix import Mix, MixRequest, zipf

CODES = [f"code_{rank}" for rank in range(1, 101)]
CLICK_ID = "38G6DGCQM00000400G029SGT1X"


class Order(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    order_value: float
    tracking_code: str = ""
    click_id: str = ""


def requests(count: int, mix: Mix) -> list[MixRequest]:
    return [mix.next() for _ in range(count)]


def orders(some: list[MixRequest]) -> list[Order]:
    return [msgspec.json.decode(r.body, type=Order) for r in some if r.kind == "conversion"]


def test_of_a_hundred_requests_95_are_clicks_4_conversions_and_1_a_report() -> None:
    kinds = Counter(request.kind for request in requests(20_000, Mix(CODES, "key", 1)))
    assert kinds["click"] == pytest.approx(19_000, rel=0.01)
    assert kinds["conversion"] == pytest.approx(800, rel=0.15)
    assert kinds["report"] == pytest.approx(200, rel=0.3)


def test_the_tenth_link_is_clicked_a_tenth_as_often_as_the_first() -> None:
    some = requests(50_000, Mix(CODES, "key", 1))
    codes = Counter(r.target.partition("?")[0] for r in some if r.kind == "click")
    assert codes["/code_1"] / codes["/code_10"] == pytest.approx(10, rel=0.2)
    assert zipf(3) == pytest.approx([1, 1.5, 1.8333], abs=0.001)


def test_conversions_name_codes_before_the_first_click_and_mostly_click_ids_after() -> None:
    mix = Mix(CODES, "key", 1)
    assert all(order.tracking_code in CODES for order in orders(requests(1_000, mix)))
    mix.add_click_id(CLICK_ID)
    after = orders(requests(20_000, mix))
    by_click_id = [order for order in after if order.click_id]
    assert {order.click_id for order in by_click_id} == {CLICK_ID}
    assert len(by_click_id) / len(after) == pytest.approx(0.8, abs=0.05)
    assert all(bool(order.click_id) != bool(order.tracking_code) for order in after)


def test_every_request_has_a_number_of_its_own_from_the_first_on() -> None:
    some = requests(1_000, Mix(CODES, "key", 1, first_number=501))
    assert [request.number for request in some] == list(range(501, 1_501))
    clicks = [request for request in some if request.kind == "click"]
    assert all(f"?sub1={click.number}&" in click.target for click in clicks)
    posted = [request for request in some if request.kind == "conversion"]
    assert [order.order_id for order in orders(some)] == [f"order_{r.number}" for r in posted]


def test_the_same_seed_gives_the_same_requests_and_another_one_others() -> None:
    first, same, other = (requests(500, Mix(CODES, "key", seed)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_only_conversions_and_reports_carry_the_key() -> None:
    for request in requests(2_000, Mix(CODES, "key", 1)):
        assert (request.headers.get("Authorization") == "Bearer key") == (request.kind != "click")
