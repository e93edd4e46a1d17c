"""Rows hold all fields of a click or conversion, with shortened addresses and texts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rows.enrich import (
    STORED_MAX,
    click_time_ms,
    encode_row_end,
    shared_fields,
    truncate_address,
    utc_day,
    visitor_number,
    write_click,
)
from aggregator.rows.fact_rows import CARRIED_COLUMNS, conversion_row
from aggregator.rows.rows import ClickRow
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.dimensions import DENSE, SPARSE
from linkjolt.events import RECORDED_PARAMETERS, Click, Conversion
from linkjolt.reasons import Reason, Rejected

TIME_MS = 1_736_937_000_123
SALT = b"salt of the day."
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"  # noqa: E501


class StrictRow(ClickRow, forbid_unknown_fields=True):
    """A row without any field that is no column."""


def an_id(time_ms: int = TIME_MS) -> str:
    return ClickIdGenerator(5, b"k" * 32, lambda: time_ms * 1_000_000).make(77)


def a_click(**fields: object) -> Click:
    known = {"click_id": an_id(), "account": 1, "link": 77, "campaign": 3, "affiliate": 4}
    return msgspec.convert({**known, **fields}, Click)


def a_row(**fields: object) -> ClickRow:
    click = a_click(**fields)
    text = bytearray()
    write_click(
        text, click, shared_fields(click_time_ms(click.click_id), SALT), encode_row_end(2, 9)
    )
    return msgspec.json.decode(text, type=StrictRow)


def a_conversion(**fields: object) -> Conversion:
    known = {
        "conversion_id": "conv_1",
        "account": 1,
        "event": "sale",
        "time_ms": TIME_MS + 60_000,
        "currency": "USD",
        "order_value_minor": 9999,
        "commission_minor": 2999,
        "status": "approved",
        "attribution": "click",
    }
    return msgspec.convert({**known, **fields}, Conversion)


def test_a_row_says_what_the_click_said():
    recorded = {name: f"<{name}>" for name in RECORDED_PARAMETERS}
    row = a_row(
        ip="203.0.113.77",
        user_agent=CHROME,
        referrer="https://www.Blog.example:8443/post?x=1",
        language="en-US,en;q=0.9",
        country="de",
        region="BE",
        params={"color": 'r"ed'},
        **recorded,
    )
    assert {name: getattr(row, name) for name in RECORDED_PARAMETERS} == recorded
    same = ("account", "link", "campaign", "affiliate", "s", "pos", "time", "click_id")
    assert [getattr(row, name) for name in same] == [1, 77, 3, 4, 2, 9, TIME_MS / 1000, an_id()]
    assert (row.verdict, row.reason, row.ruleset) == ("human", "", 1)
    assert (row.device, row.os, row.browser) == ("desktop", "Windows", "Chrome")
    assert (row.ip, row.country, row.region) == ("203.0.113.0", "DE", "BE")
    assert row.language == "en-us"
    assert (row.referrer_host, row.params) == ("blog.example", '{"color":"r\\"ed"}')


@pytest.mark.parametrize(
    ("ip", "stored"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1234:5678::9", "2001:db8:1234::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("::1", "::"),
        ("somewhere", ""),
        ("", ""),
    ],
)
def test_an_address_is_stored_without_its_end(ip: str, stored: str):
    assert truncate_address(ip) == stored


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("US", "US"), ("us", "US"), *((c, "ZZ") for c in ("", "XX", "xx", "T1", "USA", "Ü1", "ÄÖ"))],
)
def test_a_country_is_two_letters_or_zz(sent: str, stored: str):
    assert a_row(country=sent).country == stored


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("pt-BR,pt;q=0.9", "pt-br"),
        ("de;q=0.5", "de"),
        ("zh-Hant-TW", "zh-hant-"),
        ("*", ""),
        ("", ""),
    ],
)
def test_a_language_is_the_first_tag(sent: str, stored: str):
    assert a_row(language=sent).language == stored


def test_long_texts_are_cut():
    row = a_row(user_agent="x" * 5000, referrer="https://a.example/" + "y" * 5000)
    assert (len(row.user_agent), len(row.referrer)) == (STORED_MAX, STORED_MAX)


def test_a_visitor_is_one_for_the_day_only():
    today, tomorrow = (
        shared_fields(0, SALT).visitor_hash,
        shared_fields(0, b"salt of tomorrow").visitor_hash,
    )
    same = visitor_number("203.0.113.7", CHROME, today)
    assert a_row(ip="203.0.113.7", user_agent=CHROME).visitor == same
    others = {
        visitor_number("203.0.113.8", CHROME, today),
        visitor_number("203.0.113.7", CHROME + "x", today),
        visitor_number("203.0.113.7", CHROME, tomorrow),
    }
    assert len(others | {same}) == 4
    assert 0 < same < 1 << 64


@given(st.integers(0, (1 << 42) - 1))
def test_the_time_is_that_of_the_click_id(time_ms: int):
    assert click_time_ms(an_id(time_ms)) == time_ms
    assert round(a_row(click_id=an_id(time_ms)).time * 1000) == time_ms


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "IL" * 13, "Z" * 26])
def test_what_is_no_click_id_is_undecodable(text: str):
    with pytest.raises(Rejected) as refused:
        click_time_ms(text)
    assert refused.value.reason is Reason.undecodable


@pytest.mark.parametrize(
    ("time_ms", "day"),
    [
        (0, "1970-01-01"),
        (86_399_999, "1970-01-01"),
        (86_400_000, "1970-01-02"),
        (1_709_251_199_999, "2024-02-29"),
        ((1 << 42) - 1, "2109-05-15"),
    ],
)
def test_a_day_is_that_of_utc(time_ms: int, day: str):
    assert utc_day(time_ms) == day


def test_a_conversion_carries_every_dimension_of_its_click():
    values = {name: f"<{name}>" for name in (*RECORDED_PARAMETERS, *CARRIED_COLUMNS)}
    click = msgspec.convert(values, ClickRow)
    row = conversion_row(a_conversion(), click, stream_number=1, pos=5, click_late=False)
    assert {name: getattr(row, name) for name in CARRIED_COLUMNS} == {
        n: values[n] for n in CARRIED_COLUMNS
    }
    assert row.coupon_code == "<coupon_code>"
    assert {*CARRIED_COLUMNS, "coupon_code"} == {*DENSE, *SPARSE, "verdict"}


def test_a_conversions_own_coupon_beats_the_clicks():
    click = ClickRow(coupon_code="OLD")
    row = conversion_row(
        a_conversion(coupon_code="NEW"), click, stream_number=1, pos=5, click_late=False
    )
    assert row.coupon_code == "NEW"


@pytest.mark.parametrize(("status", "counts"), [("approved", (1, 0, 1)), ("pending", (1, 1, 0))])
def test_a_conversion_is_counted_once_by_its_status(status: str, counts: tuple[int, int, int]):
    row = conversion_row(
        a_conversion(status=status), None, stream_number=1, pos=5, click_late=False
    )
    assert (row.conversions, row.pending, row.approved) == counts
    assert (row.kind, row.status, row.rejected) == ("created", status, 0)


def test_a_conversion_without_its_click_keeps_what_the_click_id_tells():
    late = conversion_row(
        a_conversion(click_id=an_id()), None, stream_number=1, pos=5, click_late=True
    )
    assert (late.click_time, late.reason, late.country) == (TIME_MS / 1000, "click_late", "")
    none = conversion_row(
        a_conversion(reason="expired"), None, stream_number=1, pos=5, click_late=False
    )
    assert (none.click_time, none.reason) == (0.0, "expired")


def test_a_conversions_own_reason_is_not_hidden_by_a_late_click():
    expired = a_conversion(reason="expired", click_id=an_id())
    assert (
        conversion_row(expired, None, stream_number=1, pos=5, click_late=True).reason == "expired"
    )


def test_a_row_has_all_that_the_conversion_said():
    texts = {
        field.name: f"<{field.name}>"
        for field in msgspec.structs.fields(Conversion)
        if field.type is str and field.name != "click_id"
    }
    row = conversion_row(
        a_conversion(**texts, campaign=3, affiliate=4, link=77),
        None,
        stream_number=1,
        pos=5,
        click_late=False,
    )
    assert {name: getattr(row, name) for name in texts} == texts
    numbers = (row.campaign, row.affiliate, row.link, row.s, row.pos)
    assert numbers == (3, 4, 77, 1, 5)
    assert (row.order_value_minor, row.commission_minor) == (9999, 2999)
    assert row.time == (TIME_MS + 60_000) / 1000
