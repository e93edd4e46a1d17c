"""Saved postback URLs of every dialect are parsed, and invalid ones refused by name."""

from decimal import Decimal

import pytest

from ingest.conversions.body import ConversionPost
from ingest.postbacks.dialects import DIALECTS, STATUS_BY_WORD
from linkjolt.reasons import Reason, Rejected
from tests.ingest.postbacks.calls import CLICK, read, read_json

OF_100 = {"click_id": CLICK, "order_id": "o1", "order_value": Decimal("9.90"), "currency": "EUR"}
URLS = [
    ("linkjolt", "click_id={c}&payout=9.90&order_id=o1&currency=EUR&status=approved&event=sale"),
    ("voluum", "cid={c}&payout=9.90&txid=o1&currency=EUR&status=approved&et="),
    ("keitaro", "subid={c}&status=sale&payout=9.90&tid=o1&currency=eur&from=network"),
    ("binom", "cnv_id={c}&payout=9.90&cnv_status=approve&cnv_currency=EUR&order_id=o1"),
    ("everflow", "nid=1&transaction_id={c}&amount=9,90&order_id=o1&currency=EUR&status=approved"),
    ("tune", "offer_id=26&transaction_id={c}&amount=9.90&adv_sub=o1&currency=EUR&status=approved"),
    ("redtrack", "clickid={c}&sum=9.90&type=Purchase&currency=EUR&order_id=o1&status=approved"),
]


@pytest.mark.parametrize(("name", "query"), URLS)
def test_a_saved_url_of_every_dialect_says_the_same(name: str, query: str) -> None:
    postback = read(name, query)
    post = postback.post
    assert {field: getattr(post, field) for field in OF_100} == OF_100
    assert (post.event, postback.status, postback.has_value) == ("sale", "approved", True)
    assert (postback.refunds, postback.ignored, postback.notes) == (False, False, ())


# The vendors' own examples, with a click of ours: its order, amount and status, and which orders
# are unique within the click only.
EXAMPLES = [
    ("voluum", "cid={c}&payout=10.00&txid=120", ("120", "10", None, "click")),
    ("voluum", "cid={c}&payout=0.00&txid=NEWSLETTER", ("NEWSLETTER", "0", None, "click")),
    ("keitaro", "subid={c}&status=lead&payout=10&currency=EUR", (CLICK, "10", "pending", "")),
    (
        "keitaro",
        "subid={c}&payout=21.0&status=confirmed&tid=52949935"
        "&lead_status=hold&sale_status=lead&rejected_status=reject,trash,cancelled",
        ("52949935", "21", "approved", "click"),
    ),
    (
        "binom",
        "cnv_id={c}&payout=5&cnv_status=hold&event1=1&event2=10",
        (f"{CLICK}/event1=1/event2=10", "5", "pending", ""),
    ),
    ("everflow", "nid=12&transaction_id={c}&amount=12,34", (CLICK, "12.34", None, "")),
    ("tune", "offer_id=26&transaction_id={c}", (CLICK, "0", None, "")),
    (
        "tune",
        "offer_id=2391&transaction_id={c}&conversion_unique_id=2016-7&adv_sub=NY",
        ("2016-7", "0", None, ""),
    ),
    ("redtrack", "clickid={c}&type=Conversion&sum=3", (CLICK, "3", None, "")),
    ("redtrack", "clickid={c}&sum=3&rdtk_event_id=77", ("77", "3", None, "click")),
    ("redtrack", "clickid={c}&sum=3&type=Upsell&order_id=9", ("9", "3", None, "")),
]


@pytest.mark.parametrize(("name", "query", "expected"), EXAMPLES)
def test_a_vendors_own_example_is_read_as_its_page_says(
    name: str, query: str, expected: tuple[str, str, str | None, str]
) -> None:
    order, value, status, scope = expected
    postback = read(name, query)
    assert (postback.post.order_id, postback.post.order_value) == (order, Decimal(value))
    assert (postback.status, postback.order_scope) == (status, scope)


def test_dubs_own_example_is_a_sale_with_its_events_in_the_order_id() -> None:
    body = (
        '{"clickId": "{c}", "customerExternalId": "c7", "amount": 594903, "currency": "usd",'
        ' "eventName": "Invoice paid", "leadEventName": "Cloned template 1481267",'
        ' "customerEmail": "ann@shop.example", "invoiceId": null, "metadata": {"plan": ["a"]}}'
    )
    postback = read_json("dub", body)
    post = postback.post
    events = "eventName=Invoice paid/leadEventName=Cloned template 1481267"
    assert (post.order_id, post.event, post.adv1) == (f"{CLICK}/{events}", "sale", "Invoice paid")
    assert (post.customer_id, post.customer_email) == ("c7", "ann@shop.example")
    assert (post.order_value, postback.minor_units) == (Decimal(594903), True)
    invoice = read_json("dub", body.replace("null", '"in_1"'))
    assert (invoice.post.order_id, invoice.order_scope) == ("in_1", "")


def test_a_call_to_dub_without_an_amount_is_a_lead() -> None:
    lead = read_json("dub", '{"clickId": "{c}", "eventName": "Sign up", "customerExternalId": 7}')
    assert (lead.post.event, lead.post.order_id) == ("lead", f"{CLICK}/eventName=Sign up")
    status = read("dub", "clickId={c}&status=rejected&eventName=Sign+up")
    assert (status.post.event, status.status) == ("sale", "rejected")


def test_every_dialect_names_its_page_and_maps_to_fields_that_there_are() -> None:
    known = {*ConversionPost.__struct_fields__, "status"}
    for dialect in DIALECTS.values():
        assert dialect.documentation
        assert {*dialect.names.values(), *dialect.texts.values()} <= known
        assert set(dialect.click_orders) <= dialect.names.keys()
        assert {*dialect.names, *dialect.texts, *dialect.status_lists} <= dialect.parameters
    words = {"pending", "approved", "rejected", "refunded"}
    assert set(STATUS_BY_WORD.values()) == words


@pytest.mark.parametrize(
    ("name", "query", "orders"),
    [
        ("everflow", "transaction_id={c}&event_id=", {"0": "", "5": "/event_id=5"}),
        ("everflow", "transaction_id={c}&event_id=0&adv_event_id=", {"7": "/adv_event_id=7"}),
        ("tune", "transaction_id={c}&goal_id=", {"0": "", "12": "/goal_id=12"}),
        ("tune", "transaction_id={c}&goal_name=", {"VIP": "/goal_name=VIP"}),
        ("tune", "transaction_id={c}&goal_name=b&goal_id=", {"12": "/goal_id=12"}),
        ("binom", "cnv_id={c}&add_event30=", {"0": "/add_event30=0", "2": "/add_event30=2"}),
        ("redtrack", "clickid={c}&type=", {"Conversion": "", "Purchase": "/type=Purchase"}),
        ("dub", "clickId={c}&amount=1&eventName=", {"Purchase": "", "Trial": "/eventName=Trial"}),
    ],
)
def test_an_order_id_names_the_event_by_which_its_vendor_tells_conversions_apart(
    name: str, query: str, orders: dict[str, str]
) -> None:
    found = {event: read(name, query + event).post.order_id for event in orders}
    assert found == {event: CLICK + order for event, order in orders.items()}


def test_events_of_one_order_stay_apart_and_the_base_has_the_order_id() -> None:
    query = "transaction_id={c}&order_id=1001&event_id="
    orders = [read("everflow", query + event).post.order_id for event in ("", "0", "5", "6")]
    assert orders == ["1001", "1001", "1001/event_id=5", "1001/event_id=6"]


def test_an_advertisers_sub_id_is_an_order_of_its_click_and_a_text() -> None:
    postback = read("tune", "transaction_id={c}&adv_sub=NY&adv_sub2=b")
    post = postback.post
    assert (post.order_id, postback.order_scope) == ("NY", "click")
    assert (post.adv1, post.adv2) == ("NY", "b")


@pytest.mark.parametrize(
    ("word", "status", "refunds"),
    [
        ("Approved", "approved", False),
        ("on-hold", "pending", False),
        ("chargeback", "rejected", False),
        ("void", "rejected", False),
        ("refunded", None, True),
        ("Partially Refunded", None, True),
        ("returned", None, True),
    ],
)
def test_the_usual_words_for_a_status_are_known(
    word: str, status: str | None, refunds: bool
) -> None:
    postback = read("linkjolt", f"click_id={{c}}&status={word}&payout=20")
    assert (postback.status, postback.refunds, postback.has_value) == (status, refunds, True)


@pytest.mark.parametrize(
    ("query", "value", "has_value"),
    [
        ("payout=-20", 20, True),
        ("payout=-20&status=approved", 20, True),
        ("payout=-20.50&status=rejected", Decimal("20.5"), True),
        ("payout=-20&status=refunded", 20, True),
        ("payout=0&status=refunded", 0, False),
        ("status=refund", 0, False),
    ],
)
def test_a_negative_amount_and_a_word_for_it_refund(
    query: str, value: Decimal, has_value: bool
) -> None:
    postback = read("linkjolt", f"click_id={{c}}&{query}")
    assert (postback.refunds, postback.status) == (True, None)
    assert (postback.post.order_value, postback.has_value) == (value, has_value)
    assert postback.post.status is None


KEITARO = "lead_status=reg,topup&sale_status=billed&rejected_status=canceled%2Cfake"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("reg", "pending"),
        ("TopUp", "pending"),
        ("billed", "approved"),
        ("fake", "rejected"),
        ("lead", "pending"),
        ("rebill", "approved"),
        ("rejected", "rejected"),
    ],
)
def test_keitaros_lists_translate_the_calls_own_words(word: str, status: str) -> None:
    assert read("keitaro", f"subid={{c}}&status={word}&{KEITARO}").status == status


def test_keitaros_lists_beat_the_words_that_are_known() -> None:
    turned = "subid={c}&status=approved&rejected=approved"
    assert read("keitaro", turned).status == "rejected"
    ignored = read("keitaro", "subid={c}&status=ping&sale_status=ping&ignore_status=test,ping")
    assert (ignored.ignored, ignored.status) == (True, None)
    assert not read("keitaro", "subid={c}&ignore_status=ping").ignored


def test_a_word_of_another_script_is_in_no_list_but_its_own() -> None:
    with pytest.raises(Rejected) as refused:
        read("keitaro", "subid={c}&status=%D0%BE%D1%82&lead_status=%D0%BD%D0%B5")
    assert refused.value.field == "status"
    listed = read("keitaro", "subid={c}&status=%D0%BE%D1%82&lead_status=%D0%BE%D1%82")
    assert listed.status == "pending"


REFUSED = [
    ("voluum", f"cid={CLICK}&payout=ten", Reason.invalid_field, "payout"),
    ("voluum", f"cid={CLICK}&payout=-1&status=nonsense", Reason.invalid_field, "status"),
    ("voluum", "payout=1", Reason.missing_field, "cid"),
    ("tune", "transaction_id=TRANSACTION_ID", Reason.missing_field, "transaction_id"),
    ("linkjolt", "payout=1", Reason.missing_field, "tracking_code"),
    ("linkjolt", f"click_id={CLICK}&payout=10&amount=20", Reason.invalid_field, "amount"),
    ("keitaro", f"subid={CLICK}&payout=10&revenue=20", Reason.invalid_field, "revenue"),
    ("binom", f"cnv_id={CLICK}&clickid=other", Reason.invalid_field, "clickid"),
    ("keitaro", f"subid={CLICK}&tid={'x' * 129}", Reason.invalid_field, "tid"),
    ("everflow", f"transaction_id={CLICK}&event_id={'5' * 120}", Reason.invalid_field, "event_id"),
    ("everflow", f"transaction_id={CLICK}&event_id=5%0A6", Reason.invalid_field, "event_id"),
    ("dub", f"clickId={CLICK}&amount=9.5", Reason.invalid_field, "amount"),
    ("dub", f"clickId={CLICK}&amount=x", Reason.invalid_field, "amount"),
    ("dub", f"clickId={CLICK}&amount=1&currency=zzz", Reason.invalid_field, "currency"),
    ("redtrack", f"clickid={CLICK}&currency=euro", Reason.invalid_field, "currency"),
    ("binom", f"cnv_id={CLICK}&cnv_currency=zzz", Reason.invalid_field, "cnv_currency"),
    ("voluum", f"cid={CLICK}&et=9lives", Reason.invalid_field, "et"),
    ("linkjolt", f"click_id={CLICK}&payout=5&event=9lives", Reason.invalid_field, "event"),
    ("linkjolt", f"click_id={CLICK}&timestamp=yesterday", Reason.invalid_field, "timestamp"),
]


@pytest.mark.parametrize(("name", "query", "reason", "field"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_the_name_it_was_sent_under(
    name: str, query: str, reason: Reason, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        read(name, query)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_one_amount_under_two_names_is_one_amount() -> None:
    assert read("keitaro", "subid={c}&payout=10&revenue=10.00").post.order_value == 10
    assert read("keitaro", "subid={c}&payout={payout}&revenue=10").post.order_value == 10


@pytest.mark.parametrize(
    "at",
    [
        *("1795327569", "1795327569038", "1795327569.038", "2026-11-22T06:06:09Z"),
        *("2026-11-22T07:06:09+01:00", "2026-11-22T07:06:09%2B0100"),
    ],
)
def test_a_time_is_epoch_seconds_or_milliseconds_or_an_instant(at: str) -> None:
    post = read("linkjolt", f"click_id={{c}}&timestamp={at}").post
    assert post.timestamp
    assert int(post.timestamp.timestamp()) == 1795327569


def test_a_customer_is_read() -> None:
    post = read("linkjolt", "click_id={c}&customer_id=c7&customer_email=ann%40shop.example").post
    assert (post.customer_id, post.customer_email) == ("c7", "ann@shop.example")
    post = read("everflow", "transaction_id={c}&user_id=c7&email=ann@shop.example").post
    assert (post.customer_id, post.customer_email) == ("c7", "ann@shop.example")
