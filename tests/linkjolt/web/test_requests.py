"""Bodies: what is wrong is named by field."""

from typing import Annotated

import msgspec
import pytest

from linkjolt.reasons import STATUS, Reason, Rejected
from linkjolt.web.requests import NESTING_MAX, check_depth, decode


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
    ],
)
def test_what_is_wrong_is_named(body: bytes, reason: Reason, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        decode(body, Body)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_brackets_inside_texts_do_not_nest() -> None:
    check_depth(b'{"a": "' + b"[" * 1_000 + b'\\"[["}')


def test_the_deepest_allowed_is_allowed() -> None:
    check_depth(b"[" * NESTING_MAX + b"]" * NESTING_MAX)


def test_every_reason_has_a_status_of_the_right_kind() -> None:
    assert set(STATUS) == set(Reason)
    assert all(status == 200 or 400 <= status < 600 for status in STATUS.values())
