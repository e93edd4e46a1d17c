"""Nobody fills the log: what strangers cause is one line a minute, with its numbers."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from linkjolt import logs
from linkjolt.logs import MINUTE, MinuteLine
from loadtests.wire import Wire
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_http import click_id
from tests.security.edge_socket import edge_port
from tests.security.test_answer_headers import wire_post
from tests.waiting import wait_until

POSTS = 300


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_logged_at_once_and_the_others_by_the_minute() -> None:
    clock = Clock()
    line = MinuteLine(logging.INFO, "refused", clock)
    with capture_logs() as lines:
        line.count("forged")
        for _ in range(5):
            line.count("forged")
            line.count("unknown")
        clock.now += MINUTE - 0.1
        line.count("unknown")
        assert len(lines) == 1
        clock.now += 0.1
        line.count("unknown")
    assert [one["count"] for one in lines] == [1, 12]
    assert lines[1]["by"] == {"forged": 5, "unknown": 7}
    assert lines[1]["log_level"] == "info"


async def test_the_last_ones_are_logged_though_nothing_follows() -> None:
    clock = Clock()
    line = MinuteLine(logging.WARNING, "refused", clock)
    with capture_logs() as lines:
        line.count()
        clock.now += MINUTE - 0.01
        line.count()
        line.count()
        assert len(lines) == 1
        await wait_until(lambda: len(lines) == 2)
    assert [one["count"] for one in lines] == [1, 2]


def test_labels_are_bounded() -> None:
    clock = Clock()
    line = MinuteLine(logging.INFO, "refused", clock)
    with capture_logs() as lines:
        line.count()
        for number in range(1_000):
            line.count(f"label {number}")
        clock.now += MINUTE
        line.count()
    assert lines[1]["count"] == 1_001
    assert len(lines[1]["by"]) < 40


async def test_refused_pixels_are_one_line_with_their_reasons(shop: Shop) -> None:
    genuine = click_id(shop)
    with capture_logs() as lines:
        for number in range(50):
            for forged in (genuine[:-4] + "0000", genuine):
                path = f"/p.gif?click_id={forged}&order_id={number}&amount=1"
                assert (await shop.client.get(path)).status_code in (200, 429)
            assert (await shop.client.get(f"/p.gif?a={number}")).status_code in (200, 429)
    refused = [line for line in lines if line["event"] == "pixels refused"]
    assert len(refused) == 1
    assert "click_id" not in json.dumps(refused)


async def test_posts_that_all_fail_leave_few_tracebacks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, read_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("a bug")

    [publisher] = shop.edge.conversion_publishers
    monkeypatch.setattr(publisher.producer, "send", fail)
    # With the key and the link in memory, most posts do not reach the application.
    assert await shop.edge.directory.key(shop.key)
    assert await shop.edge.directory.route("tc_ABC123")
    body = b'{"tracking_code":"tc_ABC123","event":"lead"}'
    async with edge_port(shop.edge) as port:
        for number in range(POSTS):
            async with Wire.open(port) as wire:
                post = wire_post(shop.key, body)
                other = post.replace(b" HTTP/1.1", b"?a=1 HTTP/1.1", 1)
                wire.send(other if number % 3 == 0 else post)
                assert b" 500 " in await wire.reader.readline()
    tracebacks = [line for line in read_lines() if "exception" in line]
    # One of the posts answered on the socket, one of those that the application answered.
    assert len(tracebacks) == 2
    assert len(read_lines()) < 10


def test_a_repeated_message_of_a_library_passes_once_a_minute() -> None:
    clock = Clock()
    repeats = logs.RepeatFilter(clock)

    def passes(name: str, message: str) -> str:
        record = logging.LogRecord(name, logging.WARNING, "", 0, message, (), None)
        return record.getMessage() if repeats.filter(record) else ""

    assert passes("asyncio", "socket.send() raised exception.")
    assert not any(passes("asyncio", "socket.send() raised exception.") for _ in range(99))
    assert passes("asyncio", "another")
    clock.now += 60
    assert passes("asyncio", "socket.send() raised exception.").endswith(
        "(99 more in the last minute)"
    )
    for number in range(1_000):
        assert passes("asyncio", f"other {number}")
    assert not passes("asyncio", "other 999")
