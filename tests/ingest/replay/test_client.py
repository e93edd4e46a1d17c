"""Logged requests reach an edge once, over a few connections."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from ingest.replay.access_log import LoggedRequest
from ingest.replay.client import (
    CONNECTIONS,
    NO_ANSWER,
    EdgeAddress,
    ReplayTally,
    is_reachable,
    send_all,
)
from tests.ingest.replay.edge import RecordingEdge, serving


def requests(count: int, **fields: str) -> Iterator[tuple[str, LoggedRequest]]:
    for number in range(count):
        known = {"method": "GET", "path": "/", "referrer": "", "user_agent": "Agent/1.0"}
        yield (
            f"code-{number}",
            LoggedRequest(**{"address": "203.0.113.7", **known, **fields}),  # pyright: ignore[reportArgumentType]
        )


async def send(
    edge: RecordingEdge, asked: Iterator[tuple[str, LoggedRequest]], per_second: float = 0
) -> ReplayTally:
    def advance(_: int) -> None:
        pass

    return await send_all(asked, EdgeAddress(edge.url), per_second, asyncio.Event(), advance)


async def test_every_request_is_sent_once_with_the_headers_it_was_logged_with():
    edge = RecordingEdge()
    async with serving(edge):
        sent = requests(1, address="2001:db8::7", referrer="http://a.example/", user_agent="Ã©")
        tally = await send(edge, sent)
    assert (tally.sent, tally.accepted, tally.failed.total()) == (1, 1, 0)
    (asked,) = edge.asked
    assert (asked.method, asked.path) == ("GET", "/code-0")
    headers = {name: value for name, value in asked.headers.items() if name != "host"}
    assert headers == {
        "x-forwarded-for": "2001:db8::7",
        "x-real-ip": "2001:db8::7",
        "cf-connecting-ip": "2001:db8::7",
        "forwarded": 'for="[2001:db8::7]"',
        "referer": "http://a.example/",
        "user-agent": "Ã©",
    }


async def test_an_absent_agent_or_referrer_is_not_sent():
    edge = RecordingEdge()
    async with serving(edge):
        await send(edge, requests(1, user_agent=""))
    assert set(edge.asked[0].headers) == {
        *("host", "x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip")
    }


async def test_many_requests_share_a_few_connections():
    edge = RecordingEdge()
    async with serving(edge):
        tally = await send(edge, requests(500))
    assert tally.accepted == 500
    assert sorted(asked.path for asked in edge.asked) == sorted(f"/code-{n}" for n in range(500))
    assert len(edge.clients) <= CONNECTIONS


async def test_a_head_request_stays_one_and_has_no_body_to_read():
    edge = RecordingEdge()
    async with serving(edge):
        tally = await send(edge, requests(100, method="HEAD"))
    assert (tally.accepted, {asked.method for asked in edge.asked}) == (100, {"HEAD"})


async def test_a_link_that_the_edge_hears_of_late_is_asked_for_again():
    edge = RecordingEdge(lambda path, times: 302 if times > 3 else 404)
    async with serving(edge):
        tally = await send(edge, requests(10))
    assert (tally.sent, tally.accepted, len(edge.asked)) == (10, 10, 40)


async def test_a_link_that_stays_unknown_has_failed():
    edge = RecordingEdge(lambda path, times: 404 if path == "/code-1" else 302)
    async with serving(edge):
        tally = await send(edge, requests(3))
    assert (tally.accepted, dict(tally.failed)) == (2, {"404": 1})


async def test_any_other_status_has_failed_at_once():
    edge = RecordingEdge(lambda path, times: 503)
    async with serving(edge):
        tally = await send(edge, requests(3))
    assert (dict(tally.failed), len(edge.asked)) == ({"503": 3}, 3)


async def test_a_request_without_an_answer_is_not_sent_again():
    received: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        edge = RecordingEdge()
        edge.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        tally = await send(edge, requests(3))
    assert (dict(tally.failed), len(received)) == ({NO_ANSWER: 3}, 3)


async def test_a_rate_is_kept():
    edge = RecordingEdge()
    async with serving(edge):
        started_at = time.monotonic()
        await send(edge, requests(21), per_second=50)
        seconds = time.monotonic() - started_at
    # The last of 21 is due 20/50 seconds after the first.
    assert seconds >= 0.4
    assert len(edge.asked) == 21


async def test_sending_ends_early_when_told_to():
    edge = RecordingEdge()
    stop = asyncio.Event()

    def stop_after_first(_: int) -> None:
        stop.set()

    async with serving(edge):
        tally = await send_all(requests(10), EdgeAddress(edge.url), 0.001, stop, stop_after_first)
    assert tally.sent == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "127.0.0.1:8000", "ftp://a", "", "http://:1"]
)
async def test_an_edge_that_takes_no_connections_is_found_out(url: str):
    assert not await is_reachable(EdgeAddress(url))


async def test_an_edge_that_takes_connections_is_reachable():
    edge = RecordingEdge()
    async with serving(edge):
        assert await is_reachable(EdgeAddress(edge.url))
