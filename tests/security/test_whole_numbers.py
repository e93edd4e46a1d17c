"""Numbers in requests are read once and are bounded, however they are written."""

import base64
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from linkjolt.registry.entries import parse_public_id
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from outbound.retries import retry_after_seconds
from reports.live.events import parse_resume_token
from tests.reports.conftest import Client, make_secret, open_http

NOW = datetime(2026, 11, 10, tzinfo=UTC)
LONG = "9" * 5_000
LIMITS = [
    *("0", "1001", "0000001001", "0000000010000000", "000000001" + LONG, LONG, "0" * 5_000 + "1"),
    *(
        "",
        "-1",
        "+1",
        "1.0",
        "1e2",
        "1_0",
        " 10",
        "10 ",
        "0x10",
        "ten",
        "\u0661\u0660",
        "\uff11\uff10",
        "\u00b2",
    ),
]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/conversions", "/v1/reports", "/v1/links"])
async def test_a_limit_is_a_number_in_its_bounds_or_refused(
    redis: Redis, clickhouse: ClickHouse, path: str
) -> None:
    async with open_http(redis, clickhouse, ReportsSettings(shards=1)) as http:
        client = Client(http, await make_secret(redis, "reports:read", "events:read", "admin"))
        period = {} if path == "/v1/links" else {"from": "7d"}
        for limit in LIMITS:
            answer = await client.get(path, **period, limit=limit)
            assert answer.status_code == 422, limit[:40]
            assert [error["field"] for error in answer.json()["errors"]] == ["limit"]
        for limit in ("1", "0000000001", "1000"):
            answer = await client.get(path, **period, limit=limit)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/events", "/v1/conversions", "/v1/links"])
@pytest.mark.parametrize("time_ms", [LONG, "\uff11", "-1", "1_0", ""])
async def test_a_cursor_with_another_number_is_refused(
    redis: Redis, clickhouse: ClickHouse, path: str, time_ms: str
) -> None:
    opaque = base64.urlsafe_b64encode(f"{time_ms}:x".encode()).decode().rstrip("=")
    cursor = time_ms if path == "/v1/links" else opaque
    async with open_http(redis, clickhouse, ReportsSettings(shards=1)) as http:
        client = Client(http, await make_secret(redis, "reports:read", "events:read", "admin"))
        period = {} if path == "/v1/links" else {"from": "7d"}
        answer = await client.get(path, **period, cursor=cursor)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, ["cursor"])


@pytest.mark.parametrize(
    "text", [LONG, "\u0661", "\u00b2", "", "0", "01", "-1", "+1", "1_0", " 1", "1 "]
)
def test_an_id_has_one_spelling(text: str) -> None:
    assert parse_public_id("campaign", f"cmp_{text}") is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("0000000007", 7),
        ("9999999999", 9_999_999_999),
        ("00000000007", None),
        ("\u0663", None),
        ("", None),
    ],
)
def test_a_whole_number_is_of_ascii_digits(text: str, number: int | None) -> None:
    assert parse_whole_number(text) == number


@pytest.mark.parametrize(
    "text",
    [f"{LONG}-1", f"1-{'f' * 17}", "1-", "-1-1", "1--1", "1-0x1", "1-1_0", "\u0661-1", "1-\u0661"],
)
def test_a_place_in_the_live_feed_is_of_ascii_digits(text: str) -> None:
    assert parse_resume_token(text) is None
    assert parse_resume_token("1-f") == {1: 15}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("00000000000007", 7), ("120", 120), (LONG, 86_400), ("\u0663", 0), ("-1", 0), ("1_0", 0)],
)
def test_an_endpoint_asks_for_a_day_at_most(value: str, seconds: float) -> None:
    assert retry_after_seconds(value, NOW) == seconds
