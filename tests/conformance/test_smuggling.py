"""A body is never read as a request, even where it is answered early or its end is in doubt."""

import pytest

from loadtests.edge_pair import KEY
from tests.conformance.both import Both
from tests.conformance.cases import (
    CLICK,
    Case,
    answered,
    check,
    cut,
    post,
    redirected,
    request,
)

# Refused (401) as soon as their heads are read; what their bodies hold would be clicks.
SIZED = post(CLICK)
SIZED_AT = len(SIZED) - len(CLICK)
CHUNKED = request("/v1/conversions", "Transfer-Encoding: chunked", method="POST")
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CLICK), CLICK)
LARGE = CLICK * 400
LARGE_SIZED = post(LARGE)
EARLY = [
    answered("in one segment", 401, SIZED),
    answered("its body behind the answer", 401, SIZED[:SIZED_AT], CLICK),
    answered("its body in segments behind the answer", 401, SIZED[:SIZED_AT], *cut(CLICK, 30)),
    answered("chunks", 401, CHUNKED + CHUNKS),
    answered("chunks behind the answer", 401, CHUNKED, CHUNKS),
    answered("a click as one whole chunk", 401, CHUNKED, CHUNKS[:4], CLICK, b"\r\n0\r\n\r\n"),
    answered("a body that never comes whole", 401, SIZED[:SIZED_AT], CLICK[:-1], ended=True),
    answered("a large body behind the answer", 401, LARGE_SIZED[: -len(LARGE)], *cut(LARGE, 9_000)),
    answered("a large body in one segment", 401, LARGE_SIZED),
    Case("a click behind the body", (SIZED[:SIZED_AT], CLICK, CLICK), (401, 302), 1),
    Case("a click in the body's last segment", (SIZED[:SIZED_AT], CLICK + CLICK), (401, 302), 1),
    Case("a click cut by the body's end", (SIZED + CLICK[:20], CLICK[20:]), (401, 302), 1),
    Case("a click behind chunks", (CHUNKED, CHUNKS[:20], CHUNKS[20:] + CLICK), (401, 302), 1),
]
DOUBTFUL = [
    answered(
        "a length and chunks",
        400,
        request("/tc_PLAIN", "Content-Length: 5", "Transfer-Encoding: chunked")
        + b"0\r\n\r\n"
        + CLICK,
        ended=True,
    ),
    answered(
        "chunks and a length",
        400,
        request("/tc_PLAIN", "Transfer-Encoding: chunked", "Content-Length: 5")
        + b"0\r\n\r\n"
        + CLICK,
        ended=True,
    ),
    answered(
        "two lengths",
        400,
        request("/tc_PLAIN", "Content-Length: 0", f"Content-Length: {len(CLICK)}") + CLICK,
        ended=True,
    ),
    answered(
        "a list of lengths",
        400,
        request("/tc_PLAIN", f"Content-Length: 0, {len(CLICK)}") + CLICK,
        ended=True,
    ),
    answered(
        "a length with a sign", 400, request("/tc_PLAIN", "Content-Length: +5") + CLICK, ended=True
    ),
    answered(
        "a length in hexadecimal",
        400,
        request("/tc_PLAIN", "Content-Length: 0x5") + CLICK,
        ended=True,
    ),
    answered(
        "a length behind a vertical tab",
        400,
        request("/tc_PLAIN", "Content-Length:\x0b5") + CLICK,
        ended=True,
    ),
    Case(
        "chunked in disguise",
        (request("/tc_PLAIN", "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + CLICK,),
        (),
        0,
        ended=True,
    ),
    answered(
        "chunked twice",
        400,
        request("/tc_PLAIN", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + CLICK,
        ended=True,
    ),
    answered(
        "an encoding with a space before the colon",
        400,
        request("/tc_PLAIN", "Transfer-Encoding : chunked") + b"0\r\n\r\n" + CLICK,
        ended=True,
    ),
]


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
ASKING_GET = request("/tc_PLAIN", *UPGRADE)
ASKING = request("/v1/conversions", *UPGRADE, f"Content-Length: {len(CLICK)}", method="POST")
KNOWN = request(
    *("/v1/conversions", f"Authorization: Bearer {KEY}", *UPGRADE, "Content-Length: 2"),
    method="POST",
)
KNOWN_CHUNKED = request(
    *("/v1/conversions", f"Authorization: Bearer {KEY}", *UPGRADE, "Transfer-Encoding: chunked"),
    method="POST",
)
UPGRADES = [
    redirected("a click", ASKING_GET),
    Case("clicks behind a click", (ASKING_GET + CLICK + ASKING_GET,), (302, 302, 302), 3),
    Case("a click behind it later", (ASKING_GET, CLICK), (302, 302), 2),
    redirected("a length of zero", request("/tc_PLAIN", *UPGRADE, "Content-Length: 0")),
    answered("a refused body", 401, ASKING + CLICK),
    answered("a refused body in a segment of its own", 401, ASKING, CLICK),
    Case("a click behind a refused body", (ASKING, CLICK, CLICK), (401, 302), 1),
    Case("a click in the body's segment", (ASKING, CLICK + CLICK), (401, 302), 1),
    answered("a body that is read", 422, KNOWN + b"{}"),
    answered("a body in a segment of its own", 422, KNOWN, b"{}"),
    answered("a body in segments", 422, KNOWN, b"{", b"}"),
    answered("a head in segments", 422, KNOWN[:-3], KNOWN[-3:-1], KNOWN[-1:], b"{}"),
    answered("chunks", 422, KNOWN_CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"),
    answered("chunks in segments", 422, KNOWN_CHUNKED, b"2\r\n{", b"}\r\n0\r\n", b"\r\n"),
    Case("a click behind a body", (KNOWN + b"{}" + CLICK,), (422, 302), 1),
    Case("two bodies", (KNOWN + b"{}" + KNOWN, b"{}" + CLICK), (422, 422, 302), 1),
    redirected("a websocket", request("/tc_PLAIN", "Connection: Upgrade", "Upgrade: websocket")),
]


@pytest.mark.parametrize("case", UPGRADES, ids=lambda case: case.name)
async def test_a_request_that_asks_for_an_upgrade_is_read_as_if_it_did_not(
    both: Both, case: Case
) -> None:
    await check(both, case)


@pytest.mark.parametrize("known", [True, False], ids=["a known sender", "a stranger"])
@pytest.mark.parametrize(
    "endless",
    [b"A: " + b"b" * 100_000, b"A: b\r\n" * 20_000, b"1;" + b"a" * 100_000],
    ids=["a long trailer", "many trailers", "a long extension"],
)
async def test_what_is_no_body_behind_a_head_is_bounded_like_it(
    both: Both, endless: bytes, known: bool
) -> None:
    lines = ("Transfer-Encoding: chunked", *([f"Authorization: Bearer {KEY}"] if known else []))
    head = request("/v1/conversions", *lines, method="POST")
    begin = b"2\r\n{}\r\n" + (b"" if endless.startswith(b"1;") else b"0\r\n")
    answer = await both.ask(head + begin, *cut(endless, 4_000))
    assert answer.ended
    assert answer.clicks == []


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "gzip", "chunked;a=b", "deflate"])
async def test_an_unknown_transfer_coding_ends_the_connection(both: Both, coding: str) -> None:
    sent = request("/tc_PLAIN", f"Transfer-Encoding: {coding}") + b"0\r\n\r\n" + CLICK
    answer = await both.ask(sent)
    assert (answer.ended, answer.clicks) == (True, [])
    assert answer.statuses in ((501,), (400,), ())


@pytest.mark.parametrize("case", EARLY, ids=lambda case: case.name)
async def test_a_body_behind_its_answer_is_no_request(both: Both, case: Case) -> None:
    await check(both, case)


@pytest.mark.parametrize("case", DOUBTFUL, ids=lambda case: case.name)
async def test_a_body_of_doubtful_length_ends_the_connection(both: Both, case: Case) -> None:
    await check(both, case)
