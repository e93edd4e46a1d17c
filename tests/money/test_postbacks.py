"""A postback changes its own click's conversion alone, and each call counts once."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.money.conftest import OpenShop
from tests.money.merchant import Merchant
from tests.money.shop import BROWSER, Shop, days_ago, kinds, money, net, refused_field, unique

# By dialect: its parameters for the click, the order and the amount.
DIALECTS = {
    "linkjolt": ("click_id", "order_id", "payout"),
    "voluum": ("cid", "txid", "payout"),
    "keitaro": ("subid", "tid", "payout"),
    "binom": ("cnv_id", "order_id", "payout"),
    "everflow": ("transaction_id", "order_id", "amount"),
    "tune": ("transaction_id", "adv_sub", "amount"),
    "redtrack": ("clickid", "order_id", "sum"),
    "dub": ("clickId", "invoiceId", "amount"),
}
Calls = list[dict[str, Any]]


def _amount(dialect: str, value: int) -> int:
    return value * 100 if dialect == "dub" else value


def test_another_clicks_postback_of_a_known_order_is_refused(shop: Shop) -> None:
    of_ann, of_ben, order = shop.click(), shop.click(shop.ben), unique()
    assert shop.postback(click_id=of_ann, order_id=order, payout=10).status_code == 200
    second = shop.postback(click_id=of_ben, order_id=order, payout=70)
    assert refused_field(second, 409) == "order_id"
    assert money(shop.only(order_id=order)) == (10, 3)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_dialect_restates_the_conversion_of_another_click(shop: Shop, dialect: str) -> None:
    click, order, amount = DIALECTS[dialect]
    of_ann, of_ben, same = shop.click(), shop.click(shop.ben), unique()
    first = {click: of_ann, order: same, amount: _amount(dialect, 10)}
    assert shop.postback(dialect, **first).status_code == 200
    second = shop.postback(dialect, **{click: of_ben, order: same, amount: _amount(dialect, 70)})
    rows = {row["click_id"]: money(row) for row in shop.listed()}
    if second.status_code == 200:
        assert rows == {of_ann: (10, 3), of_ben: (70, 21)}
    else:
        assert refused_field(second, 409) == order
        assert rows == {of_ann: (10, 3)}


@pytest.mark.parametrize(("dialect", "transaction"), [("voluum", "PURCHASE"), ("keitaro", "1")])
def test_a_transaction_id_is_unique_within_its_click_alone(
    shop: Shop, dialect: str, transaction: str
) -> None:
    click, order, amount = DIALECTS[dialect]
    for payout in (50, 80, 20):
        told = {click: shop.click(), order: transaction, amount: payout}
        assert shop.postback(dialect, **told).status_code == 200
    assert shop.totals() == (3, 150, 45)


@pytest.mark.parametrize("dialect", ["voluum", "keitaro"])
def test_a_click_may_have_several_transactions_of_which_each_is_restated_alone(
    shop: Shop, dialect: str
) -> None:
    click, order, amount = DIALECTS[dialect]
    one = shop.click()
    for transaction, payout in (("1", 50), ("2", 80), ("1", 40), ("2", 80)):
        told = {click: one, order: transaction, amount: payout}
        assert shop.postback(dialect, **told).status_code == 200
    assert shop.totals() == (2, 120, 36)


@pytest.mark.parametrize(
    ("dialect", "base", "events"),
    [
        pytest.param("everflow", {"amount": 0}, ("event_id", "5", "6"), id="everflow: event_id"),
        pytest.param("everflow", {}, ("adv_event_id", "5", "6"), id="everflow: adv_event_id"),
        pytest.param("tune", {}, ("goal_id", "1", "2"), id="tune: goal_id"),
        pytest.param("redtrack", {}, ("rdtk_event_id", "a", "b"), id="redtrack: rdtk_event_id"),
        pytest.param("voluum", {}, ("txid", "SIGNUP", "PURCHASE"), id="voluum: txid"),
        pytest.param("keitaro", {}, ("tid", "1", "2"), id="keitaro: tid"),
    ],
)
def test_events_of_one_click_stay_apart_as_their_vendor_tells_them_apart(
    shop: Shop, dialect: str, base: dict[str, Any], events: tuple[str, str, str]
) -> None:
    click, _, amount = DIALECTS[dialect]
    name, first, second = events
    told = {click: shop.click()}
    if base:
        assert shop.postback(dialect, **told, **base).status_code == 200
    # The last call is repeated.
    for event, value in ((first, 40), (second, 60), (second, 60)):
        answer = shop.postback(dialect, **told, **{name: event, amount: value})
        assert answer.status_code == 200, answer.text
    assert shop.totals("revenue,commission") == (100, 30)


@pytest.mark.parametrize(
    ("words", "status", "commission"),
    [
        ({"status": "reg", "lead_status": "reg"}, "pending", 30),
        ({"status": "topup", "lead_status": "reg,topup"}, "pending", 30),
        ({"status": "billed", "sale_status": "billed"}, "approved", 30),
        ({"status": "fake", "rejected_status": "canceled,fake"}, "rejected", 0),
    ],
    ids=["a lead", "one of several words", "a sale", "a rejection"],
)
def test_keitaros_own_words_for_a_status_are_translated(
    shop: Shop, words: dict[str, str], status: str, commission: float
) -> None:
    click = shop.click()
    assert shop.postback("keitaro", subid=click, payout=100, **words).status_code == 200
    recorded = shop.only(click_id=click)
    assert (recorded["status"], recorded["commission_amount"]) == (status, commission)


def test_a_status_that_keitaros_sender_ignores_records_nothing(shop: Shop) -> None:
    told = {"subid": shop.click(), "payout": 100, "status": "ping", "ignore_status": "ping,test"}
    assert shop.postback("keitaro", **told).status_code == 200
    assert shop.listed() == []


_UNDECLARED = [("redtrack", "type", "FTD"), ("voluum", "et", "Deposit")]


@pytest.mark.parametrize(("dialect", "name", "event"), _UNDECLARED)
def test_an_event_that_no_campaign_declares_is_refused_by_name_or_stored_whole(
    shop: Shop, dialect: str, name: str, event: str
) -> None:
    click, _, amount = DIALECTS[dialect]
    answer = shop.postback(dialect, **{click: shop.click(), amount: 50, name: event})
    if answer.status_code == 200:
        assert shop.totals() == (1, 50, 15)
    else:
        assert refused_field(answer) == name
        assert shop.listed() == []


@pytest.mark.parametrize(("dialect", "name", "event"), _UNDECLARED)
def test_an_event_that_the_campaign_declares_is_stored_under_its_name(
    open_shop: OpenShop, dialect: str, name: str, event: str
) -> None:
    shop = open_shop(events=[event.lower()])
    click, _, amount = DIALECTS[dialect]
    answer = shop.postback(dialect, **{click: shop.click(), amount: 50, name: event})
    assert answer.status_code == 200, answer.text
    assert [(row["event"], *money(row)) for row in shop.listed()] == [(event.lower(), 50, 15)]


@pytest.mark.parametrize("word", ["refund", "refunded", "returned"])
@pytest.mark.parametrize(
    ("amount", "left"), [({"payout": 20}, (80, 24)), ({}, (0, 0))], ids=["a part", "all"]
)
def test_a_refund_by_postback_takes_what_it_names(
    shop: Shop, merchant: Merchant, word: str, amount: dict[str, int], left: tuple[float, float]
) -> None:
    endpoint = merchant.endpoint(shop, events=["conversion.refunded"])
    told = {"click_id": shop.click(), "order_id": unique()}
    assert shop.postback(**told, payout=100, status="approved").status_code == 200
    # A repeated call changes nothing.
    for _ in range(2):
        assert shop.postback(**told, status=word, **amount).status_code == 200
    now = shop.only(order_id=told["order_id"])
    assert (now["order_value"], *net(now)) == (100, *left)
    assert kinds(now).count("refunded") == 1
    [arrival] = endpoint.wait(1)
    assert arrival.data["commission_amount"] == left[1]


@pytest.mark.parametrize(
    ("payout", "left"), [(-30, (70, 21)), (-100, (0, 0))], ids=["a part", "all"]
)
def test_a_negative_amount_is_a_refund_of_that_much(
    shop: Shop, payout: int, left: tuple[float, float]
) -> None:
    told = {"click_id": shop.click(), "order_id": unique()}
    assert shop.postback(**told, payout=100, status="approved").status_code == 200
    for _ in range(2):
        answer = shop.postback(**told, payout=payout)
        assert answer.status_code == 200, answer.text
    now = shop.only(order_id=told["order_id"])
    assert (now["order_value"], *net(now)) == (100, *left)


def test_a_negative_amount_of_an_unknown_order_makes_no_sale(shop: Shop) -> None:
    shop.postback(click_id=shop.click(), order_id=unique(), payout=-30)
    assert shop.totals("revenue,commission") == (0, 0)


def test_a_first_call_that_is_sent_again_undoes_no_chargeback(shop: Shop) -> None:
    first = {"click_id": shop.click(), "order_id": unique(), "payout": 100, "status": "approved"}
    for told in (first, first | {"status": "chargeback"}, first):
        assert shop.postback(**told).status_code == 200
    now = shop.only(order_id=first["order_id"])
    assert (now["status"], *net(now)) == ("rejected", 0, 0)


def test_a_call_that_is_sent_again_undoes_no_restatement(shop: Shop) -> None:
    told = {"click_id": shop.click(), "order_id": unique()}
    for payout in (100, 40, 100):
        assert shop.postback(**told, payout=payout).status_code == 200
    assert money(shop.only(order_id=told["order_id"])) == (40, 12)


@pytest.mark.parametrize("amount", [{"payout": 100}, {}], ids=["with the amount", "without"])
def test_a_sale_after_its_rejection_counts(shop: Shop, amount: dict[str, int]) -> None:
    told = {"click_id": shop.click(), "order_id": unique()}
    assert shop.postback(**told, status="rejected", **amount).status_code == 200
    assert shop.postback(**told, payout=100, status="approved").status_code == 200
    now = shop.only(order_id=told["order_id"])
    assert (now["status"], *money(now)) == ("approved", 100, 30)


@pytest.mark.parametrize(("currency", "amount"), [("KWD", "1,234"), ("BHD", "12,345")])
def test_a_comma_that_may_part_thousands_or_decimals_is_refused(
    shop: Shop, currency: str, amount: str
) -> None:
    told = {"click_id": shop.click(), "order_id": unique(), "currency": currency}
    assert refused_field(shop.postback(**told, payout=amount)) == "payout"
    assert shop.listed() == []


def test_a_comma_that_can_only_be_a_decimal_point_is_read_so(shop: Shop) -> None:
    click = shop.click()
    assert shop.postback(click_id=click, payout="9,90").status_code == 200
    assert money(shop.only(click_id=click)) == (9.9, 2.97)


def test_ampersands_escaped_for_html_part_parameters(shop: Shop) -> None:
    click, order = shop.click(), unique()
    query = f"key={shop.api.key}&amp;click_id={click}&amp;payout=10&amp;order_id={order}"
    assert shop.postback_text(query).status_code == 200
    assert money(shop.only(order_id=order)) == (10, 3)


_UNFILLED = [
    *("${T}", "%T%", "<t>", "__T__", "((t))", "{t", "%7BT%7D", "*|T|*", "REPLACE_ORDER"),
    *("{order_id}", "[ORDER]", "{{order}}", "#ORDER#", ""),
]


def test_an_order_id_that_nobody_filled_in_is_absent(shop: Shop) -> None:
    macros = {shop.click(): macro for macro in _UNFILLED for _ in range(2)}
    for click, macro in macros.items():
        assert shop.postback(click_id=click, payout=10, order_id=macro).status_code == 200
    rows = {row["click_id"]: row for row in shop.listed()}
    # Each click has a conversion of its own, under no macro, and says why.
    assert sorted(rows) == sorted(macros)
    assert not {row["order_id"] for row in rows.values()} & {*_UNFILLED}
    unmarked = {macros[c] for c, row in rows.items() if "order_id_unfilled" not in row["notes"]}
    assert unmarked == set()


@pytest.mark.parametrize(
    "payout", ["{payout}", "${AMOUNT}", ""], ids=["in braces", "after a dollar", "empty"]
)
def test_a_sale_whose_amount_nobody_filled_in_is_marked_in_the_list(
    shop: Shop, payout: str
) -> None:
    click = shop.click()
    assert shop.postback(click_id=click, payout=payout).status_code == 200
    [row] = shop.listed(click_id=click)
    assert (row["order_value"], row["notes"]) == (0, ["payout_unfilled"])


def test_a_head_request_records_nothing(shop: Shop) -> None:
    path = f"/postback?click_id={shop.click()}&payout=10&key={shop.api.key}"
    assert shop.api.send("HEAD", path, key="-").status_code == 200
    assert shop.listed() == []


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/postback", {"Sec-Purpose": "prefetch;prerender"}),
        ("/postback", {"Purpose": "prefetch"}),
        ("/postback/keitaro", {"X-Moz": "prefetch"}),
        ("/p.gif", {"Sec-Purpose": "prefetch"}),
    ],
    ids=["prerendered", "prefetched", "prefetched in a dialect", "a prefetched pixel"],
)
def test_a_call_that_a_browser_makes_ahead_of_time_records_nothing(
    open_shop: OpenShop, path: str, header: dict[str, str]
) -> None:
    shop = open_shop(**({"pixel": "on"} if path == "/p.gif" else {}))
    click = shop.click()
    query = f"click_id={click}&subid={click}&payout=10&key={shop.api.key}"
    answer = shop.api.send("GET", f"{path}?{query}", key="-", headers=BROWSER | header)
    assert answer.status_code == 503
    assert shop.listed() == []


_FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param("payout=10", {"Content-Type": _FORM}, id="a form"),
        pytest.param("payout=10", {"Content-Type": f"{_FORM}; charset=UTF-8"}, id="its charset"),
        pytest.param('{"payout": 10}', {"Content-Type": "application/json"}, id="JSON"),
        pytest.param("payout=10", {}, id="a form without its type"),
    ],
)
def test_a_posted_body_is_read(shop: Shop, body: str, headers: dict[str, str]) -> None:
    click, order = shop.click(), unique()
    path = f"/postback?click_id={click}&order_id={order}"
    answer = shop.api.send("POST", path, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert money(shop.only(order_id=order)) == (10, 3)


def test_the_key_may_be_in_the_query_or_in_a_header(shop: Shop) -> None:
    order = unique()
    query = f"click_id={shop.click()}&order_id={order}&payout=10"
    bearer = {"Authorization": f"Bearer {shop.api.key}"}
    assert shop.postback_text(f"{query}&key={shop.api.key}").status_code == 200
    assert shop.postback_text(query, **bearer).status_code == 200
    assert shop.totals() == (1, 10, 3)


def test_two_values_of_one_parameter_are_refused(shop: Shop) -> None:
    query = f"click_id={shop.click()}&payout=10&payout=20&key={shop.api.key}"
    assert refused_field(shop.postback_text(query)) == "payout"
    assert shop.listed() == []


def test_a_pixel_with_a_key_that_is_loaded_again_counts_once(shop: Shop) -> None:
    told = {"click_id": shop.click(), "order_id": unique(), "key": shop.api.key}
    for _ in range(2):
        shop.pixel(**told, amount=10)
    assert shop.totals() == (1, 10, 3)


def test_a_click_id_is_the_same_order_in_either_letter_case(shop: Shop) -> None:
    click = shop.click()
    for written in (click, click.lower(), f" {click} "):
        query = f"click_id={quote(written)}&payout=10&key={shop.api.key}"
        assert shop.postback_text(query).status_code == 200
    [row] = shop.listed()
    assert (row["click_id"], *money(row)) == (click, 10, 3)
    assert shop.api.fresh("/v1/conversions", order_id=click.lower())["data"] == []


def test_a_postback_has_a_customer_and_a_time(open_shop: OpenShop) -> None:
    first = {"kind": "percentage", "rate": "10", "first_order_only": True}
    shop, email = open_shop(commission=first), f"{unique()}@shop.example"
    at, orders = days_ago(10), [unique(), unique()]
    for order in orders:
        told = {"tracking_code": shop.ann.code, "order_id": order, "payout": 100}
        answer = shop.postback(**told, customer_email=email, timestamp=at)
        assert answer.status_code == 200, answer.text
    recorded = [shop.only(order_id=order) for order in orders]
    assert [one["timestamp"] for one in recorded] == [at, at]
    assert [one["commission_amount"] for one in recorded] == [10, 0]


@pytest.mark.parametrize(
    ("currency", "more", "value"),
    [
        ("USD", {}, 10),
        ("JPY", {}, 1000),
        ("KWD", {}, 1),
        ("USD", {"currency": "jpy"}, 1000),
        ("JPY", {"currency": "USD"}, 10),
    ],
)
def test_dubs_smallest_units_are_of_the_currency_that_is_stored(
    open_shop: OpenShop, currency: str, more: dict[str, str], value: float
) -> None:
    shop = open_shop(currency=currency)
    click = shop.click()
    told = {"clickId": click, "amount": 1000, "invoiceId": unique(), **more}
    assert shop.postback("dub", **told).status_code == 200
    recorded = shop.only(click_id=click)
    assert recorded["currency"] == more.get("currency", currency).upper()
    assert recorded["order_value"] == value
