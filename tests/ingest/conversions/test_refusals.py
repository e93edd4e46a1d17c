"""Malformed and hostile posts are refused by field, and change nothing."""

import pytest

from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import ORDER

REFUSED: list[tuple[object, int, str, str]] = [
    (b"{not json", 400, "malformed_json", ""),
    (b"", 400, "malformed_json", ""),
    (b'{"order_id": "\xff"}', 400, "malformed_json", ""),
    (b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400, "too_deep", ""),
    (b'{"metadata":"' + b"x" * 70_000 + b'"}', 413, "body_too_large", ""),
    (b'"text"', 422, "invalid_field", "body"),
    ({**ORDER, "color": "red"}, 422, "unknown_field", "color"),
    ({**ORDER, "x" * 50_000: "red"}, 422, "unknown_field", "x" * 128),
    ({"order_id": "1", "order_value": 1}, 422, "missing_field", "tracking_code"),
    ({"tracking_code": "tc_ABC123", "order_value": 1}, 422, "missing_field", "order_id"),
    ({"tracking_code": "tc_ABC123", "order_id": "1"}, 422, "missing_field", "order_value"),
    ({**ORDER, "tracking_code": "nope"}, 422, "unknown_tracking_code", "tracking_code"),
    ({**ORDER, "order_value": -1}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "NaN"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "1e400"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "99.999"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "1." + "0" * 40 + "1"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": True}, 422, "invalid_field", "order_value"),
    ({**ORDER, "currency": "XXX"}, 422, "invalid_field", "currency"),
    ({**ORDER, "currency": "JPY", "order_value": "1.5"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_id": ""}, 422, "missing_field", "order_id"),
    ({**ORDER, "order_id": "x" * 129}, 422, "invalid_field", "order_id"),
    ({**ORDER, "order_id": "a\nb"}, 422, "invalid_field", "order_id"),
    ({**ORDER, "event": "party"}, 422, "invalid_field", "event"),
    ({**ORDER, "event": "sale\n"}, 422, "invalid_field", "event"),
    ({**ORDER, "status": "paid"}, 422, "invalid_field", "status"),
    ({**ORDER, "customer_email": True}, 422, "invalid_field", "customer_email"),
    ({**ORDER, "customer_email": ["a@b.c"]}, 422, "invalid_field", "customer_email"),
    ({**ORDER, "timestamp": "2026-01-01T00:00:00"}, 422, "invalid_field", "timestamp"),
    ({**ORDER, "timestamp": "2999-01-01T00:00:00Z"}, 422, "invalid_field", "timestamp"),
    ({**ORDER, "timestamp": "0001-01-01T00:00:00Z"}, 422, "invalid_field", "timestamp"),
    (b'{"click_id":"a","event":"lead","metadata":{"a":1e400}}', 422, "invalid_field", "metadata.a"),
    (
        b'{"click_id":"a","event":"lead","items":[{},{"a":1e400}]}',
        422,
        "invalid_field",
        "items[1].a",
    ),
    (b'{"click_id":"a","event":"lead","metadata":{"a":"\xff"}}', 400, "malformed_json", ""),
    ({**ORDER, "metadata": {"a": "x" * 5_000}}, 422, "invalid_field", "metadata"),
    ({**ORDER, "orderId": "again"}, 422, "invalid_field", "orderId"),
    ({**ORDER, "amount": 3}, 422, "invalid_field", "amount"),
    ({**ORDER, "affiliate_id": "aff_999"}, 422, "unknown_reference", "affiliate_id"),
    ({**ORDER, "campaign_id": "cmp_999"}, 422, "unknown_reference", "campaign_id"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED)
async def test_bad_input_is_refused_by_name_and_changes_nothing(
    shop: Shop, body: object, status: int, code: str, field: str
) -> None:
    answer = await shop.post(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert await shop.conversions() == []


async def test_a_form_is_refused(shop: Shop) -> None:
    headers = {
        "Authorization": f"Bearer {shop.key}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = await shop.client.post("/v1/conversions", content=b"a=1", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nonsense", "Basic eDp5"])
async def test_no_valid_key_is_401(shop: Shop, authorization: str) -> None:
    headers = {"Authorization": authorization}
    answer = await shop.client.post("/v1/conversions", json=ORDER, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await shop.conversions() == []


async def test_a_key_without_the_scope_is_403(shop: Shop) -> None:
    key = await make_key(shop.registry, ["reports:read"])
    answer = await shop.post(ORDER, key)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
