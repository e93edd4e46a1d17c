"""Both parsers of a posted body return the same post, or the same refusal."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.conversions.body import (
    ALIASES,
    ConversionPost,
    parse_carefully,
    parse_post,
)
from ingest.fingerprints import content_of
from linkjolt.reasons import Reason, Rejected

SALE: dict[str, Any] = {"tracking_code": "tc_A", "order_id": "1", "order_value": 5}
FIELDS = ConversionPost.__struct_fields__
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["sale", "lead", "party", "USD", "usd", "approved", "a@b.c", "nobody", "99.90", "1e2"]
    ),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "a\x7fb", "a\nb", "x" * 200]),
    st.sampled_from(["2026-01-01T00:00:00+02:00", "2016-12-31T23:59:60Z", "a:b", ":", " a ", " "]),
    st.sampled_from(["1_000", " 1 ", "\uff11", "+5", "u\u0308", "a\u200b", "US ", "rebill"]),
    st.sampled_from(
        ["3zzzzzzzzzzzzzzzzzzzzzzzzo", "38G6DGCQM00000400G029SGT1X", "t_aff_1_cid_" + "0" * 26]
    ),
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 10**17), st.floats(0, 1e6), _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(_TEXTS, inner, max_size=2)
    ),
    max_leaves=4,
)
_NAMES = st.one_of(st.sampled_from([*FIELDS, *ALIASES]), st.text(max_size=5))
_PAIRS = st.lists(st.tuples(_NAMES, _VALUES), max_size=4)


def parsed(parse: Any, body: bytes) -> object:
    """A post's fields as JSON, or why it was refused and which field."""
    try:
        return msgspec.json.encode(parse(body))
    except Rejected as error:
        return error.reason, error.field


def post_fields(post: ConversionPost) -> dict[str, Any]:
    """The fields that a sender sets, their members as JSON."""
    return {name: msgspec.json.decode(msgspec.json.encode(getattr(post, name))) for name in FIELDS}


def written(pairs: list[tuple[str, Any]], *, spaced: bool = False) -> bytes:
    """A JSON object of pairs; a name may come more than once."""
    gap = b" \n" if spaced else b""
    parts = [msgspec.json.encode(name) + b":" + gap + msgspec.json.encode(v) for name, v in pairs]
    return b"{" + (b"," + gap).join(parts) + b"}"


@settings(deadline=None)
@given(_PAIRS, st.booleans())
def test_both_ways_read_the_same_from_a_sale_with_anything_added(
    pairs: list[tuple[str, Any]], spaced: bool
) -> None:
    body = written([*SALE.items(), *pairs], spaced=spaced)
    assert parsed(parse_post, body) == parsed(parse_carefully, body)


@settings(deadline=None)
@given(_VALUES)
def test_any_json_is_a_post_or_is_refused(value: Any) -> None:
    body = msgspec.json.encode(value)
    assert parsed(parse_post, body) == parsed(parse_carefully, body)


@settings(deadline=None)
@given(_PAIRS)
def test_a_post_read_again_from_what_was_read_is_the_same(pairs: list[tuple[str, Any]]) -> None:
    try:
        post = parse_post(written([*SALE.items(), *pairs]))
    except Rejected:
        return
    fields = {name: value for name, value in post_fields(post).items() if value is not None}
    assert post_fields(parse_post(msgspec.json.encode(fields))) == post_fields(post)


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 200))
def test_both_ways_read_the_same_from_torn_bytes(noise: bytes, at: int) -> None:
    body = written([*SALE.items(), ("adv1", "näher \\ \u2028"), ("metadata", {"a": [1.50, "x"]})])
    torn = body[:at] + noise + body[at + len(noise) :]
    assert parsed(parse_post, torn) == parsed(parse_carefully, torn)


@pytest.mark.parametrize(
    "body",
    [
        b'{"click_id":"a","event":"lead","order_id":5,"order_id":"x"}',
        b'{"click_id":"a","event":"lead","order_id":"x","order_id":5}',
        b'{"click_id":"a","event":"lead","order\\u005fid":"x"}',
        b'{"click_id":"a","event":"lead","order_value":1,"amount":2}',
        b'{"click_id":"a","event":"lead","orderValue":1,"amount":2}',
        b'{"click_id":"a","event":"lead","order_value":01}',
        b'{"click_id":"a","event":"lead","items":[{"sku":"1"},{}],"metadata":{}}',
        b'{"click_id":"a","event":"lead","adv1":"\\ud800"}',
        b'{"click_id":"a","event":"lead"} {}',
        b'{"click_id":"a","event":"lead","items":' + b"[" * 40 + b"]" * 40 + b',"items":null}',
        b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b',"metadata":null,"click_id":"a"}',
        b'{"click_id":"a","metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'\xef\xbb\xbf{"click_id":"a","event":"lead"}',
        b'{"click_id":"a","event":"lead","metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41,
    ],
)
def test_both_ways_read_the_same_from_odd_json(body: bytes) -> None:
    assert parsed(parse_post, body) == parsed(parse_carefully, body)


@pytest.mark.parametrize(
    ("email", "notes"),
    [
        ("guest", ("customer_email_ignored",)),
        (5, ("customer_email_ignored",)),
        ("\u200ba@b.c ", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_an_address_that_is_none_is_dropped_with_a_note(
    email: object, notes: tuple[str, ...]
) -> None:
    for name in ("customer_email", "customerEmail"):
        post = parse_post(msgspec.json.encode({**SALE, name: email}))
        assert post.notes == notes
        assert post.customer_email in (None, "a@b.c")
        assert content_of(post, 500, "USD") == content_of(
            parse_post(msgspec.json.encode({**SALE, "customer_email": post.customer_email})),
            500,
            "USD",
        )


@pytest.mark.parametrize("name", ["order_id", "orderId", "coupon_code", "adv5"])
@pytest.mark.parametrize("character", ["\x00", "\x1f", "\n", "\x7f"])
def test_control_characters_are_refused_under_the_name_that_was_sent(
    name: str, character: str
) -> None:
    body = msgspec.json.encode({"click_id": "a", "event": "lead", name: f"a{character}b"})
    with pytest.raises(Rejected) as refused:
        parse_post(body)
    assert (refused.value.reason, refused.value.field) == (Reason.invalid_field, name)


SAME: list[tuple[dict[str, Any], int]] = [
    ({**SALE, "order_value": "5.00"}, 500),
    ({**SALE, "customer_email": None, "adv1": "", "items": None}, 500),
    ({"trackingCode": "tc_A", "orderId": "1", "amount": 5.0}, 500),
    ({**SALE, "order_id": 1, "tracking_code": " tc_A\ufeff", "metadata": {}, "items": []}, 500),
    (
        {**SALE, "coupon_code": "", "click_id": "", "click_ids": [""], "status": "", "event": ""},
        500,
    ),
]


@pytest.mark.parametrize(("fields", "minor"), SAME)
def test_posts_that_say_the_same_have_one_content_of(fields: dict[str, Any], minor: int) -> None:
    first = content_of(parse_post(msgspec.json.encode(SALE)), 500, "USD")
    again = content_of(parse_post(msgspec.json.encode(fields)), minor, "USD")
    assert again == first


def test_an_instant_is_the_same_in_every_zone() -> None:
    contents: set[bytes] = set()
    for text in ("2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00.000Z"):
        post = parse_post(msgspec.json.encode({**SALE, "timestamp": text}))
        assert post.timestamp == datetime(2026, 1, 1, 10, tzinfo=UTC)
        contents.add(content_of(post, 500, "USD"))
    assert len(contents) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"order_value": 6},
        {"tracking_code": "tc_B"},
        {"click_id": "a"},
        {"customer_email": "a@b.c"},
        {"customer_id": "7"},
        {"status": "approved"},
        {"timestamp": "2026-01-01T10:00:00Z"},
        {"items": [{"sku": 1}]},
        {"metadata": {"a": 1}},
        {"coupon_code": "c"},
        {"adv1": "x"},
        {"adv2": "x"},
    ],
)
def test_posts_that_say_more_have_another_content_of(more: dict[str, Any]) -> None:
    fields = {**SALE, **more}
    minor = 100 * int(fields["order_value"])
    changed = content_of(parse_post(msgspec.json.encode(fields)), minor, "USD")
    assert changed != content_of(parse_post(msgspec.json.encode(SALE)), 500, "USD")
