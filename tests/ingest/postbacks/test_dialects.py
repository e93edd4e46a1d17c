"""Saved postback URLs of every dialect are parsed, and invalid ones refused by name."""

from decimal import Decimal

import pytest

from ingest.conversions.body import ConversionPost
from ingest.postbacks.dialects import DIALECTS, STATUS_BY_WORD
from ingest.postbacks.parameters import (
    Postback,
    json_to_query,
    read_parameters,
    read_postback,
    requested_answer,
)
from linkjolt.reasons import Reason, Rejected

CLICK = "38G6DGCQM00000400G029SGT1X"
OF_100 = {"click_id": CLICK, "order_id": "o1", "order_value": Decimal("9.90"), "currency": "EUR"}
URLS = [
    ("linkjolt", "click_id={c}&payout=9.90&order_id=o1&currency=EUR&status=approved&event=sale"),
    ("voluum", "cid={c}&payout=9.90&txid=o1&currency=EUR&status=approved&et="),
    ("keitaro", "subid={c}&status=sale&payout=9.90&tid=o1&currency=eur&from=network"),
    ("binom", "cnv_id={c}&payout=9.90&cnv_status=approve&cnv_currency=EUR&order_id=o1"),
    ("everflow", "nid=1&transaction_id={c}&amount=9,90&order_id=o1&currency=EUR&status=approved"),
    ("tune", "offer_id=26&transaction_id={c}&amount=9.90&adv_sub=o1&currency=EUR&status=approved"),
    ("redtrack", "clickid={c}&sum=9.90&type=Purchase&currency=EUR&order_id=o1&status=approved"),
    ("dub", "clickId={c}&amount=990&currency=eur&invoiceId=o1&eventName=Invoice+paid&status=1"),
]


def read(name: str, query: str) -> Postback:
    return read_postback(DIALECTS[name], read_parameters(query.encode()), "USD")


@pytest.mark.parametrize(("name", "query"), URLS)
def test_a_saved_url_of_every_dialect_says_the_same(name: str, query: str) -> None:
    postback = read(name, query.replace("{c}", CLICK))
    post = postback.post
    assert {field: getattr(post, field) for field in OF_100} == OF_100
    assert (post.event, postback.status, postback.has_value) == ("sale", "approved", True)


def test_every_dialect_names_its_page_and_maps_to_fields_that_there_are() -> None:
    known = {*ConversionPost.__struct_fields__, "status"}
    for dialect in DIALECTS.values():
        assert dialect.documentation
        assert set(dialect.names.values()) <= known
    assert set(STATUS_BY_WORD.values()) == {"pending", "approved", "rejected"}


def test_minor_units_are_those_of_the_currency() -> None:
    yen = read("dub", f"clickId={CLICK}&amount=1437&currency=jpy").post
    dollars = read("dub", f"clickId={CLICK}&amount=1437").post
    assert (yen.order_value, dollars.order_value) == (Decimal(1437), Decimal("14.37"))


def test_a_macro_that_nobody_filled_in_is_as_if_it_was_not_there() -> None:
    query = f"click_id={CLICK}&payout={{payout}}&order_id=[ORDER]&event={{{{event}}}}&status="
    postback = read("linkjolt", query)
    assert (postback.post.order_id, postback.post.order_value, postback.has_value) == (
        CLICK,
        0,
        False,
    )
    assert (postback.post.event, postback.status) == ("sale", None)


def test_keitaros_lead_is_a_sale_to_be_confirmed() -> None:
    assert read("keitaro", f"subid={CLICK}&status=lead").status == "pending"
    assert read("keitaro", f"subid={CLICK}&status=rejected").status == "rejected"


REFUSED = [
    ("voluum", f"cid={CLICK}&payout=ten", Reason.invalid_field, "payout"),
    ("voluum", f"cid={CLICK}&payout=-1&status=nonsense", Reason.invalid_field, "status"),
    ("linkjolt", "payout=1", Reason.missing_field, "tracking_code"),
    ("linkjolt", f"click_id={CLICK}&click_id=other", Reason.invalid_field, "click_id"),
    ("keitaro", f"subid={CLICK}&tid={'x' * 129}", Reason.invalid_field, "tid"),
    ("dub", f"clickId={CLICK}&amount=9.5", Reason.invalid_field, "amount"),
    ("dub", f"clickId={CLICK}&amount=x", Reason.invalid_field, "amount"),
    ("dub", f"clickId={CLICK}&amount=1&currency=zzz", Reason.invalid_field, "currency"),
    ("redtrack", f"clickid={CLICK}&currency=euro", Reason.invalid_field, "currency"),
    ("voluum", f"cid={CLICK}&et=9lives", Reason.invalid_field, "et"),
]


@pytest.mark.parametrize(("name", "query", "reason", "field"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_the_name_it_was_sent_under(
    name: str, query: str, reason: Reason, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        read(name, query)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_json_object_says_what_a_query_says() -> None:
    body = b'{"click_id": "' + CLICK.encode() + b'", "payout": 9.90, "order_id": "o1"}'
    pairs = read_parameters(json_to_query(body))
    assert pairs == {"click_id": CLICK, "payout": "9.90", "order_id": "o1"}


@pytest.mark.parametrize("query", [b"\xff=1", b"&".join([b"a=1"] * 101)])
def test_a_query_that_is_none_is_refused(query: bytes) -> None:
    with pytest.raises(Rejected):
        read_parameters(query)


@pytest.mark.parametrize("text", ["x" * 257, "a\nb"])
def test_what_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        requested_answer({"return": text})
    assert refused.value.field == "return"
