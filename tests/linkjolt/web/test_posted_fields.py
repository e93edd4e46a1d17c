"""Fields are read in every spelling that shops send, and have one spelling afterwards."""

import unicodedata
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linkjolt.reasons import Rejected
from linkjolt.web import posted_fields
from linkjolt.web.posted_fields import Reader, normalize_identifier

_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_ODD = st.text(
    st.sampled_from([*_INVISIBLE, *" \t\u00a0\u3000\u2000", *"aZ1#", "\u0308", "u", "\u0958"])
)
READERS: list[Reader] = [
    posted_fields.read_text,
    posted_fields.read_optional,
    posted_fields.read_identifier,
    posted_fields.read_click_id,
    posted_fields.read_click_ids,
    posted_fields.read_upper_case,
    posted_fields.read_instant,
    posted_fields.read_members,
]


@given(_ODD | st.text())
@example("\u200b \u200d a \u200c")
@example("\u00a0" * 2_000)
def test_a_normalized_identifier_is_its_own_spelling(text: str) -> None:
    once = normalize_identifier(text)
    assert normalize_identifier(once) == once
    assert once == once.strip()
    if len(text) <= 1_000:
        assert unicodedata.is_normalized("NFC", once)
        assert once == once.strip(_INVISIBLE)
        assert not {"\u200b", "\u2060", "\ufeff"} & {*once}


@given(_ODD, _ODD)
def test_invisible_characters_at_the_ends_make_no_other_identifier(text: str, ends: str) -> None:
    around = "".join([character for character in ends if character in f"{_INVISIBLE} \u00a0"])
    assert normalize_identifier(f"{around}{text}{around}") == normalize_identifier(text)


@given(st.none() | st.integers() | st.floats(allow_nan=False) | st.booleans() | _ODD | st.text())
@pytest.mark.parametrize("reader", READERS)
def test_a_value_read_twice_is_as_read_once(reader: Reader, value: object) -> None:
    once = reader(msgspec.json.encode(value))
    assert (reader(once) if once else once) == once


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from([str, "{:f}".format]))
def test_an_amount_as_a_text_is_the_number_that_it_is(
    amount: Decimal, write: Callable[[Decimal], str]
) -> None:
    value = posted_fields.read_amount(msgspec.json.encode(f" {write(amount)} "))
    assert msgspec.json.decode(value, type=Decimal) == amount


@given(st.text())
def test_an_amount_has_only_ascii_digits(text: str) -> None:
    try:
        value = posted_fields.read_amount(msgspec.json.encode(text))
    except Rejected:
        return
    assert value == b"" or value[1:-1].translate(None, b"0123456789.+-eE") == b""


@given(st.text("0123456789-:TZ.+ "))
@example("2016-12-31T23:59:60Z")
@example("2016-12-31T23:59:60+9999")
def test_any_text_is_read_as_an_instant_or_left_to_the_type(text: str) -> None:
    posted_fields.read_instant(msgspec.json.encode(text))
