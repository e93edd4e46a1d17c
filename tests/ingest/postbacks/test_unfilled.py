"""Values that nobody filled in are absent and marked, and no value is taken for one."""

from urllib.parse import quote

import pytest

from ingest.postbacks.pairs import UNFILLED, json_to_query, read_parameters, requested_answer
from linkjolt.reasons import Reason, Rejected
from tests.ingest.postbacks.calls import CLICK, read

MACROS = [
    *("{order}", "{{order}}", "${order}", "#{order}", "{order:20}", "${(order)!}", "{}", "{$x}"),
    *("[ORDER]", "[[order]]", "%ORDER%", "%%ORDER%%", "%DATE%", "%%ADV_SUB%%", "%BEEF_ID%"),
    *("<order>", "<%= order %>", "__ORDER__", "__ORDER_ID__", "((order))", "*|ORDER|*"),
    *("#order#", "{order", "order}", "[order", "ORDER]", "%7BORDER%7D", "%257BORDER%257D"),
    *("%5BORDER%5D", "%25ORDER%25", "%s", "REPLACE", "REPLACE_ORDER", "REPLACEME", "OPTIONAL"),
    *("REPLACE-WITH-ID", "null", "NULL", "undefined", "NaN", "None", "(none)", "(not set)"),
]
INSIDE = [
    *("order-{id}", "{shop}-{id}", "a_${id}", "a-[ID]", "a-%ID%", "a-%DATE%", "x__a-__ID__"),
    *("a-((id))", "a*|ID|*", "a-#id#", "a-<id>", "order-{id", "id}-2", "a-%7Bid%7D", "order-{0}"),
]


@pytest.mark.parametrize("macro", [*MACROS, *INSIDE])
def test_an_order_id_that_nobody_filled_in_is_absent_and_marked(macro: str) -> None:
    postback = read("linkjolt", f"click_id={{c}}&payout=5&order_id={macro}")
    assert (postback.post.order_id, postback.notes) == (CLICK, ("order_id_unfilled",))


@pytest.mark.parametrize("macro", ["{payout}", "%AMOUNT%", "${AMOUNT} USD", "null", "NaN", "", " "])
def test_an_amount_that_nobody_filled_in_is_no_value_and_is_marked(macro: str) -> None:
    postback = read("linkjolt", f"click_id={{c}}&payout={macro}")
    assert (postback.post.order_value, postback.has_value) == (0, False)
    assert postback.notes == ("payout_unfilled",)


def test_a_missing_amount_and_empty_words_are_not_marked() -> None:
    query = "cid={c}&currency=&et=&status=&param1="
    postback = read("voluum", query)
    assert (postback.post.order_id, postback.notes, postback.has_value) == (CLICK, (), False)


def test_an_empty_order_id_is_marked() -> None:
    postback = read("voluum", "cid={c}&txid=")
    assert (postback.post.order_id, postback.notes) == (CLICK, ("order_id_unfilled",))


def test_every_unfilled_field_that_matters_is_marked() -> None:
    query = "cid={c}&payout={a}&txid={b}&currency={d}&et={e}&status={f}&param1={g}"
    postback = read("voluum", query)
    assert postback.notes == (
        *("payout_unfilled", "order_id_unfilled", "currency_unfilled"),
        *("status_unfilled", "event_unfilled"),
    )
    assert (postback.post.event, postback.post.adv1) == ("sale", "")
    goal = read("tune", "transaction_id={c}&goal_id={goal_id}")
    assert (goal.post.order_id, goal.notes) == (CLICK, ("event_unfilled",))
    click = read("linkjolt", "click_id={click}&tracking_code=tc_1&order_id=7&payout=5")
    assert (click.post.click_id, click.notes) == (None, ("click_id_unfilled",))


def test_a_value_that_repeats_its_parameter_is_unfilled() -> None:
    postback = read("tune", "transaction_id={c}&amount=AMOUNT&adv_sub=ADV_SUB")
    assert (postback.post.order_id, postback.has_value) == (CLICK, False)


@pytest.mark.parametrize(
    "order",
    [
        *("ORD/1001", "#1001", "1001#", "100%", "7}", "%20", "REPLACEMENT-7", "EU__DE__1001"),
        *("{6F9619FF-8B86-D011-B42D-00C04FC964FF}", "Größe-5", "発注-1", "🛒1", "a*b|c", "(7)"),
        *("shop[1]", "1_000", "null-7", "none1", "50%off", "caf%C3%A9", "a<1", "9>8", "x__y__z"),
    ],
)
def test_an_order_id_that_only_looks_like_a_macro_is_kept(order: str) -> None:
    post = read("linkjolt", f"click_id={CLICK}&payout=5&order_id={quote(order)}").post
    assert post.order_id == order


@pytest.mark.parametrize("text", ["T-shirt [red]", "{red} shirt", '{"plan": "a"}', "50 %"])
def test_an_advertisers_text_is_kept_unless_it_is_all_macro(text: str) -> None:
    assert read("linkjolt", f"click_id={CLICK}&adv1={quote(text)}").post.adv1 == text
    assert read("linkjolt", "click_id={c}&adv1={text}").post.adv1 == ""


def test_an_ampersand_that_was_escaped_for_html_parts_parameters() -> None:
    query = b"a=1&amp;b=2&AMP;c=3&amp;amp;d=4"
    assert read_parameters(query) == {"a": "1", "b": "2", "c": "3", "d": "4"}


def test_a_body_fills_what_the_query_leaves_open_and_overrides_nothing() -> None:
    query = b"a=1&b=&c={c}&d=%7Bd%7D&e=5"
    filled = read_parameters(query, b"b=2&c=3&e=5&f=6")
    assert filled == {"a": "1", "b": "2", "c": "3", "d": UNFILLED, "e": "5", "f": "6"}
    for first, second in ((b"a=1", b"a=2"), (b"a=1&amp;a=2", b""), (b"amp;a=1", b"a=2")):
        with pytest.raises(Rejected) as refused:
            read_parameters(first, second)
        assert (refused.value.reason, refused.value.field) == (Reason.invalid_field, "a")


def test_texts_of_an_old_encoding_stay_apart() -> None:
    assert read_parameters(b"a=caf%E9&b=caf%E8") == {"a": "café", "b": "cafè"}


def test_a_json_object_says_what_a_query_says() -> None:
    body = b'{"click_id": "c1", "payout": 9.90, "order_id": "%DATE%", "test": true, "x": {"y": []}}'
    pairs = read_parameters(json_to_query(body, {"payout"}))
    assert pairs == {"click_id": "c1", "payout": "9.90", "order_id": UNFILLED, "test": "true"}


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b'{"payout": {"amount": 5}}', Reason.invalid_field, "payout"),
        (b"[]", Reason.invalid_field, "body"),
        (b"{", Reason.malformed_json, ""),
    ],
)
def test_json_without_plain_parameters_is_refused(body: bytes, reason: Reason, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        json_to_query(body, {"payout"})
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize("query", [b"\xff=1", b"&".join([b"a=1"] * 101)])
def test_a_query_that_is_none_is_refused(query: bytes) -> None:
    with pytest.raises(Rejected):
        read_parameters(query)


@pytest.mark.parametrize("text", ["x" * 257, "a\nb"])
def test_what_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        requested_answer({"return": text})
    assert refused.value.field == "return"


def test_the_answer_is_as_asked_unless_nobody_filled_it_in() -> None:
    asked = [
        requested_answer(read_parameters(b"return=" + text)) for text in (b"done", b"{x}", b"")
    ]
    assert [*asked, requested_answer({})] == ["done", "OK", "OK", "OK"]
