"""What a shop sends in its first hour is understood, or refused by the name it was sent under."""

import gzip
import json
import unicodedata
from typing import Any

import pytest

from tests.money.shop import Shop, lines, money, refused_field, unique

_NDJSON = {"Content-Type": "application/x-ndjson"}


def _body(shop: Shop, **fields: Any) -> dict[str, Any]:
    return {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 100} | fields


@pytest.mark.parametrize(
    "field",
    [
        "coupon_code",
        "click_id",
        "customer_id",
        "currency",
        "customer_email",
        "timestamp",
        "status",
        "adv1",
        "campaign_id",
        "affiliate_id",
        "event",
    ],
)
@pytest.mark.parametrize("empty", ["", None], ids=["empty", "null"])
def test_an_optional_field_that_is_empty_is_absent(
    shop: Shop, field: str, empty: str | None
) -> None:
    sale = shop.post(**_body(shop, **{field: empty}))
    assert sale.status_code == 201, sale.text
    assert (sale.json()["currency"], *money(sale.json())) == ("USD", 100, 30)


@pytest.mark.parametrize("field", ["metadata", "items", "click_ids"])
@pytest.mark.parametrize("empty", [[], None], ids=["an empty list", "null"])
def test_an_optional_list_or_object_that_is_empty_is_absent(
    shop: Shop, field: str, empty: list[Any] | None
) -> None:
    sale = shop.post(**_body(shop, **{field: empty}))
    assert sale.status_code == 201, sale.text


@pytest.mark.parametrize(("field", "status"), [("order_id", 422), ("order_value", 422)])
def test_a_required_field_that_is_empty_is_refused_under_its_name(
    shop: Shop, field: str, status: int
) -> None:
    assert refused_field(shop.post(**_body(shop, **{field: ""})), status) == field


def test_an_alias_is_refused_under_the_name_that_was_sent(shop: Shop) -> None:
    body = {"trackingCode": shop.ann.code, "orderId": "", "orderValue": 1}
    assert refused_field(shop.post(**body)) == "orderId"
    body = {"trackingCode": shop.ann.code, "orderId": unique(), "amount": "ten"}
    assert refused_field(shop.post(**body)) == "amount"


@pytest.mark.parametrize("email", ["guest", "nobody@", "a b@shop.example"])
def test_an_email_that_is_none_is_dropped_with_a_note(shop: Shop, email: str) -> None:
    sale = shop.post(**_body(shop, customer_email=email))
    assert sale.status_code == 201, sale.text
    assert shop.api.read(sale.json()["conversion_id"])["notes"]


def test_whole_numbers_are_read_as_ids(shop: Shop) -> None:
    number = 7_000_000_000 + int(unique("n").removeprefix("n-"))
    sale = shop.post(**_body(shop, order_id=number, customer_id=42))
    assert (sale.status_code, sale.json()["order_id"]) == (201, str(number))
    made = sale.json()["conversion_id"]
    assert shop.post(**_body(shop, order_id=str(number), customer_id="42")).status_code == 200
    refund = {"amount": 10, "adjustment_id": 7}
    assert shop.adjust(made, "refund", **refund).status_code == 201
    assert shop.adjust(made, "refund", **(refund | {"adjustment_id": "7"})).status_code == 200


@pytest.mark.parametrize("number", [1.5, True], ids=["a fraction", "true"])
def test_other_values_are_no_ids(shop: Shop, number: Any) -> None:
    assert refused_field(shop.post(**_body(shop, order_id=number))) == "order_id"


@pytest.mark.parametrize("currency", ["eur", "Eur"])
def test_a_currency_may_be_written_in_any_letter_case(shop: Shop, currency: str) -> None:
    assert shop.sale(currency=currency)["currency"] == "EUR"


@pytest.mark.parametrize(
    "shape", [" {} ", "{}\n", "\ufeff{}", "{}\u200b"], ids=["spaces", "a line", "BOM", "zero width"]
)
def test_an_order_id_is_the_same_with_what_nobody_sees_around_it(shop: Shop, shape: str) -> None:
    order = unique()
    sale = shop.sale(order_id=order)
    again = shop.post(**_body(shop, order_id=shape.format(order)))
    assert (again.status_code, again.json()["conversion_id"]) == (200, sale["conversion_id"])


def test_an_order_id_is_the_same_in_either_form_of_unicode(shop: Shop) -> None:
    order = f"Größe-{unique()}"
    sale = shop.sale(order_id=unicodedata.normalize("NFD", order))
    assert sale["order_id"] == unicodedata.normalize("NFC", order)
    again = shop.post(**_body(shop, order_id=unicodedata.normalize("NFC", order)))
    assert again.status_code == 200


def test_an_order_id_is_the_same_in_a_post_and_in_a_postback(shop: Shop) -> None:
    click, order = shop.click(), unique()
    shop.sale(click_id=click, order_id=f" {order}\u200b")
    assert shop.postback(click_id=click, order_id=f"{order} ", payout=100).status_code == 200
    assert shop.totals() == (1, 100, 30)


@pytest.mark.parametrize(
    "shape",
    ["ORD/{}", "#{}", "Bestellung-ä{}", "注文{}", "🛒{}", "{}" + "x" * 100],
    ids=["slash", "hash", "umlaut", "CJK", "emoji", "long"],
)
def test_an_order_id_of_any_script_is_found_again(shop: Shop, shape: str) -> None:
    order = shape.format(unique())
    sale = shop.sale(order_id=order)
    rows = shop.listed(order_id=order)
    assert [row["conversion_id"] for row in rows] == [sale["conversion_id"]]


@pytest.mark.parametrize(
    "shape", [" {} ", "{}\n", "lower"], ids=["spaces", "a line", "in lower case"]
)
def test_a_click_id_earns_however_it_was_copied(shop: Shop, shape: str) -> None:
    click = shop.click()
    written = click.lower() if shape == "lower" else shape.format(click)
    sale = shop.sale(click_id=written)
    assert (sale["click_id"], sale["attribution"]["method"], *money(sale)) == (
        click,
        "click",
        100,
        30,
    )


def test_a_key_that_is_given_twice_is_refused_by_name(shop: Shop) -> None:
    start = f'{{"tracking_code": "{shop.ann.code}", "order_id": "{unique()}", "order_value": 1'
    for field, value in (("order_value", "1000"), ("order_id", f'"{unique()}"')):
        answer = shop.post_text(f'{start}, "{field}": {value}}}')
        assert refused_field(answer, answer.status_code) == field
        assert answer.status_code in (400, 422)
    assert shop.listed() == []


def test_a_byte_order_mark_before_a_body_is_skipped(shop: Shop) -> None:
    body = json.dumps(_body(shop)).encode()
    assert shop.post_text(b"\xef\xbb\xbf" + body).status_code == 201
    answer = shop.post_text(b"\xef\xbb\xbf" + lines([_body(shop), _body(shop)]).encode(), **_NDJSON)
    assert [result["status"] for result in answer.json()["data"]] == [201, 201]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/ndjson; charset=utf-8",
    ],
)
def test_lines_of_json_are_taken_under_each_of_their_names(shop: Shop, media_type: str) -> None:
    answer = shop.post_text(lines([_body(shop), _body(shop)]), **{"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    assert [result["status"] for result in answer.json()["data"]] == [201, 201]


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
def test_a_packed_body_is_unpacked_or_refused_by_the_name_of_its_encoding(
    shop: Shop, media_type: str
) -> None:
    packed = gzip.compress(lines([_body(shop)]).encode())
    headers = {"Content-Type": media_type, "Content-Encoding": "gzip"}
    answer = shop.post_text(packed, **headers)
    if answer.status_code in (200, 201):
        assert shop.totals() == (1, 100, 30)
    else:
        assert (answer.status_code, "gzip" in answer.json()["detail"]) == (415, True)
        assert shop.listed() == []


def test_lines_may_end_as_on_windows_and_a_bad_one_is_refused_alone(shop: Shop) -> None:
    good = [json.dumps(_body(shop)) for _ in range(2)]
    text = "\r\n".join([good[0], "{bad", "", good[1], "", ""])
    answer = shop.post_text(text, **_NDJSON).json()
    assert [result["status"] for result in answer["data"]] == [201, 400, 201]


def test_ten_megabytes_of_lines_have_a_result_each(shop: Shop) -> None:
    bodies = [_body(shop, metadata={"note": "x" * 900}) for _ in range(9_900)]
    text = lines(bodies)
    assert 9_900_000 < len(text) < 10 << 20
    answer = shop.post_text(text, **_NDJSON).json()
    assert [result["status"] for result in answer["data"]] == [201] * 9_900
    assert shop.totals("conversions") == (9_900,)


def test_a_batch_that_is_too_long_answers_the_results_so_far(shop: Shop) -> None:
    bodies = [_body(shop, order_id=f"{unique()}", order_value=1) for _ in range(10_001)]
    answer = shop.post_text(lines(bodies), **_NDJSON)
    results = answer.json()["data"]
    accepted = [result for result in results if result["status"] == 201]
    assert len(accepted) > 0
    assert shop.totals("conversions") == (len(accepted),)
    assert answer.status_code == 413 or results[-1]["status"] == 413


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({f"adv{n}": f"value {n}" for n in range(1, 6)}, id="adv1 to adv5"),
        pytest.param({"customer_id": "c 1", "coupon_code": "SPRING"}, id="customer and coupon"),
        pytest.param({"metadata": {"a": 1}, "items": [{"sku": "s1"}]}, id="metadata and items"),
    ],
)
def test_what_was_posted_can_be_read_back(shop: Shop, extra: dict[str, Any]) -> None:
    sale = shop.sale(click_id=shop.click(), **extra)
    [row] = shop.listed(order_id=sale["order_id"])
    found = row | shop.api.read(sale["conversion_id"])
    assert {name: found.get(name) for name in extra} == extra
