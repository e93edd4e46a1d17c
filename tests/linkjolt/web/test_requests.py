"""Bodies: what is wrong is named by field."""

import json
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.reasons import STATUS, Reason, Rejected
from linkjolt.web.json_structure import NESTING_MAX, check_depth
from linkjolt.web.requests import check_repeated_names, decode


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", Reason.malformed_json, ""),
        (b"{", Reason.malformed_json, ""),
        (b'{"name": "\xff"}', Reason.malformed_json, ""),
        (b"[]", Reason.invalid_field, "body"),
        (b"{}", Reason.missing_field, "name"),
        (b'{"name": 1}', Reason.invalid_field, "name"),
        (b'{"name": "a", "x": 1}', Reason.unknown_field, "x"),
        (b'{"name": "a", "inner": {}}', Reason.missing_field, "inner.size"),
        (b'{"name": "a", "inner": {"size": 0}}', Reason.invalid_field, "inner.size"),
        (b'{"name": "a", "inner": {"size": 1, "y": 1}}', Reason.unknown_field, "inner.y"),
        (b"[" * 100_000, Reason.too_deep, ""),
        (b'{"name": "a", "name": "a"}', Reason.invalid_field, "name"),
        (b'{"name": "a", "n\\u0061me": "b"}', Reason.invalid_field, "name"),
        (b'{"name": "a", "inner": {"size": 1, "size": 2}}', Reason.invalid_field, "inner.size"),
        (b'\xef\xbb\xbf{"name": "a", "name": "b"}', Reason.invalid_field, "name"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"name": "a"}', Reason.malformed_json, ""),
    ],
)
def test_what_is_wrong_is_named(body: bytes, reason: Reason, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        decode(body, Body)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_byte_order_mark_is_skipped() -> None:
    assert decode(b'\xef\xbb\xbf{"name": "a"}', Body) == Body("a")


class Pairs(NamedTuple):
    """A JSON object as it is written, perhaps with a name twice."""

    pairs: list[tuple[str, Any]]

    def written(self) -> str:
        return "{" + ",".join(f"{json.dumps(n)}:{_written(v)}" for n, v in self.pairs) + "}"

    def repeats(self) -> bool:
        names = [name for name, _ in self.pairs]
        return len({*names}) < len(names) or any(_repeats(value) for _, value in self.pairs)


def _written(value: Any) -> str:
    if isinstance(value, Pairs):
        return value.written()
    if isinstance(value, list):
        return f"[{','.join(_written(one) for one in cast(list[Any], value))}]"
    return json.dumps(value)


def _repeats(value: Any) -> bool:
    if isinstance(value, list):
        return any(_repeats(one) for one in cast(list[Any], value))
    return isinstance(value, Pairs) and value.repeats()


_NAMES = st.sampled_from(["a", "b", "ä", ":", '"', "a.b", ""])
_SCALARS = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(Pairs, st.lists(st.tuples(_NAMES, inner), max_size=3))
    ),
    max_leaves=8,
)


@given(_JSON)
def test_a_name_is_refused_where_an_object_has_it_twice_and_nowhere_else(value: Any) -> None:
    body = _written(value).encode()
    try:
        check_repeated_names(body)
    except Rejected as refused:
        assert refused.reason is Reason.invalid_field
        assert _repeats(value)
    else:
        assert not _repeats(value)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a":1,"a":"\\u003a"}', "a"),
        (b'{"a":"\\u003A\\u003A","b":{"c":1,"c":2}}', "b.c"),
        (b'{"a":1e400,"b":1,"b":2}', "b"),
        (b'[{"a":1},{"a":[{"b":1,"b":1}]}]', "[1].a[0].b"),
        (b'{"%b":1,"%b":2}' % (b"x" * 200, b"x" * 200), "x" * 128),
        (b'{"a":%b,"a":1}' % (b"9" * 5_000), "a"),
    ],
)
def test_a_repeated_name_is_found_whatever_is_around_it(body: bytes, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_repeated_names(body)
    assert (refused.value.reason, refused.value.field) == (Reason.invalid_field, field)


def test_brackets_inside_texts_do_not_nest() -> None:
    check_depth(b'{"a": "' + b"[" * 1_000 + b'\\"[["}')


def test_the_deepest_allowed_is_allowed() -> None:
    check_depth(b"[" * NESTING_MAX + b"]" * NESTING_MAX)


def test_every_reason_has_a_status_of_the_right_kind() -> None:
    assert set(STATUS) == set(Reason)
    assert all(status == 200 or 400 <= status < 600 for status in STATUS.values())
